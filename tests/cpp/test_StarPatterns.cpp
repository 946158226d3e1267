// Stars of two lists that belong together, wherever the images lie.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/sources/StarPatterns.h"

using namespace psfmatch;
using Eigen::Index;

namespace {

Eigen::MatrixX2d scattered(std::mt19937& random, Index n, double side) {
    std::uniform_real_distribution<double> uniform(0.0, side);
    Eigen::MatrixX2d positions(n, 2);
    for (Index i = 0; i < n; ++i) {
        positions.row(i) << uniform(random), uniform(random);
    }
    return positions;
}

AffineMatrix similarity(double degrees, double scale, bool isMirrored) {
    double const angle = degrees * std::acos(-1.0) / 180.0;
    double const sign = isMirrored ? -1.0 : 1.0;
    AffineMatrix matrix;
    matrix << scale * std::cos(angle), -sign * scale * std::sin(angle), 70.0, scale * std::sin(angle),
        sign * scale * std::cos(angle), -30.0;
    return matrix;
}

// The most pairs within a tolerance that any transform fixed by two pairs takes into each other.
std::size_t mostPairs(Eigen::MatrixX2d const& first, Eigen::MatrixX2d const& second, double tolerance) {
    std::size_t most = 0;
    for (double const sign : {1.0, -1.0}) {
        for (Index i = 0; i < first.rows(); ++i) {
            for (Index j = 0; j < first.rows(); ++j) {
                for (Index k = 0; k < second.rows(); ++k) {
                    for (Index l = 0; l < second.rows(); ++l) {
                        if (i == j || k == l) {
                            continue;
                        }
                        Eigen::Vector2d from = (first.row(j) - first.row(i)).transpose();
                        from(1) *= sign;
                        Eigen::Vector2d const to = (second.row(l) - second.row(k)).transpose();
                        double const a = from.dot(to) / from.squaredNorm();
                        double const b = (from(0) * to(1) - from(1) * to(0)) / from.squaredNorm();
                        if (std::hypot(a, b) < 0.45 || std::hypot(a, b) > 2.2) {
                            continue;
                        }
                        std::size_t n = 0;
                        for (Index star = 0; star < first.rows(); ++star) {
                            Eigen::Vector2d p = (first.row(star) - first.row(i)).transpose();
                            p(1) *= sign;
                            Eigen::RowVector2d const q(a * p(0) - b * p(1), b * p(0) + a * p(1));
                            Eigen::MatrixX2d const apart = second.rowwise() - (second.row(k) + q);
                            n += apart.rowwise().norm().minCoeff() <= tolerance ? 1U : 0U;
                        }
                        most = std::max(most, n);
                    }
                }
            }
        }
    }
    return most;
}

}  // namespace

TEST_CASE("patterns are found through any turn, mirror, scale and shift, strangers are not") {
    for (bool const isMirrored : {false, true}) {
        for (double const degrees : {0.0, 77.0, 180.0, 301.0}) {
            for (double const scale : {0.5, 1.0, 2.0}) {
                std::mt19937 random(3);
                Eigen::MatrixX2d const first = scattered(random, 80, 1000.0);
                AffineMatrix const matrix = similarity(degrees, scale, isMirrored);
                Eigen::MatrixX2d second = scattered(random, 90, 1000.0 * scale);
                for (Index i = 0; i < 60; ++i) {
                    second.row(i + 5) = (matrix * first.row(i).transpose().homogeneous()).transpose();
                }
                PatternMatch const found = matchPatterns(first, second, {1e6 * scale * scale});
                CHECK(found.match.chance < 1e-30);
                std::size_t nRight = 0;
                for (std::size_t i = 0; i < found.match.first.size(); ++i) {
                    bool const isRight = found.match.second[i] == found.match.first[i] + 5 && found.match.first[i] < 60;
                    nRight += isRight ? 1U : 0U;
                }
                CHECK(nRight == 60);
                CHECK(found.match.first.size() <= 62);
                CHECK((found.matrix - matrix).cwiseAbs().maxCoeff() < 1e-6);
            }
        }
    }
}

TEST_CASE("of few stars as many pairs are found as any transform has") {
    for (unsigned seed = 1; seed <= 4; ++seed) {
        std::mt19937 random(seed);
        Eigen::MatrixX2d const first = scattered(random, 8, 400.0);
        AffineMatrix const matrix = similarity(40.0 * seed, 0.7 + 0.2 * seed, seed % 2 == 0);
        Eigen::MatrixX2d second = scattered(random, 9, 400.0);
        for (Index i = 0; i < 6; ++i) {
            second.row(8 - i) = (matrix * first.row(i).transpose().homogeneous()).transpose();
        }
        std::size_t const most = mostPairs(first, second, 1.0);
        CHECK(most >= 6);
        CHECK(matchPatterns(first, second, {1.6e5}).match.first.size() == most);
    }
}

TEST_CASE("what chance gives is told as chance") {
    for (unsigned seed = 1; seed <= 6; ++seed) {
        std::mt19937 random(seed);
        Index const n = seed % 2 == 0 ? 12 : 70;
        Eigen::MatrixX2d const first = scattered(random, n, 500.0);
        CHECK(matchPatterns(first, scattered(random, n, 500.0), {2.5e5}).match.chance > 1e-3);
    }
}

TEST_CASE("too few stars, stars in one place and impossible options") {
    std::mt19937 random(1);
    Eigen::MatrixX2d const stars = scattered(random, 20, 300.0);
    CHECK(matchPatterns(stars.topRows(0), stars, {9e4}).match.first.empty());
    CHECK(matchPatterns(stars.topRows(2), stars, {9e4}).match.first.empty());
    Eigen::MatrixX2d const same = Eigen::MatrixX2d::Constant(20, 2, 5.0);
    CHECK(matchPatterns(same, stars, {9e4}).match.first.empty());
    CHECK(matchPatterns(stars, same, {9e4}).match.first.empty());
    CHECK_THROWS_AS(static_cast<void>(matchPatterns(stars, stars, {0.0})), std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(matchPatterns(stars, stars, {9e4, 2.0, 1.0})), std::invalid_argument);
}
