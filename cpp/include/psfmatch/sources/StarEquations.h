// Least squares for the profile that all stars of an image share. A star's pixels give, linear about what is known, the
// normal equations of ten numbers: its flux, place and sky, and the six of its shape (StarProfile.h). The first four
// are its own and are eliminated at once (Schur's complement),
//
//   (C - B^T A^-1 B) ds = c - B^T A^-1 a,      dl = A^-1 (a - B ds),
//
// so that whatever the shape depends on, six equations for each star are all that it needs. And the mean of what a
// profile leaves of its stars.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "psfmatch/sources/StarProfile.h"

namespace psfmatch {

// NaN where too few pixels are good to tell flux, place and sky. All are plain doubles.
struct StarEquations {
    std::array<double, 36> normal{};    // (6, 6), of the shape, symmetric
    std::array<double, 6> right{};      // (6)
    std::array<double, 4> step{};       // A^-1 a, of flux, x, y, sky
    std::array<double, 24> coupling{};  // A^-1 B, (4, 6), row by row
    double variance = 0.0;              // of the flux, for a known shape
    double chi2 = 0.0;                  // before the step
    double nPixels = 0.0;               // that are good
    double coverage = 0.0;              // share of sum P^2 that lies on good pixels
};

// The equations of each star from the residual image, that is less the light (not the sky) of all stars as they are
// known, on the pixels within its radius that have a positive weight. Of stars whose freedom is less than `shape` the
// normal equations and the coupling are zero; with that of `flux` they keep their place.
// Throws std::invalid_argument for images or lists of different sizes.
[[nodiscard]] std::vector<StarEquations> starEquations(ConstImageView<float> const& residual,
                                                       ConstImageView<float> const& weight,  // 1 / variance
                                                       std::span<Star const> stars, std::span<StarShape const> shapes,
                                                       std::span<double const> radii,  // pixels
                                                       std::span<StarFreedom const> freedoms,
                                                       Execution const& execution = {});

struct StarResidual {
    OwnedImage<double> mean;      // (2 half + 1, 2 half + 1), in units of the flux
    OwnedImage<double> variance;  // of the mean; infinite where no star has a pixel
};

// The mean of residual / flux about the stars' centres, weighted with flux^2 times the weight of the nearest pixel and
// the star's factor; pixels between those of the image are interpolated over six by six (Lanczos's window of 3).
[[nodiscard]] StarResidual meanResidual(ConstImageView<float> const& residual, ConstImageView<float> const& weight,
                                        std::span<Star const> stars, std::span<double const> factors, Index half,
                                        Execution const& execution = {});

}  // namespace psfmatch
