// Every kernel that has code for several instruction sets, forced to each in turn: the results agree as far as the
// order of their sums lets them. The exactness of each is tested with the kernel.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/convolve/convolve.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/warp/warp.h"
#include "simulate.h"

using psfmatch::Index;
using psfmatch::InstructionSet;
using simulate::Image;
using simulate::MaskedImage;

namespace {

MaskedImage makeNoise(Index height, Index width, unsigned seed) {
    MaskedImage noise{height, width};
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
    for (Index i = 0; i < noise.image.size(); ++i) {
        noise.image(i) = 100.0F + uniform(random);
        noise.variance(i) = 1.0F + uniform(random);
        noise.mask(i) = uniform(random) < 0.01F ? 1 : 0;
    }
    return noise;
}

// Largest relative difference of two images; NaN and infinity must be at the same places.
double difference(Image<float> const& one, Image<float> const& other) {
    double largest = 0.0;
    for (Index i = 0; i < one.size(); ++i) {
        if (std::isfinite(one(i)) != std::isfinite(other(i))) {
            return std::numeric_limits<double>::infinity();
        }
        if (std::isfinite(one(i))) {
            largest = std::max(largest, static_cast<double>(std::abs(one(i) - other(i)) / std::abs(other(i))));
        }
    }
    return largest;
}

// The results of `run` with baseline and AVX2 code; without the latter, twice those of the baseline.
template <typename Function>
auto withBoth(Function const& run) {
    InstructionSet const second = isSupported(InstructionSet::avx2) ? InstructionSet::avx2 : InstructionSet::baseline;
    return std::pair{run(InstructionSet::baseline), run(second)};
}

}  // namespace

TEST_CASE("which instruction sets are tested") {
    CHECK(isSupported(InstructionSet::automatic));
    CHECK(isSupported(InstructionSet::baseline));
    bool const avx2 = isSupported(InstructionSet::avx2);
    MESSAGE("instruction sets tested: baseline"
            << std::string(avx2 ? " and AVX2 with FMA" : " alone, AVX2 is not there"));
}

TEST_CASE("an instruction set that is not there is refused by every kernel") {
    if (isSupported(InstructionSet::avx2)) {
        return;
    }
    auto const input = makeNoise(30, 30, 1);
    MaskedImage output{30, 30};
    psfmatch::LinearCombinationKernel kernel;
    kernel.basis = simulate::smallBasis();
    kernel.parameters = Eigen::MatrixXd::Ones(kernel.basis.size(), 1);
    psfmatch::ConvolutionControl convolution;
    convolution.instructionSet = InstructionSet::avx2;
    CHECK_THROWS_AS(convolve(input.views(), kernel, 0, 0, convolution, {}, output.targets()), std::invalid_argument);
    psfmatch::CandidateFitControl fit;
    fit.instructionSet = InstructionSet::avx2;
    auto const star = simulate::makeStar(simulate::imageOf(simulate::smallBasis(), 0), {}, 1);
    CHECK_THROWS_AS((void)fitCandidates({star.views()}, psfmatch::prepare(simulate::smallBasis()), fit, {}),
                    std::invalid_argument);
    psfmatch::WarpControl warping;
    warping.instructionSet = InstructionSet::avx2;
    Image<double> const lattice = Image<double>::Zero(31, 31);
    CHECK_THROWS_AS(psfmatch::warp(input.views(), {1, simulate::view(lattice), simulate::view(lattice)}, warping, {},
                                   output.targets()),
                    std::invalid_argument);
}

TEST_CASE("convolutions agree on every instruction set") {
    auto const input = makeNoise(150, 190, 2);
    for (int const order : {0, 2}) {
        psfmatch::LinearCombinationKernel kernel;
        kernel.basis = simulate::smallBasis();
        kernel.spatial = {psfmatch::SpatialModel::chebyshev1, order, psfmatch::frameOf({0, 0, 190, 150})};
        kernel.parameters = Eigen::MatrixXd::Constant(kernel.basis.size(), kernel.spatial.size(), 0.01);
        kernel.parameters(0, 0) = 1.0;
        auto const [baseline, avx2] = withBoth([&](InstructionSet set) {
            psfmatch::ConvolutionControl control;
            control.badBits = 1;
            control.instructionSet = set;
            MaskedImage output{150, 190};
            convolve(input.views(), kernel, 0, 0, control, {}, output.targets());
            return output;
        });
        CAPTURE(order);
        // Each is good to 1e-5 of the largest result, and all results are much alike; the variance to 1e-3.
        CHECK(difference(baseline.image, avx2.image) < 2e-5);
        CHECK(difference(baseline.variance, avx2.variance) < 2e-3);
        CHECK((baseline.mask == avx2.mask).all());
    }
}

TEST_CASE("warps agree on every instruction set") {
    auto const source = makeNoise(80, 90, 3);
    Image<double> x(81, 91);
    Image<double> y(81, 91);
    for (Index j = 0; j < x.rows(); ++j) {
        for (Index i = 0; i < x.cols(); ++i) {
            x(j, i) = 0.3 + 0.98 * static_cast<double>(i) - 0.03 * static_cast<double>(j);
            y(j, i) = 1.7 + 0.03 * static_cast<double>(i) + 0.98 * static_cast<double>(j);
        }
    }
    for (auto const kernel : {psfmatch::WarpingKernel::bilinear, psfmatch::WarpingKernel::lanczos3,
                              psfmatch::WarpingKernel::lanczos4, psfmatch::WarpingKernel::lanczos5}) {
        auto const [baseline, avx2] = withBoth([&](InstructionSet set) {
            psfmatch::WarpControl control;
            control.kernel = kernel;
            control.keepCentroids = kernel != psfmatch::WarpingKernel::bilinear;
            control.badBits = 1;
            control.instructionSet = set;
            MaskedImage output{80, 90};
            psfmatch::warp(source.views(), {1, simulate::view(std::as_const(x)), simulate::view(std::as_const(y))},
                           control, {}, output.targets());
            return output;
        });
        CAPTURE(static_cast<int>(kernel));
        // Sums of at most 100 products in float32 whose absolute sum is at most three times the result.
        CHECK(difference(baseline.image, avx2.image) < 2e-5);
        CHECK(difference(baseline.variance, avx2.variance) < 2e-5);
        CHECK((baseline.mask == avx2.mask).all());
    }
}

TEST_CASE("fits, assessments and solutions agree on every instruction set") {
    auto const basis = psfmatch::prepare(simulate::smallBasis());
    std::vector<simulate::StampPair> pairs;
    std::vector<psfmatch::CandidateStamp> stamps;
    for (unsigned seed = 0; seed < 3; ++seed) {
        pairs.push_back(simulate::makeStar(simulate::imageOf(basis.basis, 0), {}, seed));
    }
    for (auto const& pair : pairs) {
        stamps.push_back(pair.views());
    }
    std::vector<Image<double>> const kernels(stamps.size(), simulate::imageOf(basis.basis, 0));
    for (bool const constantVariance : {true, false}) {
        CAPTURE(constantVariance);
        auto const runBoth = [&](auto const& run) {
            return withBoth([&](InstructionSet set) {
                psfmatch::CandidateFitControl control;
                control.fitBackground = true;
                control.constantVariance = constantVariance;
                control.instructionSet = set;
                return run(control);
            });
        };
        auto const [baseline, avx2] =
            runBoth([&](auto const& control) { return fitCandidates(stamps, basis, control, {}); });
        auto const [assessed, assessedAvx2] = runBoth([&](auto const& control) {
            return assessCandidates(stamps, kernels, std::vector<double>(stamps.size(), 0.0), control, {});
        });
        for (std::size_t i = 0; i < stamps.size(); ++i) {
            REQUIRE(baseline[i].outcome == psfmatch::CandidateOutcome::solved);
            REQUIRE(avx2[i].outcome == psfmatch::CandidateOutcome::solved);
            // Sums in float64 of some 500 products; condition numbers of some 1e3.
            CHECK(simulate::relativeError(avx2[i].equations.matrix, baseline[i].equations.matrix) < 1e-12);
            CHECK(simulate::relativeError(avx2[i].coefficients, baseline[i].coefficients) < 1e-9);
            // Convolutions of the residuals are summed in float32.
            CHECK(avx2[i].whole.rms == doctest::Approx(baseline[i].whole.rms).epsilon(1e-5));
            REQUIRE(assessed[i].valid);
            CHECK(assessedAvx2[i].whole.rms == doctest::Approx(assessed[i].whole.rms).epsilon(1e-5));
            CHECK(assessedAvx2[i].whole.count == assessed[i].whole.count);
        }
    }
    Eigen::MatrixXd matrix(100, 100);  // large enough for the blocked factorisation
    for (Index j = 0; j < 100; ++j) {
        for (Index i = 0; i < 100; ++i) {
            matrix(i, j) = std::exp(-0.3 * static_cast<double>(std::abs(i - j))) + (i == j ? 1.0 : 0.0);
        }
    }
    auto const [solved, solvedAvx2] = withBoth([&](InstructionSet set) {
        return psfmatch::solveSymmetric(matrix, Eigen::VectorXd::Ones(100), {.instructionSet = set});
    });
    CHECK(solved.method == psfmatch::SolverMethod::llt);
    CHECK(simulate::relativeError(solvedAvx2.coefficients, solved.coefficients) < 1e-13);
}
