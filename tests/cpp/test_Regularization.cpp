// Matrices of the regularisation against differences of images, and the choice of lambda against its definition.
#include <doctest/doctest.h>

#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/kernel/Regularization.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::Index;
using psfmatch::LambdaType;
using psfmatch::makeRegularizationMatrix;
using psfmatch::Regularization;
using psfmatch::RegularizationKind;
using psfmatch::RegularizationMatrixControl;
using psfmatch::regularizationStrength;

namespace {

MatrixXd randomMatrix(Index rows, Index columns, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    return MatrixXd::NullaryExpr(rows, columns, [&] { return uniform(random); });
}

// Differences of an image k(y, x), summed as the operator sums them: its rows times k.
MatrixXd differences(MatrixXd const& k, RegularizationMatrixControl const& control) {
    MatrixXd result = MatrixXd::Zero(k.rows(), k.cols());
    Index const lastRow = k.rows() - 1;
    Index const lastColumn = k.cols() - 1;
    for (Index y = 0; y <= lastRow; ++y) {
        for (Index x = 0; x <= lastColumn; ++x) {
            if (control.kind == RegularizationKind::centralDifference) {
                if (y == 0 || x == 0 || y == lastRow || x == lastColumn) {
                    result(y, x) = control.borderPenalty * k(y, x);
                } else if (control.stencil == 5) {
                    result(y, x) = k(y - 1, x) + k(y + 1, x) + k(y, x - 1) + k(y, x + 1) - 4.0 * k(y, x);
                } else {
                    // A sixth of: corners, four times the edges, minus twenty times the middle.
                    result(y, x) = (k.block(y - 1, x - 1, 3, 3).sum() +
                                    3.0 * (k(y - 1, x) + k(y + 1, x) + k(y, x - 1) + k(y, x + 1)) - 21.0 * k(y, x)) /
                                   6.0;
                }
                continue;
            }
            for (int const order : control.orders) {
                for (bool const alongX : {true, false}) {
                    Index const room = alongX ? lastColumn - x : lastRow - y;
                    Index const fitting = std::min<Index>(room, order);
                    // Repeated differences of the pixels ahead; the second enters with the other sign.
                    VectorXd ahead = alongX ? VectorXd(k.row(y).segment(x, fitting + 1))
                                            : VectorXd(k.col(x).segment(y, fitting + 1));
                    for (Index step = 0; step < fitting; ++step) {
                        ahead = (ahead.tail(ahead.size() - 1) - ahead.head(ahead.size() - 1)).eval();
                    }
                    result(y, x) +=
                        fitting == 0 ? control.borderPenalty * ahead[0] : (fitting == 2 ? -ahead[0] : ahead[0]);
                }
            }
        }
    }
    return result;
}

// The risk as it is written, with the singular vectors of the design matrix (pixels, unknowns).
double strengthByDefinition(Regularization const& regularization, MatrixXd const& design, VectorXd const& side) {
    MatrixXd const matrix = design.transpose() * design;
    Eigen::JacobiSVD<MatrixXd> const svd(design, Eigen::ComputeThinU | Eigen::ComputeFullV);
    Index const rank = (svd.singularValues().array() > 1e-7 * svd.singularValues()[0]).count();
    MatrixXd const rowSpace = svd.matrixV().leftCols(rank) * svd.matrixV().leftCols(rank).transpose();
    double const limit =
        regularization.lambdaType == LambdaType::minimizeBiasedRisk ? regularization.maxConditionNumber : 1e13;
    Eigen::SelfAdjointEigenSolver<MatrixXd> const eigen(matrix);
    double const largest = eigen.eigenvalues()[matrix.rows() - 1];
    VectorXd const inverse =
        eigen.eigenvalues().unaryExpr([&](double v) { return v * limit > largest ? 1.0 / v : 0.0; });
    MatrixXd const pseudoInverse = eigen.eigenvectors() * inverse.asDiagonal() * eigen.eigenvectors().transpose();
    MatrixXd penalty = MatrixXd::Zero(matrix.rows(), matrix.rows());
    penalty.topLeftCorner(regularization.matrix.rows(), regularization.matrix.rows()) = regularization.matrix;
    double best = std::numeric_limits<double>::infinity();
    double strength = -1.0;
    for (double const lambda : regularization.lambdas) {
        MatrixXd const inverted = (matrix + lambda * penalty).fullPivLu().inverse();
        VectorXd const a = inverted * side;
        double const risk = a.dot(rowSpace * a) + 2.0 * ((rowSpace * inverted).trace() - a.dot(pseudoInverse * side));
        if (risk < best) {
            best = risk;
            strength = lambda;
        }
    }
    return strength;
}

}  // namespace

TEST_CASE("the quadratic form of H is the sum of squares of the differences") {
    std::vector<RegularizationMatrixControl> controls;
    for (double const penalty : {0.0, 3.0}) {
        for (int const stencil : {5, 9}) {
            controls.push_back({RegularizationKind::centralDifference, stencil, {}, penalty});
        }
        for (std::vector<int> const& orders : {std::vector<int>{1}, {2}, {3}, {1, 2}, {3, 1, 2}}) {
            controls.push_back({RegularizationKind::forwardDifference, 0, orders, penalty});
        }
    }
    for (auto const& [width, height] : {std::pair<Index, Index>{5, 4}, {3, 7}, {1, 3}, {2, 2}}) {
        for (RegularizationMatrixControl const& control : controls) {
            MatrixXd const matrix = makeRegularizationMatrix(width, height, control);
            REQUIRE(matrix.rows() == width * height);
            CHECK(matrix == matrix.transpose());
            for (unsigned const seed : {1U, 2U, 3U}) {
                MatrixXd const image = randomMatrix(height, width, seed);
                MatrixXd const byRows = image.transpose();  // (x, y), column after column: i = x + y * width
                VectorXd const k = Eigen::Map<VectorXd const>(byRows.data(), byRows.size());
                double const expected = differences(image, control).squaredNorm();
                // Elements of H are below 1e3, there are some hundreds of them.
                CHECK(std::abs(k.dot(matrix * k) - expected) < 1e-12 * std::max(1.0, expected));
            }
        }
    }
}

TEST_CASE("a plane is as smooth as can be") {
    MatrixXd plane(6, 5);
    for (Index y = 0; y < 6; ++y) {
        for (Index x = 0; x < 5; ++x) {
            plane(y, x) = 3.0 + 2.0 * static_cast<double>(x) - static_cast<double>(y);
        }
    }
    MatrixXd const byRows = plane.transpose();
    VectorXd const k = Eigen::Map<VectorXd const>(byRows.data(), byRows.size());
    for (int const stencil : {5, 9}) {
        MatrixXd const matrix =
            makeRegularizationMatrix(5, 6, {RegularizationKind::centralDifference, stencil, {}, 0.0});
        CHECK((matrix * k).cwiseAbs().maxCoeff() < 1e-13);
    }
}

TEST_CASE("operators that do not exist are refused") {
    auto const make = [](RegularizationMatrixControl const& control) {
        return makeRegularizationMatrix(5, 5, control);
    };
    auto const central = RegularizationKind::centralDifference;
    auto const forward = RegularizationKind::forwardDifference;
    CHECK_THROWS_WITH_AS((void)make({central, 1, {}, 3.0}), doctest::Contains("5 or 9 points, not 1"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)make({central, 9, {}, -1.0}), doctest::Contains("must be at least 0"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)make({central, 9, {}, std::nan("")}), doctest::Contains("must be at least 0"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)make({forward, 9, {}, 3.0}), doctest::Contains("at least one order"),
                         std::invalid_argument);
    for (int const order : {0, 4}) {
        CHECK_THROWS_WITH_AS((void)make({forward, 9, {1, order}, 3.0}), doctest::Contains("orders 1 to 3, not"),
                             std::invalid_argument);
    }
    CHECK_THROWS_WITH_AS((void)makeRegularizationMatrix(0, 3), doctest::Contains("0x3 pixels"), std::invalid_argument);
}

TEST_CASE("given and scaled strengths") {
    Regularization regularization{makeRegularizationMatrix(3, 3), LambdaType::absolute, 0.7, 1e-3, {}, 1e5};
    MatrixXd const matrix = 4.0 * MatrixXd::Identity(10, 10);
    CHECK(regularizationStrength(regularization, matrix, VectorXd::Ones(10)) == 0.7);
    regularization.lambdaType = LambdaType::relative;
    CHECK(regularizationStrength(regularization, matrix, VectorXd::Ones(10)) ==
          doctest::Approx(0.04 / regularization.matrix.trace()).epsilon(1e-14));
    MatrixXd const sum = psfmatch::regularized(matrix, regularization, 2.0);
    CHECK(sum.topLeftCorner(9, 9) == MatrixXd(4.0 * MatrixXd::Identity(9, 9) + 2.0 * regularization.matrix));
    CHECK(sum.row(9) == matrix.row(9));
    CHECK(sum.col(9) == matrix.col(9));
}

TEST_CASE("the lambda of least risk is that of the definition") {
    std::vector<double> lambdas;
    for (int step = 0; step <= 30; ++step) {
        lambdas.push_back(std::pow(10.0, -1.0 + 0.1 * step));
    }
    std::vector<double> chosen;
    for (unsigned seed = 0; seed < 24; ++seed) {
        bool const withBackground = seed % 2 == 0;
        bool const singular = seed % 3 == 0;
        // H without a null space, as it must be where M has one.
        bool const rigid = singular || seed % 4 < 2;
        CAPTURE(seed);
        Index const n = 15;
        Index const m = n + (withBackground ? 1 : 0);
        // Blurred rows make the small eigenvalues that regularisation is for.
        MatrixXd design = randomMatrix(singular ? 11 : 40, m, seed);
        for (Index j = 1; j < n; ++j) {
            design.col(j) = 0.9 * design.col(j - 1) + 0.3 * design.col(j);
        }
        VectorXd truth = VectorXd::Zero(m);
        truth.segment(4, 6).setConstant(3.0);
        VectorXd const data = design * truth + 2.0 * randomMatrix(design.rows(), 1, 100 + seed);
        Regularization regularization{
            makeRegularizationMatrix(5, 3, {RegularizationKind::centralDifference, 9, {}, rigid ? 3.0 : 0.0}),
            LambdaType::minimizeBiasedRisk,
            0.0,
            0.0,
            lambdas,
            100.0};
        VectorXd const side = design.transpose() * data;
        for (LambdaType const type : {LambdaType::minimizeBiasedRisk, LambdaType::minimizeUnbiasedRisk}) {
            regularization.lambdaType = type;
            double const strength = regularizationStrength(regularization, design.transpose() * design, side);
            CHECK(strength == strengthByDefinition(regularization, design, side));
            chosen.push_back(strength);
        }
    }
    // The cases are no trivial ones: the choice falls on many lambdas, not always on an end of the list.
    std::sort(chosen.begin(), chosen.end());
    CHECK(std::unique(chosen.begin(), chosen.end()) - chosen.begin() > 5);
}

TEST_CASE("of equal risks the first lambda is chosen") {
    MatrixXd const design = randomMatrix(30, 4, 7);
    MatrixXd const matrix = design.transpose() * design;
    Regularization const none{MatrixXd::Zero(4, 4), LambdaType::minimizeUnbiasedRisk, 0.0, 0.0, {3.0, 1.0, 2.0}, 1e5};
    CHECK(regularizationStrength(none, matrix, VectorXd::Ones(4)) == 3.0);
}

TEST_CASE("regularisations that cannot be used are refused") {
    Regularization regularization{MatrixXd::Identity(4, 4), LambdaType::absolute, 0.2, 1e-4, {}, 1e5};
    CHECK_NOTHROW(validate(regularization, 4));
    CHECK_THROWS_WITH_AS(validate(regularization, 5), "a regularisation matrix of 4x4 for 5 basis functions",
                         std::invalid_argument);
    for (double const value : {-1.0, std::nan("")}) {
        regularization.lambdaValue = value;
        CHECK_THROWS_WITH_AS(validate(regularization, 4), doctest::Contains("lambdaValue"), std::invalid_argument);
    }
    regularization.lambdaType = LambdaType::relative;
    regularization.matrix.setZero();
    CHECK_THROWS_WITH_AS(validate(regularization, 4), doctest::Contains("positive trace"), std::invalid_argument);
    regularization.lambdaType = LambdaType::minimizeBiasedRisk;
    CHECK_THROWS_WITH_AS(validate(regularization, 4), doctest::Contains("no value to be chosen from"),
                         std::invalid_argument);
    regularization.lambdas = {1.0, -1.0};
    CHECK_THROWS_WITH_AS(validate(regularization, 4), doctest::Contains("a lambda of the regularisation is -1"),
                         std::invalid_argument);
    regularization.lambdas = {1.0};
    CHECK_THROWS_WITH_AS(
        (void)regularizationStrength(regularization, MatrixXd::Constant(4, 4, std::nan("")), VectorXd::Ones(4)),
        doctest::Contains("hold NaN or infinity"), psfmatch::SolutionError);
    CHECK_THROWS_WITH_AS((void)regularizationStrength(regularization, MatrixXd::Zero(4, 4), VectorXd::Zero(4)),
                         doctest::Contains("the template has no light"), psfmatch::SolutionError);
}
