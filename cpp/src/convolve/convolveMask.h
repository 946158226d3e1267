// The mask of one tile of a convolution, internal to convolve.cpp: planes spread by OR over the kernel's
// footprint, but planes of filled pixels only where those pixels hold more than a given fraction of sum |K|.
// That is decided as if in exact arithmetic: in float32 where the margin is wide, else in float64.
#pragma once

#include <vector>

#include "convolve/convolveTile.h"
#include "psfmatch/convolve/convolve.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch::detail {

// Integers `stride` apart, rows of a tile's input or output.
struct MaskRows {
    MaskPixel* data;
    Index stride;
};

// What every tile needs.
struct MaskContext {
    LinearCombinationKernel const& kernel;
    Footprint const& footprint;
    RowFunctions const& functions;
    ConvolutionControl const& control;
    FilledPixels const& fill;
    Index x0;  // position of image pixel [0, 0] in the parent frame
    Index y0;

    [[nodiscard]] bool byFraction() const { return control.fillBad && control.maskedKernelFraction > 0.0; }
    // The planes for which a filled pixel counts.
    [[nodiscard]] MaskPixel planesOf(FilledPixel const& pixel) const {
        return pixel.planes != 0 ? pixel.planes : control.noDataBit;
    }
};

// Replaces the pixels of one row of a tile's input by what spreads by OR. `filled` are the filled pixels of that
// row, `xFirst` the image column of row[0].
void prepareMaskRow(MaskContext const& context, std::span<FilledPixel const> filled, Index xFirst, MaskPixel* row);

// output = OR of the input under the footprint. The input, (tile height + kernel height - 1, tile width + kernel
// width - 1), is overwritten.
void spreadMask(Footprint const& footprint, int kernelHeight, int kernelWidth, MaskRows input, Tile const& tile,
                MaskRows output, std::vector<MaskPixel>& scratch);

// ORs in the planes of filled pixels where they hold more than the fraction. filled: for each row of the tile's
// input, its filled pixels.
void markFilledFraction(MaskContext const& context, TileKernel const& kernel, Tile const& tile,
                        TileFactors const& factors, std::vector<std::span<FilledPixel const>> const& filled,
                        MaskRows output);

}  // namespace psfmatch::detail
