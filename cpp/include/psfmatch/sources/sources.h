// Sources on an image without its sky: smoothing by a separable profile, a threshold, connected pixels (by a side or a
// corner), and blends taken apart by many thresholds (Bertin & Arnouts 1996, A&AS 117, 393, section 2.3). Works tile by
// tile: of the smoothed image only the pixels above the threshold are kept. Bad pixels are filled for the smoothing
// (badPixels.h) and never detected; neither is the border of half a profile, whose noise is not smoothed.
#pragma once

#include <cstdint>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch {

// Pixels x0 .. x1 - 1 of row y, and the number of the footprint that they belong to.
struct PixelRun {
    std::int32_t y = 0;
    std::int32_t x0 = 0;
    std::int32_t x1 = 0;
    std::int32_t footprint = 0;
};

// What is wrong with a source; the values are those of SExtractor's and sep's catalogues.
enum SourceFlag : std::int32_t {
    sourceDeblended = 1,  // its footprint holds other sources
    sourceTruncated = 2,  // it touches the border of the searched pixels: the image's, half a profile inside
    sourceSingular = 8,   // its pixels lie on a line: 1/12 was added to both second moments
};

// All in pixels and units of the smoothed image, of its pixels above the threshold; below the sky with the sign turned.
struct Source {
    double x = 0.0;  // centroid, weighted by the values
    double y = 0.0;
    double flux = 0.0;
    double peak = 0.0;
    double threshold = 0.0;  // at the peak
    double a = 0.0;          // square roots of the larger and the smaller principal second moment
    double b = 0.0;
    std::int32_t xPeak = 0;
    std::int32_t yPeak = 0;
    std::int32_t nPixels = 0;
    std::int32_t footprint = 0;
    std::int32_t flags = 0;
};

struct SourceControl {
    std::vector<double> profile = {1.0};  // smoothing is by its product along x and y; of odd length, symmetric
    // In image units; with perPixel in standard deviations of the smoothed image, from the variance plane.
    double threshold = 0.0;
    bool perPixel = false;
    double minStdev = 0.0;  // standard deviations are taken as no less
    bool findPositive = true;
    bool findNegative = false;
    Index minPixels = 1;  // of a footprint, and of a source within it
    // A blend is cut where at least two parts hold more than this share of the whole flux, above any of nLevels
    // thresholds that are spaced evenly in the logarithm between the faintest and the brightest pixel. Footprints of
    // more than 2^20 pixels stay whole.
    double minContrast = 0.005;
    int nLevels = 32;
};

// Footprints are numbered by their first pixel, row after row. Runs are ordered by footprint, row and column, sources
// by footprint.
struct FoundSources {
    std::vector<Source> sources;
    std::vector<PixelRun> runs;
    Index footprintCount = 0;
};

struct FoundSourcesOfBothSigns {
    FoundSources positive;
    FoundSources negative;
};

// `filled` are the bad pixels of the image; the variance (same shape) is read with perPixel only. The result does not
// depend on the number of threads. Throws std::invalid_argument for shapes that do not belong together, a profile of
// even length or longer than a side of the image, and impossible options.
[[nodiscard]] FoundSourcesOfBothSigns findSources(ConstImageView<float> const& image,
                                                  ConstImageView<float> const& variance, FilledPixels const& filled,
                                                  SourceControl const& control, Execution const& execution = {});

// The smoothed image on the lattice of rows and columns step/2, step/2 + step, ...: NaN where findSources detects
// nothing. Shape: the number of such rows and columns, at least one each.
[[nodiscard]] OwnedImage<float> smoothedSamples(ConstImageView<float> const& image, FilledPixels const& filled,
                                                std::vector<double> const& profile, Index rowStep, Index columnStep,
                                                Execution const& execution = {});

}  // namespace psfmatch
