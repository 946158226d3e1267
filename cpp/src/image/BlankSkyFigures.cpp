// What is measured on blank sky: widths, correlations, means of cells.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "psfmatch/image/BlankSky.h"
#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr double sigmaPerQuartiles = 0.7413;

std::vector<float> blankOf(Eigen::ArrayXf const& plane, BlankSky const& sky) {
    std::vector<float> found(static_cast<std::size_t>(plane.size()) + 1);
    std::size_t count = 0;
    for (Index i = 0; i < plane.size(); ++i) {
        found[count] = plane[i];
        count += sky.isBlank[i];
    }
    found.resize(count);
    return found;
}

double widthOf(std::vector<float> const& values) {
    std::vector<float> scratch;
    if (values.size() < 2) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    double const low = quantileOf<float>(values, 0.25, scratch);
    return sigmaPerQuartiles * (quantileOf<float>(values, 0.75, scratch) - low);
}

// Sum of the products of the pixels of two windows dy and dx apart, and how many pairs are blank.
struct Products {
    double sum = 0.0;
    double count = 0.0;
};

Products productsOf(BlankSky const& sky, Index window, Index dy, Index dx, Eigen::ArrayXf& sums,
                    Eigen::Array<std::uint8_t, Eigen::Dynamic, 1>& counts) {
    Index const nPairs = sky.width - std::abs(dx);
    Products found;
    if (nPairs <= 0) {
        return found;
    }
    sums.setZero();
    counts.setZero();
    Index const start = window * sky.windowSize();
    Index sinceEmptied = 0;
    auto const empty = [&] {
        found.sum += sums.head(nPairs).cast<double>().sum();
        found.count += counts.head(nPairs).cast<double>().sum();
        sums.setZero();
        counts.setZero();
        sinceEmptied = 0;
    };
    for (Index y = 0; y + dy < sky.height; ++y) {
        Index const first = start + y * sky.width + std::max<Index>(0, -dx);
        Index const second = start + (y + dy) * sky.width + std::max<Index>(0, dx);
        float const* const a = sky.pulls.data() + first;
        float const* const b = sky.pulls.data() + second;
        std::uint8_t const* const isA = sky.isBlank.data() + first;
        std::uint8_t const* const isB = sky.isBlank.data() + second;
        for (Index x = 0; x < nPairs; ++x) {
            sums[x] += a[x] * b[x];
        }
        for (Index x = 0; x < nPairs; ++x) {
            counts[x] = static_cast<std::uint8_t>(counts[x] + (isA[x] & isB[x]));
        }
        if (++sinceEmptied == 64) {  // few enough for a byte, and for single precision
            empty();
        }
    }
    empty();
    return found;
}

void productsOfWindow(BlankSky const& sky, Index window, Index maxLag, OwnedImage<double>& sums,
                      OwnedImage<double>& counts) {
    Eigen::ArrayXf columns(sky.width);
    Eigen::Array<std::uint8_t, Eigen::Dynamic, 1> columnCounts(sky.width);
    for (Index dy = 0; dy <= maxLag; ++dy) {
        for (Index dx = dy == 0 ? 0 : -maxLag; dx <= maxLag; ++dx) {
            Products const found = productsOf(sky, window, dy, dx, columns, columnCounts);
            sums(maxLag + dy, maxLag + dx) = found.sum;
            counts(maxLag + dy, maxLag + dx) = found.count;
        }
    }
}

}  // namespace

double pullWidth(BlankSky const& sky) {
    return widthOf(blankOf(sky.pulls, sky));
}

BlankSkyWidths widths(BlankSky const& sky) {
    std::vector<float> scratch;
    std::vector<float> const variances = blankOf(sky.variances, sky);
    return {pullWidth(sky), widthOf(blankOf(sky.values, sky)), quantileOf<float>(variances, 0.5, scratch)};
}

namespace {

// `alongside` is called once, at the same time.
template <typename Work>
LaggedProducts laggedProductsAnd(BlankSky const& sky, Index maxLag, Execution const& execution, Work const& alongside) {
    if (maxLag < 0) {
        throw std::invalid_argument("the largest lag is " + std::to_string(maxLag) + ", must not be negative");
    }
    Index const side = 2 * maxLag + 1;
    auto const nWindows = sky.nWindows();
    // Added up in their sequence afterwards, so that threads do not change a bit.
    std::vector<OwnedImage<double>> sums(static_cast<std::size_t>(nWindows), OwnedImage<double>::Zero(side, side));
    std::vector<OwnedImage<double>> counts = sums;
    parallelFor(nWindows + 1, execution, [&](Index item, int) {
        if (item == 0) {
            alongside();
            return;
        }
        Index const window = item - 1;
        productsOfWindow(sky, window, maxLag, sums[static_cast<std::size_t>(window)],
                         counts[static_cast<std::size_t>(window)]);
    });
    LaggedProducts result{OwnedImage<double>::Zero(side, side), OwnedImage<double>::Zero(side, side)};
    for (std::size_t window = 0; window < sums.size(); ++window) {
        result.means += sums[window];
        result.counts += counts[window];
    }
    result.means = (result.counts > 0.0).select(result.means / result.counts.max(1.0), 0.0);
    for (Index dy = 0; dy <= maxLag; ++dy) {
        for (Index dx = dy == 0 ? 0 : -maxLag; dx <= maxLag; ++dx) {
            result.means(maxLag - dy, maxLag - dx) = result.means(maxLag + dy, maxLag + dx);
            result.counts(maxLag - dy, maxLag - dx) = result.counts(maxLag + dy, maxLag + dx);
        }
    }
    return result;
}

}  // namespace

LaggedProducts laggedProducts(BlankSky const& sky, Index maxLag, Execution const& execution) {
    return laggedProductsAnd(sky, maxLag, execution, [] {});
}

Whiteness whiteness(BlankSky const& sky, Execution const& execution) {
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    constexpr Index middle = Whiteness::maxLag;
    constexpr std::array<std::pair<Index, Index>, 4> directions{{{0, 1}, {1, 0}, {1, 1}, {1, -1}}};
    double width = unknown;
    LaggedProducts const found = laggedProductsAnd(sky, middle, execution, [&] { width = pullWidth(sky); });
    double const power = sky.nPixels > 1 ? found.means(middle, middle) : 0.0;
    Whiteness result;
    result.correlations = (found.counts > (power > 0.0 ? 0.0 : std::numeric_limits<double>::infinity()))
                              .select(found.means / power * sky.freedom + 1.0 - sky.freedom, unknown);
    for (auto const& [dy, dx] : directions) {
        result.lag1 += result.correlations(middle + dy, middle + dx) / 4.0;
        result.lag2 += result.correlations(middle + 2 * dy, middle + 2 * dx) / 4.0;
    }
    double const nPairs = found.counts.minCoeff();
    result.lagError = nPairs > 0.0 ? 0.5 / std::sqrt(nPairs) : unknown;
    result.pullWidth = width / std::sqrt(sky.freedom);
    result.pullWidthError = sky.nPixels > 0 ? 1.167 / std::sqrt(static_cast<double>(sky.nPixels)) : unknown;
    return result;
}

CellMeans cellMeans(BlankSky const& sky, Index minPixels, Execution const& execution) {
    auto const nColumns = static_cast<Index>(sky.lefts.size());
    std::vector<CellMeans> ofWindows(static_cast<std::size_t>(sky.nWindows()));
    parallelForBrief(sky.nWindows(), execution, [&](Index window, int) {
        CellMeans& found = ofWindows[static_cast<std::size_t>(window)];
        auto const windowTop = static_cast<double>(sky.tops[static_cast<std::size_t>(window / nColumns)]);
        auto const windowLeft = static_cast<double>(sky.lefts[static_cast<std::size_t>(window % nColumns)]);
        Index const first = window * sky.windowSize();
        for (Index top = 0; top < sky.height; top += sky.cellSide) {
            for (Index left = 0; left < sky.width; left += sky.cellSide) {
                double sum = 0.0;
                double variance = 0.0;
                double sumX = 0.0;
                double sumY = 0.0;
                double count = 0.0;
                Index const right = std::min(sky.width, left + sky.cellSide);
                for (Index y = top; y < std::min(sky.height, top + sky.cellSide); ++y) {
                    Index const row = first + y * sky.width;
                    float const* const image = sky.image.data() + row;
                    float const* const variances = sky.variances.data() + row;
                    std::uint8_t const* const isBlank = sky.isBlank.data() + row;
                    for (Index x = left; x < right; ++x) {
                        double const weight = isBlank[x];
                        sum += weight * image[x];
                        variance += weight * variances[x];
                        sumX += weight * static_cast<double>(x);
                        sumY += weight * static_cast<double>(y);
                        count += weight;
                    }
                }
                if (count >= std::max(static_cast<double>(minPixels), 1.0)) {
                    found.x.push_back(windowLeft + sumX / count);
                    found.y.push_back(windowTop + sumY / count);
                    found.means.push_back(sum / count);
                    found.errors.push_back(std::sqrt(variance) / count);
                }
            }
        }
    });
    CellMeans all;
    for (CellMeans const& found : ofWindows) {
        for (auto const column : {&CellMeans::x, &CellMeans::y, &CellMeans::means, &CellMeans::errors}) {
            (all.*column).insert((all.*column).end(), (found.*column).begin(), (found.*column).end());
        }
    }
    return all;
}

}  // namespace psfmatch
