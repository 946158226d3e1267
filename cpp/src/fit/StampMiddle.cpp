#include "fit/StampMiddle.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace psfmatch {

namespace {

constexpr std::array<double, 4> pointWidths{0.7, 0.9, 1.2, 1.6};  // px, sigma of a point in the template
constexpr double leastPoint = 0.6;                                // px
constexpr double reach = 9.0;                                     // px, of an account
constexpr double windowRadius = 5.0;                              // px, of what is scaled
constexpr double wingFactor = 1.8;                                // of the width, of a point's wings
constexpr double expectedSigmas = 5.0;                            // of the middle's noise
constexpr double leastSigmas = 5.0;                               // of light that can be scaled

std::vector<Index> middleOfReach(StampGround const& ground) {
    return discOf(ground.middleX, ground.middleY, reach, ground.height(), ground.width());
}

// What lies in the middle beyond the model, and some of its noise.
double expectedFlux(StampGround const& ground, Eigen::VectorXd const& residuals) {
    double flux = 0.0;
    double noise = 0.0;
    for (Index const pixel :
         discOf(ground.middleX, ground.middleY, ground.control.middleRadius, ground.height(), ground.width())) {
        flux += residuals(pixel);
        noise += ground.variance(pixel);
    }
    return std::abs(flux) + expectedSigmas * std::sqrt(noise);
}

// A Gaussian in the middle, its shift and its wings, with the sizes that they may have.
StampExtra pointAt(StampGround const& ground, double width, double flux) {
    StampExtra extra;
    extra.pixels = middleOfReach(ground);
    extra.values.resize(static_cast<Index>(extra.pixels.size()), 4);
    double const norm = 1.0 / (2.0 * std::numbers::pi * width * width);
    double const wide = width * wingFactor;
    for (Index i = 0; i < extra.values.rows(); ++i) {
        Index const pixel = extra.pixels[static_cast<std::size_t>(i)];
        double const x = static_cast<double>(pixel % ground.width() - ground.middleX);
        double const y = static_cast<double>(pixel / ground.width() - ground.middleY);
        double const core = norm * std::exp(-0.5 * (x * x + y * y) / (width * width));
        double const wing = norm / (wingFactor * wingFactor) * std::exp(-0.5 * (x * x + y * y) / (wide * wide));
        extra.values.row(i) << core, core * x / (width * width), core * y / (width * width), wing - core;
    }
    extra.sizes.resize(4);
    extra.sizes << 2.0 * flux, 0.5 * flux, 0.5 * flux, 0.2 * flux;
    return extra;
}

}  // namespace

StampExtra scaledExtra(StampGround const& ground, Eigen::VectorXd const& light, Eigen::VectorXd const& residuals) {
    StampExtra extra;
    extra.pixels = middleOfReach(ground);
    extra.values.resize(static_cast<Index>(extra.pixels.size()), 1);
    double total = 0.0;
    double noise = 0.0;
    for (Index i = 0; i < extra.values.rows(); ++i) {
        Index const pixel = extra.pixels[static_cast<std::size_t>(i)];
        double const r = ground.fromMiddle(pixel % ground.width(), pixel / ground.width());
        extra.values(i, 0) = light(pixel) * std::exp(-std::pow(r / windowRadius, 4));
        if (r <= middleLightRadius) {
            total += light(pixel);
            noise += ground.variance(pixel);
        }
    }
    if (!(total > leastSigmas * std::sqrt(noise))) {
        return {};
    }
    extra.sizes = Eigen::VectorXd::Constant(1, std::max(0.3, 2.0 * expectedFlux(ground, residuals) / total));
    return extra;
}

StampExtra pointExtra(StampGround const& ground, StampTry const& base, Eigen::VectorXd const& residuals, Index nSteps,
                      StampChoice& choice) {
    double const flux = expectedFlux(ground, residuals);
    StampExtra best;
    double bestEvidence = -std::numeric_limits<double>::infinity();
    StampTry attempt = startTry(ground, StampAccount::point, {}, {});
    for (StampBlob const& blob : base.blobs) {
        if (!blob.isMiddle) {
            leaveOut(attempt.sums, ground.problem.columns,
                     discOf(blob.x, blob.y, blob.radius, ground.height(), ground.width()));
        }
    }
    auto const& widths = ground.problem.columns.widths;
    Index const now = base.solution.choice.width;
    Index const last = std::min(now + nSteps, static_cast<Index>(widths.size()) - 1);
    for (Index at = std::max<Index>(now - nSteps, 0); at <= last; ++at) {
        StampChoice next = base.solution.choice;
        next.width = at;
        for (double const width : pointWidths) {
            double const kernelWidth = widths[static_cast<std::size_t>(at)];
            double const square = width * width + kernelWidth * std::abs(kernelWidth);
            StampExtra extra = pointAt(ground, std::sqrt(std::max(square, leastPoint * leastPoint)), flux);
            attempt.sums.forgetExtra();
            double const evidence = solveStamp(ground.problem, attempt.sums, extra, next).evidence;
            if (evidence > bestEvidence) {
                bestEvidence = evidence;
                best = std::move(extra);
                choice = next;
            }
        }
    }
    return best;
}

}  // namespace psfmatch
