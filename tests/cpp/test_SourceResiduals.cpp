#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/SourceResiduals.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Star {
    Index y;
    Index x;
    double peak;
};

std::vector<Star> const stars{{40, 50, 4000.0}, {90, 30, 3000.0}, {100, 120, 2000.0}, {60, 150, 1000.0}};

OwnedImage<float> field(double level, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(level, 1.0);
    OwnedImage<float> image(150, 180);
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            double value = normal(generator);
            for (Star const& star : stars) {
                auto const square = static_cast<double>((x - star.x) * (x - star.x) + (y - star.y) * (y - star.y));
                value += star.peak * std::exp(-square / 4.5);
            }
            image(y, x) = static_cast<float>(value);
        }
    }
    return image;
}

}  // namespace

TEST_CASE("peaks are the stars, the brightest first, without defects") {
    OwnedImage<float> image = field(100.0, 1);
    image(20, 100) = 9000.0F;  // a cosmic ray
    image(70, 70) = std::nanf("");
    OwnedImage<float> const variance = OwnedImage<float>::Ones(150, 180);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(150, 180);
    MaskedImageView const view{viewOf(image), viewOf(variance), viewOf(mask)};
    PeaksControl control;
    control.badBits = 1;
    control.saturated = 2;
    for (int const nThreads : {1, 7}) {
        Peaks const found = findPeaks(view, control, {nThreads});
        CHECK(found.x == std::vector<Index>{50, 30, 120, 150});
        CHECK(found.y == std::vector<Index>{40, 90, 100, 60});
        CHECK(found.saturatedFraction == 0.0);
    }
    mask.block(88, 28, 5, 5).setConstant(1);
    mask.block(5, 5, 20, 20).setConstant(2);  // one star that reaches over four blocks
    Peaks const found = findPeaks(view, control);
    CHECK(found.x == std::vector<Index>{50, 120, 150});
    CHECK(found.saturatedFraction == doctest::Approx(0.25));
    control.maxSources = 2;
    CHECK(findPeaks(view, control).x == std::vector<Index>{50, 120});
    mask.setConstant(1);
    CHECK(findPeaks(view, control).x.empty());
}

TEST_CASE("residuals of sources by definition") {
    OwnedImage<float> const science = field(100.0, 1);
    OwnedImage<float> const before = field(50.0, 2);
    std::mt19937 generator(3);
    std::normal_distribution<double> normal(0.0, 2.0);
    OwnedImage<float> difference(150, 180);
    for (Index i = 0; i < difference.size(); ++i) {
        difference.data()[i] = static_cast<float>(normal(generator));
    }
    OwnedImage<float> const variance = OwnedImage<float>::Constant(150, 180, 4.0F);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(150, 180);
    mask(41, 51) = 1;
    mask.block(58, 140, 8, 20).setConstant(1);  // most of the last star
    Peaks const peaks{{50, 30, 120, 150, 5}, {40, 90, 100, 60, 5}, 0.0};
    Peaks const others{{52, 80}, {41, 20}, 0.0};  // beside a star, and where there is none
    SourceResidualsControl control;
    control.badBits = 1;
    SourceResiduals const found = sourceResiduals({viewOf(difference), viewOf(variance), viewOf(mask)}, viewOf(before),
                                                  viewOf(science), others, peaks, 1.1, control, {2});
    REQUIRE(found.x == std::vector<Index>{50, 30, 120});
    for (std::size_t i = 0; i < 3; ++i) {
        double sum = 0.0;
        double squares = 0.0;
        double n = 0.0;
        double light[2] = {0.0, 0.0};
        std::vector<float> rim[2];
        for (int pass = 0; pass < 2; ++pass) {
            for (Index dy = -10; dy <= 10; ++dy) {
                for (Index dx = -10; dx <= 10; ++dx) {
                    double const radius = std::hypot(dx, dy);
                    Index const y = found.y[i] + dy;
                    Index const x = found.x[i] + dx;
                    if (pass == 0 && radius > 9.0) {
                        rim[0].push_back(science(y, x));
                        rim[1].push_back(before(y, x));
                    }
                    if (pass == 1 && radius <= 4.0 && mask(y, x) == 0) {
                        n += 1.0;
                        sum += difference(y, x);
                        squares += difference(y, x) * difference(y, x) / 4.0;
                        light[0] += science(y, x) - rim[0][rim[0].size() / 2];
                        light[1] += before(y, x) - rim[1][rim[1].size() / 2];
                    }
                }
            }
            std::sort(rim[0].begin(), rim[0].end());
            std::sort(rim[1].begin(), rim[1].end());
        }
        double const most = std::max(light[0], 1.1 * light[1]);
        // The rim may have an even number of pixels: a step between its middle two is far below a count.
        CHECK(found.light[i] == doctest::Approx(most).epsilon(1e-3));
        CHECK(found.noise[i] == doctest::Approx(2.0 * std::sqrt(n)).epsilon(1e-12));
        CHECK(found.left[i] == doctest::Approx(sum / found.light[i]).epsilon(1e-9));
        CHECK(found.chiSquares[i] == doctest::Approx(squares / n).epsilon(1e-6));
        CHECK(static_cast<double>(found.pulls[i].size()) == n);
    }
    CHECK_THROWS_AS(static_cast<void>(sourceResiduals({viewOf(difference), viewOf(variance), viewOf(mask)},
                                                      viewOf(OwnedImage<float>(3, 3)), viewOf(science), others, peaks,
                                                      1.0, control)),
                    std::invalid_argument);
}

TEST_CASE("figures of sources by hand") {
    SourceResiduals sources;
    for (Index i = 0; i < 10; ++i) {
        auto const value = static_cast<double>(i);
        sources.x.push_back(10);
        sources.y.push_back(10);
        sources.light.push_back(100.0 * (value + 1.0));
        sources.noise.push_back(1.0);
        sources.left.push_back(i == 9 ? 0.9 : 0.001 * value);
        sources.chiSquares.push_back(value);
        sources.absolute.push_back(2.0);
        sources.scienceMean.push_back(10.0);
        sources.pulls.push_back({1.0F, -1.0F});
    }
    SourceFiguresControl control;
    control.signalToNoiseEdges = {150.0, 350.0, std::numeric_limits<double>::infinity()};
    SourceFigures const found = figuresOf(sources, 1.0, 90, 90, control);
    CHECK(found.nSources == 10);
    CHECK(found.nRemaining == 1);
    CHECK(found.remainingFraction == 0.1);
    CHECK(found.sourceRobust == doctest::Approx(1.4826));
    CHECK(found.sourcePlain == doctest::Approx(1.0));
    CHECK(found.worstRegion == doctest::Approx(8.0 / 3.0));
    CHECK(found.badSourceFraction == doctest::Approx(4.0 / 9.0));
    CHECK(found.fluxMean == doctest::Approx(0.004));
    CHECK(found.fluxMeanSize == found.fluxMean);
    CHECK(found.fluxError == doctest::Approx(1.2533 * 1.4826 * 0.002 / 3.0));
    CHECK(found.footprintRatioMean == doctest::Approx(0.1));
    CHECK(found.footprintRatioStdev == doctest::Approx(0.0));
    CHECK(std::get<2>(found.chiSquareByFlux[0]) == 2);
    CHECK(std::get<2>(found.chiSquareByFlux[1]) == 6);
    CHECK(std::get<3>(found.chiSquareByFlux[0]) == doctest::Approx(1.5));
    sources.left.assign(10, 0.6);
    SourceFigures const nothing = figuresOf(sources, 1.0, 90, 90, control);
    CHECK(nothing.nRemaining == 10);
    CHECK(std::isnan(nothing.sourceRobust));
    CHECK(nothing.chiSquareByFlux.empty());
}
