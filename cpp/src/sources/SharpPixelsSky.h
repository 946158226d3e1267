// Level and noise of the sky in tiles, and columns and rows of tiles that differ from their neighbours.
#pragma once

#include <vector>

#include "psfmatch/sources/SharpPixels.h"

namespace psfmatch::detail {

inline constexpr Index tileSide = 64;

struct SkyTiles {
    Index nColumns = 0;
    std::vector<float> levels;
    std::vector<float> sigmas;  // of the noise; the light of a crowd may raise it by a fifth
    double perVariance = 0.0;   // square of the noise over the variance plane, of the typical tile
    bool isEmpty = true;        // without noise nothing is told

    [[nodiscard]] std::size_t tileOf(Index y, Index x) const {
        return static_cast<std::size_t>((y / tileSide) * nColumns + x / tileSide);
    }
};

[[nodiscard]] inline bool isUsable(MaskedImageView const& input, MaskPixel badBits, Index y, Index x) {
    float const value = input.image(y, x);
    float const variance = input.variance(y, x);
    // Differences of what is no number, or infinite, are no number.
    return (input.mask(y, x) & badBits) == 0 && value - value == 0.0F && variance - variance == 0.0F &&
           variance >= 0.0F;
}

[[nodiscard]] SkyTiles skyTiles(MaskedImageView const& input, MaskPixel badBits, Execution const& execution);

// Pixels of columns and rows, from end to end of a tile, that are fainter than single pixels tell: their clipped means
// are sharper than the contrast allows.
[[nodiscard]] std::vector<Index> faintLines(MaskedImageView const& input, SharpPixelsControl const& control,
                                            SkyTiles const& tiles, double contrast, Execution const& execution);

}  // namespace psfmatch::detail
