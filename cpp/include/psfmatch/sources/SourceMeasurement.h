// Moments and fluxes of detected sources, all of a list in one call. Moments are those under the Gaussian that matches
// the source itself (Bernstein & Jarvis 2002, AJ 123, 583): a source of covariance C seen through a weight W shows M
// with 1 / M = 1 / C + 1 / W, solved for C; bad pixels are filled by the Gaussian of the pass before. Fluxes are those
// of a profile P fitted by its amplitude alone, all pixels alike: F = sum(P D) / sum(P^2), with the PSF for P or the
// Gaussian of the source's own moments.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct MeasuredSource {
    double ixx = std::numeric_limits<double>::quiet_NaN();  // square pixels
    double iyy = std::numeric_limits<double>::quiet_NaN();
    double ixy = std::numeric_limits<double>::quiet_NaN();
    double psfFlux = std::numeric_limits<double>::quiet_NaN();  // image units
    double psfFluxErr = std::numeric_limits<double>::quiet_NaN();
    double gaussianFlux = std::numeric_limits<double>::quiet_NaN();
    double gaussianFluxErr = std::numeric_limits<double>::quiet_NaN();
};

// Images of the PSF, of one odd side and sum 1, row after row, and which of them each source has. Empty: a Gaussian.
struct PsfImages {
    std::span<double const> pixels;  // (count, side, side)
    Index side = 0;                  // 2 radius + 1
    std::span<Index const> number;   // (n)
};

struct MeasurementControl {
    double sigma = 1.5;      // of the PSF, pixels
    Index radius = 5;        // half width of the pixels about a source
    int nPasses = 3;         // weights follow the source; a Gaussian is matched by the second
    int nPassesFilled = 12;  // where bad pixels are filled by the Gaussian that is sought, and hold more of it than
    double fewLost = 0.02;   // this share
    double maxLost = 0.3;    // share of a profile's sum of squares that bad pixels may take
    double maxSigma = 20.0;  // pixels; wider moments are none
};

// NaN where bad pixels (badPixels.h) or a lack of signal forbid, or the position is not finite. Throws
// std::invalid_argument for planes or lists of different sizes, impossible options, or PSFs that do not fit.
[[nodiscard]] std::vector<MeasuredSource> measureSources(MaskedImageView const& image, MaskPixel badBits,
                                                         std::span<double const> x,  // (n) pixels of the image
                                                         std::span<double const> y, PsfImages const& psf,
                                                         MeasurementControl const& control = {},
                                                         Execution const& execution = {});

// The bits of all pixels of a square about each place (n), ORed; positions that are not finite have none.
[[nodiscard]] std::vector<MaskPixel> bitsNear(ConstImageView<MaskPixel> const& mask, std::span<double const> x,
                                              std::span<double const> y, Index radius);

}  // namespace psfmatch
