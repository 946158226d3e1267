// Regions cut out of both images, made ready once for a whole fit: the template's bad pixels filled, the pixels that
// count found, one constant sky taken off each image. That halves the rounding of float32; whoever fits gives the
// skies back, so that no caller meets them.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// Fitted pixels of a region and how they lie in memory: rows of whole vectors, whose ends count for nothing.
struct RegionShape {
    Index height = 0;
    Index width = 0;
    Index stride = 0;

    [[nodiscard]] Index size() const { return height * stride; }
    [[nodiscard]] Index nPixels() const { return height * width; }
};

[[nodiscard]] RegionShape regionShape(Index height, Index width);

// One row per region, of shape.size() pixels.
using RegionValues = OwnedImage<float>;
using RegionBytes = OwnedImage<std::uint8_t>;

// Pixels of regions that are chosen; the ends of the rows never are.
struct RegionFlags {
    RegionShape shape;
    RegionBytes flags;

    [[nodiscard]] double fraction() const;  // of all pixels; NaN without any
};

[[nodiscard]] bool operator==(RegionFlags const& one, RegionFlags const& other);

struct RegionStamps {
    RegionShape shape;
    Index kernelHeight = 0;
    Index kernelWidth = 0;
    Index templateStride = 0;       // of a row of a template's stamp, pixels
    double templateSky = 0.0;       // image units, taken off the template's pixels
    double scienceSky = 0.0;        // likewise
    RegionValues templateImage;     // (regions, (height + kernelHeight - 1) * templateStride), bad pixels filled
    RegionValues templateVariance;  // of the same pixels, before any convolution
    RegionValues science;           // without its sky; 0 where not usable
    RegionValues scienceVariance;   // image units squared
    RegionValues varianceHere;      // the template's, at the fitted pixels
    RegionBytes usable;             // good in both images, the template's bad pixels grown

    [[nodiscard]] Index size() const { return science.rows(); }
    [[nodiscard]] Eigen::VectorXd usableFraction() const;  // (regions)
};

struct RegionStampControl {
    Index halfWidth = 15;  // fitted pixels on every side of the middle one
    Index kernelHeight = 0;
    Index kernelWidth = 0;
    MaskPixel templateBadBits = 0;
    MaskPixel scienceBadBits = 0;
    // Pixels with one of these in their kernel footprint do not count: nobody knows the light that is missing there.
    MaskPixel saturatedBits = 0;
    Index growTemplateBad = 2;  // pixels
};

// Cuts out of whole images of one shape. A stamp, half a kernel about the fitted pixels included, that leaves the
// images is a std::invalid_argument.
[[nodiscard]] RegionStamps readRegionStamps(MaskedImageView const& templateImage, MaskedImageView const& science,
                                            std::span<std::int64_t const> x,  // middle pixels
                                            std::span<std::int64_t const> y, RegionStampControl const& control,
                                            Execution const& execution);

// How far the brightest pixels (98 %) of each tile stand above its median, in sigma of its median variance; from every
// other pixel of every other row. NaN where fewer than 16 are good. Tiles must lie inside the image.
[[nodiscard]] Eigen::VectorXd tileLight(MaskedImageView const& image, MaskPixel badBits,
                                        std::span<std::int64_t const> x, std::span<std::int64_t const> y,
                                        Index halfWidth, Execution const& execution);

}  // namespace psfmatch
