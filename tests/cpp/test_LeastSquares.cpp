#include <doctest/doctest.h>

#include <Eigen/LU>
#include <stdexcept>

#include "psfmatch/image/LeastSquares.h"

using namespace psfmatch;

TEST_CASE("weighted least squares against the normal equations") {
    Eigen::MatrixXd const terms = Eigen::MatrixXd::Random(40, 5);
    Eigen::VectorXd const values = Eigen::VectorXd::Random(40);
    Eigen::VectorXd const errors = Eigen::VectorXd::Random(40).array().abs() + 0.5;
    Eigen::VectorXd const weights = errors.array().square().inverse();
    Eigen::MatrixXd const normal = terms.transpose() * weights.asDiagonal() * terms;
    LeastSquares const found = leastSquares(terms, values, errors);
    CHECK((normal * found.solution - terms.transpose() * weights.asDiagonal() * values).norm() < 1e-12);
    CHECK((found.covariance - normal.inverse()).norm() < 1e-12);
}

TEST_CASE("what the data leave open is zero, and impossible systems are refused") {
    Eigen::MatrixXd terms = Eigen::MatrixXd::Ones(6, 3);
    terms.col(2).setZero();
    LeastSquares const found =
        leastSquares(terms, Eigen::VectorXd::Constant(6, 4.0), Eigen::VectorXd::Constant(6, 2.0));
    CHECK((found.solution - Eigen::Vector3d(2.0, 2.0, 0.0)).norm() < 1e-12);
    CHECK(std::abs(found.covariance(2, 2)) < 1e-12);
    CHECK_THROWS_WITH_AS(static_cast<void>(leastSquares(terms, Eigen::VectorXd::Zero(5), Eigen::VectorXd::Ones(6))),
                         "6 rows of terms with 5 values and 6 errors", std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(leastSquares(terms, Eigen::VectorXd::Zero(6), Eigen::VectorXd::Zero(6))),
                    std::invalid_argument);
}
