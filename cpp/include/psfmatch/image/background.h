// The sky of an image: statistics of the super-pixels of a coarse grid, and taking a smooth surface off. What surface
// goes through the grid is not decided here.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

enum class SuperPixelStatistic { meanClip, mean, median };

struct SuperPixelControl {
    // Borders of the super-pixels, ascending: column i covers pixels edgesX[i] .. edgesX[i + 1] - 1.
    std::vector<Index> edgesX;
    std::vector<Index> edgesY;
    Index stepX = 1;  // every how many pixels, from the first one of a super-pixel, are looked at
    Index stepY = 1;
    SuperPixelStatistic statistic = SuperPixelStatistic::meanClip;
};

struct SuperPixels {
    OwnedImage<double> values;     // (edgesY.size() - 1, edgesX.size() - 1); NaN where no pixel is good
    OwnedImage<double> variances;  // of the values of the pixels that count, over their number
};

// meanClip: mean after three passes that drop what lies 3 sigma or more from the mean before; the first about the
// median, with sigma 0.7413 of the distance between the quartiles. Pixels that are bad (badPixels.h) take no part.
// Throws std::invalid_argument for edges or steps that do not fit the image.
[[nodiscard]] SuperPixels superPixelStatistics(MaskedImageView const& input, MaskPixel badBits,
                                               SuperPixelControl const& control, Execution const& execution = {});

// The same for an image alone: only non-finite pixels are bad.
[[nodiscard]] SuperPixels superPixelStatistics(ConstImageView<float> const& image, SuperPixelControl const& control,
                                               Execution const& execution = {});

// output(y, x) = image(y, x) - sum over k of rows(y, k) columns(k, x): the product is a surface on the image's pixels.
// rows (h, n), columns (n, w). The output may be the image itself.
void subtractSurface(ConstImageView<float> const& image, OwnedImage<float> const& rows,
                     OwnedImage<float> const& columns, Execution const& execution, ImageView<float> output);

struct SampleNoise {
    double stdev = 0.0;    // of the samples within three of it, found in three passes from the interquartile range
    double largest = 0.0;  // absolute value
    Index count = 0;
};

// Of the samples that are finite.
[[nodiscard]] SampleNoise sampleNoise(ConstImageView<float> const& samples);

}  // namespace psfmatch
