#include "psfmatch/convolve/Correction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "convolve/convolveExpansion.h"
#include "convolve/convolveItems.h"
#include "psfmatch/image/statistics.h"
#include "simd/rowFunctions.h"

namespace psfmatch {

namespace {

using detail::padded;

constexpr Index rowsPerItem = 32;
constexpr Index scanWidth = 32;          // pixels of a row that are looked at together
constexpr Index levelSamples = 1 << 16;  // about how many pixels give the level of the difference

template <typename View>
auto* rowOf(View& view, Index y) {
    return view.data() + y * view.outerStride();
}

struct Tap {
    Index dy;
    Index dx;
};

// Median of the good pixels of a lattice; 0 if there are none.
float levelOf(MaskedImageView const& image, MaskPixel badBits) {
    Index const step =
        std::max<Index>(1, static_cast<Index>(std::sqrt(static_cast<double>(image.image.size() / levelSamples))));
    std::vector<double> values;
    for (Index y = 0; y < image.image.rows(); y += step) {
        for (Index x = 0; x < image.image.cols(); x += step) {
            float const value = image.image(y, x);
            if (!isBad(value, 0.0F, image.mask(y, x), badBits)) {
                values.push_back(static_cast<double>(value));
            }
        }
    }
    return values.empty() ? 0.0F : static_cast<float>(medianOf(values));
}

// The bad pixels, filled with the level and no variance; `planes` is never 0.
FilledPixels findBad(MaskedImageView const& difference, ConstImageView<float> const& variance,
                     CorrectionControl const& control, float level, Execution const& execution) {
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    FilledPixels fill;
    fill.rowStart.assign(static_cast<std::size_t>(height) + 1, 0);
    Index const nItems = (height + rowsPerItem - 1) / rowsPerItem;
    std::vector<std::vector<FilledPixel>> found(static_cast<std::size_t>(nItems));
    parallelForBrief(nItems, execution, [&](Index item, int) {
        std::vector<FilledPixel>& pixels = found[static_cast<std::size_t>(item)];
        for (Index y = item * rowsPerItem; y < std::min(height, (item + 1) * rowsPerItem); ++y) {
            float const* const image = rowOf(difference.image, y);
            float const* const own = rowOf(difference.variance, y);
            float const* const other = rowOf(variance, y);
            MaskPixel const* const mask = rowOf(difference.mask, y);
            auto const isBadAt = [&](Index x) {
                return isBad(image[x], own[x], mask[x], control.badBits) | isBad(0.0F, other[x], 0, 0);
            };
            std::size_t const before = pixels.size();
            for (Index begin = 0; begin < width; begin += scanWidth) {
                Index const end = std::min(width, begin + scanWidth);
                int count = 0;
                for (Index x = begin; x < end; ++x) {
                    count += isBadAt(x) ? 1 : 0;
                }
                for (Index x = begin; count > 0 && x < end; ++x) {
                    if (isBadAt(x)) {
                        bool const isUsable = !isBad(image[x], own[x], 0, 0) && !isBad(0.0F, other[x], 0, 0);
                        pixels.push_back({static_cast<std::int32_t>(x), level, 0.0F,
                                          (mask[x] & control.badBits) | (isUsable ? 0 : control.noDataBit)});
                    }
                }
            }
            fill.rowStart[static_cast<std::size_t>(y) + 1] = static_cast<Index>(pixels.size() - before);
        }
    });
    for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
        fill.rowStart[y + 1] += fill.rowStart[y];
    }
    fill.pixels.reserve(static_cast<std::size_t>(fill.rowStart.back()));
    for (std::vector<FilledPixel> const& pixels : found) {
        fill.pixels.insert(fill.pixels.end(), pixels.begin(), pixels.end());
    }
    return fill;
}

// The taps beside the middle one that hold more than a fraction of sum |phi|.
std::vector<Tap> tapsAbove(OwnedImage<double> const& phi, double fraction) {
    double const limit = fraction * phi.abs().sum();
    std::vector<Tap> taps;
    for (Index v = 0; v < phi.rows(); ++v) {
        for (Index u = 0; u < phi.cols(); ++u) {
            Tap const tap{v - phi.rows() / 2, u - phi.cols() / 2};
            if (std::abs(phi(v, u)) > limit && (tap.dy != 0 || tap.dx != 0)) {
                taps.push_back(tap);
            }
        }
    }
    return taps;
}

// ORs into a row what its pixels get from the bad ones, and from all beyond the border, under their taps.
void spreadPlanes(FilledPixels const& fill, std::vector<Tap> const& taps, Index y, Index height, Index width,
                  MaskPixel edgeBit, MaskPixel* mask) {
    for (FilledPixel const& pixel : fill.row(y)) {
        mask[pixel.x] |= pixel.planes;
    }
    for (Tap const& tap : taps) {
        bool const isInside = y + tap.dy >= 0 && y + tap.dy < height;
        Index const first = isInside ? std::clamp<Index>(-tap.dx, 0, width) : width;
        Index const end = isInside ? std::clamp<Index>(width - tap.dx, 0, width) : width;
        for (Index x = 0; x < first; ++x) {
            mask[x] |= edgeBit;
        }
        for (Index x = end; x < width; ++x) {
            mask[x] |= edgeBit;
        }
        for (FilledPixel const& pixel : fill.row(y + tap.dy)) {
            Index const x = pixel.x - tap.dx;
            if (x >= 0 && x < width) {
                mask[x] |= pixel.planes;
            }
        }
    }
}

// The factors of one row after the other.
class RowFactors {
public:
    RowFactors(VarianceFactors const& factors, detail::RowFunctions const& functions)
        : factors_(factors),
          functions_(functions),
          stride_(padded(static_cast<int>(factors.alongX.cols()))),
          alongX_(static_cast<std::size_t>(stride_ * factors.alongX.rows()), 0.0F) {
        for (Index i = 0; i < factors.alongX.rows(); ++i) {
            for (Index x = 0; x < factors.alongX.cols(); ++x) {
                alongX_[static_cast<std::size_t>(i * stride_ + x)] = static_cast<float>(factors.alongX(i, x));
            }
        }
    }

    [[nodiscard]] int stride() const { return stride_; }

    void write(RowMatrix const& ofRow, Index y, float* row) const {
        Eigen::RowVectorXf const weights = ofRow.row(y).cast<float>();
        functions_.combine({alongX_.data(), stride_}, weights.data(), static_cast<int>(weights.size()), stride_, row);
    }

    void writeBeta(Index y, float* row) const { write(factors_.betaOfRow, y, row); }
    void writeGamma(Index y, float* row) const { write(factors_.gammaOfRow, y, row); }

private:
    VarianceFactors const& factors_;
    detail::RowFunctions const& functions_;
    int stride_;
    std::vector<float> alongX_;
};

// variance += beta max(0, divisor total - own) + gamma theirs
void addSpread(float const* __restrict beta, float const* __restrict gamma, float const* __restrict total,
               float const* __restrict own, float const* __restrict theirs, float divisor, float sumOfSquares,
               Index width, float* __restrict variance) {
    constexpr float largest = std::numeric_limits<float>::max();
    for (Index x = 0; x < width; ++x) {
        float const matched = total[x] * divisor - own[x];
        float const spread = matched > 0.0F ? matched : 0.0F;
        bool const isUsable = (theirs[x] >= 0.0F) & (theirs[x] <= largest);
        float const input = isUsable ? theirs[x] : spread / sumOfSquares;
        variance[x] += gamma[x] * input + beta[x] * spread;
    }
}

void requireShape(Index rows, Index cols, Index height, Index width, char const* name) {
    if (rows != height || cols != width) {
        throw std::invalid_argument(std::string("the ") + name + " has shape " + detail::shapeText(rows, cols) +
                                    ", the difference to correct " + detail::shapeText(height, width));
    }
}

}  // namespace

void correctDifference(MaskedImageView const& difference, ConstImageView<float> const& unconvolvedVariance,
                       ConstImageView<float> const& convolvedVariance, VarianceFactors const* factors,
                       LinearCombinationKernel const& correction, Index x0, Index y0, CorrectionControl const& control,
                       Execution const& execution, MaskedImageTarget output) {
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    requireShape(unconvolvedVariance.rows(), unconvolvedVariance.cols(), height, width, "unconvolved variance");
    requireShape(convolvedVariance.rows(), convolvedVariance.cols(), height, width, "convolved variance");
    requireShape(output.image.rows(), output.image.cols(), height, width, "output");
    if (factors != nullptr) {
        Index const n = factors->alongX.rows();
        requireShape(factors->betaOfRow.rows(), factors->alongX.cols(), height, width, "field of factors");
        if (factors->betaOfRow.cols() != n || factors->gammaOfRow.cols() != n || factors->gammaOfRow.rows() != height) {
            throw std::invalid_argument("the factors of a variance differ in their number of functions");
        }
    }
    validate(correction);
    float const level = levelOf(difference, control.badBits);
    FilledPixels const fill = findBad(difference, unconvolvedVariance, control, level, execution);
    detail::Planes planes;
    planes.height = height;
    planes.width = width;
    planes.image = {difference.image.data(),
                    difference.image.outerStride(),
                    output.image.data(),
                    output.image.outerStride(),
                    height,
                    width,
                    true,
                    level};
    planes.variance = {unconvolvedVariance.data(),
                       unconvolvedVariance.outerStride(),
                       output.variance.data(),
                       output.variance.outerStride(),
                       height,
                       width,
                       true,
                       0.0F};
    ConvolutionControl convolution;
    convolution.instructionSet = control.instructionSet;
    detail::convolvePlanes(planes, correction, x0, y0, convolution, execution, fill);

    std::vector<Tap> const taps =
        tapsAbove(kernelImage(correction, static_cast<double>(x0) + 0.5 * static_cast<double>(width - 1),
                              static_cast<double>(y0) + 0.5 * static_cast<double>(height - 1)),
                  control.maskedKernelFraction);
    detail::RowFunctions const functions = detail::chooseRowFunctions(control.instructionSet);
    VarianceFactors const nothing;
    RowFactors const rowFactors(factors != nullptr ? *factors : nothing, functions);
    auto const divisor = static_cast<float>(control.divisor);
    Index const nItems = (height + rowsPerItem - 1) / rowsPerItem;
    std::vector<std::vector<float>> scratch(static_cast<std::size_t>(workerCount(nItems, execution)));
    parallelForBrief(nItems, execution, [&](Index item, int worker) {
        std::vector<float>& rows = scratch[static_cast<std::size_t>(worker)];
        rows.resize(static_cast<std::size_t>(2 * rowFactors.stride()));
        for (Index y = item * rowsPerItem; y < std::min(height, (item + 1) * rowsPerItem); ++y) {
            float* const variance = rowOf(output.variance, y);
            float const* const theirs = rowOf(convolvedVariance, y);
            if (factors != nullptr) {
                float* const gamma = rows.data() + rowFactors.stride();
                rowFactors.writeBeta(y, rows.data());
                rowFactors.writeGamma(y, gamma);
                addSpread(rows.data(), gamma, rowOf(difference.variance, y), rowOf(unconvolvedVariance, y), theirs,
                          divisor, static_cast<float>(factors->sumOfSquares), width, variance);
            } else {
                for (Index x = 0; x < width; ++x) {
                    variance[x] += theirs[x];
                }
            }
            for (Index x = 0; divisor != 1.0F && x < width; ++x) {
                variance[x] /= divisor;
            }
            MaskPixel* const mask = rowOf(output.mask, y);
            std::copy_n(rowOf(difference.mask, y), width, mask);
            for (FilledPixel const& pixel : fill.row(y)) {
                output.image(y, pixel.x) = difference.image(y, pixel.x);
                variance[pixel.x] = difference.variance(y, pixel.x);
            }
            spreadPlanes(fill, taps, y, height, width, control.edgeBit, mask);
        }
    });
}

}  // namespace psfmatch
