// Robust statistics of lists and residual statistics of stamps.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

struct ClippedStatistics {
    double mean = 0.0;
    double median = 0.0;  // of all values
    double stdev = 0.0;   // unbiased (n - 1), of the values kept
    Index count = 0;      // values kept
};

struct ClippingControl {
    double nSigma = 3.0;
    int nIterations = 3;
};

// Quantile by linear interpolation between order statistics at fraction * (n - 1). Values must be finite.
[[nodiscard]] double quantile(std::vector<double> values, double fraction);
[[nodiscard]] double median(std::vector<double> values);

// The same of values that must be finite and are lost, without checks or memory of its own.
[[nodiscard]] double medianOf(std::span<double> values);
[[nodiscard]] float medianOf(std::span<float> values);

// Repeated clipping: first about the median with 0.7413 of the interquartile range as sigma, then about the
// clipped mean with the clipped standard deviation. Values must be finite; none gives NumericalError.
[[nodiscard]] ClippedStatistics clippedStatistics(std::vector<double> const& values,
                                                  ClippingControl const& control = {});

struct ResidualStatistics {
    double mean = 0.0;  // of residual / sqrt(variance); NaN without pixels
    double rms = 0.0;   // unbiased standard deviation of the same; NaN with fewer than two pixels
    Index count = 0;
};

// Sums over pixels of residual / sqrt(variance): a pixel counts where mask has none of badBits and 1 / variance
// is finite. An infinite variance counts with weight zero. A NaN residual that counts is a NumericalError.
// coreRadius r < 0 takes the whole stamp, r >= 0 the (2r+1)^2 pixels about the middle one.
[[nodiscard]] ResidualStatistics residualStatistics(MaskedImageView const& residual, MaskPixel badBits,
                                                    Index coreRadius = -1);

// The same from sums over `count` pixels of residual / sqrt(variance) and of its square.
[[nodiscard]] ResidualStatistics residualStatistics(double sum, double squares, Index count);

}  // namespace psfmatch
