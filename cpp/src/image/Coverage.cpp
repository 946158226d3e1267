#include "psfmatch/image/Coverage.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "psfmatch/image/badPixels.h"

namespace psfmatch {

namespace {

constexpr Index rowsPerItem = 64;
constexpr Index blockWidth = 1024;

// What a strip of rows holds: columns are [first, last], rows likewise.
struct StripCoverage {
    Index nFirst = 0;
    Index nSecond = 0;
    Index nBoth = 0;
    Index x0 = 0;
    Index x1 = 0;
    Index y0 = 0;
    Index y1 = 0;

    void addBox(Index left, Index right, Index bottom, Index top) {
        bool const isEmpty = x1 == x0;
        x0 = isEmpty ? left : std::min(x0, left);
        x1 = isEmpty ? right : std::max(x1, right);
        y0 = isEmpty ? bottom : std::min(y0, bottom);
        y1 = isEmpty ? top : std::max(y1, top);
    }
};

struct RowPointers {
    float const* image;
    float const* variance;
    MaskPixel const* mask;

    RowPointers(MaskedImageView const& planes, Index y)
        : image(planes.image.data() + y * planes.image.outerStride()),
          variance(planes.variance.data() + y * planes.variance.outerStride()),
          mask(planes.mask.data() + y * planes.mask.outerStride()) {}
};

void addRow(RowPointers const& first, MaskPixel firstBadBits, RowPointers const& second, MaskPixel secondBadBits,
            Index y, Index width, StripCoverage& found) {
    std::array<std::int32_t, blockWidth> both;
    Index nBoth = 0;
    Index left = width;
    Index right = 0;
    for (Index x0 = 0; x0 < width; x0 += blockWidth) {
        Index const count = std::min(blockWidth, width - x0);
        std::int32_t nFirst = 0;
        std::int32_t nSecond = 0;
        std::int32_t nHere = 0;
        for (Index i = 0; i < count; ++i) {
            Index const x = x0 + i;
            std::int32_t const one = isBad(first.image[x], first.variance[x], first.mask[x], firstBadBits) ? 0 : 1;
            std::int32_t const two = isBad(second.image[x], second.variance[x], second.mask[x], secondBadBits) ? 0 : 1;
            nFirst += one;
            nSecond += two;
            nHere += one & two;
            both[static_cast<std::size_t>(i)] = one & two;
        }
        found.nFirst += nFirst;
        found.nSecond += nSecond;
        nBoth += nHere;
        if (nHere == 0) {
            continue;
        }
        auto const end = both.begin() + count;
        left = std::min(left, x0 + (std::find(both.begin(), end, 1) - both.begin()));
        Index last = count;
        while (both[static_cast<std::size_t>(last - 1)] == 0) {
            --last;
        }
        right = std::max(right, x0 + last);
    }
    if (nBoth > 0) {
        found.nBoth += nBoth;
        found.addBox(left, right, y, y + 1);
    }
}

}  // namespace

PixelCoverage countCoverage(MaskedImageView const& first, MaskPixel firstBadBits, MaskedImageView const& second,
                            MaskPixel secondBadBits, Execution const& execution) {
    Index const height = first.image.rows();
    Index const width = first.image.cols();
    if (!haveOneShape(first.image, second.image)) {
        throw std::invalid_argument("images of " + std::to_string(width) + "x" + std::to_string(height) + " and " +
                                    std::to_string(second.image.cols()) + "x" + std::to_string(second.image.rows()) +
                                    " pixels are not on one grid");
    }
    Index const nItems = (height + rowsPerItem - 1) / rowsPerItem;
    std::vector<StripCoverage> strips(static_cast<std::size_t>(nItems));
    parallelForBrief(nItems, execution, [&](Index item, int) {
        for (Index y = item * rowsPerItem; y < std::min(height, (item + 1) * rowsPerItem); ++y) {
            addRow(RowPointers(first, y), firstBadBits, RowPointers(second, y), secondBadBits, y, width,
                   strips[static_cast<std::size_t>(item)]);
        }
    });
    StripCoverage all;
    for (StripCoverage const& strip : strips) {
        all.nFirst += strip.nFirst;
        all.nSecond += strip.nSecond;
        all.nBoth += strip.nBoth;
        if (strip.nBoth > 0) {
            all.addBox(strip.x0, strip.x1, strip.y0, strip.y1);
        }
    }
    return {all.nFirst, all.nSecond, all.nBoth, {all.x0, all.y0, all.x1 - all.x0, all.y1 - all.y0}};
}

}  // namespace psfmatch
