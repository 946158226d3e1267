#include "psfmatch/warp/warp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "psfmatch/base/pages.h"
#include "psfmatch/image/badPixels.h"
#include "simd/warpFunctions.h"
#include "warp/warpPositions.h"
#include "warp/warpWeights.h"

namespace psfmatch {

namespace {

using detail::TileArray;
using detail::warpTileSide;

// A tile that needs more source pixels than this is halved: the transform tears it apart or is very coarse.
constexpr Index maxRegionSize = 256 * 256;

static_assert(2 * (5 + maxAreaWidth / 2) <= detail::maxWarpLanes);

// What one thread needs: the state of one tile, pixel by pixel, and the source pixels under it.
struct Scratch {
    detail::TilePositions at;
    TileArray<int> offset;  // of the first pixel under the kernel
    TileArray<float> image;
    TileArray<float> variance;
    TileArray<float> badShare;
    TileArray<float> missingShare;
    std::vector<float> imagePlane;
    std::vector<float> variancePlane;
    std::vector<float> badPlane;
    std::vector<float> missingPlane;
    std::vector<unsigned char> nearBad;  // whether a kernel that begins at this pixel holds a bad one
};

template <typename Pixel>
Pixel const* pixelAt(ConstImageView<Pixel> const& plane, Index y, Index x) {
    return plane.data() + y * plane.outerStride() + x;
}

detail::WarpFunctions functionsFor(InstructionSet set) {
    bool const avx2 = set != InstructionSet::baseline && isSupported(InstructionSet::avx2);
    return avx2 ? detail::warpFunctionsAvx2() : detail::warpFunctionsBaseline();
}

class Warper {
public:
    Warper(MaskedImageView const& source, PositionLattice const& positions, WarpControl const& control,
           Execution const& execution, MaskedImageTarget const& output)
        : source_(source),
          positions_(positions),
          control_(control),
          output_(output),
          table_(detail::makeWeightTable(control.kernel, control.keepCentroids, control.areaWidth)),
          functions_(functionsFor(control.instructionSet)),
          fill_(fillBadPixels(source, control.badBits, execution)),
          spreading_(spreadingMask()),
          half_(table_.nTaps / 2),
          maskHalf_(detail::tapCount(control.maskKernel, control.areaWidth) / 2) {}

    void warpTile(Box const& tile, Scratch& scratch) const {
        detail::locateTile(positions_, tile, axisOf(source_.image.cols()), axisOf(source_.image.rows()), functions_,
                           scratch.at);
        Box const region = regionUnder(tile.width * tile.height, scratch);
        if (region.width * region.height > maxRegionSize) {
            halve(tile, scratch);
            return;
        }
        if (region.width > 0) {
            resample(tile, region, scratch);
        }
        for (Index y = 0; y < tile.height; ++y) {
            writeRow(tile, y, scratch);
        }
        if (region.width > 0) {
            writeMask(tile, region, scratch);
        }
    }

private:
    [[nodiscard]] detail::WarpAxis axisOf(Index size) const {
        return {static_cast<double>(half_ - 1), static_cast<double>(size - half_),
                static_cast<double>(control_.cacheSize), control_.cacheSize > 0 ? 1.0 / control_.cacheSize : 0.0,
                detail::WeightTable::nodes};
    }

    [[nodiscard]] Box boxAbout(Index x, Index y) const { return {x - half_ + 1, y - half_ + 1, 2 * half_, 2 * half_}; }

    // The source pixels under the kernels of all pixels of a tile that have room, empty if there are none.
    [[nodiscard]] Box regionUnder(Index count, Scratch const& scratch) const {
        int xMin = std::numeric_limits<int>::max();
        int yMin = xMin;
        int xMax = -1;
        int yMax = -1;
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            bool const inside = scratch.at.inside[i] != 0;
            xMin = std::min(xMin, inside ? scratch.at.column[i] : xMin);
            yMin = std::min(yMin, inside ? scratch.at.row[i] : yMin);
            xMax = std::max(xMax, inside ? scratch.at.column[i] : xMax);
            yMax = std::max(yMax, inside ? scratch.at.row[i] : yMax);
        }
        if (xMax < 0) {
            return {};
        }
        return {xMin - half_ + 1, yMin - half_ + 1, xMax - xMin + 2 * half_, yMax - yMin + 2 * half_};
    }

    void halve(Box const& tile, Scratch& scratch) const {
        bool const wide = tile.width >= tile.height;
        Index const width = wide ? tile.width / 2 : tile.width;
        Index const height = wide ? tile.height : tile.height / 2;
        warpTile({tile.x0, tile.y0, width, height}, scratch);
        if (wide) {
            warpTile({tile.x0 + width, tile.y0, tile.width - width, height}, scratch);
        } else {
            warpTile({tile.x0, tile.y0 + height, width, tile.height - height}, scratch);
        }
    }

    void resample(Box const& tile, Box const& region, Scratch& scratch) const {
        auto const stride = static_cast<int>(region.width) + table_.lanes;
        auto const size = static_cast<std::size_t>(stride) * static_cast<std::size_t>(region.height);
        scratch.imagePlane.resize(size);
        scratch.variancePlane.resize(size);
        scratch.badPlane.clear();
        scratch.missingPlane.clear();
        scratch.nearBad.clear();
        for (Index y = 0; y < region.height; ++y) {
            copyRow(source_.image, region, y, stride, scratch.imagePlane);
            copyRow(source_.variance, region, y, stride, scratch.variancePlane);
            writeFilledRow(region, y, stride, scratch);
        }
        Index const count = tile.width * tile.height;
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            auto const x = static_cast<int>(scratch.at.column[i] - half_ + 1 - region.x0);
            auto const y = static_cast<int>(scratch.at.row[i] - half_ + 1 - region.y0);
            scratch.offset[i] = scratch.at.inside[i] != 0 ? y * stride + x : 0;
        }
        detail::WarpWeights const weights{table_.coefficients.data(), table_.nTaps, table_.lanes};
        detail::WarpPositions const positions{scratch.offset.data(),   scratch.at.xNode.data(),
                                              scratch.at.yNode.data(), scratch.at.xRest.data(),
                                              scratch.at.yRest.data(), static_cast<int>(count)};
        functions_.resample(weights, positions, scratch.imagePlane.data(), scratch.variancePlane.data(), stride,
                            scratch.image.data(), scratch.variance.data());
        measureShares(weights, positions, stride, scratch);
    }

    // Bad pixels are few: only kernels that hold one are looked at.
    void measureShares(detail::WarpWeights const& weights, detail::WarpPositions const& positions, int stride,
                       Scratch& scratch) const {
        if (scratch.badPlane.empty()) {
            return;
        }
        for (int i = 0; i < positions.count; ++i) {
            auto const k = static_cast<std::size_t>(i);
            scratch.badShare[k] = 0.0F;
            scratch.missingShare[k] = 0.0F;
            if (scratch.nearBad[static_cast<std::size_t>(positions.offset[i])] == 0) {
                continue;
            }
            detail::WarpPositions const one{positions.offset + i, positions.xNode + i, positions.yNode + i,
                                            positions.xRest + i,  positions.yRest + i, 1};
            functions_.absoluteShare(weights, one, scratch.badPlane.data(), stride, &scratch.badShare[k]);
            if (!scratch.missingPlane.empty()) {
                functions_.absoluteShare(weights, one, scratch.missingPlane.data(), stride, &scratch.missingShare[k]);
            }
        }
    }

    static void copyRow(ConstImageView<float> const& plane, Box const& region, Index y, int stride,
                        std::vector<float>& to) {
        float const* const from = pixelAt(plane, region.y0 + y, region.x0);
        float* const end = std::copy(from, from + region.width, to.data() + y * stride);
        std::fill(end, to.data() + (y + 1) * stride, 0.0F);
    }

    void writeFilledRow(Box const& region, Index y, int stride, Scratch& scratch) const {
        auto const filled = fill_.row(region.y0 + y);
        auto pixel = std::lower_bound(filled.begin(), filled.end(), region.x0,
                                      [](FilledPixel const& p, Index x) { return p.x < x; });
        for (; pixel != filled.end() && pixel->x < region.x0 + region.width; ++pixel) {
            auto const i = static_cast<std::size_t>(y * stride + pixel->x - region.x0);
            std::size_t const size = scratch.imagePlane.size();
            scratch.imagePlane[i] = pixel->value;
            scratch.variancePlane[i] = pixel->variance;
            scratch.badPlane.resize(size, 0.0F);
            scratch.nearBad.resize(size, 0);
            scratch.badPlane[i] = shareOf(*pixel);
            markNear(pixel->x - region.x0, y, stride, scratch);
            if (pixel->planes == 0 || (pixel->planes & control_.noDataBit) != 0) {
                scratch.missingPlane.resize(size, 0.0F);
                scratch.missingPlane[i] = shareOf(*pixel);
            }
        }
    }

    // How much a filled pixel counts beside one that is not filled safely.
    [[nodiscard]] float shareOf(FilledPixel const& pixel) const {
        return pixel.isSafe && safeIsApart()
                   ? static_cast<float>(control_.maskedKernelFraction / control_.safeKernelFraction)
                   : 1.0F;
    }

    [[nodiscard]] bool safeIsApart() const {
        return control_.maskedKernelFraction > 0.0 && control_.safeKernelFraction > control_.maskedKernelFraction;
    }

    // What the mask kernel spreads: the source's mask, without the bad planes of pixels that are filled safely.
    [[nodiscard]] ConstImageView<MaskPixel> spreadingMask() {
        auto const isSafe = [](FilledPixel const& pixel) { return pixel.isSafe; };
        if (!safeIsApart() || std::none_of(fill_.pixels.begin(), fill_.pixels.end(), isSafe)) {
            return source_.mask;
        }
        withoutSafe_ = source_.mask;
        for (Index y = 0; y < source_.mask.rows(); ++y) {
            for (FilledPixel const& pixel : fill_.row(y)) {
                withoutSafe_(y, pixel.x) &= pixel.isSafe ? ~control_.badBits : ~MaskPixel{0};
            }
        }
        return {withoutSafe_.data(), withoutSafe_.rows(), withoutSafe_.cols(),
                Eigen::OuterStride<>(withoutSafe_.outerStride())};
    }

    // Marks the first pixels of all kernels that hold pixel (x, y) of the region.
    void markNear(Index x, Index y, int stride, Scratch& scratch) const {
        Index const left = std::max<Index>(0, x - table_.nTaps + 1);
        for (Index row = std::max<Index>(0, y - table_.nTaps + 1); row <= y; ++row) {
            unsigned char* const first = scratch.nearBad.data() + row * stride;
            std::fill(first + left, first + x + 1, static_cast<unsigned char>(1));
        }
    }

    void writeRow(Box const& tile, Index y, Scratch const& scratch) const {
        auto const first = static_cast<std::size_t>(y * tile.width);
        auto const fraction = static_cast<float>(control_.maskedKernelFraction);
        bool const anyMissing = !scratch.missingPlane.empty();
        float* const image = &output_.image(tile.y0 + y, tile.x0);
        float* const variance = &output_.variance(tile.y0 + y, tile.x0);
        MaskPixel* const mask = &output_.mask(tile.y0 + y, tile.x0);
        for (std::size_t k = 0; k < static_cast<std::size_t>(tile.width); ++k) {
            std::size_t const i = first + k;
            bool const known = scratch.at.inside[i] != 0 && !(anyMissing && scratch.missingShare[i] > fraction);
            float const area = scratch.at.area[i];
            image[k] = known ? scratch.image[i] * area : std::numeric_limits<float>::quiet_NaN();
            variance[k] = known ? scratch.variance[i] * (area * area) : std::numeric_limits<float>::infinity();
            mask[k] = known ? 0 : control_.noDataBit;
        }
    }

    void writeMask(Box const& tile, Box const& region, Scratch const& scratch) const {
        MaskPixel const bits = bitsIn(region);
        bool const anyBad = !scratch.badPlane.empty();
        if (bits == 0 && !anyBad) {
            return;
        }
        auto const fraction = static_cast<float>(control_.maskedKernelFraction);
        std::size_t i = 0;
        for (Index y = tile.y0; y < tile.y0 + tile.height; ++y) {
            for (Index x = tile.x0; x < tile.x0 + tile.width; ++x, ++i) {
                if (scratch.at.inside[i] == 0) {
                    continue;
                }
                MaskPixel grown = bits & control_.growBits;
                if (anyBad && scratch.badShare[i] > fraction) {
                    grown |= bits & control_.badBits;
                }
                output_.mask(y, x) |=
                    collect(scratch, i, maskHalf_) |
                    (grown == 0 ? 0 : grown & bitsIn(boxAbout(scratch.at.column[i], scratch.at.row[i])));
            }
        }
    }

    [[nodiscard]] MaskPixel bitsIn(Box const& region) const {
        MaskPixel bits = 0;
        for (Index y = region.y0; y < region.y0 + region.height; ++y) {
            MaskPixel const* const row = pixelAt(source_.mask, y, region.x0);
            for (Index x = 0; x < region.width; ++x) {
                bits |= row[x];
            }
        }
        return bits;
    }

    // All planes under the pixels from -half + 1 to half about position i; of a kernel that is not averaged, only
    // pixels with weight: a whole position needs no neighbour.
    [[nodiscard]] MaskPixel collect(Scratch const& scratch, std::size_t i, Index half) const {
        bool const plain = control_.areaWidth == 0.0;
        bool const wholeX = plain && scratch.at.xNode[i] == 0 && scratch.at.xRest[i] == 0.0F;
        bool const wholeY = plain && scratch.at.yNode[i] == 0 && scratch.at.yRest[i] == 0.0F;
        Index const left = wholeX ? 0 : 1 - half;
        Index const right = wholeX ? 0 : half;
        Index const bottom = wholeY ? 0 : 1 - half;
        Index const top = wholeY ? 0 : half;
        if (half == 1) {
            // Four pixels, the usual case, without loops.
            MaskPixel const* const here = pixelAt(spreading_, scratch.at.row[i], scratch.at.column[i]);
            MaskPixel const* const above = here + top * spreading_.outerStride();
            return here[0] | here[right] | above[0] | above[right];
        }
        MaskPixel bits = 0;
        for (Index y = bottom; y <= top; ++y) {
            MaskPixel const* const row = pixelAt(spreading_, scratch.at.row[i] + y, scratch.at.column[i] + left);
            for (Index x = 0; x <= right - left; ++x) {
                bits |= row[x];
            }
        }
        return bits;
    }

    MaskedImageView source_;
    PositionLattice positions_;
    WarpControl control_;
    // Writing through a view changes the pixels, not the view.
    mutable MaskedImageTarget output_;
    detail::WeightTable table_;
    detail::WarpFunctions functions_;
    FilledPixels fill_;
    OwnedImage<MaskPixel> withoutSafe_;  // empty where it would be the source's mask
    ConstImageView<MaskPixel> spreading_;
    Index half_;
    Index maskHalf_;
};

void requireShapes(MaskedImageView const& source, PositionLattice const& positions, MaskedImageTarget const& output) {
    if (!haveOneShape(source.image, source.variance, source.mask)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
    if (!haveOneShape(output.image, output.variance, output.mask)) {
        throw std::invalid_argument("the output's image, variance and mask must have one shape");
    }
    if (positions.spacing < 1) {
        throw std::invalid_argument("spacing of the lattice is " + std::to_string(positions.spacing) +
                                    ", must be at least 1");
    }
    Index const rows = (output.image.rows() - 1) / positions.spacing + 2;
    Index const columns = (output.image.cols() - 1) / positions.spacing + 2;
    for (auto const* plane : {&positions.x, &positions.y}) {
        if (plane->rows() != rows || plane->cols() != columns) {
            throw std::invalid_argument("the lattice has " + std::to_string(plane->rows()) + " rows and " +
                                        std::to_string(plane->cols()) + " columns, must have " + std::to_string(rows) +
                                        " and " + std::to_string(columns));
        }
    }
}

void requireOptions(WarpControl const& control) {
    if (order(control.maskKernel) > order(control.kernel)) {
        throw std::invalid_argument("the mask kernel is larger than the image kernel");
    }
    if (control.cacheSize < 0) {
        throw std::invalid_argument("cacheSize is " + std::to_string(control.cacheSize) + ", must not be negative");
    }
    double const width = control.areaWidth;
    if (!(width == 0.0 || (width >= 1.0 && width <= maxAreaWidth))) {
        throw std::invalid_argument("areaWidth is " + std::to_string(width) + ", must be 0 or from 1 to " +
                                    std::to_string(maxAreaWidth));
    }
    for (double const fraction : {control.maskedKernelFraction, control.safeKernelFraction}) {
        if (!(fraction >= 0.0 && fraction < 1.0)) {
            throw std::invalid_argument("maskedKernelFraction and safeKernelFraction must be in [0, 1)");
        }
    }
    if (!isSupported(control.instructionSet)) {
        throw std::invalid_argument("AVX2 with FMA was asked for, but this processor or this build lacks it");
    }
}

}  // namespace

void warp(MaskedImageView const& source, PositionLattice const& positions, WarpControl const& control,
          Execution const& execution, MaskedImageTarget output) {
    requireShapes(source, positions, output);
    requireOptions(control);
    if (output.image.size() == 0) {
        return;
    }
    Warper const warper(source, positions, control, execution, output);
    Index const height = output.image.rows();
    Index const width = output.image.cols();
    Index const nColumns = (width + warpTileSide - 1) / warpTileSide;
    Index const nTiles = nColumns * ((height + warpTileSide - 1) / warpTileSide);
    providePages(output, execution);
    std::vector<Scratch> scratch(static_cast<std::size_t>(workerCount(nTiles, execution)));
    parallelFor(nTiles, execution, [&](Index item, int worker) {
        Index const x0 = item % nColumns * warpTileSide;
        Index const y0 = item / nColumns * warpTileSide;
        warper.warpTile({x0, y0, std::min(warpTileSide, width - x0), std::min(warpTileSide, height - y0)},
                        scratch[static_cast<std::size_t>(worker)]);
    });
}

}  // namespace psfmatch
