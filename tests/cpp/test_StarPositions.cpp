// Positions of stars against the least squares they are defined by, and single pixels that are no stars.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <stdexcept>

#include "psfmatch/sources/StarPositions.h"
#include "starReference.h"

using namespace psfmatch;
using starReference::StarField;

namespace {

// One step of the fit and the covariance, by a design matrix over the disc.
StarPosition reference(StarField const& field, StarPosition const& at, double sigma, Index radius) {
    auto const column = static_cast<Index>(std::floor(at.x + 0.5));
    auto const row = static_cast<Index>(std::floor(at.y + 0.5));
    std::vector<Eigen::Vector4d> terms;
    std::vector<double> values;
    std::vector<double> variances;
    for (Index y = row - radius; y <= row + radius; ++y) {
        for (Index x = column - radius; x <= column + radius; ++x) {
            double const dx = static_cast<double>(x) - at.x;
            double const dy = static_cast<double>(y) - at.y;
            double const reach = static_cast<double>(radius) + 0.5;
            if (dx * dx + dy * dy > reach * reach || field.pixels.mask(y, x) != 0) {
                continue;
            }
            double const profile = std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma));
            terms.emplace_back(profile, profile * dx / (sigma * sigma), profile * dy / (sigma * sigma), 1.0);
            values.push_back(field.pixels.image(y, x) - 100.0);
            variances.push_back(field.pixels.variance(y, x));
        }
    }
    Eigen::MatrixXd design(static_cast<Index>(terms.size()), 4);
    for (std::size_t i = 0; i < terms.size(); ++i) {
        design.row(static_cast<Index>(i)) = terms[i].transpose();
    }
    Eigen::Map<Eigen::VectorXd const> const data(values.data(), design.rows());
    Eigen::Map<Eigen::VectorXd const> const variance(variances.data(), design.rows());
    Eigen::Matrix4d const inverse = (design.transpose() * design).inverse();
    Eigen::Vector4d const solution = inverse * design.transpose() * data;
    Eigen::Matrix4d const covariance = inverse * design.transpose() * variance.asDiagonal() * design * inverse;
    return {at.x + solution(1) / solution(0), at.y + solution(2) / solution(0),
            std::sqrt(covariance(1, 1)) / solution(0), std::sqrt(covariance(2, 2)) / solution(0)};
}

}  // namespace

TEST_CASE("positions are where a least-squares step leads nowhere, with the errors of the fit") {
    StarField field = starReference::makeStars(1.4, 30.0F, 4);
    field.pixels.mask(25, 26) = 2;
    PositionControl control;
    control.fwhm = 3.2;
    auto const found = fitPositions(field.pixels.views(), 2, field.x, field.y, control);
    auto const threaded = fitPositions(field.pixels.views(), 2, field.x, field.y, control, {3, {}});
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i].x == threaded[i].x);
        CHECK(found[i].yErr == threaded[i].yErr);
        CHECK(std::hypot(found[i].x - field.x[i], found[i].y - field.y[i]) < 0.1);
        StarPosition const expected = reference(field, found[i], 3.2 / (2.0 * std::sqrt(2.0 * std::log(2.0))), 5);
        // The last step was below 1e-4, the next is far below.
        CHECK(std::abs(found[i].x - expected.x) < 1e-5);
        CHECK(std::abs(found[i].y - expected.y) < 1e-5);
        CHECK(found[i].xErr == doctest::Approx(expected.xErr).epsilon(1e-3));
        CHECK(found[i].yErr == doctest::Approx(expected.yErr).epsilon(1e-3));
    }
}

TEST_CASE("what cannot be fitted has no position") {
    StarField field = starReference::makeStars(1.4, 0.0F, 5);
    field.pixels.mask.block(20, 15, 20, 12) = 1;
    field.pixels.image.block(44, 44, 3, 3) -= 50.0F;
    std::vector<double> const x = {field.x[0], -40.0, std::nan(""), 45.0};
    std::vector<double> const y = {field.y[0], 50.0, 3.0, 45.0};
    PositionControl control;
    for (StarPosition const& position : fitPositions(field.pixels.views(), 1, x, y, control)) {
        CHECK(std::isnan(position.x));
        CHECK(std::isnan(position.yErr));
    }
    control.fwhm = 0.0;
    CHECK_THROWS_AS(static_cast<void>(fitPositions(field.pixels.views(), 1, x, y, control)), std::invalid_argument);
}

TEST_CASE("light in one pixel is told from a star") {
    StarField field = starReference::makeStars(0.8, 0.0F, 6);
    field.pixels.image(60, 44) += 5e3F;
    field.pixels.image(60, 84) += 5e3F;
    field.pixels.mask(61, 85) = 1;
    std::vector<double> const x = {field.x[0], 44.0, 84.0};
    std::vector<double> const y = {field.y[0], 60.2, 60.0};
    CHECK(areSinglePixels(field.pixels.views(), 1, x, y, 0.15) == std::vector<std::uint8_t>{0, 1, 0});
    // Of its own noise a pixel must be so far above the sky.
    float const peak = field.pixels.image(60, 44) - 100.0F;
    field.pixels.variance(60, 44) = peak * peak / 16.0F;
    CHECK(areSinglePixels(field.pixels.views(), 1, x, y, 0.15, 3.0) == std::vector<std::uint8_t>{0, 1, 0});
    CHECK(areSinglePixels(field.pixels.views(), 1, x, y, 0.15, 5.0) == std::vector<std::uint8_t>{0, 0, 0});
}
