// Regions of pixels against plain sums over their pixels.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "fitReference.h"
#include "psfmatch/PixelRegions.h"

using namespace fitReference;
using psfmatch::CandidateStamp;
using psfmatch::convolveRegions;
using psfmatch::makeRegionEquations;
using psfmatch::PixelRegions;
using psfmatch::prepare;
using psfmatch::PreparedBasis;
using psfmatch::readRegions;
using psfmatch::RegionEquations;
using psfmatch::RegionModels;
using psfmatch::RegionPlane;
using psfmatch::RowMatrix;
using simulate::deltaBasis;
using simulate::randomBasis;
using simulate::relativeError;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
constexpr Index kernelSide = 9;  // of smallBasis
constexpr Index fittedHeight = 29 - kernelSide + 1;
constexpr Index fittedWidth = 31 - kernelSide + 1;

std::vector<CandidateStamp> viewsOf(std::vector<StampPair> const& pairs) {
    std::vector<CandidateStamp> views;
    for (StampPair const& pair : pairs) {
        views.push_back(pair.views());
    }
    return views;
}

std::vector<StampPair> stars(unsigned count) {
    std::vector<StampPair> pairs;
    for (unsigned seed = 0; seed < count; ++seed) {
        pairs.push_back(star(seed, 10.0));
    }
    return pairs;
}

RegionPlane randomWeights(Index regions, Index pixels, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(0.001F, 0.1F);
    RegionPlane weights(regions, pixels);
    for (Index i = 0; i < weights.size(); ++i) {
        weights(i) = uniform(random);
    }
    return weights;
}

// The template's stamp as the fit takes it.
MaskedImage filledTemplate(StampPair const& pair) {
    MaskedImage filled = pair.templateStamp;
    writeFill(psfmatch::fillBadPixels(pair.templateStamp.views(), pair.templateBadBits), view(filled.image),
              view(filled.variance));
    return filled;
}

template <typename Plane>
bool sameBits(Plane const& a, Plane const& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() &&
           std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0;
}

}  // namespace

TEST_CASE("regions hold the pixels whose kernel footprint lies inside") {
    std::vector<StampPair> const pairs = stars(2);
    PixelRegions const regions = readRegions(viewsOf(pairs), kernelSide, 5, {}, {});
    CHECK(regions.height == fittedHeight);
    CHECK(regions.width == 31 - 5 + 1);
    REQUIRE(regions.science.rows() == 2);
    REQUIRE(regions.science.cols() == regions.height * regions.width);
    CHECK(regions.usable.all());
    for (Index k = 0; k < 2; ++k) {
        StampPair const& pair = pairs[static_cast<std::size_t>(k)];
        for (Index i = 0; i < regions.science.cols(); ++i) {
            Index const y = i / regions.width + 4;
            Index const x = i % regions.width + 2;
            CHECK(regions.science(k, i) == pair.scienceStamp.image(y, x));
            CHECK(regions.scienceVariance(k, i) == pair.scienceStamp.variance(y, x));
            CHECK(regions.templateVariance(k, i) == pair.templateStamp.variance(y, x));
        }
    }
}

TEST_CASE("bad pixels are not usable, those of the template with their neighbours") {
    std::vector<StampPair> pairs = stars(1);
    StampPair& pair = pairs.front();
    damage(pair, 1e6F);
    pair.scienceStamp.image(12, 7) = notANumber;
    pair.scienceStamp.variance(13, 14) = -1.0F;
    pair.templateStamp.image(22, 25) = notANumber;
    pair.scienceStamp.variance(5, 8) = 0.0F;  // no noise at all: of no known weight
    pair.templateStamp.variance(5, 8) = 0.0F;
    auto const bad = [](MaskedImage const& stamp, MaskPixel bits, Index y, Index x) {
        return psfmatch::isBad(stamp.image(y, x), stamp.variance(y, x), stamp.mask(y, x), bits);
    };
    for (Index const growth : {0, 1, 2}) {
        CandidateFitControl control;
        control.growTemplateBad = growth;
        control.constantVariance = true;  // what regions do not ask
        PixelRegions const regions = readRegions(viewsOf(pairs), kernelSide, kernelSide, control, {});
        for (Index y = 4; y < 25; ++y) {
            for (Index x = 4; x < 27; ++x) {
                bool expected = !bad(pair.scienceStamp, pair.scienceBadBits, y, x) && !(y == 5 && x == 8);
                for (Index v = y - growth; v <= y + growth; ++v) {
                    for (Index u = x - growth; u <= x + growth; ++u) {
                        expected = expected && !bad(pair.templateStamp, pair.templateBadBits, v, u);
                    }
                }
                Index const i = (y - 4) * fittedWidth + x - 4;
                CAPTURE(y);
                CAPTURE(x);
                CHECK(regions.usable(0, i) == expected);
                CHECK(regions.science(0, i) == (expected ? pair.scienceStamp.image(y, x) : 0.0F));
            }
        }
    }
}

TEST_CASE("equations agree with sums over the pixels, each with its own weight") {
    std::vector<StampPair> pairs = stars(3);
    damage(pairs[1], 1e6F);
    KernelBasis const basis = smallBasis();
    Index const n = basis.size();
    Index const m = n + 1;
    Index const pixels = fittedHeight * fittedWidth;
    RegionPlane weights = randomWeights(3, pixels, 4);
    PixelRegions const regions = readRegions(viewsOf(pairs), kernelSide, kernelSide, {}, {});
    weights = regions.usable.select(weights, 0.0F);
    RegionEquations const found = makeRegionEquations(viewsOf(pairs), prepare(basis), weights, {}, {});
    REQUIRE(found.matrices.rows() == 3);
    REQUIRE(found.matrices.cols() == m * m);
    REQUIRE(found.rightHandSides.cols() == m);
    for (Index k = 0; k < 3; ++k) {
        MaskedImage const filled = filledTemplate(pairs[static_cast<std::size_t>(k)]);
        RowMatrix columns = RowMatrix::Ones(m, pixels);
        for (Index i = 0; i < n; ++i) {
            Image<double> const column = correlate(filled.image, imageOf(basis, i));
            columns.row(i) = Eigen::Map<Eigen::RowVectorXd const>(column.data(), pixels);
        }
        RowMatrix matrix = RowMatrix::Zero(m, m);
        VectorXd side = VectorXd::Zero(m);
        for (Index p = 0; p < pixels; ++p) {
            auto const w = static_cast<double>(weights(k, p));
            for (Index i = 0; i < m; ++i) {
                side[i] += w * columns(i, p) * static_cast<double>(regions.science(k, p));
                for (Index j = 0; j < m; ++j) {
                    matrix(i, j) += w * columns(i, p) * columns(j, p);
                }
            }
        }
        Eigen::Map<RowMatrix const> const own(found.matrices.row(k).data(), m, m);
        // Products of convolved pixels, right to 1e-12, summed over 500 pixels.
        CHECK(relativeError(RowMatrix(own), matrix) < 1e-11);
        CHECK(relativeError(VectorXd(found.rightHandSides.row(k).transpose()), side) < 1e-11);
        CHECK(RowMatrix(own) == RowMatrix(own.transpose()));
    }
}

TEST_CASE("a pixel of weight zero is a masked pixel, whatever it holds") {
    std::vector<StampPair> pairs = stars(1);
    PreparedBasis const basis = prepare(smallBasis());
    RegionPlane weights = randomWeights(1, fittedHeight * fittedWidth, 8);
    weights(0, 6 * fittedWidth + 5) = 0.0F;
    RegionEquations const before = makeRegionEquations(viewsOf(pairs), basis, weights, {}, {});
    float& pixel = pairs.front().scienceStamp.image(10, 9);
    for (float const value : {0.0F, -1e9F, notANumber}) {
        pixel = value;
        RegionEquations const after = makeRegionEquations(viewsOf(pairs), basis, weights, {}, {});
        CHECK(sameBits(after.matrices, before.matrices));
        CHECK(sameBits(after.rightHandSides, before.rightHandSides));
    }
    // With weight it counts: 1e3 of 1e9 would be seen.
    pixel = 1e6F;
    weights(0, 6 * fittedWidth + 5) = 0.01F;
    RegionEquations const with = makeRegionEquations(viewsOf(pairs), basis, weights, {}, {});
    CHECK(with.rightHandSides(0, 9) > before.rightHandSides(0, 9) + 9e3);
}

TEST_CASE("the exact kernel solves the equations of images without noise") {
    StarControl control;
    control.templateNoise = control.scienceNoise = 0.0;
    control.background = 7.0;
    StampPair pair = makeStar(combine(smallBasis(), trueCoefficients()), control, 2);
    pair.scienceStamp.variance.setOnes();  // pixels without any are not usable
    RegionPlane const weights = RegionPlane::Ones(1, fittedHeight * fittedWidth);
    RegionEquations const equations = makeRegionEquations({pair.views()}, prepare(smallBasis()), weights, {}, {});
    VectorXd truth(10);
    truth << trueCoefficients(), 7.0;
    Eigen::Map<RowMatrix const> const matrix(equations.matrices.data(), 10, 10);
    VectorXd const product = matrix * truth;
    // Pixels are rounded to 6e-8 of themselves.
    CHECK(relativeError(product, VectorXd(equations.rightHandSides.row(0).transpose())) < 1e-6);
}

TEST_CASE("models agree with the double loop") {
    std::vector<StampPair> pairs = stars(3);
    damage(pairs[2], 1e6F);
    for (KernelBasis const& basis : {smallBasis(), randomBasis(4, 5, 7, 3), deltaBasis(3, 3)}) {
        RowMatrix const coefficients = 0.5 * RowMatrix::Random(3, basis.size());
        RegionModels const found = convolveRegions(viewsOf(pairs), basis, coefficients, {}, {});
        for (Index k = 0; k < 3; ++k) {
            MaskedImage const filled = filledTemplate(pairs[static_cast<std::size_t>(k)]);
            Image<double> const kernel = combine(basis, coefficients.row(k).transpose());
            Image<double> const image = correlate(filled.image, kernel);
            Image<double> const variance = correlate(filled.variance, kernel.square());
            REQUIRE(found.image.cols() == image.size());
            // Sums of products in float32: 2.5e-7 of the largest.
            double const imageScale = 1e-6 * image.abs().maxCoeff();
            double const varianceScale = 1e-6 * variance.abs().maxCoeff();
            for (Index i = 0; i < image.size(); ++i) {
                CHECK(std::abs(static_cast<double>(found.image(k, i)) - image(i)) < imageScale);
                CHECK(std::abs(static_cast<double>(found.variance(k, i)) - variance(i)) < varianceScale);
            }
        }
    }
}

TEST_CASE("neither threads nor company nor sequence change a bit") {
    std::vector<StampPair> pairs = stars(11);
    damage(pairs[4], 1e6F);
    std::vector<CandidateStamp> const stamps = viewsOf(pairs);
    std::vector<CandidateStamp> const reversed(stamps.rbegin(), stamps.rend());
    KernelBasis const basis = smallBasis();
    RegionPlane const weights = randomWeights(11, fittedHeight * fittedWidth, 5);
    RegionPlane const reversedWeights = weights.colwise().reverse();
    RowMatrix const coefficients = RowMatrix::Random(11, basis.size());
    PixelRegions const one = readRegions(stamps, kernelSide, kernelSide, {}, {});
    RegionEquations const equations = makeRegionEquations(stamps, prepare(basis), weights, {}, {});
    RegionModels const models = convolveRegions(stamps, basis, coefficients, {}, {});
    for (int const nThreads : {2, 3, 16}) {
        PixelRegions const many = readRegions(stamps, kernelSide, kernelSide, {}, {nThreads});
        CHECK(sameBits(many.science, one.science));
        CHECK(sameBits(many.usable, one.usable));
        RegionEquations const other = makeRegionEquations(stamps, prepare(basis), weights, {}, {nThreads});
        CHECK(sameBits(other.matrices, equations.matrices));
        CHECK(sameBits(other.rightHandSides, equations.rightHandSides));
        RegionModels const otherModels = convolveRegions(stamps, basis, coefficients, {}, {nThreads});
        CHECK(sameBits(otherModels.image, models.image));
        CHECK(sameBits(otherModels.variance, models.variance));
    }
    RegionEquations const backwards = makeRegionEquations(reversed, prepare(basis), reversedWeights, {}, {});
    CHECK(RowMatrix(backwards.matrices.colwise().reverse()) == equations.matrices);
    RegionEquations const alone = makeRegionEquations({stamps[4]}, prepare(basis), RegionPlane(weights.row(4)), {}, {});
    CHECK(alone.rightHandSides.row(0) == equations.rightHandSides.row(4));
}

TEST_CASE("no regions at all") {
    PixelRegions const regions = readRegions({}, kernelSide, kernelSide, {}, {});
    CHECK(regions.science.rows() == 0);
    CHECK(regions.usable.rows() == 0);
    CHECK(makeRegionEquations({}, prepare(smallBasis()), RegionPlane(0, 0), {}, {}).matrices.rows() == 0);
    CHECK(convolveRegions({}, smallBasis(), RowMatrix(0, 9), {}, {}).image.rows() == 0);
}

TEST_CASE("regions that do not fit together are refused") {
    std::vector<StampPair> pairs = stars(2);
    std::vector<CandidateStamp> const stamps = viewsOf(pairs);
    PreparedBasis const basis = prepare(smallBasis());
    Index const pixels = fittedHeight * fittedWidth;
    CHECK_THROWS_WITH_AS((void)makeRegionEquations(stamps, basis, RegionPlane::Ones(3, pixels), {}, {}),
                         "2 regions and 3 rows of weights", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)makeRegionEquations(stamps, basis, RegionPlane::Ones(2, 12), {}, {}),
                         "12 weights for regions of 483 pixels", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)convolveRegions(stamps, smallBasis(), RowMatrix::Ones(1, 9), {}, {}),
                         "2 regions and 1 rows of coefficients", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)convolveRegions(stamps, smallBasis(), RowMatrix::Ones(2, 8), {}, {}),
                         "8 coefficients for 9 basis images", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)readRegions(stamps, 31, 31, {}, {}),
                         "regions of 31x29 pixels are smaller than the kernel of 31x31", std::invalid_argument);
    StarControl control;
    control.height = 27;
    pairs.push_back(makeStar(combine(smallBasis(), trueCoefficients()), control, 1));
    CHECK_THROWS_WITH_AS((void)readRegions(viewsOf(pairs), kernelSide, kernelSide, {}, {}),
                         "regions of 31x29 and 31x27 pixels: all must have one shape", std::invalid_argument);
}
