// Positions of stars: a circular Gaussian of known width is fitted to each, amplitude, position and a constant sky, by
// least squares in which all good pixels of a disc count alike. With P = (G, G_x, G_y, 1) and W the disc a step is that
// of (P^T W P)^-1 P^T W I, and its covariance (P^T W P)^-1 (P^T W V P) (P^T W P)^-1. Bad pixels (badPixels.h) are left
// out. And what is no star: sources with their light in a single pixel.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// Pixels of the image; NaN where the fit fails.
struct StarPosition {
    double x = std::numeric_limits<double>::quiet_NaN();
    double y = std::numeric_limits<double>::quiet_NaN();
    double xErr = std::numeric_limits<double>::quiet_NaN();
    double yErr = std::numeric_limits<double>::quiet_NaN();
};

struct PositionControl {
    double fwhm = 3.0;       // of the Gaussian, pixels
    double reachFwhm = 1.5;  // radius of the disc in units of it; not less than 3 pixels
    int maxIterations = 8;
    double converged = 1e-4;  // step, pixels, after which there is no other
    double maxMove = 3.0;     // pixels; a centre that moves farther belongs to another source
    double minDisc = 0.6;     // share of the disc, weighted by the Gaussian, that must be good
};

// Throws std::invalid_argument for planes or lists of different sizes, or a width that is not positive.
[[nodiscard]] std::vector<StarPosition> fitPositions(MaskedImageView const& image, MaskPixel badBits,
                                                     std::span<double const> x,  // (n) first guesses, pixels
                                                     std::span<double const> y, PositionControl const& control,
                                                     Execution const& execution = {});

// Whether the eight neighbours of each source's brightest pixel hold, in the mean, less than minNeighbours of what it
// has above the sky, the median of the rim of 11x11 pixels. False where one of the central 3x3 pixels is bad, or the
// brightest is not minSigmas of its own noise above the sky: noise makes single pixels of faint sources.
[[nodiscard]] std::vector<std::uint8_t> areSinglePixels(MaskedImageView const& image, MaskPixel badBits,
                                                        std::span<double const> x, std::span<double const> y,
                                                        double minNeighbours, double minSigmas = 0.0);

}  // namespace psfmatch
