#include <doctest/doctest.h>

#include <stdexcept>

#include "psfmatch/fit/RegionFit.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "regionReference.h"

using namespace psfmatch;
using namespace regionReference;

namespace {

// float32 columns and sums of at most 128 pixels: some roundings of 6e-8 on each of them.
constexpr double rounding = 1e-6;

struct Expected {
    Eigen::MatrixXd matrix;
    Eigen::VectorXd side;
    double squares = 0.0;
    double noise = 0.0;
};

Expected expect(RegionFit const& fit, KernelBasis const& basis, Index k) {
    RegionStamps const& stamps = *fit.stamps;
    Eigen::MatrixXd const design = designOf(stamps, basis, k);
    Eigen::VectorXd const weights = pixelsOf(stamps.shape, fit.weights, k);
    Eigen::VectorXd const data = pixelsOf(stamps.shape, stamps.science, k).array() + stamps.scienceSky;
    return {design * weights.asDiagonal() * design.transpose(), design * weights.cwiseProduct(data),
            weights.dot(data.cwiseAbs2()),
            (weights.array() > 0.0)
                .select(weights.cwiseProduct(pixelsOf(stamps.shape, stamps.varianceHere, k)), 0.0)
                .sum()};
}

// Each element in units of the roots of its diagonal ones.
void checkEquations(RegionFit const& fit, KernelBasis const& basis, double tolerance = rounding) {
    Index const m = basis.size() + 1;
    for (Index k = 0; k < fit.size(); ++k) {
        CAPTURE(k);
        Expected const expected = expect(fit, basis, k);
        Eigen::VectorXd const roots = expected.matrix.diagonal().cwiseSqrt();
        Eigen::MatrixXd const found = Eigen::Map<RowMatrix const>(fit.equations.matrices.row(k).data(), m, m);
        CHECK(((found - expected.matrix).array() / (roots * roots.transpose()).array()).abs().maxCoeff() < tolerance);
        CHECK(found == found.transpose());
        Eigen::VectorXd const side = fit.equations.rightHandSides.row(k);
        CHECK(((side - expected.side).array() / roots.array()).abs().maxCoeff() <
              tolerance * std::sqrt(expected.squares));
        CHECK(fit.equations.squares[k] == doctest::Approx(expected.squares).epsilon(tolerance));
        CHECK(fit.equations.noise[k] == doctest::Approx(expected.noise).epsilon(tolerance));
    }
}

// Pixels of the science image that stand out of its sky by more than `level`.
RegionFlags brightPixels(RegionFit const& fit, float level) {
    RegionFlags flags{fit.stamps->shape, RegionBytes::Zero(fit.size(), fit.stamps->shape.size())};
    flags.flags = (fit.stamps->science > level).cast<std::uint8_t>();
    return flags;
}

}  // namespace

TEST_CASE("equations are the sums over pixels, with the skies of the images") {
    Field const field = makeField(9);
    for (auto const& basis : {simulate::smallBasis(), simulate::deltaBasis(9, 9), simulate::randomBasis(3, 9, 9, 2),
                              simulate::randomBasis(1, 9, 9, 3), makeAlardLuptonBasis(4, {0.1}, {0})}) {
        RegionFit const fit = makeRegionFit(cut(field), prepare(basis), {});
        // Sums over a whole delta basis have a random part of more pixels than a smooth one.
        checkEquations(fit, basis, 3.0 * rounding);
    }
}

TEST_CASE("first weights are of smoothed variances and a tenth of the template's") {
    Field const field = makeField(9);
    RegionFit const fit = makeRegionFit(cut(field), prepare(simulate::smallBasis()), {});
    RegionStamps const& stamps = *fit.stamps;
    RegionShape const& shape = stamps.shape;
    for (Index y = 0; y < shape.height; ++y) {
        for (Index x = 0; x < shape.stride; ++x) {
            Index const p = y * shape.stride + x;
            if (x >= shape.width || stamps.usable(2, p) == 0) {
                CHECK(fit.weights(2, p) == 0.0F);
                continue;
            }
            double sum = 0.0;
            double count = 0.0;
            for (Index v = std::max<Index>(0, y - 2); v <= std::min(shape.height - 1, y + 2); ++v) {
                for (Index u = std::max<Index>(0, x - 2); u <= std::min(shape.width - 1, x + 2); ++u) {
                    if (stamps.usable(2, v * shape.stride + u) != 0) {
                        sum += static_cast<double>(stamps.scienceVariance(2, v * shape.stride + u));
                        count += 1.0;
                    }
                }
            }
            double const variance = sum / count + 0.1 * static_cast<double>(stamps.varianceHere(2, p));
            CHECK(fit.weights(2, p) == doctest::Approx(1.0 / variance).epsilon(rounding));
        }
    }
}

TEST_CASE("equations follow changes of weights, also where a bright core goes") {
    // A tenth of a diagonal element is left at least, of an error that grows by its inverse.
    auto const basis = simulate::smallBasis();
    for (double const flux : {2e4, 1e7}) {
        RegionFit fit = makeRegionFit(cut(makeField(9, 8, flux)), prepare(basis), {});
        RegionValues variance = fit.variance * 1.2F;
        CHECK_FALSE(reweigh(fit, variance, nullptr, {}));
        CHECK_FALSE(fit.hasFirstWeights);
        RegionValues const before = fit.weights;
        CHECK_FALSE(reweigh(fit, variance * 1.03F, nullptr, {}));
        CHECK((fit.weights == before).all());
        RegionFlags const cores = brightPixels(fit, 60.0F);
        CHECK(cores.fraction() > 0.01);
        CHECK(reweigh(fit, variance, &cores, {}));
        CHECK_FALSE(reweigh(fit, variance, &cores, {}));
        checkEquations(fit, basis, 10.0 * rounding);
        CHECK((fit.weights > 0.0F).count() < (before > 0.0F).count());
        variance.leftCols(40) *= 2.0F;
        CHECK_FALSE(reweigh(fit, variance, nullptr, {}));
        checkEquations(fit, basis, 10.0 * rounding);
        RegionFlags const none{fit.stamps->shape, cores.flags * 0};
        CHECK(reweigh(fit, variance, &none, {}));
        CHECK(fit.rejected.fraction() == 0.0);
        checkEquations(fit, basis, 10.0 * rounding);
        std::vector<std::int64_t> const counts = fit.weightCounts();
        CHECK(counts[3] == (fit.stamps->usable.row(3) != 0).count());
    }
}

TEST_CASE("images that are nearly alike are fitted in float64") {
    // Gaussians whose widths differ by a hundredth, made orthogonal to nothing: coefficients of a kernel between them
    // cancel. The sums are of columns in float64, 1e-12; the model is convolved in float32.
    KernelBasis const basis = renormalize(makeAlardLuptonBasis(4, {1.0, 1.01, 1.02}, {2, 2, 2}));
    RegionFit fit = makeRegionFit(cut(makeField(9)), prepare(basis), {});
    REQUIRE(fit.exactBasis != nullptr);
    CHECK(fit.columns.size() == 0);
    checkEquations(fit, basis, 1e-11);
    RegionFlags const cores = brightPixels(fit, 60.0F);
    CHECK(reweigh(fit, fit.variance * 1.2F, &cores, {}));
    checkEquations(fit, basis, 1e-11);
    RegionFit const usual = makeRegionFit(cut(makeField(9)), prepare(simulate::smallBasis()), {});
    CHECK(usual.exactBasis == nullptr);
    // What large coefficients make of the pixels is what they make of the equations.
    RowMatrix coefficients = RowMatrix::Zero(fit.size(), basis.size());
    coefficients.col(0).setConstant(1e5);
    coefficients.col(6).setConstant(-2e5);
    coefficients.col(12).setConstant(1e5);
    Eigen::VectorXd const backgrounds = Eigen::VectorXd::Constant(fit.size(), 3.0);
    RegionResiduals const residuals = judge(fit, coefficients, backgrounds, {});
    for (Index k = 0; k < fit.size(); ++k) {
        CAPTURE(k);
        Index const m = basis.size() + 1;
        Eigen::VectorXd values(m);
        values << coefficients.row(k).transpose(), backgrounds[k];
        Eigen::MatrixXd const matrix = Eigen::Map<RowMatrix const>(fit.equations.matrices.row(k).data(), m, m);
        double const chiSquare = values.dot(matrix * values) - 2.0 * fit.equations.rightHandSides.row(k).dot(values) +
                                 fit.equations.squares[k];
        Eigen::ArrayXd const left = (residuals.pull.row(k) * residuals.variance.row(k).sqrt()).cast<double>();
        double const byPixels = (fit.weights.row(k).cast<double>().transpose() * left.square()).sum();
        CHECK(chiSquare == doctest::Approx(byPixels).epsilon(1e-3));
    }
}

TEST_CASE("values whose squares float32 does not hold are summed in float64") {
    Field field = makeField(9);
    field.templateImage.image *= 1e25F;
    auto const basis = simulate::smallBasis();
    checkEquations(makeRegionFit(cut(field), prepare(basis), {}), basis, 3.0 * rounding);
}

TEST_CASE("neither threads nor instruction sets change a fit") {
    auto const basis = prepare(simulate::smallBasis());
    auto const stamps = cut(makeField(9));
    RegionFit one = makeRegionFit(stamps, basis, {});
    RegionFit three = makeRegionFit(cut(makeField(9), 3), basis, {3});
    RegionFit plain = makeRegionFit(stamps, basis, {}, InstructionSet::baseline);
    RegionFlags const cores = brightPixels(one, 100.0F);
    for (auto* const fit : {&one, &three, &plain}) {
        (void)reweigh(*fit, fit->variance * 1.2F, nullptr, {3});
        CHECK(reweigh(*fit, fit->variance * 1.2F, &cores, {fit == &three ? 3 : 1}));
    }
    CHECK(one.equations.matrices == three.equations.matrices);
    CHECK(one.equations.rightHandSides == three.equations.rightHandSides);
    CHECK(simulate::relativeError(plain.equations.matrices, one.equations.matrices) < rounding);
}

TEST_CASE("what cannot be fitted is refused") {
    Field const field = makeField(9);
    CHECK_THROWS_WITH_AS((void)makeRegionFit(cut(field), prepare(simulate::deltaBasis(5, 5)), {}),
                         doctest::Contains("kernels of 9x9 pixels cannot be fitted by those of 5x5"),
                         std::invalid_argument);
    RegionFit fit = makeRegionFit(cut(field), prepare(simulate::smallBasis()), {});
    CHECK_THROWS_WITH_AS((void)reweigh(fit, RegionValues::Ones(1, 5), nullptr, {}), doctest::Contains("other regions"),
                         std::invalid_argument);
}
