// The error that a subtraction leaves in proportion to light. Two images of equal or undersampled PSFs cannot be turned
// into each other by a convolution; a kernel of a field with few stars is not known to a per cent either. What is left
// of a source then grows with its light, beyond any noise. Told by the flux that a point source would have at a pixel,
//     F = sum g d / sum g^2 +- sqrt(sum g^2 v) / sum g^2,   L = sum g l / sum g^2,
// g a Gaussian profile, d and v the difference and its variance, l the light above the sky that both images show: the
// floor is the share e of L for which F scatters by sqrt(sigma^2 + (e L)^2) where L is bright. What only one image
// shows has changed, and is no light of the floor.
#pragma once

#include <limits>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/image/BlankSky.h"

namespace psfmatch {

struct PointProfile {
    double sigma = 1.0;       // pixels, of the Gaussian g
    double scale = 1.0;       // counts of the difference per count of the image
    bool isMinuend = true;    // of the image in the difference: the other one is image - difference, else their sum
    MaskPixel badBits = 0;    // planes of the difference whose pixels do not count
    MaskPixel imageBits = 0;  // planes of the image whose pixels are no sky
};

struct ErrorFloorControl {
    double leastSignalToNoise = 20.0;  // of L in units of the noise of F
    double leastGood = 0.9;            // share of sum g^2 on good pixels
    double significance = 3.0;         // standard deviations by which the scatter of F must exceed its noise
    Index leastSources = 5;
    Index mostSources = 300;
    double peakSigmas = 15.0;  // of a pixel, of a source's highest pixel above the sky
    Index leastSky = 30;       // places of blank sky without which its noise is as predicted
};

// Places about one source have one error of the PSF in common; noise is independent beyond sum g^2.
struct ErrorFloor {
    static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    double share = 0.0;          // e
    double pull = unknown;       // robust width of F / sigma where L is bright
    double pullError = unknown;  // of noise alone
    double skyPull = unknown;    // the same of blank sky; above 1 it multiplies sigma
    Index nSources = 0;
    Index nPlaces = 0;
};

// `image` is the one that was not convolved, `sky` blank sky of the difference. All have the same pixels.
[[nodiscard]] ErrorFloor errorFloor(MaskedImageView const& difference, MaskedImageView const& image,
                                    BlankSky const& sky, PointProfile const& profile, ErrorFloorControl const& control,
                                    Execution const& execution = {});

// e L at every pixel, e the share: counts of the difference, not negative. Of both images the fainter one's light.
[[nodiscard]] OwnedImage<float> errorFloorPlane(MaskedImageView const& difference, MaskedImageView const& image,
                                                double share, PointProfile const& profile,
                                                Execution const& execution = {});

}  // namespace psfmatch
