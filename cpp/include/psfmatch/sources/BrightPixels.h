// The bright pixels of stars, the plateau in their histogram where an image saturates, and the mask plane set there.
//
// The logarithms of the values of stars' pixels have a density that changes slowly, whatever the PSF and the stars'
// brightness are (a Gaussian contributes 2 pi sigma^2 pixels per unit of ln f up to its peak), while saturated cores
// pile up in one narrow range with next to nothing above it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct BrightPixels {
    double sky = std::numeric_limits<double>::quiet_NaN();    // counts
    double noise = std::numeric_limits<double>::quiet_NaN();  // standard deviation of the sky, counts
    std::vector<Index> places;                                // row * width + column, ascending
    std::vector<double> counts;                               // of each, above the sky
    std::vector<std::uint8_t> isFlagged;                      // which have the saturation plane
    Index nFlagged = 0;                                       // pixels of the whole image that have it
};

struct BrightPixelsControl {
    MaskPixel saturated = 0;     // plane
    MaskPixel defects = 0;       // planes whose pixels say nothing about stars
    double significance = 20.0;  // standard deviations of the sky by which the least plateau lies above it
};

// Pixels inside the border that are half the least plateau above the sky, or in crowded fields 0.4 of the brightest
// half per cent, and have two neighbours of 0.4 of their counts: hot pixels stand alone, and every pixel of a star but
// its outermost has bright neighbours.
[[nodiscard]] BrightPixels brightPixels(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                                        BrightPixelsControl const& control, Execution const& execution = {});

// A pile of pixels.
struct Plateau {
    double level = 0.0;  // counts from which it reaches
    double top = 0.0;    // counts to which it reaches
    Index nPixels = 0;
    double nExpected = 0.0;  // by the density of pixels below it
    Index nAbove = 0;
    Index nUnflagged = 0;  // without the saturation plane
};

struct PlateauControl {
    double significance = 20.0;  // standard deviations of the sky above it, at the least
    Index minPixels = 9;         // fewer are no plateau: the brightest star alone can have four equal ones
    double minExcess = 3.0;      // times as many pixels as those below let expect
    double maxAbove = 0.2;       // share of the plateau's pixels that may lie above it, if it is not of one value
    // Pixels that count: of these counts, the sky included, and with the saturation plane or without it.
    double least = -std::numeric_limits<double>::infinity();
    double most = std::numeric_limits<double>::infinity();
    bool countsFlagged = true;
};

// The plateau with the largest excess of pixels over what those below it let expect.
[[nodiscard]] std::optional<Plateau> findPlateau(BrightPixels const& pixels, PlateauControl const& control = {});

struct SaturationControl {
    MaskPixel saturated = 0;  // plane to set
    MaskPixel defects = 0;    // planes whose pixels are not light
    // Counts from which pixels are saturated, infinite ones are not; NaN: only those with the plane already.
    double level = std::numeric_limits<double>::quiet_NaN();
    // Whether a defect at the level is saturated too, if a pixel beside it has half of it: a hot pixel stands alone.
    bool countsHidden = false;
    double growth = 0.0;  // pixels: the plane is set on all whose centre lies within so many of a saturated one
    // Bleed trails end below the level: pixels from trailLeast to trailMost counts are saturated in clumps of so many.
    double trailLeast = std::numeric_limits<double>::quiet_NaN();
    double trailMost = std::numeric_limits<double>::quiet_NaN();
    Index trailPixels = 1;
};

// Sets the plane in a copy of the mask, `flags`; false, and nothing written, if there is nothing to do.
[[nodiscard]] bool flagSaturation(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                                  SaturationControl const& control, Execution const& execution,
                                  ImageView<MaskPixel> flags);

// All planes that any pixel has.
[[nodiscard]] MaskPixel planesOf(ConstImageView<MaskPixel> const& mask, Execution const& execution = {});

}  // namespace psfmatch
