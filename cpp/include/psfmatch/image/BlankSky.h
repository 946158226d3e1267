// Windows of blank sky, spread evenly over an image, where noise is measured. Raw images carry no flags of their
// sources: each window is smoothed over 5 x 5 pixels, which raises what is wider than a pixel over the noise, and
// pixels near anything that stands out, whichever its sign, are left out. Thresholds follow the scatter that is found,
// not the variance plane.
#pragma once

#include <cstdint>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct BlankSkyControl {
    Index maxPixels = 300'000;  // about how many are looked at
    Index windowSide = 64;
    Index cellSide = 32;        // of the cells of a window whose sky is taken off, a plane each
    Index smoothingHalf = 2;    // pixels on either side of the middle of the box
    double sourceSigmas = 4.0;  // smoothed values farther than this from the median belong to sources
    Index growth = 3;           // pixels, along both axes, that are left out about what stands out
    double pixelSigmas = 5.0;   // single pixels beyond this are cosmic rays or defects
    int nPasses = 2;
};

// Pixels of windows (n, height, width), n = tops * lefts, those of a row of windows together; zeros in values and
// pulls where they are not blank sky.
struct BlankSky {
    std::vector<Index> tops;   // first row of the windows of each row of them
    std::vector<Index> lefts;  // first column of each column
    Index height = 0;
    Index width = 0;
    Index cellSide = 0;
    Eigen::ArrayXf image;                                   // as it is; 0 where unusable
    Eigen::ArrayXf values;                                  // image minus its local sky
    Eigen::ArrayXf variances;                               // image units squared; 1 where unusable
    Eigen::ArrayXf pulls;                                   // values / sqrt(variances)
    Eigen::Array<std::uint8_t, Eigen::Dynamic, 1> isBlank;  // blank sky with a positive variance
    Index nPixels = 0;                                      // that are blank
    double freedom = 1.0;  // independent pixels per pixel: less than 1 for the planes taken off

    [[nodiscard]] Index nWindows() const { return static_cast<Index>(tops.size() * lefts.size()); }
    [[nodiscard]] Index windowSize() const { return height * width; }
};

// A pixel takes part where no bad plane is set, the image is finite, and the variance finite and positive.
[[nodiscard]] BlankSky findBlankSky(MaskedImageView const& input, MaskPixel badBits,
                                    BlankSkyControl const& control = {}, Execution const& execution = {});

// The same of the difference of two images, of which either's bad pixels take no part.
[[nodiscard]] BlankSky findBlankSky(MaskedImageView const& minuend, MaskPixel badBits,
                                    MaskedImageView const& subtrahend, MaskPixel subtrahendBits,
                                    BlankSkyControl const& control = {}, Execution const& execution = {});

// The windows of another image of the same pixels, blank where the given ones are and the image is usable: nothing is
// searched for anew.
[[nodiscard]] BlankSky blankSkyAt(MaskedImageView const& input, MaskPixel badBits, BlankSky const& where,
                                  BlankSkyControl const& control = {}, Execution const& execution = {});

// Of an image that holds nothing but every step-th of these rows of windows, in full width, one below the other.
[[nodiscard]] BlankSky blankSkyInRows(MaskedImageView const& input, MaskPixel badBits, BlankSky const& where,
                                      Index step, BlankSkyControl const& control = {}, Execution const& execution = {});

// 0.7413 times the interquartile range of the blank pixels, of the pulls or of the values; NaN with fewer than two.
struct BlankSkyWidths {
    double pulls;
    double values;
    double medianVariance;
};
[[nodiscard]] double pullWidth(BlankSky const& sky);
[[nodiscard]] BlankSkyWidths widths(BlankSky const& sky);

// Mean products of the pulls of blank pixels (dy, dx) apart, and how many pairs there are: row maxLag + dy, column
// maxLag + dx, both (2 maxLag + 1, 2 maxLag + 1); 0 without a pair.
struct LaggedProducts {
    OwnedImage<double> means;
    OwnedImage<double> counts;
};
[[nodiscard]] LaggedProducts laggedProducts(BlankSky const& sky, Index maxLag, Execution const& execution = {});

// Whether noise is white, and scatters by its variance; NaN without blank sky. Each number taken off a cell correlates
// its pixels by minus one over how many they are, which is made up for.
struct Whiteness {
    static constexpr Index maxLag = 2;
    double lag1 = 0.0;      // mean correlation over both axes and both diagonals, at one pixel
    double lag2 = 0.0;      // at two
    double lagError = 0.0;  // of either, for white noise: products scatter by 1, the four directions are independent
    double pullWidth = 0.0;
    double pullWidthError = 0.0;      // of a Gaussian's interquartile range: 1.36 / 1.349 / sqrt(n), 1.167 in all
    OwnedImage<double> correlations;  // (5, 5), those of lags (dy, dx) of up to two pixels with 1 in the middle
};
[[nodiscard]] Whiteness whiteness(BlankSky const& sky, Execution const& execution = {});

// Means over the blank pixels of the cells that have enough of them, their sky not taken off.
struct CellMeans {
    std::vector<double> x;  // centroid of the pixels
    std::vector<double> y;
    std::vector<double> means;
    std::vector<double> errors;  // standard deviations of the means, by the variances
};
[[nodiscard]] CellMeans cellMeans(BlankSky const& sky, Index minPixels, Execution const& execution = {});

}  // namespace psfmatch
