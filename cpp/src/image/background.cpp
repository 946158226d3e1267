#include "psfmatch/image/background.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "image/backgroundQuantiles.h"
#include "psfmatch/base/pages.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch {

namespace {

constexpr double sigmaPerInterquartileRange = 0.741301109252801;
constexpr double clippingSigma = 3.0;
constexpr int clippingPasses = 3;
constexpr Index blockWidth = 1024;  // pixels of a row whose sums stay in the first cache
constexpr Index rowsPerItem = 32;

void requireEdges(std::vector<Index> const& edges, Index step, Index size, char const* axis) {
    bool const ascending =
        edges.size() >= 2 && edges.front() >= 0 && edges.back() <= size && std::is_sorted(edges.begin(), edges.end());
    if (!ascending || step < 1) {
        throw std::invalid_argument(std::string("super-pixels along ") + axis + " need ascending edges within 0 and " +
                                    std::to_string(size) + " and a positive step");
    }
}

struct ValueAndVariance {
    double value = std::numeric_limits<double>::quiet_NaN();
    double variance = std::numeric_limits<double>::quiet_NaN();
};

struct Kept {
    double sum = 0.0;
    double squares = 0.0;
    double count = 0.0;
};

// Sums over the offsets from a centre that lie within limits.
Kept keptWithin(std::vector<float> const& values, double centre, double low, double high) {
    // Several sums side by side: one after the other each addition would wait for the last.
    constexpr std::size_t nSums = 8;
    std::array<double, nSums> sums = {};
    std::array<double, nSums> squares = {};
    std::array<double, nSums> counts = {};
    auto const add = [&](std::size_t i, std::size_t lane) {
        double const offset = static_cast<double>(values[i]) - centre;
        bool const isKept = (offset >= low) & (offset <= high);
        double const kept = isKept ? offset : 0.0;
        sums[lane] += kept;
        squares[lane] += kept * kept;
        counts[lane] += isKept ? 1.0 : 0.0;
    };
    std::size_t const whole = values.size() / nSums * nSums;
    for (std::size_t i = 0; i < whole; i += nSums) {
        for (std::size_t lane = 0; lane < nSums; ++lane) {
            add(i + lane, lane);
        }
    }
    for (std::size_t i = whole; i < values.size(); ++i) {
        add(i, i - whole);
    }
    Kept kept;
    for (std::size_t lane = 0; lane < nSums; ++lane) {
        kept.sum += sums[lane];
        kept.squares += squares[lane];
        kept.count += counts[lane];
    }
    return kept;
}

ValueAndVariance statisticOf(std::vector<float> const& values, SuperPixelStatistic statistic) {
    if (values.empty()) {
        return {};
    }
    detail::Quantiles quantiles(values);
    double const low = quantiles.at(0.25);
    double const median = quantiles.at(0.5);
    double const high = quantiles.at(0.75);
    bool const clips = statistic == SuperPixelStatistic::meanClip;
    // One rounding of the pixels keeps what equals the median where there is no scatter.
    auto const centre = static_cast<float>(std::abs(median));
    double const rounding = std::nextafter(centre, std::numeric_limits<float>::infinity()) - centre;
    double shift = 0.0;
    double variance = std::numeric_limits<double>::quiet_NaN();
    double sigma = sigmaPerInterquartileRange * (high - low);
    double used = 0.0;
    for (int pass = 0; pass < (clips ? clippingPasses : 1); ++pass) {
        double const reach = clips ? clippingSigma * sigma + rounding : std::numeric_limits<double>::infinity();
        Kept const kept = keptWithin(values, median, shift - reach, shift + reach);
        used = kept.count;
        shift = kept.sum / kept.count;
        variance = std::max(kept.squares / kept.count - shift * shift, 0.0);
        sigma = std::sqrt(variance);
    }
    return {statistic == SuperPixelStatistic::median ? median : median + shift, variance / used};
}

struct alignas(cacheLine) SampleSpace {
    std::vector<float> samples;
};

Index mostSamples(std::vector<Index> const& edges, Index step) {
    Index most = 0;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
        most = std::max(most, (edges[i + 1] - edges[i] + step - 1) / step);
    }
    return most;
}

template <typename IsBadAt>
SuperPixels measure(ConstImageView<float> const& image, SuperPixelControl const& control, Execution const& execution,
                    IsBadAt const& isBadAt) {
    requireEdges(control.edgesX, control.stepX, image.cols(), "x");
    requireEdges(control.edgesY, control.stepY, image.rows(), "y");
    auto const ny = static_cast<Index>(control.edgesY.size()) - 1;
    auto const nx = static_cast<Index>(control.edgesX.size()) - 1;
    SuperPixels result{OwnedImage<double>(ny, nx), OwnedImage<double>(ny, nx)};
    // The largest, made here: memory that a thread asks for itself is fresh and must be cleared by the system first.
    std::size_t const most = static_cast<std::size_t>(mostSamples(control.edgesX, control.stepX) *
                                                      mostSamples(control.edgesY, control.stepY));
    std::vector<SampleSpace> scratch(static_cast<std::size_t>(workerCount(ny, execution)),
                                     SampleSpace{std::vector<float>(most)});
    parallelForBrief(ny, execution, [&](Index j, int worker) {
        std::vector<float>& samples = scratch[static_cast<std::size_t>(worker)].samples;
        Index const* const edgeX = control.edgesX.data();
        Index const* const edgeY = control.edgesY.data() + j;
        for (Index i = 0; i < nx; ++i) {
            samples.resize(static_cast<std::size_t>((edgeX[i + 1] - edgeX[i] + control.stepX - 1) / control.stepX *
                                                    ((edgeY[1] - edgeY[0] + control.stepY - 1) / control.stepY)));
            std::size_t n = 0;
            for (Index y = edgeY[0]; y < edgeY[1]; y += control.stepY) {
                for (Index x = edgeX[i]; x < edgeX[i + 1]; x += control.stepX) {
                    // Written in any case: a branch would be mispredicted where bad pixels are scattered.
                    samples[n] = image(y, x);
                    n += isBadAt(y, x) ? 0 : 1;
                }
            }
            samples.resize(n);
            ValueAndVariance const found = statisticOf(samples, control.statistic);
            result.values(j, i) = found.value;
            result.variances(j, i) = found.variance;
        }
    });
    return result;
}

}  // namespace

SuperPixels superPixelStatistics(MaskedImageView const& input, MaskPixel badBits, SuperPixelControl const& control,
                                 Execution const& execution) {
    if (!haveOneShape(input.image, input.variance, input.mask)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
    return measure(input.image, control, execution, [&](Index y, Index x) {
        return isBad(input.image(y, x), input.variance(y, x), input.mask(y, x), badBits);
    });
}

SuperPixels superPixelStatistics(ConstImageView<float> const& image, SuperPixelControl const& control,
                                 Execution const& execution) {
    return measure(image, control, execution, [&](Index y, Index x) { return isBad(image(y, x), 0.0F, 0, 0); });
}

SampleNoise sampleNoise(ConstImageView<float> const& samples) {
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(samples.size()));
    SampleNoise found;
    for (Index y = 0; y < samples.rows(); ++y) {
        for (Index x = 0; x < samples.cols(); ++x) {
            float const value = samples(y, x);
            if (std::isfinite(value)) {
                values.push_back(value);
                found.largest = std::max(found.largest, std::abs(static_cast<double>(value)));
            }
        }
    }
    found.count = static_cast<Index>(values.size());
    if (values.empty()) {
        return found;
    }
    detail::Quantiles quantiles(values);
    double const median = quantiles.at(0.5);
    double reach = clippingSigma * sigmaPerInterquartileRange * (quantiles.at(0.75) - quantiles.at(0.25));
    double shift = 0.0;
    for (int pass = 0; pass < clippingPasses; ++pass) {
        Kept const kept = keptWithin(values, median, shift - reach, shift + reach);
        if (kept.count == 0.0) {
            break;
        }
        shift = kept.sum / kept.count;
        double const squares = std::max(kept.squares - kept.sum * shift, 0.0);
        found.stdev = kept.count > 1.0 ? std::sqrt(squares / (kept.count - 1.0)) : 0.0;
        reach = clippingSigma * found.stdev;
    }
    return found;
}

void subtractSurface(ConstImageView<float> const& image, OwnedImage<float> const& rows,
                     OwnedImage<float> const& columns, Execution const& execution, ImageView<float> output) {
    Index const height = image.rows();
    Index const width = image.cols();
    if (rows.rows() != height || columns.cols() != width || rows.cols() != columns.rows() || output.rows() != height ||
        output.cols() != width) {
        throw std::invalid_argument("a surface of " + std::to_string(columns.cols()) + "x" +
                                    std::to_string(rows.rows()) + " pixels does not fit an image of " +
                                    std::to_string(width) + "x" + std::to_string(height));
    }
    Index const n = rows.cols();
    providePages(output, execution);
    parallelForBrief((height + rowsPerItem - 1) / rowsPerItem, execution, [&](Index item, int) {
        std::array<float, blockWidth> surface;
        for (Index x0 = 0; x0 < width; x0 += blockWidth) {
            Index const count = std::min(blockWidth, width - x0);
            for (Index y = item * rowsPerItem; y < std::min(height, (item + 1) * rowsPerItem); ++y) {
                surface.fill(0.0F);
                for (Index k = 0; k < n; ++k) {
                    float const factor = rows(y, k);
                    float const* const column = columns.data() + k * width + x0;
                    for (Index x = 0; x < count; ++x) {
                        surface[static_cast<std::size_t>(x)] += factor * column[x];
                    }
                }
                float const* const from = image.data() + y * image.outerStride() + x0;
                float* const to = output.data() + y * output.outerStride() + x0;
                for (Index x = 0; x < count; ++x) {
                    to[x] = from[x] - surface[static_cast<std::size_t>(x)];
                }
            }
        }
    });
}

}  // namespace psfmatch
