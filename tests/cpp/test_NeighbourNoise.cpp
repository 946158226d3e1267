#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/NeighbourNoise.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Planes {
    OwnedImage<float> image;
    OwnedImage<float> variance;
    OwnedImage<MaskPixel> mask;

    [[nodiscard]] MaskedImageView view() const { return {viewOf(image), viewOf(variance), viewOf(mask)}; }
};

Planes noise(Index height, Index width, double sigma) {
    std::mt19937 generator(3);
    std::normal_distribution<double> normal(0.0, sigma);
    Planes planes{OwnedImage<float>(height, width), OwnedImage<float>(height, width),
                  OwnedImage<MaskPixel>::Zero(height, width)};
    for (Index i = 0; i < planes.image.size(); ++i) {
        planes.image.data()[i] = static_cast<float>(100.0 + normal(generator));
    }
    planes.variance.setConstant(static_cast<float>(sigma * sigma));
    return planes;
}

}  // namespace

TEST_CASE("independent pixels differ by their noise at every lag, on slopes too") {
    Planes planes = noise(256, 300, 3.0);
    for (Index y = 0; y < 256; ++y) {
        for (Index x = 0; x < 300; ++x) {
            planes.image(y, x) += static_cast<float>(0.7 * static_cast<double>(x) - 0.2 * static_cast<double>(y));
        }
    }
    NeighbourNoise const found = neighbourNoise(planes.view(), 0);
    // A hundred thousand differences, of which each three share pixels.
    for (double const square : found.squares) {
        CHECK(square == doctest::Approx(1.0).epsilon(0.03));
    }
    planes.variance *= 0.25F;
    CHECK(neighbourNoise(planes.view(), 0).squares[0] == doctest::Approx(4.0 * found.squares[0]).epsilon(1e-5));
}

TEST_CASE("second differences against loops over the faintest squares") {
    Planes planes = noise(45, 61, 2.0);
    for (Index i = 0; i < planes.variance.size(); ++i) {
        planes.variance.data()[i] = 3.0F + static_cast<float>(i % 7);
    }
    planes.mask(12, 20) = 4;
    planes.image(30, 33) = std::numeric_limits<float>::quiet_NaN();
    planes.variance(22, 40) = 0.0F;
    auto const isGood = [&](Index y, Index x) {
        return planes.mask(y, x) == 0 && std::isfinite(planes.image(y, x)) && planes.variance(y, x) > 0.0F;
    };
    NeighbourNoiseControl control;
    control.faintest = 0.5;
    control.minPixels = 20;
    struct Square {
        Index y;
        Index x;
        double median;
    };
    std::vector<Square> squares;
    std::vector<double> medians;
    for (Index y = 5; y + 8 <= 45 - 5; y += 8) {
        for (Index x = 5; x + 8 <= 61 - 5; x += 8) {
            std::vector<double> values;
            for (Index j = y; j < y + 8; ++j) {
                for (Index i = x; i < x + 8; ++i) {
                    if (isGood(j, i)) {
                        values.push_back(planes.image(j, i));
                    }
                }
            }
            std::sort(values.begin(), values.end());
            std::size_t const n = values.size();
            double const median = 0.5 * (values[(n - 1) / 2] + values[n / 2]);
            squares.push_back({y, x, median});
            medians.push_back(median);
        }
    }
    auto const quantile = [](std::vector<double> values, double fraction) {
        std::sort(values.begin(), values.end());
        double const place = fraction * static_cast<double>(values.size() - 1);
        auto const low = static_cast<std::size_t>(place);
        std::size_t const high = std::min(low + 1, values.size() - 1);
        return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
    };
    double const limit = quantile(medians, 0.5);
    NeighbourNoise const found = neighbourNoise(planes.view(), 4, control);
    for (Index lag = 1; lag <= 5; ++lag) {
        std::vector<double> pulls;
        for (Square const& square : squares) {
            if (static_cast<float>(square.median) > static_cast<float>(limit)) {
                continue;
            }
            for (Index y = square.y; y < square.y + 8; ++y) {
                for (Index x = square.x; x < square.x + 8; ++x) {
                    for (int axis = 0; axis < 2; ++axis) {
                        Index const dy = axis * lag;
                        Index const dx = (1 - axis) * lag;
                        if (isGood(y, x) && isGood(y - dy, x - dx) && isGood(y + dy, x + dx)) {
                            double const variance = planes.variance(y, x) + 0.25 * (planes.variance(y - dy, x - dx) +
                                                                                    planes.variance(y + dy, x + dx));
                            double const other = 0.5 * (planes.image(y - dy, x - dx) + planes.image(y + dy, x + dx));
                            pulls.push_back((planes.image(y, x) - other) / std::sqrt(variance));
                        }
                    }
                }
            }
        }
        double const width = 0.7413 * (quantile(pulls, 0.75) - quantile(pulls, 0.25));
        CHECK(found.squares[static_cast<std::size_t>(lag - 1)] == doctest::Approx(width * width).epsilon(1e-5));
    }
    for (int const nThreads : {2, 7}) {
        CHECK(neighbourNoise(planes.view(), 4, control, {nThreads}).squares == found.squares);
    }
}

TEST_CASE("images without room or pixels tell nothing, and impossible ones") {
    for (Index const side : {Index{0}, Index{1}, Index{17}, Index{18}}) {
        Planes const planes = noise(side, side, 1.0);
        CHECK(std::isnan(neighbourNoise(planes.view(), 0).squares[0]));
    }
    Planes planes = noise(64, 64, 1.0);
    planes.mask.setConstant(1);
    CHECK(std::isnan(neighbourNoise(planes.view(), 1).squares[0]));
    Planes const other = noise(64, 63, 1.0);
    CHECK_THROWS_AS((void)neighbourNoise({viewOf(planes.image), viewOf(other.variance), viewOf(planes.mask)}, 0),
                    std::invalid_argument);
    NeighbourNoiseControl control;
    control.side = 0;
    CHECK_THROWS_AS((void)neighbourNoise(planes.view(), 0, control), std::invalid_argument);
}

TEST_CASE("the noise beneath what grows with the distance") {
    NeighbourNoise noise;
    CHECK(std::isnan(noiseVariance(noise)));
    // D^2(l) = v + a l^b
    for (double const power : {1.2, 2.0, 3.7}) {
        for (std::size_t i = 0; i < 5; ++i) {
            noise.squares[i] = 0.8 + 0.3 * std::pow(static_cast<double>(i + 1), power);
        }
        CHECK(noiseVariance(noise) == doctest::Approx(0.8).epsilon(1e-5));
    }
    // What shrinks, or rises slower or faster than any sky, tells nothing: one pixel's differences are taken.
    noise.squares = {1.0, 1.3, 1.5, 1.8, 2.0};
    CHECK(noiseVariance(noise) == 1.0);
    noise.squares = {1.0, 1.1, 9.0, 30.0, 90.0};
    CHECK(noiseVariance(noise) == 1.0);
    noise.squares = {1.0, 0.9, 1.0, 1.2, 1.6};
    CHECK(noiseVariance(noise) == 1.0);
    // Most of D^2(1) is light: so little noise cannot be told.
    noise.squares = {1.0, 1.9, 2.8 + 1e-3, 3.7, 4.6};
    CHECK(noiseVariance(noise) == 1.0);
    // Noise that neighbours share, and that pixels three apart do not.
    noise.squares = {0.3, 0.7, 0.95, 1.0, 1.0};
    CHECK(noiseVariance(noise) == 0.95);
}
