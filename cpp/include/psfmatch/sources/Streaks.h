// Streaks of satellites and aircraft: straight lines, longer than any PSF, that one image of a pair shows and the other
// does not. What both show - spikes of bright stars, galaxies seen edge on, rows of stars - is no streak. Lines are
// looked for in the binned difference of the two, in which what stands out counts for no more than a few sigma: sums
// along all digital lines at once (Brady 1998, SIAM J. Comput. 27, 107), of all lengths that are powers of two. What is
// found is measured again on the pixels themselves.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// All lengths in pixels, places from the centre of the image's first pixel.
struct Streak {
    double x0 = 0.0;  // ends of the middle line
    double y0 = 0.0;
    double x1 = 0.0;
    double y1 = 0.0;
    double halfWidth = 0.0;     // either side of the line, as far as there is light
    double fwhm = 0.0;          // across
    double peak = 0.0;          // of the light across, image units
    double significance = 0.0;  // of the light along the line, in the scatter of lines beside it
};

struct StreakControl {
    MaskPixel badBits = 0;       // planes of the image whose pixels tell nothing
    MaskPixel otherBadBits = 0;  // and of the other
    double fluxRatio = 1.0;      // counts of the image per count of the other
    double minLength = 60.0;
    double minElongation = 8.0;    // length over FWHM across
    double minSlimness = 5.0;      // length over the width that is flagged
    double minPeakSigmas = 0.4;    // of a pixel, of the light across: fainter ones are bands of the detector
    double minLineSigmas = 6.0;    // of the sum along a digital line, to be looked at
    double minSignificance = 9.0;  // of the line on the pixels
    double maxOther = 0.5;         // light of the other image on the line, as a share
    double lightSigmas = 0.2;      // of a pixel: light across is flagged as far as it is brighter
    int maxStreaks = 20;           // of an image; more are no streaks but a pair that does not match
};

struct StreakPair {
    std::vector<Streak> image;
    std::vector<Streak> other;
};

// Streaks of either image, the most significant first; both lie on one grid. A flux ratio that is not positive, or
// images of two shapes, give std::invalid_argument; images with less than 64 pixels along an axis have none.
[[nodiscard]] StreakPair findStreaks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                                     ConstImageView<float> const& other, ConstImageView<MaskPixel> const& otherMask,
                                     StreakControl const& control = {}, Execution const& execution = {});

// Sets the bits on all pixels within the half width of a streak's line; returns on how many.
Index flagStreaks(std::vector<Streak> const& streaks, MaskPixel bits, ImageView<MaskPixel> mask);

}  // namespace psfmatch
