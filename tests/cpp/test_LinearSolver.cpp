// Symmetric systems: well posed, badly scaled, singular, indefinite; condition numbers.
#include <doctest/doctest.h>

#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <Eigen/QR>
#include <Eigen/SVD>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/base/exceptions.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::conditionNumber;
using psfmatch::ConditionNumberType;
using psfmatch::Solution;
using psfmatch::SolutionError;
using psfmatch::SolverControl;
using psfmatch::SolverMethod;
using psfmatch::solveSymmetric;

namespace {

MatrixXd randomMatrix(Eigen::Index rows, Eigen::Index columns, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    return MatrixXd::NullaryExpr(rows, columns, [&] { return uniform(random); });
}

MatrixXd normalMatrix(Eigen::Index pixels, Eigen::Index n, unsigned seed) {
    MatrixXd const design = randomMatrix(pixels, n, seed);
    return design.transpose() * design;
}

MatrixXd hilbert(Eigen::Index n) {
    return MatrixXd::NullaryExpr(n, n,
                                 [](Eigen::Index i, Eigen::Index j) { return 1.0 / static_cast<double>(i + j + 1); });
}

double largest(VectorXd const& difference) {
    return difference.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("systems solved by hand") {
    MatrixXd matrix(2, 2);
    matrix << 4.0, 1.0, 1.0, 3.0;
    Solution const solution = solveSymmetric(matrix, Eigen::Vector2d(1.0, 2.0));
    CHECK(solution.method == SolverMethod::ldlt);
    CHECK(largest(solution.coefficients - Eigen::Vector2d(1.0 / 11.0, 7.0 / 11.0)) < 1e-15);
    // The scaled matrix has 1 and r = 1 / sqrt(12): condition number (1 + r) / (1 - r) in the 1-norm too.
    double const r = 1.0 / std::sqrt(12.0);
    CHECK(solution.conditionNumber == doctest::Approx((1.0 + r) / (1.0 - r)).epsilon(1e-12));

    Solution const single = solveSymmetric(MatrixXd::Constant(1, 1, 4.0), VectorXd::Constant(1, 3.0));
    CHECK(single.coefficients[0] == 0.75);
    CHECK(single.conditionNumber == 1.0);
}

TEST_CASE("well-posed systems agree with elimination in long double") {
    using LongMatrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
    for (Eigen::Index const n : {1, 2, 5, 20, 60}) {
        MatrixXd const matrix = normalMatrix(4 * n, n, 3);
        VectorXd const side = randomMatrix(n, 1, 4);
        LongMatrix const exact = matrix.cast<long double>().fullPivLu().solve(LongMatrix(side.cast<long double>()));
        Solution const solution = solveSymmetric(matrix, side);
        CHECK(solution.method == SolverMethod::ldlt);
        // Condition numbers are of order ten.
        CHECK(largest(solution.coefficients - exact.cast<double>()) < 1e-12 * exact.cast<double>().norm());

        SolverControl eigenvectors;
        eigenvectors.minReciprocalCondition = 1.0;
        Solution const other = solveSymmetric(matrix, side, eigenvectors);
        CHECK(other.method == SolverMethod::eigenvector);
        CHECK(largest(other.coefficients - exact.cast<double>()) < 1e-12 * exact.cast<double>().norm());
    }
}

TEST_CASE("large systems are solved by blocks, on every processor") {
    // Sizes about the edges of the blocks, the last above the limit for exact condition numbers.
    for (Eigen::Index const n : {65, 66, 67, 95, 96, 97, 147, 300}) {
        CAPTURE(n);
        MatrixXd const matrix = normalMatrix(n + 40, n, 21);
        VectorXd const side = randomMatrix(n, 1, 22);
        VectorXd const expected = matrix.partialPivLu().solve(side);
        for (auto const set : {psfmatch::InstructionSet::baseline, psfmatch::InstructionSet::avx2}) {
            if (!isSupported(set)) {
                continue;
            }
            SolverControl control;
            control.instructionSet = set;
            Solution const solution = solveSymmetric(matrix, side, control);
            CHECK(solution.method == SolverMethod::llt);
            // Condition numbers of some 1e3.
            CHECK(largest(solution.coefficients - expected) < 1e-11 * expected.norm());
        }
        // The 1-norm is at most sqrt(n) times the 2-norm, and so is its estimate's error.
        VectorXd const scale = matrix.diagonal().cwiseSqrt().cwiseInverse();
        MatrixXd const scaled = scale.asDiagonal() * matrix * scale.asDiagonal();
        double const exact =
            scaled.cwiseAbs().colwise().sum().maxCoeff() * scaled.inverse().cwiseAbs().colwise().sum().maxCoeff();
        double const estimate = solveSymmetric(matrix, side).conditionNumber;
        CHECK(estimate < exact * (1.0 + 1e-9));
        CHECK(estimate > exact / 3.0);
    }
}

TEST_CASE("the lower triangle alone is factored, without the condition") {
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    psfmatch::SymmetricFactor factor;
    for (Eigen::Index const n : {1, 5, 49, 110, 200}) {
        MatrixXd const matrix = normalMatrix(n + 40, n, 31);
        VectorXd const side = randomMatrix(n, 1, 32);
        RowMajor lower = RowMajor::Constant(n, n, std::nan(""));
        lower.triangularView<Eigen::Lower>() = matrix;
        VectorXd const expected = matrix.partialPivLu().solve(side);
        for (auto const set : {psfmatch::InstructionSet::baseline, psfmatch::InstructionSet::avx2}) {
            if (isSupported(set)) {
                CHECK(factorizeLower(lower, factor, {.instructionSet = set}));
                CHECK(factor.method == SolverMethod::llt);
                CHECK(std::isnan(factor.conditionNumber));
                CHECK(largest(solveVector(factor, side) - expected) < 1e-11 * expected.norm());
            }
        }
        lower(n - 1, n - 1) = n == 5 ? std::nan("") : 0.0;
        CHECK_FALSE(factorizeLower(lower, factor));
        CHECK_THROWS_WITH_AS((void)solveVector(factor, side), doctest::Contains("not been factored"),
                             std::invalid_argument);
    }
    CHECK_FALSE(factorizeLower(RowMajor(), factor));
}

TEST_CASE("large singular systems lose what nothing constrains") {
    MatrixXd matrix = normalMatrix(80, 70, 23);
    VectorXd side = randomMatrix(70, 1, 24);
    matrix.row(69).setZero();
    matrix.col(69).setZero();
    side[69] = 3.0;
    Solution const solution = solveSymmetric(matrix, side);
    CHECK(solution.method == SolverMethod::eigenvector);
    CHECK(std::abs(solution.coefficients[69]) < 1e-12);
    CHECK(largest(matrix.topRows(69) * solution.coefficients - side.head(69)) < 1e-9);
}

TEST_CASE("covariances of solutions") {
    for (Eigen::Index const n : {5, 80}) {
        MatrixXd const matrix = normalMatrix(3 * n, n, 25);
        MatrixXd const inner = normalMatrix(2 * n, n, 26);
        MatrixXd const expected = matrix.inverse() * inner * matrix.inverse();
        psfmatch::SymmetricFactor const factor = psfmatch::factorize(matrix);
        CHECK((sandwich(factor, inner) - expected).cwiseAbs().maxCoeff() < 1e-11 * expected.norm());
        CHECK((solve(factor, matrix) - MatrixXd::Identity(n, n)).cwiseAbs().maxCoeff() < 1e-11);
    }
    CHECK_THROWS_WITH_AS((void)solve(psfmatch::SymmetricFactor{}, MatrixXd()), doctest::Contains("not been factored"),
                         std::invalid_argument);
}

TEST_CASE("condition numbers of large matrices are found by iteration") {
    for (unsigned const seed : {27U, 28U}) {
        MatrixXd matrix = normalMatrix(340, 300, seed);
        if (seed == 28U) {
            VectorXd const units = (randomMatrix(300, 1, 29).array() * 6.0).exp();
            matrix = (units.asDiagonal() * matrix * units.asDiagonal()).eval();
        }
        VectorXd const values = Eigen::SelfAdjointEigenSolver<MatrixXd>(matrix, Eigen::EigenvaluesOnly).eigenvalues();
        double const exact = values[299] / values[0];
        for (auto const type : {ConditionNumberType::eigenvalue, ConditionNumberType::svd}) {
            CHECK(conditionNumber(matrix, type) == doctest::Approx(exact).epsilon(0.05));
        }
    }
    // Without a Cholesky factor there is no inverse to iterate with: exact again.
    MatrixXd indefinite = MatrixXd::Identity(300, 300);
    indefinite(7, 7) = -0.25;
    CHECK(conditionNumber(indefinite, ConditionNumberType::eigenvalue) == doctest::Approx(-4.0).epsilon(1e-12));
    CHECK(conditionNumber(indefinite, ConditionNumberType::svd) == doctest::Approx(4.0).epsilon(1e-12));
}

TEST_CASE("the solution is linear in the right-hand side") {
    MatrixXd const matrix = normalMatrix(40, 12, 5);
    VectorXd const a = randomMatrix(12, 1, 6);
    VectorXd const b = randomMatrix(12, 1, 7);
    VectorXd const sum = 2.0 * solveSymmetric(matrix, a).coefficients - 3.0 * solveSymmetric(matrix, b).coefficients;
    CHECK(largest(solveSymmetric(matrix, 2.0 * a - 3.0 * b).coefficients - sum) < 1e-12 * sum.norm());
}

TEST_CASE("the units of the unknowns do not matter") {
    // Powers of two scale exactly, so that the scaled system is the same to the last bit.
    MatrixXd const matrix = normalMatrix(40, 12, 8);
    VectorXd const side = randomMatrix(12, 1, 9);
    VectorXd units(12);
    for (int i = 0; i < 12; ++i) {
        units[i] = std::ldexp(1.0, 20 * (i % 5) - 40);
    }
    Solution const plain = solveSymmetric(matrix, side);
    Solution const scaled = solveSymmetric(units.asDiagonal() * matrix * units.asDiagonal(), units.cwiseProduct(side));
    CHECK(scaled.method == SolverMethod::ldlt);
    CHECK(scaled.conditionNumber == plain.conditionNumber);
    CHECK(scaled.coefficients == plain.coefficients.cwiseQuotient(units));
}

TEST_CASE("singular systems give the smallest solution in the scaled unknowns") {
    Solution const equal = solveSymmetric(MatrixXd::Ones(2, 2), Eigen::Vector2d(2.0, 2.0));
    CHECK(equal.method == SolverMethod::eigenvector);
    CHECK(equal.conditionNumber > 1e15);
    CHECK(largest(equal.coefficients - Eigen::Vector2d(1.0, 1.0)) < 1e-14);
    // What no solution can reach is left out.
    CHECK(largest(solveSymmetric(MatrixXd::Ones(2, 2), Eigen::Vector2d(1.0, 0.0)).coefficients -
                  Eigen::Vector2d(0.25, 0.25)) < 1e-14);

    for (Eigen::Index const pixels : {1, 7, 14}) {
        MatrixXd const matrix = normalMatrix(pixels, 15, 11);
        VectorXd const side = matrix * randomMatrix(15, 1, 12);
        VectorXd const scale = matrix.diagonal().cwiseSqrt().cwiseInverse();
        MatrixXd const scaled = scale.asDiagonal() * matrix * scale.asDiagonal();
        Eigen::CompleteOrthogonalDecomposition<MatrixXd> decomposition(15, 15);
        decomposition.setThreshold(1e-12);
        decomposition.compute(scaled);
        VectorXd const expected = scale.cwiseProduct(decomposition.solve(scale.cwiseProduct(side)));
        Solution const solution = solveSymmetric(matrix, side);
        CAPTURE(pixels);
        CHECK(solution.method == SolverMethod::eigenvector);
        // The eigenvalues that are kept are above 1e-3 of the largest.
        CHECK(largest(solution.coefficients - expected) < 1e-11 * expected.norm());
        CHECK(largest(matrix * solution.coefficients - side) < 1e-11 * side.norm());
    }
}

TEST_CASE("an unknown that nothing constrains comes out as zero") {
    for (double const side : {0.0, 5.0}) {
        Solution const solution =
            solveSymmetric(Eigen::Vector3d(2.0, 0.0, 3.0).asDiagonal(), Eigen::Vector3d(4.0, side, 6.0));
        CHECK(solution.method == SolverMethod::eigenvector);
        CHECK(largest(solution.coefficients - Eigen::Vector3d(2.0, 0.0, 2.0)) < 1e-14);
    }
}

TEST_CASE("the limits of the control decide what is left out") {
    // Hilbert matrices: condition number 5e5 for n = 5, 1e18 for n = 13.
    Solution const good = solveSymmetric(hilbert(5), hilbert(5) * VectorXd::Ones(5));
    CHECK(good.method == SolverMethod::ldlt);
    CHECK(largest(good.coefficients - VectorXd::Ones(5)) < 5e5 * 1e-15);
    CHECK(good.conditionNumber > 1e4);

    VectorXd const side = hilbert(13) * VectorXd::Ones(13);
    Solution const poor = solveSymmetric(hilbert(13), side);
    CHECK(poor.method == SolverMethod::eigenvector);
    // Directions with eigenvalues below 1e-12 are missing: that much of the right-hand side is.
    CHECK(largest(hilbert(13) * poor.coefficients - side) < 1e-11);
    CHECK(largest(poor.coefficients) < 10.0);

    SolverControl coarse;
    coarse.minReciprocalCondition = 1.0;
    coarse.minEigenvalueFraction = 0.5;
    MatrixXd matrix(2, 2);  // eigenvalues 1.5 along (1, 1) and 0.5 along (1, -1)
    matrix << 1.0, 0.5, 0.5, 1.0;
    CHECK(largest(solveSymmetric(matrix, Eigen::Vector2d(3.0, 0.0), coarse).coefficients - Eigen::Vector2d(1.0, 1.0)) <
          1e-14);
}

TEST_CASE("a negative eigenvalue is left out, not inverted") {
    MatrixXd matrix(2, 2);  // eigenvalues 3 along (1, 1) and -1 along (1, -1)
    matrix << 1.0, 2.0, 2.0, 1.0;
    Solution const solution = solveSymmetric(matrix, Eigen::Vector2d(4.0, 2.0));
    CHECK(solution.method == SolverMethod::eigenvector);
    CHECK(largest(solution.coefficients - Eigen::Vector2d(1.0, 1.0)) < 1e-14);
    CHECK(solution.conditionNumber == std::numeric_limits<double>::infinity());
}

TEST_CASE("condition numbers") {
    auto const eigenvalue = ConditionNumberType::eigenvalue;
    auto const svd = ConditionNumberType::svd;
    MatrixXd const diagonal = Eigen::Vector3d(10.0, 0.5, 100.0).asDiagonal();
    CHECK(conditionNumber(diagonal, eigenvalue) == doctest::Approx(200.0).epsilon(1e-14));
    CHECK(conditionNumber(diagonal, svd) == doctest::Approx(200.0).epsilon(1e-14));
    MatrixXd const indefinite = Eigen::Vector2d(-4.0, 2.0).asDiagonal();
    CHECK(conditionNumber(indefinite, eigenvalue) == doctest::Approx(-0.5).epsilon(1e-14));
    CHECK(conditionNumber(indefinite, svd) == doctest::Approx(2.0).epsilon(1e-14));
    CHECK(std::isinf(conditionNumber(MatrixXd(Eigen::Vector2d(1.0, 0.0).asDiagonal()), svd)));
    // Of the matrix as it is, not of the scaled one.
    CHECK(conditionNumber(MatrixXd(Eigen::Vector2d(1e8, 1.0).asDiagonal()), eigenvalue) ==
          doctest::Approx(1e8).epsilon(1e-12));

    MatrixXd const matrix = normalMatrix(20, 10, 14);
    VectorXd const values = Eigen::JacobiSVD<MatrixXd>(matrix).singularValues();
    // Condition number 100: its smallest eigenvalue is good to 1e-14.
    CHECK(conditionNumber(matrix, eigenvalue) == doctest::Approx(values[0] / values[9]).epsilon(1e-12));
    CHECK(conditionNumber(matrix, svd) == doctest::Approx(values[0] / values[9]).epsilon(1e-12));
}

TEST_CASE("systems without a solution are an error") {
    MatrixXd matrix = normalMatrix(9, 3, 15);
    VectorXd side = VectorXd::Ones(3);
    CHECK_THROWS_WITH_AS((void)solveSymmetric(MatrixXd::Ones(2, 3), side),
                         "a symmetric system needs a square matrix, not 2x3", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)solveSymmetric(MatrixXd(0, 0), VectorXd(0)), doctest::Contains("not 0x0"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)solveSymmetric(matrix, VectorXd::Ones(4)),
                         "right-hand side has 4 elements for a matrix of 3 rows", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)solveSymmetric(MatrixXd::Zero(3, 3), side),
                         "normal equations of 3 unknowns are zero: no pixel with weight constrains them",
                         SolutionError);
    CHECK_THROWS_WITH_AS((void)conditionNumber(MatrixXd::Ones(2, 3), ConditionNumberType::svd),
                         doctest::Contains("not 2x3"), std::invalid_argument);
    // Scaled to 1, the right-hand side is 1e450.
    CHECK_THROWS_WITH_AS((void)solveSymmetric(MatrixXd::Constant(1, 1, 1e-300), VectorXd::Constant(1, 1e300)),
                         doctest::Contains("coefficient 0 of 1 is not finite"), SolutionError);
    for (double const value : {std::nan(""), HUGE_VAL}) {
        side[1] = value;
        CHECK_THROWS_WITH_AS((void)solveSymmetric(matrix, side), doctest::Contains("hold NaN or infinity"),
                             SolutionError);
        side[1] = 1.0;
        matrix(2, 0) = value;
        CHECK_THROWS_WITH_AS((void)solveSymmetric(matrix, side),
                             "normal equations of 3 unknowns hold NaN or infinity: bad pixels entered the fit",
                             SolutionError);
        CHECK_THROWS_WITH_AS((void)conditionNumber(matrix, ConditionNumberType::eigenvalue),
                             doctest::Contains("holds NaN or infinity"), SolutionError);
        matrix(2, 0) = 0.0;
    }
}
