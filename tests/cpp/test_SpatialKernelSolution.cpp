// The spatial system against least squares pixel by pixel; frames, symmetries, singular systems.
#include <doctest/doctest.h>

#include <Eigen/LU>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <vector>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/SpatialKernelSolution.h"
#include "simulate.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::CandidateEquations;
using psfmatch::makeNormalEquations;
using psfmatch::NormalEquations;
using psfmatch::SolutionError;
using psfmatch::SolverMethod;
using psfmatch::solveSpatialKernel;
using psfmatch::SpatialFunction;
using psfmatch::SpatialKernelControl;
using psfmatch::SpatialKernelSolution;
using psfmatch::SpatialModel;
using namespace simulate;

namespace {

constexpr psfmatch::Box field{0, 0, 2048, 1489};
constexpr Index nBasis = 4;

SpatialFunction function(int order, SpatialModel model = SpatialModel::chebyshev1, psfmatch::Box const& box = field) {
    return {model, order, psfmatch::frameOf(box)};
}

// One candidate: its position and, pixel by pixel, what the fit is made of.
struct Candidate {
    double x = 0.0;
    double y = 0.0;
    RowMatrix columns;  // (nBasis + 1, pixels), the last all ones
    VectorXd weights;
    VectorXd data;
    NormalEquations withBackground;
    NormalEquations withoutBackground;
};

// Stamps without structure, which leave the equations well conditioned. Their data are those of a kernel and a
// background that vary over the field, plus noise.
std::vector<Candidate> makeCandidates(int count, unsigned seed, double noise = 0.1) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    auto const draw = [&] { return uniform(random); };
    std::vector<Candidate> candidates;
    for (int n = 0; n < count; ++n) {
        Candidate candidate;
        // Quarters of a pixel, so that differences to the centre of the field are exact.
        candidate.x = std::round(4.0 * (1023.5 + 1000.0 * draw())) / 4.0;
        candidate.y = std::round(4.0 * (744.0 + 700.0 * draw())) / 4.0;
        candidate.columns = RowMatrix::NullaryExpr(nBasis + 1, 50, draw);
        candidate.columns.row(nBasis).setOnes();
        candidate.weights = VectorXd::NullaryExpr(50, draw).array() + 1.5;
        double const u = (candidate.x - 1023.5) / 1024.0;
        double const v = (candidate.y - 744.0) / 744.5;
        VectorXd truth(nBasis + 1);
        truth << 1.5, 0.3 + 0.2 * u, -0.1 * v + 0.05 * u * u, 0.1 * u * v, 3.0 + u - 2.0 * v;
        candidate.data = candidate.columns.transpose() * truth + noise * VectorXd::NullaryExpr(50, draw);
        candidate.withBackground = makeNormalEquations(candidate.columns, candidate.weights, candidate.data);
        candidate.withoutBackground =
            makeNormalEquations(candidate.columns.topRows(nBasis), candidate.weights, candidate.data);
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

std::vector<CandidateEquations> equationsOf(std::vector<Candidate> const& candidates, bool fitBackground,
                                            double xShift = 0.0, double yShift = 0.0) {
    std::vector<CandidateEquations> equations;
    for (Candidate const& c : candidates) {
        NormalEquations const& own = fitBackground ? c.withBackground : c.withoutBackground;
        equations.push_back(
            {c.x + xShift, c.y + yShift, own.matrix.rows(), own.matrix.data(), own.rightHandSide.data()});
    }
    return equations;
}

// The least squares problem with one row a pixel. A candidate's pixels depend on its own coefficients through its
// columns, and these on the unknowns through the lift matrix: row i holds the functions in the block of coefficient
// i, the row of a constant first coefficient a single one.
struct Dense {
    MatrixXd design;
    VectorXd weights;
    VectorXd data;
    VectorXd solution;
};

Dense solveDensely(std::vector<Candidate> const& candidates, SpatialFunction const& kernelFunction,
                   std::optional<SpatialFunction> const& backgroundFunction, bool constantFirstTerm) {
    Index const p = kernelFunction.size();
    Index const q = backgroundFunction ? backgroundFunction->size() : 0;
    Index const nFirst = constantFirstTerm ? 1 : p;
    Index const nUnknowns = nFirst + (nBasis - 1) * p + q;
    Index const nRows = nBasis + (backgroundFunction ? 1 : 0);
    auto const count = static_cast<Index>(candidates.size());
    Dense dense{MatrixXd(50 * count, nUnknowns), VectorXd(50 * count), VectorXd(50 * count), {}};
    for (Index c = 0; c < count; ++c) {
        Candidate const& candidate = candidates[static_cast<std::size_t>(c)];
        MatrixXd lift = MatrixXd::Zero(nRows, nUnknowns);
        VectorXd const f = kernelFunction.evaluate(candidate.x, candidate.y);
        lift.block(0, 0, 1, nFirst) = constantFirstTerm ? MatrixXd::Ones(1, 1) : MatrixXd(f.transpose());
        for (Index i = 1; i < nBasis; ++i) {
            lift.block(i, nFirst + (i - 1) * p, 1, p) = f.transpose();
        }
        if (backgroundFunction) {
            lift.block(nBasis, nUnknowns - q, 1, q) =
                backgroundFunction->evaluate(candidate.x, candidate.y).transpose();
        }
        dense.design.middleRows(50 * c, 50) = candidate.columns.topRows(nRows).transpose() * lift;
        dense.weights.segment(50 * c, 50) = candidate.weights;
        dense.data.segment(50 * c, 50) = candidate.data;
    }
    dense.solution = leastSquares(dense.design, dense.weights, dense.data);
    return dense;
}

// Values of all coefficients, and of the background last, at one position.
VectorXd valuesAt(SpatialKernelSolution const& solution, SpatialFunction const& kernelFunction,
                  std::optional<SpatialFunction> const& backgroundFunction, double x, double y) {
    VectorXd values(nBasis + 1);
    values.head(nBasis) = solution.kernelParameters * kernelFunction.evaluate(x, y);
    values[nBasis] = backgroundFunction ? solution.backgroundParameters.dot(backgroundFunction->evaluate(x, y))
                                        : solution.backgroundParameters[0];
    return values;
}

std::vector<std::pair<double, double>> const positions{{0.0, 0.0}, {2047.0, 3.5}, {700.0, 1488.0}, {1023.5, 744.0}};

}  // namespace

TEST_CASE("one candidate and order 0 give the candidate's own solution") {
    auto const candidates = makeCandidates(1, 1);
    psfmatch::Solution const own =
        psfmatch::solveSymmetric(candidates[0].withBackground.matrix, candidates[0].withBackground.rightHandSide);
    for (bool const constantFirstTerm : {true, false}) {
        SpatialKernelControl control;
        control.constantFirstTerm = constantFirstTerm;
        SpatialKernelSolution const solution =
            solveSpatialKernel(equationsOf(candidates, true), nBasis, function(0), function(0), control);
        CHECK(solution.kernelParameters == own.coefficients.head(nBasis));
        CHECK(solution.backgroundParameters == own.coefficients.tail(1));
        CHECK(solution.method == SolverMethod::ldlt);
        CHECK(solution.nUnknowns == nBasis + 1);
    }
}

TEST_CASE("a field without noise is recovered") {
    // The truth of makeCandidates: orders 2 and 1 in Chebyshev polynomials.
    auto const candidates = makeCandidates(15, 2, 0.0);
    SpatialKernelSolution const solution =
        solveSpatialKernel(equationsOf(candidates, true), nBasis, function(2), function(1));
    MatrixXd expected = MatrixXd::Zero(nBasis, 6);
    expected(0, 0) = 1.5;
    expected(1, 0) = 0.3;
    expected(1, 1) = 0.2;
    expected(2, 0) = 0.025;  // u^2 = (1 + T_2) / 2
    expected(2, 2) = -0.1;
    expected(2, 3) = 0.025;
    expected(3, 4) = 0.1;
    CHECK((solution.kernelParameters - expected).cwiseAbs().maxCoeff() < 1e-12);
    CHECK((solution.backgroundParameters - Eigen::Vector3d(3.0, 1.0, -2.0)).cwiseAbs().maxCoeff() < 1e-12);
    CHECK(solution.nUnknowns == 3 * 6 + 1 + 3);
    // The first image has a constant coefficient: exactly zero elsewhere.
    CHECK(solution.kernelParameters.row(0).tail(5) == Eigen::RowVectorXd::Zero(5));
}

TEST_CASE("assembled systems agree with least squares pixel by pixel") {
    auto const candidates = makeCandidates(14, 3);
    for (int const order : {0, 1, 2}) {
        for (int const backgroundOrder : {-1, 0, 1, 2}) {
            for (bool const constantFirstTerm : {true, false}) {
                for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
                    CAPTURE(order);
                    CAPTURE(backgroundOrder);
                    CAPTURE(constantFirstTerm);
                    bool const fitBackground = backgroundOrder >= 0;
                    SpatialFunction const kernelFunction = function(order, model);
                    std::optional<SpatialFunction> const backgroundFunction =
                        fitBackground ? std::optional(function(backgroundOrder, model)) : std::nullopt;
                    Index const p = kernelFunction.size();
                    Index const q = fitBackground ? backgroundFunction->size() : 0;
                    Index const nFirst = constantFirstTerm ? 1 : p;
                    SpatialKernelControl control;
                    control.constantFirstTerm = constantFirstTerm;
                    SpatialKernelSolution const solution = solveSpatialKernel(
                        equationsOf(candidates, fitBackground), nBasis, kernelFunction, backgroundFunction, control);
                    Dense const dense = solveDensely(candidates, kernelFunction, backgroundFunction, constantFirstTerm);

                    CHECK(solution.nUnknowns == dense.solution.size());
                    CHECK(solution.method == SolverMethod::ldlt);
                    MatrixXd expected = MatrixXd::Zero(nBasis, p);
                    expected.row(0).head(nFirst) = dense.solution.head(nFirst).transpose();
                    for (Index i = 1; i < nBasis; ++i) {
                        expected.row(i) = dense.solution.segment(nFirst + (i - 1) * p, p).transpose();
                    }
                    // Coefficients of order one from equations of condition number 1e3.
                    REQUIRE(solution.kernelParameters.rows() == nBasis);
                    REQUIRE(solution.kernelParameters.cols() == p);
                    CHECK((solution.kernelParameters - expected).cwiseAbs().maxCoeff() < 1e-12);
                    if (fitBackground) {
                        REQUIRE(solution.backgroundParameters.size() == q);
                        CHECK((solution.backgroundParameters - dense.solution.tail(q)).cwiseAbs().maxCoeff() < 1e-12);
                    } else {
                        CHECK(solution.backgroundParameters == VectorXd::Zero(1));
                    }
                    MatrixXd const matrix = dense.design.transpose() * dense.weights.asDiagonal() * dense.design;
                    CHECK(
                        solution.conditionNumber ==
                        doctest::Approx(psfmatch::conditionNumber(matrix, control.conditionNumberType)).epsilon(1e-9));
                }
            }
        }
    }
}

TEST_CASE("polynomials and Chebyshev sums give the same model") {
    auto const candidates = makeCandidates(14, 4);
    for (int const order : {1, 2}) {
        std::optional<SpatialFunction> const chebyshevBackground = function(2);
        std::optional<SpatialFunction> const polynomialBackground = function(2, SpatialModel::polynomial);
        auto const chebyshev =
            solveSpatialKernel(equationsOf(candidates, true), nBasis, function(order), chebyshevBackground);
        auto const polynomial = solveSpatialKernel(equationsOf(candidates, true), nBasis,
                                                   function(order, SpatialModel::polynomial), polynomialBackground);
        for (auto const& [x, y] : positions) {
            VectorXd const expected = valuesAt(chebyshev, function(order), chebyshevBackground, x, y);
            VectorXd const found =
                valuesAt(polynomial, function(order, SpatialModel::polynomial), polynomialBackground, x, y);
            CHECK((found - expected).cwiseAbs().maxCoeff() < 1e-12);
        }
    }
}

TEST_CASE("the solution moves with xy0, bit by bit, and has raw coefficients there") {
    auto const candidates = makeCandidates(14, 5);
    psfmatch::Box const moved{100000, -70000, field.width, field.height};
    for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
        auto const here =
            solveSpatialKernel(equationsOf(candidates, true), nBasis, function(2, model), function(1, model));
        auto const there = solveSpatialKernel(equationsOf(candidates, true, 1e5, -7e4), nBasis,
                                              function(2, model, moved), function(1, model, moved));
        CHECK(there.kernelParameters == here.kernelParameters);
        CHECK(there.backgroundParameters == here.backgroundParameters);
        CHECK(there.conditionNumber == here.conditionNumber);
        if (model == SpatialModel::polynomial) {
            SpatialFunction const scaled = function(2, model, moved);
            SpatialFunction const raw{model, 2, {}};
            MatrixXd const coefficients = changeFrame(there.kernelParameters, scaled, raw.frame());
            for (auto const& [x, y] : positions) {
                VectorXd const expected = here.kernelParameters * function(2, model).evaluate(x, y);
                // The raw terms reach (1e5 / 1024)^2 = 1e4 in x and in y, and cancel.
                CHECK((coefficients * raw.evaluate(x + 1e5, y - 7e4) - expected).cwiseAbs().maxCoeff() < 1e-10);
            }
            CHECK((changeFrame(coefficients, raw, scaled.frame()) - there.kernelParameters).cwiseAbs().maxCoeff() <
                  1e-10);
        }
    }
}

TEST_CASE("neither the order of the candidates nor doubling them changes the model") {
    auto candidates = makeCandidates(12, 6);
    auto const expected = solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), function(1));
    std::reverse(candidates.begin(), candidates.end());
    auto const reversed = solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), function(1));
    CHECK((reversed.kernelParameters - expected.kernelParameters).cwiseAbs().maxCoeff() < 1e-12);
    auto twice = equationsOf(candidates, true);
    twice.insert(twice.end(), twice.begin(), twice.end());
    auto const doubled = solveSpatialKernel(twice, nBasis, function(1), function(1));
    CHECK((doubled.kernelParameters - expected.kernelParameters).cwiseAbs().maxCoeff() < 1e-12);
    CHECK((doubled.backgroundParameters - expected.backgroundParameters).cwiseAbs().maxCoeff() < 1e-12);
}

TEST_CASE("fewer candidates than terms give a finite model that serves every candidate") {
    for (int const count : {1, 2, 4}) {
        auto const candidates = makeCandidates(count, 7);
        for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
            CAPTURE(count);
            SpatialKernelControl control;
            control.constantFirstTerm = false;
            std::optional<SpatialFunction> const background = function(2, model);
            auto const solution =
                solveSpatialKernel(equationsOf(candidates, true), nBasis, function(2, model), background, control);
            CHECK(solution.method == SolverMethod::eigenvector);
            CHECK(solution.kernelParameters.allFinite());
            CHECK(solution.kernelParameters.cwiseAbs().maxCoeff() < 10.0);
            CHECK(std::abs(solution.conditionNumber) > 1e12);
            // Six functions can take any value at up to six positions.
            for (Candidate const& candidate : candidates) {
                psfmatch::Solution const own =
                    psfmatch::solveSymmetric(candidate.withBackground.matrix, candidate.withBackground.rightHandSide);
                VectorXd const values = valuesAt(solution, function(2, model), background, candidate.x, candidate.y);
                CHECK((values - own.coefficients).cwiseAbs().maxCoeff() < 1e-9);
            }
        }
    }
}

TEST_CASE("candidates on one line leave the direction across it alone") {
    auto candidates = makeCandidates(8, 8);
    for (Candidate& candidate : candidates) {
        candidate.y = 744.0;  // v = 0
    }
    auto const solution = solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), function(1));
    CHECK(solution.method == SolverMethod::eigenvector);
    // Rounding of the eigenvectors of 15 unknowns, a few times 1e-15.
    CHECK(solution.kernelParameters.col(2).cwiseAbs().maxCoeff() < 1e-13);
    CHECK(std::abs(solution.backgroundParameters[2]) < 1e-13);
    CHECK(solution.kernelParameters(0, 0) == doctest::Approx(1.5).epsilon(0.05));
}

TEST_CASE("covariances of the spatial unknowns follow from those of the pixels") {
    auto const candidates = makeCandidates(12, 10);
    VectorXd const variances = VectorXd::LinSpaced(50, 0.5, 3.0);
    std::vector<MatrixXd> noise;
    for (Candidate const& candidate : candidates) {
        VectorXd const squares = candidate.weights.cwiseAbs2().cwiseProduct(variances);
        noise.push_back(psfmatch::weightedProducts(candidate.columns, squares));
    }
    auto equations = equationsOf(candidates, true);
    for (std::size_t i = 0; i < equations.size(); ++i) {
        equations[i].noiseMatrix = noise[i].data();
    }
    for (bool const constantFirstTerm : {true, false}) {
        SpatialKernelControl control;
        control.constantFirstTerm = constantFirstTerm;
        auto const solution = solveSpatialKernel(equations, nBasis, function(1), function(0), control);
        Dense const dense = solveDensely(candidates, function(1), function(0), constantFirstTerm);
        MatrixXd const weighted = dense.weights.asDiagonal() * dense.design;
        MatrixXd const inverse = (dense.design.transpose() * weighted).inverse();
        MatrixXd const half = inverse * weighted.transpose();
        MatrixXd const expected = half * variances.replicate(12, 1).asDiagonal() * half.transpose();
        // Condition numbers are of order ten.
        CHECK(relativeError(solution.covariance, expected) < 1e-11);
    }
    equations[3].noiseMatrix = nullptr;
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel(equations, nBasis, function(1), function(0)),
                         "some candidates have a noise matrix and some have none", std::invalid_argument);
    CHECK(solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), function(0)).covariance.size() == 0);
}

TEST_CASE("spatial systems that cannot be made are refused") {
    auto candidates = makeCandidates(3, 9);
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel({}, nBasis, function(1), std::nullopt),
                         "the spatial kernel has no candidate to be fitted to", SolutionError);
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel(equationsOf(candidates, false), nBasis, function(1), function(1)),
                         "a candidate has equations of 4 unknowns, the spatial model wants 5", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), std::nullopt),
                         doctest::Contains("of 5 unknowns, the spatial model wants 4"), std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel(equationsOf(candidates, true), 0, function(1), function(1)),
                         doctest::Contains("has 0 basis images, needs at least 1"), std::invalid_argument);
    candidates[1].withBackground.rightHandSide[2] = std::nan("");
    CHECK_THROWS_WITH_AS((void)solveSpatialKernel(equationsOf(candidates, true), nBasis, function(1), function(1)),
                         doctest::Contains("hold NaN or infinity"), SolutionError);
}
