// Photon noise that a variance plane lacks, told by a difference. Where both images show the light L above the sky its
// pixels scatter by
//     V = v + p L + (c L)^2,
// v the variance plane, p the variance per count of light, which is one over the gain, c L what the kernel leaves of
// sources. The robust variances of the pixels in bins of L tell p and c^2 by least squares, neither negative.
#pragma once

#include <limits>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct PhotonNoiseControl {
    double scale = 1.0;       // counts of the difference per count of the image
    bool isMinuend = true;    // of the image in the difference: the other one is image - difference, else their sum
    MaskPixel badBits = 0;    // planes of the difference whose pixels do not count
    MaskPixel imageBits = 0;  // planes of the image whose pixels are no sky
    double leastLight = 1.0;  // of a bin, in units of the noise of blank pixels
    double binRatio = 1.4142135623730951;  // of the light from one bin to the next
    Index leastPixels = 40;                // of a bin
    Index leastBins = 4;
};

struct PhotonNoise {
    static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    double perCount = unknown;       // p, counts^2 of the difference per count of its light; NaN: too little light
    double perCountError = unknown;  // one sigma, enlarged where the bins scatter by more than they should
    double share = unknown;          // c
    Index nPixels = 0;
};

// `image` is the one that was not convolved; all planes have the same pixels.
[[nodiscard]] PhotonNoise photonNoise(MaskedImageView const& difference, MaskedImageView const& image,
                                      PhotonNoiseControl const& control, Execution const& execution = {});

// The variance of an image with perCount times its light added where that exceeds leastSigmas times its noise; pixels
// with a plane of badBits are no sky, and get theirs all the same.
[[nodiscard]] OwnedImage<float> withPhotonNoise(MaskedImageView const& image, double perCount, double leastSigmas,
                                                MaskPixel badBits, Execution const& execution = {});

}  // namespace psfmatch
