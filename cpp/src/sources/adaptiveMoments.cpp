#include "psfmatch/sources/adaptiveMoments.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

constexpr Index objectsPerItem = 16;
constexpr double tolerance = 1e-6;       // change of a moment, of their trace, at which the iteration has converged
constexpr double leastExponent = -32.0;  // weights below exp of this, 1e-14, are taken as none
constexpr int nLongSteps = 12;           // iterations that may take the long step; it need not converge everywhere
constexpr double largestGrowth = 3.0;    // of the trace of the moments, or its inverse, in a long step

struct Stamp {
    double const* pixels;
    Index height;
    Index width;
};

// Sums of w I and its products with the distances from the centre.
struct WeightedSums {
    double one = 0.0;
    double x = 0.0;
    double y = 0.0;
    double xx = 0.0;
    double yy = 0.0;
    double xy = 0.0;
};

// Rows whose exponentials are made together.
constexpr Index rowsPerBlock = 32;
using RowValues = Eigen::Array<double, rowsPerBlock, 1>;

// The part of a row under f(dx) = exp(a dx^2 + b dx + c), a < 0, where that is not next to nothing.
struct RowPart {
    double dy;
    Index first;
    Index count;
};

// Sums of a part of a row under weights of which the first, and the ratio of the second to it, are given. Ratios are a
// geometric series. Four pixels at a time.
void addRow(double const* row, RowPart const& part, double x0, double weight, double ratio, double series,
            WeightedSums& sums) {
    using Four = Eigen::Array4d;
    double const series2 = series * series;
    double const series4 = series2 * series2;
    Four weights(weight, weight * ratio, weight * ratio * ratio * series, 0.0);
    weights(3) = weights(2) * ratio * series2;
    double const jump = ratio * ratio * ratio * ratio * series4 * series2;
    Four ratios(jump, jump * series4, jump * series4 * series4, jump * series4 * series4 * series4);
    double const series16 = series4 * series4 * series4 * series4;
    double const start = static_cast<double>(part.first) - x0;
    Four dx(start, start + 1.0, start + 2.0, start + 3.0);
    Four sum = Four::Zero();
    Four sumX = Four::Zero();
    Four sumXX = Four::Zero();
    double const* at = row + part.first;
    Index left = part.count;
    for (; left >= 4; left -= 4, at += 4) {
        Four const value = weights * Eigen::Map<Four const>(at);
        Four const along = value * dx;
        sum += value;
        sumX += along;
        sumXX += along * dx;
        weights *= ratios;
        ratios *= series16;
        dx += 4.0;
    }
    double one = sum.sum();
    double x = sumX.sum();
    double xx = sumXX.sum();
    for (Index k = 0; k < left; ++k) {
        double const value = weights(k) * at[k];
        one += value;
        x += value * dx(k);
        xx += value * dx(k) * dx(k);
    }
    sums.one += one;
    sums.x += x;
    sums.xx += xx;
    sums.y += one * part.dy;
    sums.yy += one * part.dy * part.dy;
    sums.xy += x * part.dy;
}

WeightedSums sumsUnder(Stamp const& stamp, double x, double y, SecondMoments const& weight) {
    double const scale = -0.5 / (weight.xx * weight.yy - weight.xy * weight.xy);
    double const a = scale * weight.yy;
    double const series = std::exp(2.0 * a);
    WeightedSums sums;
    for (Index block = 0; block < stamp.height; block += rowsPerBlock) {
        std::array<RowPart, rowsPerBlock> parts;
        std::array<Index, rowsPerBlock> rows;
        RowValues weights = RowValues::Zero();
        RowValues ratios = RowValues::Zero();
        Index n = 0;
        for (Index row = block; row < std::min(stamp.height, block + rowsPerBlock); ++row) {
            double const dy = static_cast<double>(row) - y;
            double const b = -2.0 * scale * weight.xy * dy;
            double const c = scale * weight.xx * dy * dy;
            double const middle = x - 0.5 * b / a;
            double const highest = c - 0.25 * b * b / a;
            double const reach = std::sqrt((leastExponent - highest) / a);
            double const first = std::max(0.0, std::ceil(middle - reach));
            double const last = std::min(static_cast<double>(stamp.width - 1), std::floor(middle + reach));
            // Where something is not a number there is no row either: the caller finds sums of nothing.
            if (!(highest > leastExponent) || !(first <= last)) {
                continue;
            }
            double const dx = first - x;
            weights(n) = (a * dx + b) * dx + c;
            ratios(n) = a * (2.0 * dx + 1.0) + b;
            parts[static_cast<std::size_t>(n)] = {dy, static_cast<Index>(first), static_cast<Index>(last - first) + 1};
            rows[static_cast<std::size_t>(n)] = row;
            ++n;
        }
        weights = weights.exp();
        ratios = ratios.exp();
        for (Index i = 0; i < n; ++i) {
            auto const k = static_cast<std::size_t>(i);
            addRow(stamp.pixels + rows[k] * stamp.width, parts[k], x, weights(i), ratios(i), series, sums);
        }
    }
    return sums;
}

SecondMoments inverseOf(SecondMoments const& moments) {
    double const determinant = moments.xx * moments.yy - moments.xy * moments.xy;
    return {moments.yy / determinant, moments.xx / determinant, -moments.xy / determinant};
}

// The moments of the Gaussian that has those found, twice what was measured, under a weight; false if there is none or
// it is far from the weight. Where the weight matches the object both are the same.
bool longStep(SecondMoments const& found, SecondMoments const& weight, SecondMoments& step) {
    SecondMoments const seen = inverseOf(found);
    SecondMoments const through = inverseOf(weight);
    step = inverseOf({2.0 * seen.xx - through.xx, 2.0 * seen.yy - through.yy, 2.0 * seen.xy - through.xy});
    double const growth = (step.xx + step.yy) / (weight.xx + weight.yy);
    return step.xx > 0.0 && step.yy > 0.0 && step.xx * step.yy > step.xy * step.xy && growth < largestGrowth &&
           growth * largestGrowth > 1.0;
}

SecondMoments momentsOf(Stamp const& stamp, double x, double y, AdaptiveMomentsControl const& control) {
    // Rows of next to no weight are never read.
    if (!std::isfinite(Eigen::Map<Eigen::ArrayXd const>(stamp.pixels, stamp.height * stamp.width).sum())) {
        return {};
    }
    double const startX = x;
    double const startY = y;
    auto const width = static_cast<double>(stamp.width);
    auto const height = static_cast<double>(stamp.height);
    double const largest = std::max(width, height) * std::max(width, height);
    SecondMoments weight{control.sigma * control.sigma, control.sigma * control.sigma, 0.0};
    for (int iteration = 0; iteration < control.maxIterations; ++iteration) {
        WeightedSums const sums = sumsUnder(stamp, x, y, weight);
        // A Gaussian under its own Gaussian weight has half its second moments.
        SecondMoments const found{2.0 * sums.xx / sums.one, 2.0 * sums.yy / sums.one, 2.0 * sums.xy / sums.one};
        double const shiftX = sums.x / sums.one;
        double const shiftY = sums.y / sums.one;
        auto const isNear = [&](double newX, double newY) {
            return newX >= 0.0 && newX < width && newY >= 0.0 && newY < height &&
                   std::hypot(newX - startX, newY - startY) <= control.maxShift;
        };
        // Written so that NaN is no good.
        bool const isGood =
            sums.one > 0.0 && isNear(x + shiftX, y + shiftY) && found.xx <= largest && found.yy <= largest;
        if (!isGood) {
            return {};
        }
        double const limit = tolerance * (found.xx + found.yy);
        if (std::abs(found.xx - weight.xx) < limit && std::abs(found.yy - weight.yy) < limit &&
            std::abs(found.xy - weight.xy) < limit) {
            return found;
        }
        double const determinant = found.xx * found.yy - found.xy * found.xy;
        if (!(found.xx > 0.0 && determinant > 0.0 && std::isfinite(1.0 / determinant))) {
            return {};
        }
        // The step to what was found halves the distance to a Gaussian object's moments and centre; the long one ends
        // there.
        SecondMoments step;
        bool const isLong =
            iteration < nLongSteps && isNear(x + 2.0 * shiftX, y + 2.0 * shiftY) && longStep(found, weight, step);
        x += isLong ? 2.0 * shiftX : shiftX;
        y += isLong ? 2.0 * shiftY : shiftY;
        weight = isLong ? step : found;
    }
    return {};
}

}  // namespace

std::vector<SecondMoments> adaptiveMoments(ConstImageView<double> const& stamps, Index height, Index width,
                                           std::vector<double> const& x, std::vector<double> const& y,
                                           AdaptiveMomentsControl const& control, Execution const& execution) {
    Index const n = stamps.rows();
    if (height < 1 || width < 1 || stamps.cols() != height * width || static_cast<Index>(x.size()) != n ||
        static_cast<Index>(y.size()) != n) {
        throw std::invalid_argument(std::to_string(n) + " stamps of " + std::to_string(stamps.cols()) +
                                    " pixels are not " + std::to_string(x.size()) + " of " + std::to_string(width) +
                                    "x" + std::to_string(height));
    }
    std::vector<SecondMoments> moments(x.size());
    parallelForBrief((n + objectsPerItem - 1) / objectsPerItem, execution, [&](Index item, int) {
        for (Index i = item * objectsPerItem; i < std::min(n, (item + 1) * objectsPerItem); ++i) {
            auto const k = static_cast<std::size_t>(i);
            Stamp const stamp{stamps.data() + i * stamps.outerStride(), height, width};
            moments[k] = momentsOf(stamp, x[k], y[k], control);
        }
    });
    return moments;
}

}  // namespace psfmatch
