#include "psfmatch/sources/BrightPixels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <stdexcept>

#include "psfmatch/base/pages.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/sources/Clumps.h"

namespace psfmatch {

namespace {

// The first pixel of a row.
template <typename Pixel>
Pixel const* rowOf(ConstImageView<Pixel> const& image, Index y) {
    return image.data() + y * image.outerStride();
}

constexpr Index rowsPerItem = 32;
constexpr Index sampleSize = 200'000;
constexpr double brightFraction = 0.995;
constexpr double brightShare = 0.4;
constexpr double oneSigmaBelow = 0.158655;  // share of a normal distribution
constexpr float largest = std::numeric_limits<float>::max();

// Calls body(first row, row after the last, item) for strips of rows.
template <typename Body>
void forStrips(Index height, Execution const& execution, Body const& body) {
    parallelForBrief((height + rowsPerItem - 1) / rowsPerItem, execution, [&](Index item, int) {
        body(item * rowsPerItem, std::min(height, (item + 1) * rowsPerItem), static_cast<std::size_t>(item));
    });
}

std::size_t stripsOf(Index height) {
    return static_cast<std::size_t>((height + rowsPerItem - 1) / rowsPerItem);
}

void requireSameShape(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask) {
    if (!haveOneShape(image, mask)) {
        throw std::invalid_argument("image and mask must have one shape");
    }
}

// Every so many pixels of every so many rows, those that are finite.
std::vector<float> sampleOf(ConstImageView<float> const& image) {
    auto const step = std::max<Index>(1, static_cast<Index>(std::sqrt(static_cast<double>(image.size() / sampleSize))));
    std::vector<float> sample(
        static_cast<std::size_t>(((image.rows() - 1) / step + 1) * ((image.cols() - 1) / step + 1)) + 1);
    std::size_t count = 0;
    for (Index y = 0; y < image.rows(); y += step) {
        for (Index x = 0; x < image.cols(); x += step) {
            float const value = image(y, x);
            sample[count] = value;
            count += static_cast<std::size_t>(std::abs(value) <= largest);
        }
    }
    sample.resize(count);
    return sample;
}

// Whether two of the eight neighbours of a pixel inside the border have a value.
bool hasNeighbours(ConstImageView<float> const& image, Index y, Index x, float limit) {
    int count = 0;
    for (Index j = y - 1; j <= y + 1; ++j) {
        for (Index i = x - 1; i <= x + 1; ++i) {
            count += image(j, i) >= limit ? 1 : 0;
        }
    }
    return count - (image(y, x) >= limit ? 1 : 0) >= 2;
}

// Places that lie in clumps of so many at the least, from those of strips of rows.
std::vector<Index> largeClumps(std::vector<std::vector<Index>> const& strips, Index width, Index least) {
    std::vector<Index> places;
    for (auto const& strip : strips) {
        places.insert(places.end(), strip.begin(), strip.end());
    }
    std::vector<Index> const sizes = clumpSizes(places, width, std::vector<std::uint8_t>(places.size(), 1));
    std::size_t count = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
        places[count] = places[i];
        count += sizes[i] >= least ? 1 : 0;
    }
    places.resize(count);
    return places;
}

}  // namespace

BrightPixels brightPixels(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                          BrightPixelsControl const& control, Execution const& execution) {
    requireSameShape(image, mask);
    BrightPixels result;
    std::vector<float> sample = sampleOf(image);
    if (sample.empty()) {
        return result;
    }
    std::vector<float> scratch;
    double const brightest = quantileOf<float>(sample, brightFraction, scratch);
    MedianAndSigma const found = medianAndSigma<float>(sample, scratch);
    result.sky = found.median;
    result.noise = found.sigma;
    if (control.significance * result.noise > brightest - result.sky) {
        // In a crowd the brighter half are stars; whole counts may leave nothing below the median.
        double const below = result.sky - quantileOf<float>(sample, oneSigmaBelow, scratch);
        result.noise = below > 0.0 ? std::min(found.sigma, below) : found.sigma;
    }
    // Half the least plateau, for what lies below it; in crowded fields no more than the brightest few per cent.
    double const bright =
        result.sky + std::max(0.5 * control.significance * result.noise, brightShare * (brightest - result.sky));
    auto const threshold = static_cast<float>(std::max(bright, result.sky + 1e-6 * std::abs(result.sky)));

    struct Part {
        std::vector<Index> places;
        std::vector<double> counts;
        std::vector<std::uint8_t> isFlagged;
        Index nFlagged = 0;
    };
    std::vector<Part> parts(stripsOf(image.rows()));
    forStrips(image.rows(), execution, [&](Index first, Index end, std::size_t item) {
        Part& part = parts[item];
        auto const width = static_cast<std::size_t>(image.cols());
        for (Index y = first; y < end; ++y) {
            float const* const pixels = rowOf(image, y);
            MaskPixel const* const planes = rowOf(mask, y);
            std::int32_t nFlagged = 0;
            for (std::size_t x = 0; x < width; ++x) {
                nFlagged += (planes[x] & control.saturated) != 0 ? 1 : 0;
            }
            part.nFlagged += nFlagged;
            if (y == 0 || y + 1 == image.rows()) {
                continue;
            }
            constexpr std::size_t block = 32;
            for (std::size_t start = 1; start + 1 < width; start += block) {
                std::size_t const stop = std::min(start + block, width - 1);
                int isAny = 0;
                if (stop - start == block) {
                    // As many as the compiler knows of.
                    for (std::size_t x = start; x < start + block; ++x) {
                        isAny |= pixels[x] > threshold ? 1 : 0;
                    }
                } else {
                    isAny = 1;
                }
                for (std::size_t x = start; isAny != 0 && x < stop; ++x) {
                    float const value = pixels[x];
                    if (!(value > threshold) || value > largest || (planes[x] & control.defects) != 0) {
                        continue;
                    }
                    double const counts = static_cast<double>(value) - result.sky;
                    // Single precision may round the threshold to the sky itself.
                    if (counts > 0.0 && hasNeighbours(image, y, static_cast<Index>(x),
                                                      static_cast<float>(result.sky + brightShare * counts))) {
                        part.places.push_back(y * image.cols() + static_cast<Index>(x));
                        part.counts.push_back(counts);
                        part.isFlagged.push_back((planes[x] & control.saturated) != 0 ? 1 : 0);
                    }
                }
            }
        }
    });
    for (Part const& part : parts) {
        result.places.insert(result.places.end(), part.places.begin(), part.places.end());
        result.counts.insert(result.counts.end(), part.counts.begin(), part.counts.end());
        result.isFlagged.insert(result.isFlagged.end(), part.isFlagged.begin(), part.isFlagged.end());
        result.nFlagged += part.nFlagged;
    }
    return result;
}

bool flagSaturation(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                    SaturationControl const& control, Execution const& execution, ImageView<MaskPixel> flags) {
    requireSameShape(image, mask);
    if (!haveOneShape(flags, mask)) {
        throw std::invalid_argument("the flags must have the shape of the mask");
    }
    if (!(control.growth >= 0.0)) {
        throw std::invalid_argument("growth is " + std::to_string(control.growth) + ", must be 0 or more pixels");
    }
    auto const level = static_cast<float>(control.level);
    auto const trailLeast = static_cast<float>(control.trailLeast);
    auto const trailMost = static_cast<float>(control.trailMost);
    float const lowest = std::fmin(level, trailLeast);  // of those that are numbers
    auto const half = static_cast<float>(0.5 * control.level);
    auto const hasBrightSide = [&](Index y, Index x) {
        return (x > 0 && image(y, x - 1) >= half) || (x + 1 < image.cols() && image(y, x + 1) >= half) ||
               (y > 0 && image(y - 1, x) >= half) || (y + 1 < image.rows() && image(y + 1, x) >= half);
    };
    std::vector<std::vector<Index>> found(stripsOf(image.rows()));
    std::vector<std::vector<Index>> inTrails(found.size());
    std::vector<Index> nNew(found.size(), 0);
    forStrips(image.rows(), execution, [&](Index first, Index end, std::size_t item) {
        for (Index y = first; y < end; ++y) {
            float const* const pixels = rowOf(image, y);
            MaskPixel const* const planes = rowOf(mask, y);
            constexpr Index block = 32;
            for (Index start = 0; start < image.cols(); start += block) {
                Index const stop = std::min(start + block, image.cols());
                int isAny = 0;
                if (stop - start == block) {
                    for (Index x = start; x < start + block; ++x) {
                        isAny |= (planes[x] & control.saturated) | (pixels[x] >= lowest ? 1 : 0);
                    }
                } else {
                    isAny = 1;
                }
                for (Index x = start; isAny != 0 && x < stop; ++x) {
                    bool const hasPlane = (planes[x] & control.saturated) != 0;
                    // What lies under another bad plane, or is no number, is not light.
                    bool const isHigh =
                        pixels[x] >= level && pixels[x] <= largest &&
                        ((planes[x] & control.defects) == 0 || (control.countsHidden && hasBrightSide(y, x)));
                    if (hasPlane || isHigh) {
                        found[item].push_back(y * image.cols() + x);
                        nNew[item] += hasPlane ? 0 : 1;
                    }
                    if (pixels[x] >= trailLeast && pixels[x] <= trailMost && (planes[x] & control.defects) == 0) {
                        inTrails[item].push_back(y * image.cols() + x);
                    }
                }
            }
        }
    });
    found.push_back(largeClumps(inTrails, image.cols(), control.trailPixels));
    for (Index const place : found.back()) {
        nNew.front() += (mask(place / image.cols(), place % image.cols()) & control.saturated) == 0 ? 1 : 0;
    }
    bool const isNone = std::all_of(found.begin(), found.end(), [](auto const& part) { return part.empty(); });
    bool const isAnyNew = std::accumulate(nNew.begin(), nNew.end(), Index{0}) > 0;
    if (isNone || (!isAnyNew && control.growth < 1.0)) {
        return false;
    }
    providePages(flags, execution);
    forStrips(image.rows(), execution, [&](Index first, Index end, std::size_t) {
        flags.middleRows(first, end - first) = mask.middleRows(first, end - first);
    });
    auto const reach = static_cast<Index>(control.growth);
    std::vector<Index> halfWidths;  // of the disc's rows
    for (Index dy = -reach; dy <= reach; ++dy) {
        halfWidths.push_back(
            static_cast<Index>(std::sqrt(control.growth * control.growth - static_cast<double>(dy * dy))));
    }
    for (auto const& part : found) {
        for (Index const place : part) {
            Index const row = place / image.cols();
            Index const column = place % image.cols();
            for (Index y = std::max<Index>(0, row - reach); y <= std::min(image.rows() - 1, row + reach); ++y) {
                Index const halfWidth = halfWidths[static_cast<std::size_t>(y - row + reach)];
                for (Index x = std::max<Index>(0, column - halfWidth);
                     x <= std::min(image.cols() - 1, column + halfWidth); ++x) {
                    flags(y, x) |= control.saturated;
                }
            }
        }
    }
    return true;
}

MaskPixel planesOf(ConstImageView<MaskPixel> const& mask, Execution const& execution) {
    std::vector<MaskPixel> parts(stripsOf(mask.rows()), 0);
    forStrips(mask.rows(), execution, [&](Index first, Index end, std::size_t item) {
        for (Index y = first; y < end; ++y) {
            for (Index x = 0; x < mask.cols(); ++x) {
                parts[item] |= mask(y, x);
            }
        }
    });
    return std::accumulate(parts.begin(), parts.end(), MaskPixel{0}, [](MaskPixel a, MaskPixel b) { return a | b; });
}

}  // namespace psfmatch
