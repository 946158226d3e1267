// Stars of two lists that belong together, and the fits by least squares behind them.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <cstdlib>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/LinearFit.h"
#include "psfmatch/sources/StarMatch.h"

using namespace psfmatch;
using Eigen::Index;

TEST_CASE("stars are matched through a shift, a rotation and a scale, strangers are not") {
    std::mt19937 random(3);
    std::uniform_real_distribution<double> uniform(0.0, 1000.0);
    Eigen::MatrixX2d first(80, 2);
    Eigen::MatrixX2d second(90, 2);
    for (Index i = 0; i < 90; ++i) {
        second.row(i) << uniform(random), uniform(random);
    }
    AffineMatrix matrix;
    matrix << 1.004, -0.012, 33.0, 0.012, 1.004, -21.0;
    for (Index i = 0; i < 80; ++i) {
        first.row(i) << uniform(random), uniform(random);
        if (i < 60) {
            second.row(i + 5) = (matrix * first.row(i).transpose().homogeneous()).transpose();
        }
    }
    StarMatch const match = matchStars(first, second, {1e6, 100.0});
    CHECK(match.chance < 1e-30);
    std::size_t nRight = 0;
    for (std::size_t i = 0; i < match.first.size(); ++i) {
        nRight += match.second[i] == match.first[i] + 5 && match.first[i] < 60 ? 1U : 0U;
    }
    CHECK(nRight == 60);
    CHECK(match.first.size() <= 62);
    CHECK(matchStars(first.topRows(0), second, {1e6, 100.0}).first.empty());
    CHECK_THROWS_AS(static_cast<void>(matchStars(first, second, {0.0, 100.0})), std::invalid_argument);
}

TEST_CASE("a linear fit is that of the normal equations, and of dependent terms the smallest") {
    std::srand(5);
    Eigen::MatrixXd terms = Eigen::MatrixXd::Random(30, 3);
    Eigen::MatrixXd const values = Eigen::MatrixXd::Random(30, 2);
    Eigen::MatrixXd const variances = Eigen::MatrixXd::Random(30, 2).array() + 1.5;
    LinearFit const fit = fitLinear(terms, values, variances);
    for (Index set = 0; set < 2; ++set) {
        Eigen::MatrixXd const weighted = variances.col(set).cwiseInverse().asDiagonal() * terms;
        Eigen::MatrixXd const inverse = (terms.transpose() * weighted).inverse();
        Eigen::VectorXd const expected = inverse * weighted.transpose() * values.col(set);
        CHECK((fit.coefficients.row(set).transpose() - expected).norm() < 1e-12);
        CHECK((fit.errors.row(set).transpose() - inverse.diagonal().cwiseSqrt()).norm() < 1e-12);
    }
    terms.col(2) = terms.col(1);
    LinearFit const shared = fitLinear(terms, values, {});
    CHECK(std::abs(shared.coefficients(0, 1) - shared.coefficients(0, 2)) < 1e-12);
    CHECK(fitLinear(terms.topRows(2), values.topRows(2), {}).coefficients.allFinite());
    CHECK_THROWS_AS(static_cast<void>(fitLinear(terms, values.topRows(3), {})), std::invalid_argument);
}

TEST_CASE("the variance beyond errors makes chi-square what it should be") {
    Eigen::ArrayXd const squares = Eigen::ArrayXd::LinSpaced(20, 0.5, 9.0);
    Eigen::ArrayXd const variances = Eigen::ArrayXd::LinSpaced(20, 0.2, 1.0);
    double const excess = excessVariance(squares, variances, 2);
    CHECK(20.0 / 18.0 * (squares / (variances + excess)).mean() == doctest::Approx(1.0).epsilon(1e-12));
    CHECK(excessVariance(0.1 * variances, variances, 0) == 0.0);
    CHECK_THROWS_AS(static_cast<void>(excessVariance(squares, variances.head(3), 0)), std::invalid_argument);
}
