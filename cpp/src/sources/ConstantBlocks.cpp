#include "psfmatch/sources/ConstantBlocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr Index rowsPerStrip = 128;
constexpr std::size_t largestSide = 255;
constexpr std::size_t sampleSize = 40'000;
constexpr Index fewPixels = 30;
// Of an image without noise pixels three apart differ by three times as much as neighbours, or more; of resampled noise
// by 2.2 times at the most.
constexpr double smoothShare = 0.4;
constexpr double jumpOfRange = 0.01;  // of such an image, in units of the range of its counts
constexpr double aboveSky = 5.0;      // standard deviations from which a block may be a clipped star
constexpr Index aboveSide = 7;        // least square of such a block
constexpr double litHeight = 0.1;     // of the block's height: what the rims of clipped stars exceed
constexpr double litRim = 0.25;       // share of the rim
constexpr double rare = 1e-3;  // share of equal pairs below which what touches a block and equals it belongs to it

using Sides = std::vector<std::uint8_t>;

// What a strip of rows has: squares by their sides, and pairs of neighbours in rows.
struct Part {
    std::array<Index, largestSide + 1> counts{};
    Index nPairs = 0;
    Index nEqual = 0;
};

class Finder {
public:
    Finder(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
           ConstantBlocksControl const& control, Execution const& execution)
        : image_(image),
          mask_(mask),
          control_(control),
          execution_(execution),
          height_(image.rows()),
          width_(image.cols()),
          sides_(static_cast<std::size_t>(image.size()), 0),
          rowSides_(static_cast<std::size_t>(image.rows()), 0) {}

    ConstantBlocks find() {
        ConstantBlocks result;
        std::vector<Index> const counts = countSides();
        auto const nOf = [&](Index least) {
            return std::accumulate(counts.begin() + std::min<Index>(least, control_.maxSide + 1), counts.end(),
                                   Index{0});
        };
        if (nEqual_ == 0) {
            return result;
        }
        bool const hasLargest = nOf(control_.maxSide) > 0;
        double share = static_cast<double>(nEqual_) / static_cast<double>(nPairs_);
        Index side = hasLargest ? control_.maxSide : sideOf(share);
        result.side = side;
        if (side > control_.maxSide || nOf(side) == 0) {
            return result;
        }
        // The blocks' own pairs do not count; without them smaller squares tell.
        constexpr int nPasses = 5;
        for (int pass = 0; pass < nPasses && side > control_.minSide; ++pass) {
            cover(side);
            share = equalShareOutside();
            Index const next = sideOf(share);
            if (next == side) {
                break;
            }
            side = next;
            if (side > control_.maxSide) {
                result.side = side;
                return result;
            }
        }
        cover(side);
        result.side = side;
        measureRest();
        if (range_.empty()) {
            return result;
        }
        collect(side, share, result);
        return result;
    }

private:
    [[nodiscard]] bool isGood(Index y, Index x) const {
        return (mask_(y, x) & control_.badBits) == 0 && std::isfinite(image_(y, x));
    }

    // Chance makes a square of n pixels of the commonest value with less than share^(n / 2).
    [[nodiscard]] Index sideOf(double share) const {
        if (share <= 0.0) {
            return control_.minSide;
        }
        if (share >= 1.0) {
            return std::numeric_limits<Index>::max();
        }
        double const nPixels = 2.0 * std::log(static_cast<double>(image_.size()) / control_.falseSquares);
        return std::max(control_.minSide, static_cast<Index>(std::ceil(std::sqrt(nPixels / -std::log(share)))));
    }

    // The side of the largest square of equal good pixels that ends at each pixel of a row, at most maxSide.
    void nextSides(Index y, Sides const& above, Sides& sides) const {
        auto const limit = static_cast<std::uint8_t>(control_.maxSide);
        float const* const pixels = image_.data() + y * image_.outerStride();
        float const* const before = pixels - (y > 0 ? image_.outerStride() : 0);
        MaskPixel const* const planes = mask_.data() + y * mask_.outerStride();
        constexpr std::size_t block = 32;
        for (std::size_t start = 0; start < sides.size(); start += block) {
            std::size_t const stop = std::min(sides.size(), start + block);
            int isAny = start == 0 || stop - start < block ? 1 : 0;
            if (isAny == 0) {
                for (std::size_t x = start; x < start + block; ++x) {
                    isAny |= pixels[x] == pixels[x - 1] ? 1 : 0;
                }
            }
            if (isAny == 0) {
                // No square but single pixels.
                for (std::size_t x = start; x < start + block; ++x) {
                    float const value = pixels[x];
                    int const isThere = ((planes[x] & control_.badBits) == 0 ? 1 : 0) & (value - value == 0.0F ? 1 : 0);
                    sides[x] = static_cast<std::uint8_t>(isThere);
                }
                continue;
            }
            for (std::size_t x = start; x < stop; ++x) {
                float const value = pixels[x];
                bool const isThere = (planes[x] & control_.badBits) == 0 && value - value == 0.0F;
                std::uint8_t side = isThere ? 1 : 0;
                if (isThere && x > 0 && y > 0 && value == pixels[x - 1] && value == before[x] &&
                    value == before[x - 1]) {
                    std::uint8_t const least = std::min(std::min(above[x], above[x - 1]), sides[x - 1]);
                    side = std::min<std::uint8_t>(limit, static_cast<std::uint8_t>(least + 1));
                }
                sides[x] = side;
            }
        }
    }

    // Whether any pixel of a row equals the next; most rows of real numbers have none.
    [[nodiscard]] bool hasEqual(Index y) const {
        float const* const pixels = image_.data() + y * image_.outerStride();
        int found = 0;
        for (Index x = 0; x + 1 < width_; ++x) {
            found |= pixels[x] == pixels[x + 1] ? 1 : 0;
        }
        return found != 0;
    }

    // How many squares of each side end somewhere; counts pairs of neighbours in rows, too.
    std::vector<Index> countSides() {
        Index const nStrips = (height_ + rowsPerStrip - 1) / rowsPerStrip;
        std::vector<Part> parts(static_cast<std::size_t>(nStrips));
        parallelForBrief(nStrips, execution_, [&](Index strip, int) {
            Part& part = parts[static_cast<std::size_t>(strip)];
            Sides above(static_cast<std::size_t>(width_), 1);
            Sides sides(above);
            Index const first = strip * rowsPerStrip;
            for (Index y = std::max<Index>(0, first - control_.maxSide); y < std::min(height_, first + rowsPerStrip);
                 ++y) {
                bool const isOwn = y >= first;
                if (!hasEqual(y)) {
                    part.nPairs += isOwn ? width_ - 1 : 0;
                    std::fill(above.begin(), above.end(), std::uint8_t{1});
                    continue;
                }
                nextSides(y, above, sides);
                if (isOwn) {
                    countRow(y, sides, part);
                    std::copy(sides.begin(), sides.end(), sides_.begin() + y * width_);
                    rowSides_[static_cast<std::size_t>(y)] = *std::max_element(sides.begin(), sides.end());
                }
                above.swap(sides);
            }
        });
        std::vector<Index> counts(static_cast<std::size_t>(control_.maxSide) + 1, 0);
        for (Part const& part : parts) {
            std::transform(counts.begin(), counts.end(), part.counts.begin(), counts.begin(), std::plus<>());
            nPairs_ += part.nPairs;
            nEqual_ += part.nEqual;
        }
        return counts;
    }

    void countRow(Index y, Sides const& sides, Part& part) const {
        float const* const pixels = image_.data() + y * image_.outerStride();
        std::uint8_t const* const side = sides.data();
        std::int32_t nBad = 0;
        std::int32_t nSingle = 0;
        std::int32_t nPairs = 0;
        std::int32_t nEqual = 0;
        for (Index x = 0; x < width_; ++x) {
            nBad += side[x] == 0 ? 1 : 0;
            nSingle += side[x] == 1 ? 1 : 0;
        }
        for (Index x = 1; x < width_; ++x) {
            int const isPair = (side[x] != 0 ? 1 : 0) & (side[x - 1] != 0 ? 1 : 0);
            nPairs += isPair;
            nEqual += isPair & (pixels[x] == pixels[x - 1] ? 1 : 0);
        }
        part.counts[0] += nBad;
        part.counts[1] += nSingle;
        part.nPairs += nPairs;
        part.nEqual += nEqual;
        for (Index x = 0; nBad + nSingle < width_ && x < width_; ++x) {
            part.counts[side[x]] += side[x] > 1 ? 1 : 0;
        }
    }

    // Marks the pixels of squares of a side.
    void cover(Index side) {
        isCovered_.assign(static_cast<std::size_t>(image_.size()), 0);
        constexpr Index never = std::numeric_limits<Index>::max() / 2;
        std::vector<Index> lastRow(static_cast<std::size_t>(width_), never);
        Index lastEnd = never;  // row in which a square ends
        for (Index y = height_ - 1; y >= 0; --y) {
            lastEnd = rowSides_[static_cast<std::size_t>(y)] >= side ? y : lastEnd;
            if (lastEnd - y >= side) {
                continue;
            }
            Index last = never;
            for (Index x = width_ - 1; x >= 0; --x) {
                auto const place = static_cast<std::size_t>(y * width_ + x);
                last = sides_[place] >= side ? x : last;
                Index& row = lastRow[static_cast<std::size_t>(x)];
                row = last - x < side ? y : row;
                isCovered_[place] = row - y < side ? 1 : 0;
            }
        }
    }

    [[nodiscard]] double equalShareOutside() const {
        Index nPairs = 0;
        Index nEqual = 0;
        for (Index y = 0; y < height_; ++y) {
            for (Index x = 1; x < width_; ++x) {
                auto const place = static_cast<std::size_t>(y * width_ + x);
                if (isCovered_[place] == 0 && isCovered_[place - 1] == 0 && isGood(y, x) && isGood(y, x - 1)) {
                    ++nPairs;
                    nEqual += image_(y, x) == image_(y, x - 1) ? 1 : 0;
                }
            }
        }
        return nPairs > 0 ? static_cast<double>(nEqual) / static_cast<double>(nPairs) : 1.0;
    }

    // Sky, noise and range of the pixels outside, and whether they are smooth; no range without enough of them.
    void measureRest() {
        std::vector<float> values;
        std::vector<float> near;
        std::vector<float> far;
        auto const isOutside = [&](Index y, Index x) {
            return isCovered_[static_cast<std::size_t>(y * width_ + x)] == 0 && isGood(y, x);
        };
        auto const step = std::max<Index>(1, image_.size() / static_cast<Index>(sampleSize));
        for (Index place = 0; place < image_.size(); place += step) {
            Index const y = place / width_;
            Index const x = place % width_;
            if (!isOutside(y, x)) {
                continue;
            }
            values.push_back(image_(y, x));
            if (x + 3 < width_ && isOutside(y, x + 1) && isOutside(y, x + 3)) {
                near.push_back(std::abs(image_(y, x) - image_(y, x + 1)));
                far.push_back(std::abs(image_(y, x) - image_(y, x + 3)));
            }
        }
        if (static_cast<Index>(near.size()) < fewPixels) {
            return;
        }
        std::vector<float> scratch;
        range_ = {quantileOf<float>(values, 0.001, scratch), quantileOf<float>(values, 0.999, scratch)};
        double const low = quantileOf<float>(near, 0.5, scratch);
        isSmooth_ = !(low > smoothShare * quantileOf<float>(far, 0.5, scratch));
        MedianAndSigma const found = medianAndSigma<float>(values, scratch);
        sky_ = found.median;
        noise_ = found.sigma;
    }

    // Blocks that hold no data, from the covered pixels on.
    void collect(Index side, double share, ConstantBlocks& result) {
        std::vector<std::uint8_t> isSeen(isCovered_.size(), 0);
        Index const reach = share < rare ? image_.size() : side;
        for (std::size_t start = 0; start < isCovered_.size(); ++start) {
            if (isCovered_[start] == 0 || isSeen[start] != 0) {
                continue;
            }
            std::vector<Index> const pixels = blockAbout(static_cast<Index>(start), reach, isSeen);
            if (isWithoutData(pixels)) {
                float const value = image_(pixels.front() / width_, pixels.front() % width_);
                result.blocks.push_back({value, static_cast<Index>(pixels.size())});
                result.places.insert(result.places.end(), pixels.begin(), pixels.end());
            }
        }
        std::sort(result.places.begin(), result.places.end());
        std::stable_sort(result.blocks.begin(), result.blocks.end(),
                         [](auto const& one, auto const& other) { return one.nPixels > other.nPixels; });
    }

    // Pixels of one value that touch by their sides; so many steps at the most from those that are covered.
    std::vector<Index> blockAbout(Index start, Index reach, std::vector<std::uint8_t>& isSeen) {
        float const value = image_(start / width_, start % width_);
        std::vector<Index> pixels{start};
        std::vector<Index> steps{0};
        rim_.clear();
        rimOfBlocks_.clear();
        isSeen[static_cast<std::size_t>(start)] = 1;
        for (std::size_t i = 0; i < pixels.size(); ++i) {
            Index const y = pixels[i] / width_;
            Index const x = pixels[i] % width_;
            Index const step = steps[i];
            auto const visit = [&](Index j, Index k) {
                if (j < 0 || k < 0 || j >= height_ || k >= width_ || !isGood(j, k)) {
                    return;
                }
                auto const place = static_cast<std::size_t>(j * width_ + k);
                if (image_(j, k) != value) {
                    (isCovered_[place] != 0 ? rimOfBlocks_ : rim_).push_back(image_(j, k));
                } else if (isSeen[place] == 0 && (isCovered_[place] != 0 || step < reach)) {
                    isSeen[place] = 1;
                    pixels.push_back(j * width_ + k);
                    steps.push_back(isCovered_[place] != 0 ? 0 : step + 1);
                }
            };
            visit(y, x - 1);
            visit(y, x + 1);
            visit(y - 1, x);
            visit(y + 1, x);
        }
        return pixels;
    }

    [[nodiscard]] bool isWithoutData(std::vector<Index> const& pixels) const {
        double const value = image_(pixels.front() / width_, pixels.front() % width_);
        if (isSmooth_) {
            std::vector<float> jumps;
            // The sky of such an image is a block, too; stars rise from it without a jump.
            for (float const other : rim_.empty() ? rimOfBlocks_ : rim_) {
                jumps.push_back(static_cast<float>(std::abs(other - value)));
            }
            std::vector<float> scratch;
            return !jumps.empty() && quantileOf<float>(jumps, 0.5, scratch) > jumpOfRange * (range_[1] - range_[0]);
        }
        double const above = value - sky_;
        if (!(above > aboveSky * noise_)) {
            return true;
        }
        bool const isLarge = std::any_of(pixels.begin(), pixels.end(), [&](Index place) {
            return sides_[static_cast<std::size_t>(place)] >= aboveSide;
        });
        double const limit = sky_ + std::max(litHeight * above, std::min(3.0 * noise_, 0.5 * above));
        auto const nLit = std::count_if(rim_.begin(), rim_.end(), [&](float other) { return other > limit; });
        return isLarge && !rim_.empty() && static_cast<double>(nLit) < litRim * static_cast<double>(rim_.size());
    }

    ConstImageView<float> image_;
    ConstImageView<MaskPixel> mask_;
    ConstantBlocksControl control_;
    Execution const& execution_;
    Index height_;
    Index width_;
    Index nPairs_ = 0;
    Index nEqual_ = 0;
    Sides sides_;     // squares that end at each pixel; 0 in rows in which no neighbours are equal
    Sides rowSides_;  // the largest of each row
    std::vector<std::uint8_t> isCovered_;
    std::vector<float> rim_;          // values about a block
    std::vector<float> rimOfBlocks_;  // those in other blocks
    std::vector<double> range_;
    bool isSmooth_ = false;
    double sky_ = 0.0;
    double noise_ = 0.0;
};

}  // namespace

ConstantBlocks constantBlocks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                              ConstantBlocksControl const& control, Execution const& execution) {
    if (!haveOneShape(image, mask)) {
        throw std::invalid_argument("image and mask must have one shape");
    }
    if (control.minSide < 2 || control.maxSide < control.minSide || control.maxSide > static_cast<Index>(largestSide)) {
        throw std::invalid_argument("squares of " + std::to_string(control.minSide) + " to " +
                                    std::to_string(control.maxSide) + " pixels: must be 2 to 255, in this order");
    }
    return Finder(image, mask, control, execution).find();
}

}  // namespace psfmatch
