// What kernels and backgrounds leave of regions, pixel by pixel in units of its noise, and figures that are summed from
// it. Variances are those of the expected light, fitted region by region: those made of the noisy pixels themselves
// give a pixel that is low by chance more weight than one that is high.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "psfmatch/fit/RegionFit.h"

namespace psfmatch {

struct RegionResiduals {
    RegionShape shape;
    RegionValues pull;      // residual / sigma, 0 where not usable
    RegionValues signal;    // predicted light / sigma of a pixel
    RegionValues variance;  // of the difference, image units squared
    RegionBytes usable;     // pixels that count

    [[nodiscard]] Index size() const { return pull.rows(); }
};

// Each region under a kernel of its own, coefficients (regions, n) and backgrounds (regions) of the images with their
// skies. The kernel's share of the variance is good to 1e-3 of it.
[[nodiscard]] RegionResiduals judge(RegionFit const& fit, RowMatrix const& coefficients,
                                    Eigen::VectorXd const& backgrounds, Execution const& execution);

struct BrightScatter {
    double scatter = 0.0;  // in a noise that is the same for all models, a kernel of the given norm
    double pull = 0.0;     // in that which the model predicts
    Index nRegions = 0;    // that have bright pixels; without any both are NaN
};

// Root mean square of the residuals of bright pixels, each cut at `largestPull`.
[[nodiscard]] BrightScatter brightScatter(RegionResiduals const& residuals, RegionStamps const& stamps,
                                          double kernelNorm,  // root of the sum of squares
                                          double brightSignal = 5.0, double largestPull = 5.0);

// Per region, of the pixels that are kept.
struct RegionSummary {
    Eigen::VectorXd signal;     // the largest of a pixel, of all that are usable; -infinity without any
    Eigen::VectorXd mean;       // of the pulls; NaN without pixels, as the next two
    Eigen::VectorXd rms;        // about the mean
    Eigen::VectorXd chiSquare;  // per pixel
    std::vector<std::int64_t> nPixels;
    Eigen::VectorXd keptFraction;  // of the usable pixels
};

// Null for `rejected`: all usable pixels are kept.
[[nodiscard]] RegionSummary summarize(RegionResiduals const& residuals, RegionFlags const* rejected);

}  // namespace psfmatch
