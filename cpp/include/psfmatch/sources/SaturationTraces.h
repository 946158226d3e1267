// What saturated stars leave in a difference beside their flags. Rings: the light that clipped pixels lack is missing
// from the convolved image as far as the kernel reaches. Lines: charge that bleeds, or is read out late, along a row or
// column through the star, often to the border of the detector and often fainter than the noise of a pixel. Either is
// told by medians over many pixels, in units of the noise that blank pixels have, against their own scatter.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct SaturationTracesControl {
    MaskPixel saturatedBits = 0;
    MaskPixel badBits = 0;    // pixels that tell nothing
    Index maxGrowth = 0;      // pixels that rings may reach beyond the flags; 0: no rings
    double ringLevel = 0.75;  // median of a ring that is affected, of a pixel's noise
    double ringWidth = 1.5;   // or the robust scatter of a ring about zero, of that of pixels elsewhere
    double ringSigmas = 4.5;  // by which either must exceed its own scatter
    Index leastRing = 12;     // pixels without which a ring tells nothing
    Index nClean = 2;         // rings without a trace after which none is looked for
    Index runLength = 32;     // pixels along a row or column
    double lineLevel = 1.0;   // mean of the two runs next to the star, of a pixel's noise
    double lineSigmas = 5.0;  // by which it must exceed its own scatter
    double runLevel = 0.5;    // of each of these runs, and of those farther out
    double runSigmas = 3.0;
    Index margin = 2;    // rows beside the star's own in which lines are looked for
    Index bandNear = 4;  // rows beside the star that tell the level without a line: from here
    Index bandFar = 12;  // to here
};

struct SaturationTraces {
    std::vector<Index> ringPlaces;  // row * width + column, ascending, of pixels that are not saturated yet
    std::vector<Index> linePlaces;
    Index nStars = 0;  // clumps of saturated pixels
    Index nRings = 0;  // with rings
    Index nLined = 0;  // with lines
};

// difference: its variance gives the noise but for a common factor, which the scatter of all pixels tells.
// std::invalid_argument for planes of different shape or a negative growth.
[[nodiscard]] SaturationTraces saturationTraces(MaskedImageView const& difference,
                                                SaturationTracesControl const& control,
                                                Execution const& execution = {});

}  // namespace psfmatch
