#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/SkyNoise.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

OwnedImage<float> noise(Index height, Index width, double sigma, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(0.0, sigma);
    OwnedImage<float> image(height, width);
    for (Index i = 0; i < image.size(); ++i) {
        image.data()[i] = static_cast<float>(normal(generator));
    }
    return image;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    std::size_t const n = values.size();
    return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

}  // namespace

TEST_CASE("the sky of one cell by definition") {
    OwnedImage<float> difference = noise(40, 45, 2.0, 1);
    OwnedImage<float> const before = noise(40, 45, 1.0, 2);
    OwnedImage<float> other = noise(40, 45, 1.0, 3);
    OwnedImage<float> const variance = OwnedImage<float>::Constant(40, 45, 4.0F);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(40, 45);
    other.block(5, 5, 3, 3) += 100.0F;        // a source of one image
    difference.block(5, 5, 1, 3) = 30.0F;     // left there: outliers all the same
    mask.block(20, 20, 4, 4).setConstant(1);  // bad
    mask.row(0).setConstant(2);               // border
    mask.row(1).setConstant(4);               // without data
    SkyNoiseControl control;
    control.badBits = 7;
    control.edge = 2;
    control.noData = 4;
    SkyNoise const found =
        skyNoise({viewOf(difference), viewOf(variance), viewOf(mask)}, viewOf(before), viewOf(other), control);
    std::vector<double> pulls;
    double nUsable = 0.0;
    double absolute = 0.0;
    auto const isBlankAt = [&](Index y, Index x) { return mask(y, x) == 0 && !(y >= 5 && y < 8 && x >= 5 && x < 8); };
    double products = 0.0;
    double nPairs = 0.0;
    double squares = 0.0;
    for (Index y = 0; y < 32; ++y) {
        for (Index x = 0; x < 32; ++x) {
            nUsable += mask(y, x) == 0 ? 1.0 : 0.0;
            if (isBlankAt(y, x)) {
                pulls.push_back(0.5 * difference(y, x));
                absolute += std::abs(difference(y, x));
            }
        }
    }
    double const middle = median(pulls);
    std::vector<double> deviations;
    for (double const pull : pulls) {
        deviations.push_back(std::abs(pull - middle));
        squares += (pull - middle) * (pull - middle);
    }
    for (Index y = 0; y < 32; ++y) {
        for (Index x = 0; x < 32; ++x) {
            for (Index step = 0; step < 2; ++step) {
                Index const yy = y + step;
                Index const xx = x + 1 - step;
                if (yy < 32 && xx < 32 && isBlankAt(y, x) && isBlankAt(yy, xx)) {
                    products += (0.5 * difference(y, x) - middle) * (0.5 * difference(yy, xx) - middle);
                    nPairs += 1.0;
                }
            }
        }
    }
    auto const n = static_cast<double>(pulls.size());
    double const robust = 1.4826 * median(deviations);
    CHECK(found.nSkyPixels == static_cast<Index>(pulls.size()));
    CHECK(found.noiseRobustStdev == doctest::Approx(robust).epsilon(1e-6));
    CHECK(found.noiseMedian == doctest::Approx(middle).epsilon(1e-6));
    double const expected = 0.5 * 3.14159265358979 / n * robust * robust;
    CHECK(found.skyLevel == doctest::Approx(std::sqrt(std::max(middle * middle - expected, 0.0))).epsilon(1e-5));
    CHECK(found.skyAbsolute == doctest::Approx(absolute / n).epsilon(1e-6));
    CHECK(found.pixelNoise == 2.0);
    CHECK(found.outlierFraction == doctest::Approx(3.0 / nUsable).epsilon(1e-12));
    CHECK(found.maskedFraction == doctest::Approx(16.0 / (1024.0 - 32.0)).epsilon(1e-12));
    CHECK(found.coverage == doctest::Approx(1.0 - 32.0 / 1024.0).epsilon(1e-12));
    // No pull is beyond the four sigma at which they are clipped.
    CHECK(found.lag1 == doctest::Approx(products / nPairs / (squares / n)).epsilon(1e-5));
}

TEST_CASE("many cells, and threads") {
    OwnedImage<float> const difference = noise(200, 300, 1.0, 1);
    OwnedImage<float> const sky = noise(200, 300, 1.0, 2);
    OwnedImage<float> const variance = OwnedImage<float>::Ones(200, 300);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(200, 300);
    MaskedImageView const view{viewOf(difference), viewOf(variance), viewOf(mask)};
    SkyNoise const found = skyNoise(view, viewOf(sky), viewOf(sky), {});
    // 54 cells of 1024 pixels: 1.17 / sqrt(n), and of correlations 1 / sqrt(2 n); four times that
    CHECK(std::abs(found.noiseRobustStdev - 1.0) < 0.02);
    CHECK(std::abs(found.lag1) < 0.012);
    CHECK(found.skyLevel < 0.02);
    SkyNoise const again = skyNoise(view, viewOf(sky), viewOf(sky), {}, {7});
    CHECK(again.noiseRobustStdev == found.noiseRobustStdev);
    CHECK(again.lag1 == found.lag1);
    CHECK(again.skyLevel == found.skyLevel);
    mask.setConstant(1);
    SkyNoiseControl control;
    control.badBits = 1;
    SkyNoise const nothing = skyNoise(view, viewOf(sky), viewOf(sky), control);
    CHECK(nothing.nSkyPixels == 0);
    CHECK(std::isnan(nothing.noiseRobustStdev));
    CHECK(nothing.maskedFraction == 1.0);
    CHECK_THROWS_WITH_AS(static_cast<void>(skyNoise(view, viewOf(noise(3, 3, 1.0, 1)), viewOf(sky), {})),
                         "difference, template and science image must have one shape", std::invalid_argument);
    CHECK(pullNoise(view, 1, 1).nPixels == 0);
    mask(0, 0) = 0;
    mask(0, 2) = 0;
    mask(1, 1) = 0;
    PullNoise const two = pullNoise(view, 1, 2);
    CHECK(two.nPixels == 2);
    CHECK(two.median == doctest::Approx(0.5 * (difference(0, 0) + difference(0, 2))).epsilon(1e-6));
}
