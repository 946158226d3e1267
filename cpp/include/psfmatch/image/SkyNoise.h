// The sky of a difference image: is its noise as predicted and white, is its level zero everywhere.
#pragma once

#include <limits>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct SkyNoiseControl {
    MaskPixel badBits = 0;  // of planes whose pixels do not count; noData and edge are among them
    MaskPixel noData = 0;
    MaskPixel edge = 0;
    Index cellSide = 32;
    Index maxCells = 16;       // along each axis
    Index leastInCell = 200;   // blank pixels without which a cell does not count
    double blankSigmas = 4.0;  // of a pixel of either image above its cell's median
    double outlierSigmas = 5.0;
    double mostExtreme = 0.02;  // share of the cells on either side that do not count: a nebula, a bright star's halo
};

// Difference over its noise in cells spread over the image; NaN where there is no blank sky.
struct SkyNoise {
    static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    Index nSkyPixels = 0;               // blank ones
    double noiseRobustStdev = unknown;  // width of the pulls about the medians of their cells
    double noiseMedian = unknown;       // of the pulls
    double skyLevel = unknown;          // scatter of the cells' medians about zero beyond the noise
    double outlierFraction = 0.0;       // of the usable pixels beyond 5 sigma where not both images show a source
    double lag1 = unknown;              // correlation of neighbouring pixels, pulls clipped at 4 sigma
    double skyAbsolute = unknown;       // mean |difference|, counts
    double pixelNoise = unknown;        // median, counts
    double maskedFraction = 1.0;        // of the covered pixels, unusable ones but for the borders
    double coverage = 0.0;              // share of the pixels that have data
};

// Template and science image, before any convolution, have the pixels of the difference.
[[nodiscard]] SkyNoise skyNoise(MaskedImageView const& difference, ConstImageView<float> const& templateImage,
                                ConstImageView<float> const& scienceImage, SkyNoiseControl const& control,
                                Execution const& execution = {});

// Median and robust standard deviation of image / sqrt(variance) of every so many pixels along both axes: those
// without a bad plane, with finite values and a positive variance.
struct PullNoise {
    double median = SkyNoise::unknown;
    double sigma = SkyNoise::unknown;
    Index nPixels = 0;
};
[[nodiscard]] PullNoise pullNoise(MaskedImageView const& input, MaskPixel badBits, Index step);

}  // namespace psfmatch
