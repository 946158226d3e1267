#include "psfmatch/fit/RegionStamps.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "fit/KernelCandidateFitStamp.h"
#include "psfmatch/image/badPixels.h"
#include "psfmatch/image/statistics.h"
#include "simd/rowFunctions.h"

namespace psfmatch {

namespace {

// Pixels from which a sky is measured: it need not be exact.
constexpr double skySamples = 20000.0;
// Skies of images that fill the range of float32 stay: a difference might not fit into it.
constexpr double largestSky = 1e30;

Index padded(Index width) {
    return (width + detail::rowPadding - 1) / detail::rowPadding * detail::rowPadding;
}

void requirePositions(MaskedImageView const& image, std::span<std::int64_t const> x, std::span<std::int64_t const> y,
                      Index marginX, Index marginY, char const* what) {
    if (x.size() != y.size()) {
        throw std::invalid_argument(std::to_string(x.size()) + " positions x and " + std::to_string(y.size()) + " y");
    }
    for (std::size_t k = 0; k < x.size(); ++k) {
        if (x[k] < marginX || y[k] < marginY || x[k] + marginX >= image.image.cols() ||
            y[k] + marginY >= image.image.rows()) {
            throw std::invalid_argument(std::string(what) + " about x = " + std::to_string(x[k]) +
                                        ", y = " + std::to_string(y[k]) + " leaves the image of " +
                                        std::to_string(image.image.cols()) + "x" + std::to_string(image.image.rows()) +
                                        " pixels");
        }
    }
}

template <typename Pixel>
ConstImageView<Pixel> partOf(ConstImageView<Pixel> const& plane, Index y, Index x, Index height, Index width) {
    return {plane.data() + y * plane.outerStride() + x, height, width, Eigen::OuterStride<>(plane.outerStride())};
}

MaskedImageView partOf(MaskedImageView const& image, Index y, Index x, Index height, Index width) {
    return {partOf(image.image, y, x, height, width), partOf(image.variance, y, x, height, width),
            partOf(image.mask, y, x, height, width)};
}

// Median of good pixels, as many from each region.
double skyOf(MaskedImageView const& image, MaskPixel badBits, std::span<std::int64_t const> x,
             std::span<std::int64_t const> y, Index halfWidth) {
    if (x.empty()) {
        return 0.0;
    }
    Index const side = 2 * halfWidth + 1;
    auto const across = static_cast<Index>(std::ceil(std::sqrt(skySamples / static_cast<double>(x.size()))));
    Index const step = std::max<Index>(1, side / across);
    std::vector<float> values;
    for (std::size_t k = 0; k < x.size(); ++k) {
        for (Index j = y[k] - halfWidth; j <= y[k] + halfWidth; j += step) {
            for (Index i = x[k] - halfWidth; i <= x[k] + halfWidth; i += step) {
                if (!isBad(image.image(j, i), image.variance(j, i), image.mask(j, i), badBits)) {
                    values.push_back(image.image(j, i));
                }
            }
        }
    }
    double const sky = values.empty() ? 0.0 : static_cast<double>(medianOf(std::span(values)));
    return std::abs(sky) < largestSky ? sky : 0.0;
}

// Takes the fitted pixels out whose kernel footprint has one of these bits.
void leaveOutFootprints(ConstImageView<MaskPixel> const& mask, MaskPixel bits, RegionStamps const& stamps,
                        std::uint8_t* usable) {
    if (bits == 0 || !mask.unaryExpr([bits](MaskPixel m) { return (m & bits) != 0; }).any()) {
        return;
    }
    for (Index v = 0; v < mask.rows(); ++v) {
        for (Index u = 0; u < mask.cols(); ++u) {
            if ((mask(v, u) & bits) != 0) {
                Index const x0 = std::max<Index>(0, u - stamps.kernelWidth + 1);
                Index const x1 = std::min(stamps.shape.width, u + 1);
                for (Index y = std::max<Index>(0, v - stamps.kernelHeight + 1);
                     y < std::min(stamps.shape.height, v + 1); ++y) {
                    std::fill(usable + y * stamps.shape.stride + x0, usable + y * stamps.shape.stride + x1,
                              std::uint8_t(0));
                }
            }
        }
    }
}

// Copies a prepared stamp into the planes of region k, rows padded with zeros.
void store(detail::PreparedStamp const& stamp, Index k, RegionStamps& stamps) {
    RegionShape const& shape = stamps.shape;
    auto const templateSky = static_cast<float>(stamps.templateSky);
    Index const width = stamp.templateImage.cols();
    for (Index v = 0; v < stamp.templateImage.rows(); ++v) {
        auto image = stamps.templateImage.row(k).segment(v * stamps.templateStride, stamps.templateStride);
        auto variance = stamps.templateVariance.row(k).segment(v * stamps.templateStride, stamps.templateStride);
        image.head(width) = stamp.templateImage.row(v) - templateSky;
        image.tail(stamps.templateStride - width).setZero();
        variance.head(width) = stamp.templateVariance.row(v);
        variance.tail(stamps.templateStride - width).setZero();
    }
    for (Index y = 0; y < shape.height; ++y) {
        for (Index x = 0; x < shape.stride; ++x) {
            Index const to = y * shape.stride + x;
            if (x >= shape.width) {
                stamps.science(k, to) = stamps.scienceVariance(k, to) = stamps.varianceHere(k, to) = 0.0F;
                stamps.usable(k, to) = 0;
                continue;
            }
            Index const from = y * shape.width + x;
            auto const variance = static_cast<float>(stamp.scienceVariance[from]);
            auto const ours = static_cast<float>(stamp.templateVarianceHere[from]);
            float const total = variance + ours;
            bool const usable = stamp.good[static_cast<std::size_t>(from)] != 0 &&
                                total <= std::numeric_limits<float>::max() && total > 0.0F;
            stamps.science(k, to) = usable ? static_cast<float>(stamp.science[from] - stamps.scienceSky) : 0.0F;
            stamps.scienceVariance(k, to) = usable ? variance : 0.0F;
            stamps.varianceHere(k, to) = usable ? ours : 0.0F;
            stamps.usable(k, to) = usable ? 1 : 0;
        }
    }
}

}  // namespace

RegionShape regionShape(Index height, Index width) {
    return {height, width, padded(width)};
}

double RegionFlags::fraction() const {
    return flags.cast<double>().sum() / static_cast<double>(flags.rows() * shape.nPixels());
}

bool operator==(RegionFlags const& one, RegionFlags const& other) {
    return one.shape.height == other.shape.height && one.shape.width == other.shape.width &&
           one.flags.rows() == other.flags.rows() && (one.flags == other.flags).all();
}

Eigen::VectorXd RegionStamps::usableFraction() const {
    Eigen::VectorXd fraction(size());
    for (Index k = 0; k < size(); ++k) {
        fraction[k] = usable.row(k).cast<double>().sum() / static_cast<double>(shape.nPixels());
    }
    return fraction;
}

RegionStamps readRegionStamps(MaskedImageView const& templateImage, MaskedImageView const& science,
                              std::span<std::int64_t const> x, std::span<std::int64_t const> y,
                              RegionStampControl const& control, Execution const& execution) {
    if (!haveOneShape(templateImage.image, science.image)) {
        throw std::invalid_argument("the images differ in shape");
    }
    if (control.halfWidth < 0 || control.kernelHeight < 1 || control.kernelWidth < 1 || control.growTemplateBad < 0 ||
        control.kernelHeight % 2 == 0 || control.kernelWidth % 2 == 0) {
        throw std::invalid_argument(
            "regions of half width " + std::to_string(control.halfWidth) + ", bad pixels grown by " +
            std::to_string(control.growTemplateBad) + ", kernel of " + std::to_string(control.kernelWidth) + "x" +
            std::to_string(control.kernelHeight) + " pixels: none must be negative, kernel sides must be odd");
    }
    Index const marginX = control.halfWidth + control.kernelWidth / 2;
    Index const marginY = control.halfWidth + control.kernelHeight / 2;
    requirePositions(science, x, y, marginX, marginY, "the stamp");
    auto const nRegions = static_cast<Index>(x.size());
    Index const side = 2 * control.halfWidth + 1;
    RegionStamps stamps;
    stamps.shape = regionShape(side, side);
    stamps.kernelHeight = control.kernelHeight;
    stamps.kernelWidth = control.kernelWidth;
    stamps.templateStride = padded(stamps.shape.stride + control.kernelWidth - 1);
    parallelFor(2, execution, [&](Index item, int) {
        if (item == 0) {
            stamps.templateSky = skyOf(templateImage, control.templateBadBits, x, y, control.halfWidth);
        } else {
            stamps.scienceSky = skyOf(science, control.scienceBadBits, x, y, control.halfWidth);
        }
    });
    Index const height = side + control.kernelHeight - 1;
    Index const width = side + control.kernelWidth - 1;
    for (RegionValues* const plane : {&stamps.templateImage, &stamps.templateVariance}) {
        plane->resize(nRegions, height * stamps.templateStride);
    }
    for (RegionValues* const plane : {&stamps.science, &stamps.scienceVariance, &stamps.varianceHere}) {
        plane->resize(nRegions, stamps.shape.size());
    }
    stamps.usable.resize(nRegions, stamps.shape.size());
    CandidateFitControl pixelwise;
    pixelwise.constantVariance = false;
    pixelwise.growTemplateBad = control.growTemplateBad;
    std::vector<detail::PreparedStamp> prepared(static_cast<std::size_t>(workerCount(nRegions, execution)));
    parallelForBrief(nRegions, execution, [&](Index k, int worker) {
        detail::PreparedStamp& stamp = prepared[static_cast<std::size_t>(worker)];
        Index const x0 = x[static_cast<std::size_t>(k)] - marginX;
        Index const y0 = y[static_cast<std::size_t>(k)] - marginY;
        CandidateStamp const part{partOf(templateImage, y0, x0, height, width), partOf(science, y0, x0, height, width),
                                  control.templateBadBits, control.scienceBadBits};
        detail::prepareStamp(part, control.kernelHeight, control.kernelWidth, pixelwise, stamp);
        store(stamp, k, stamps);
        leaveOutFootprints(part.templateStamp.mask, control.saturatedBits, stamps, stamps.usable.row(k).data());
        // Whatever takes a pixel out leaves a zero.
        stamps.science.row(k) = (stamps.usable.row(k) != 0).select(stamps.science.row(k), 0.0F);
    });
    return stamps;
}

Eigen::VectorXd tileLight(MaskedImageView const& image, MaskPixel badBits, std::span<std::int64_t const> x,
                          std::span<std::int64_t const> y, Index halfWidth, Execution const& execution) {
    constexpr std::size_t fewest = 16;
    requirePositions(image, x, y, halfWidth, halfWidth, "the tile");
    Eigen::VectorXd light(static_cast<Index>(x.size()));
    parallelForBrief(light.size(), execution, [&](Index k, int) {
        std::vector<float> pixels;
        std::vector<float> variances;
        auto const tile = static_cast<std::size_t>(k);
        for (Index j = y[tile] - halfWidth; j <= y[tile] + halfWidth; j += 2) {
            for (Index i = x[tile] - halfWidth; i <= x[tile] + halfWidth; i += 2) {
                if (!isBad(image.image(j, i), image.variance(j, i), image.mask(j, i), badBits)) {
                    pixels.push_back(image.image(j, i));
                    variances.push_back(image.variance(j, i));
                }
            }
        }
        std::size_t const count = pixels.size();
        if (count < fewest) {
            light[k] = std::numeric_limits<double>::quiet_NaN();
            return;
        }
        auto const middle = pixels.begin() + static_cast<std::ptrdiff_t>(count / 2);
        auto const high = pixels.begin() + static_cast<std::ptrdiff_t>(0.98 * static_cast<double>(count));
        std::nth_element(pixels.begin(), high, pixels.end());
        float const bright = *high;
        std::nth_element(pixels.begin(), middle, high);
        auto const above = static_cast<double>(bright - *middle);
        double const noise = std::sqrt(static_cast<double>(medianOf(std::span(variances))));
        light[k] = noise > 0.0 ? above / noise : above;
    });
    return light;
}

}  // namespace psfmatch
