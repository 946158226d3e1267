// A difference through its correction: values, variances, bad pixels and planes, against plain loops in float64.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/convolve/Correction.h"

using namespace convolveReference;
using psfmatch::correctDifference;
using psfmatch::CorrectionControl;
using psfmatch::InstructionSet;
using psfmatch::RowMatrix;
using psfmatch::SpatialModel;
using psfmatch::VarianceFactors;

namespace {

constexpr MaskPixel badBit = 1;
constexpr MaskPixel otherBit = 1 << 5;
constexpr MaskPixel edge = 1 << 4;
constexpr MaskPixel noData = 1 << 8;

struct Scene {
    Scene(Index height, Index width)
        : difference(makeField(height, width, 0.0F, 5)), own(height, width), theirs(height, width) {
        for (Index i = 0; i < own.size(); ++i) {
            difference.image(i) *= 0.01F;
            own(i) = 40.0F + static_cast<float>(i % 11);
            theirs(i) = 20.0F + static_cast<float>(i % 7);
            difference.variance(i) = own(i) + 0.2F * theirs(i);
            difference.mask(i) = i % 13 == 0 ? otherBit : 0;
        }
        difference.mask(3, 4) |= badBit;
        difference.image(height / 2, 0) = std::numeric_limits<float>::quiet_NaN();
        own(height - 1, width - 2) = -1.0F;
        theirs(7, 9) = std::numeric_limits<float>::infinity();
        difference.variance(height / 2, width / 2) = std::numeric_limits<float>::infinity();
        factors.alongX.resize(2, width);
        factors.betaOfRow.resize(height, 2);
        factors.gammaOfRow.resize(height, 2);
        for (Index x = 0; x < width; ++x) {
            factors.alongX.col(x) << 1.0, static_cast<double>(x) / static_cast<double>(width);
        }
        for (Index y = 0; y < height; ++y) {
            factors.betaOfRow.row(y) << 0.7, 0.1;
            factors.gammaOfRow.row(y) << 0.3, 0.01 * static_cast<double>(y) / static_cast<double>(height);
        }
        factors.sumOfSquares = 0.2;
        control.badBits = badBit;
        control.divisor = 1.5;
    }

    [[nodiscard]] bool isBadAt(Index y, Index x) const {
        return psfmatch::isBad(difference.image(y, x), difference.variance(y, x), difference.mask(y, x), badBit) ||
               psfmatch::isBad(0.0F, own(y, x), 0, 0);
    }

    MaskedImage correct(LinearCombinationKernel const& phi, int nThreads = 1) const {
        MaskedImage result(difference.image.rows(), difference.image.cols());
        correctDifference(difference.views(), view(own), view(theirs), &factors, phi, 0, 0, control, {nThreads},
                          result.targets());
        return result;
    }

    MaskedImage difference;
    Image<float> own;
    Image<float> theirs;
    VarianceFactors factors;
    CorrectionControl control;
};

// Mostly its middle pixel, with a sum of 1 and a strong neighbour, and changing to the right.
LinearCombinationKernel whitening(Index side, int order, psfmatch::Box const& box) {
    LinearCombinationKernel phi = makeKernel(side, side, order, SpatialModel::chebyshev1, box, 0.0, 3);
    phi.basis.images.conservativeResize(2, side * side);
    phi.basis.images *= -0.4;
    phi.basis.images.row(0)[side * side / 2] += 1.4;
    phi.parameters = Eigen::MatrixXd::Zero(2, phi.spatial.size());
    phi.parameters(0, 0) = 1.0;
    if (order > 0) {
        phi.parameters(1, 1) = 0.3;
    }
    return phi;
}

void checkAgainstLoops(Scene const& scene, LinearCombinationKernel const& phi) {
    MaskedImage const found = scene.correct(phi);
    Index const height = scene.own.rows();
    Index const width = scene.own.cols();
    Index const half = phi.basis.width / 2;
    std::vector<float> good;
    for (Index i = 0; i < scene.own.size(); ++i) {
        float const value = scene.difference.image(i);
        if (!psfmatch::isBad(value, 0.0F, scene.difference.mask(i), badBit)) {
            good.push_back(value);
        }
    }
    std::sort(good.begin(), good.end());
    std::size_t const n = good.size();
    double const level = 0.5 * (static_cast<double>(good[(n - 1) / 2]) + static_cast<double>(good[n / 2]));
    Image<double> const middle =
        psfmatch::kernelImage(phi, 0.5 * static_cast<double>(width - 1), 0.5 * static_cast<double>(height - 1)).abs();
    double const limit = scene.control.maskedKernelFraction * middle.sum();
    double const scale = static_cast<double>(scene.difference.image.row(0).abs().maxCoeff());
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            MaskPixel planes = scene.difference.mask(y, x);
            Image<double> const taps = psfmatch::kernelImage(phi, static_cast<double>(x), static_cast<double>(y));
            double value = 0.0;
            double largest = scale;
            double variance = 0.0;
            for (Index dy = -half; dy <= half; ++dy) {
                for (Index dx = -half; dx <= half; ++dx) {
                    bool const isInside = y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width;
                    bool const isBad = isInside && scene.isBadAt(y + dy, x + dx);
                    bool const counts = isInside && !isBad;
                    double const tap = taps(dy + half, dx + half);
                    double const input = counts ? static_cast<double>(scene.difference.image(y + dy, x + dx)) : level;
                    value += tap * input;
                    largest = std::max(largest, std::abs(input));
                    variance += counts ? tap * tap * static_cast<double>(scene.own(y + dy, x + dx)) : 0.0;
                    if (middle(dy + half, dx + half) > limit || (dy == 0 && dx == 0)) {
                        if (!isInside) {
                            planes |= edge;
                        } else if (isBad) {
                            MaskPixel const bits = scene.difference.mask(y + dy, x + dx) & badBit;
                            bool const isUnusable = psfmatch::isBad(scene.difference.image(y + dy, x + dx),
                                                                    scene.difference.variance(y + dy, x + dx), 0, 0) ||
                                                    psfmatch::isBad(0.0F, scene.own(y + dy, x + dx), 0, 0);
                            planes |= bits | (isUnusable ? noData : 0);
                        }
                    }
                }
            }
            CHECK(found.mask(y, x) == planes);
            if (scene.isBadAt(y, x)) {
                CHECK(std::memcmp(&found.image(y, x), &scene.difference.image(y, x), sizeof(float)) == 0);
                CHECK(std::memcmp(&found.variance(y, x), &scene.difference.variance(y, x), sizeof(float)) == 0);
                continue;
            }
            double const matched =
                std::max(0.0, static_cast<double>(scene.difference.variance(y, x)) * scene.control.divisor -
                                  static_cast<double>(scene.own(y, x)));
            auto const theirs = static_cast<double>(scene.theirs(y, x));
            double const beta = scene.factors.betaOfRow.row(y).dot(scene.factors.alongX.col(x));
            double const gamma = scene.factors.gammaOfRow.row(y).dot(scene.factors.alongX.col(x));
            variance += beta * matched + gamma * (std::isfinite(theirs) ? theirs : matched / 0.2);
            CHECK(std::abs(static_cast<double>(found.image(y, x)) - value) <= 3e-6 * largest);
            // That of squared kernels is good to 1e-3.
            CHECK(static_cast<double>(found.variance(y, x)) ==
                  doctest::Approx(variance / scene.control.divisor).epsilon(1e-3));
        }
    }
}

}  // namespace

TEST_CASE("a corrected difference follows the definition") {
    for (Index const side : {1, 5, 15}) {
        for (int const order : {0, 2}) {
            CAPTURE(side);
            CAPTURE(order);
            Scene const scene(61, 83);
            checkAgainstLoops(scene, whitening(side, side == 1 ? 0 : order, {0, 0, 83, 61}));
        }
    }
}

TEST_CASE("the number of threads changes nothing of a corrected difference") {
    Scene const scene(150, 260);
    LinearCombinationKernel const phi = whitening(15, 2, {0, 0, 260, 150});
    MaskedImage const one = scene.correct(phi, 1);
    for (int const nThreads : {2, 7}) {
        MaskedImage const many = scene.correct(phi, nThreads);
        CHECK(std::memcmp(one.image.data(), many.image.data(), sizeof(float) * 150 * 260) == 0);
        CHECK(std::memcmp(one.variance.data(), many.variance.data(), sizeof(float) * 150 * 260) == 0);
        CHECK((one.mask == many.mask).all());
    }
}

TEST_CASE("a variance that is given is added as it is") {
    Scene const scene(30, 40);
    LinearCombinationKernel const one = whitening(1, 0, {0, 0, 40, 30});
    MaskedImage result(30, 40);
    correctDifference(scene.difference.views(), view(scene.own), view(scene.theirs), nullptr, one, 0, 0, scene.control,
                      {}, result.targets());
    // A kernel of one pixel is a factor, of the image and of the variance that is convolved.
    double const factor = one.basis.images(0, 0);
    auto const own = static_cast<double>(scene.own(10, 10));
    auto const theirs = static_cast<double>(scene.theirs(10, 10));
    CHECK(result.variance(10, 10) == doctest::Approx((factor * factor * own + theirs) / 1.5));
    CHECK(result.image(10, 10) == doctest::Approx(factor * static_cast<double>(scene.difference.image(10, 10))));
}

TEST_CASE("planes that do not belong to a difference are refused") {
    Scene scene(30, 40);
    LinearCombinationKernel const one = whitening(1, 0, {0, 0, 40, 30});
    scene.factors.gammaOfRow.resize(30, 3);
    CHECK_THROWS_AS(scene.correct(one), std::invalid_argument);
    scene.factors.gammaOfRow.resize(30, 2);
    scene.own.resize(30, 41);
    CHECK_THROWS_AS(scene.correct(one), std::invalid_argument);
}
