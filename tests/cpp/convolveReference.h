// Kernels and images for the tests of the convolution, and its definition as a plain double loop in float64.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "psfmatch/convolve/convolve.h"
#include "psfmatch/image/badPixels.h"

namespace convolveReference {

using psfmatch::Index;
using psfmatch::LinearCombinationKernel;
using psfmatch::MaskPixel;
template <typename Pixel>
using Image = psfmatch::OwnedImage<Pixel>;

template <typename Pixel>
psfmatch::ConstImageView<Pixel> view(Image<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

template <typename Pixel>
psfmatch::ImageView<Pixel> view(Image<Pixel>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct MaskedImage {
    MaskedImage(Index height, Index width)
        : image(Image<float>::Zero(height, width)),
          variance(Image<float>::Ones(height, width)),
          mask(Image<MaskPixel>::Zero(height, width)) {}

    [[nodiscard]] psfmatch::MaskedImageView views() const { return {view(image), view(variance), view(mask)}; }
    [[nodiscard]] psfmatch::MaskedImageTarget targets() { return {view(image), view(variance), view(mask)}; }

    Image<float> image;
    Image<float> variance;
    Image<MaskPixel> mask;
};

// Sky and noise, and a star (or, off the grid, a hot pixel) of up to 1e5 for every 300 pixels.
inline MaskedImage makeField(Index height, Index width, float sky, unsigned seed) {
    MaskedImage field(height, width);
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(0.0F, 10.0F);
    std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
    for (Index i = 0; i < field.image.size(); ++i) {
        field.image(i) = sky + noise(random);
        field.variance(i) = 100.0F;
    }
    for (Index n = 0; n < 1 + field.image.size() / 300; ++n) {
        auto const yc = static_cast<Index>(uniform(random) * static_cast<float>(height - 1));
        auto const xc = static_cast<Index>(uniform(random) * static_cast<float>(width - 1));
        float const peak = 1e5F * uniform(random) * uniform(random);
        float const sigma = n % 7 == 0 ? 0.1F : 1.5F;
        for (Index y = std::max<Index>(0, yc - 6); y < std::min(height, yc + 7); ++y) {
            for (Index x = std::max<Index>(0, xc - 6); x < std::min(width, xc + 7); ++x) {
                auto const r2 = static_cast<float>((y - yc) * (y - yc) + (x - xc) * (x - xc));
                float const value = peak * std::exp(-0.5F * r2 / (sigma * sigma));
                field.image(y, x) += value;
                field.variance(y, x) += value;
            }
        }
    }
    return field;
}

// Two Gaussians and two Gaussians times x and y; the coefficients of higher spatial degree are random, of
// `variation` relative to the kernel's core, and refer to the given box.
inline LinearCombinationKernel makeKernel(Index height, Index width, int order, psfmatch::SpatialModel model,
                                          psfmatch::Box const& box, double variation, unsigned seed) {
    LinearCombinationKernel kernel;
    kernel.basis.height = height;
    kernel.basis.width = width;
    kernel.basis.images.resize(4, height * width);
    for (Index v = 0; v < height; ++v) {
        for (Index u = 0; u < width; ++u) {
            auto const y = static_cast<double>(v - (height - 1) / 2);
            auto const x = static_cast<double>(u - (width - 1) / 2);
            double const narrow = std::exp(-0.5 * (x * x + y * y) / (1.3 * 1.3));
            double const wide = std::exp(-0.5 * (x * x + y * y) / (2.8 * 2.8));
            kernel.basis.images.col(v * width + u) << narrow / 10.6, wide / 49.3, x * wide / 49.3, y * narrow / 10.6;
        }
    }
    kernel.spatial = {model, order, psfmatch::frameOf(box)};
    kernel.parameters = Eigen::MatrixXd::Zero(4, kernel.spatial.size());
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-variation, variation);
    for (Index s = 1; s < kernel.parameters.cols(); ++s) {
        for (Index i = 0; i < 4; ++i) {
            kernel.parameters(i, s) = uniform(random) / static_cast<double>(order);
        }
    }
    kernel.parameters.col(0) << 0.6, 0.4, 0.03, -0.02;
    return kernel;
}

struct Sums {
    Image<double> image;
    Image<double> variance;
};

// The definition, for the output pixels the kernel fits around; the others are 0.
inline Sums convolveExactly(Image<float> const& image, Image<float> const& variance,
                            LinearCombinationKernel const& kernel, Index x0, Index y0) {
    Index const h = kernel.basis.height;
    Index const w = kernel.basis.width;
    Sums sums{Image<double>::Zero(image.rows(), image.cols()), Image<double>::Zero(image.rows(), image.cols())};
    psfmatch::RowMatrix const terms = psfmatch::termImages(kernel);
    Eigen::RowVectorXd taps(h * w);
    for (Index y = (h - 1) / 2; y < image.rows() - h / 2; ++y) {
        for (Index x = (w - 1) / 2; x < image.cols() - w / 2; ++x) {
            taps.noalias() =
                kernel.spatial.evaluate(static_cast<double>(x + x0), static_cast<double>(y + y0)).transpose() * terms;
            double sum = 0.0;
            double squares = 0.0;
            for (Index v = 0; v < h; ++v) {
                for (Index u = 0; u < w; ++u) {
                    double const tap = taps[v * w + u];
                    Index const row = y - (h - 1) / 2 + v;
                    Index const column = x - (w - 1) / 2 + u;
                    sum += tap * static_cast<double>(image(row, column));
                    squares += tap * tap * static_cast<double>(variance(row, column));
                }
            }
            sums.image(y, x) = sum;
            sums.variance(y, x) = squares;
        }
    }
    return sums;
}

// Largest |value| within a kernel box of each pixel.
inline Image<double> localMaximum(Image<double> const& values, Index height, Index width) {
    Image<double> result(values.rows(), values.cols());
    for (Index y = 0; y < values.rows(); ++y) {
        for (Index x = 0; x < values.cols(); ++x) {
            Index const yBegin = std::max<Index>(0, y - height / 2);
            Index const xBegin = std::max<Index>(0, x - width / 2);
            result(y, x) = values
                               .block(yBegin, xBegin, std::min(values.rows(), y + height / 2 + 1) - yBegin,
                                      std::min(values.cols(), x + width / 2 + 1) - xBegin)
                               .abs()
                               .maxCoeff();
        }
    }
    return result;
}

// Whether a bad pixel stands alone and the light about it is even, in plain words of badPixels.h.
inline bool isFilledSafely(MaskedImage const& input, Index y, Index x, MaskPixel badBits) {
    auto const isGood = [&](Index row, Index column) {
        return row >= 0 && column >= 0 && row < input.mask.rows() && column < input.mask.cols() &&
               !psfmatch::isBad(input.image(row, column), input.variance(row, column), input.mask(row, column),
                                badBits);
    };
    double weights = 0.0;
    double value = 0.0;
    double noise = 0.0;
    int nFar = 0;
    for (auto const& [dy, dx] : {std::pair<Index, Index>{0, -1}, {0, 1}, {-1, 0}, {1, 0}}) {
        Index const distance = isGood(y + dy, x + dx) ? 1 : 2;
        Index const row = y + distance * dy;
        Index const column = x + distance * dx;
        nFar += distance == 2 ? 1 : 0;
        if (nFar > 1 || !isGood(row, column)) {
            return false;
        }
        double const weight = 1.0 / static_cast<double>(distance);
        weights += weight;
        value += weight * input.image(row, column);
        noise += weight * weight * input.variance(row, column);
    }
    double diagonals = 0.0;
    double theirNoise = 0.0;
    for (auto const& [dy, dx] : {std::pair<Index, Index>{-1, -1}, {-1, 1}, {1, -1}, {1, 1}}) {
        if (!isGood(y + dy, x + dx)) {
            return false;
        }
        diagonals += 0.25 * input.image(y + dy, x + dx);
        theirNoise += 0.0625 * input.variance(y + dy, x + dx);
    }
    double const sigma = std::sqrt(noise / (weights * weights) + theirNoise);
    return std::abs(value / weights - diagonals) <= 2.0 * sigma;
}

// The rule for masks, pixel by pixel. Edges are left 0.
inline Image<MaskPixel> spreadExactly(MaskedImage const& input, LinearCombinationKernel const& kernel, Index x0,
                                      Index y0, psfmatch::ConvolutionControl const& control) {
    Index const h = kernel.basis.height;
    Index const w = kernel.basis.width;
    Image<MaskPixel> result = Image<MaskPixel>::Zero(input.mask.rows(), input.mask.cols());
    bool const byFraction = control.fillBad && control.maskedKernelFraction > 0.0;
    for (Index y = (h - 1) / 2; y < result.rows() - h / 2; ++y) {
        for (Index x = (w - 1) / 2; x < result.cols() - w / 2; ++x) {
            Image<double> const taps =
                kernelImage(kernel, static_cast<double>(x + x0), static_cast<double>(y + y0)).abs();
            // Of all filled pixels, and of those that are not filled safely; the last for any plane.
            double weights[2][33] = {};
            MaskPixel& out = result(y, x);
            for (Index v = 0; v < h; ++v) {
                for (Index u = 0; u < w; ++u) {
                    Index const row = y - (h - 1) / 2 + v;
                    Index const column = x - (w - 1) / 2 + u;
                    MaskPixel spreads = input.mask(row, column);
                    MaskPixel planes = spreads & control.badBits;
                    bool const bad =
                        control.fillBad && psfmatch::isBad(input.image(row, column), input.variance(row, column),
                                                           spreads, control.badBits);
                    if (bad) {
                        planes = planes != 0 ? planes : control.noDataBit;
                    }
                    if (bad && byFraction) {
                        spreads &= ~(control.badBits | planes | control.interpolatedBit);
                        int const nKinds = isFilledSafely(input, row, column, control.badBits) ? 1 : 2;
                        for (int kind = 0; kind < nKinds; ++kind) {
                            weights[kind][32] += taps(v, u);
                            for (auto bits = static_cast<std::uint32_t>(planes); bits != 0; bits &= bits - 1) {
                                weights[kind][std::countr_zero(bits)] += taps(v, u);
                            }
                        }
                    } else if (bad) {
                        spreads |= planes | control.interpolatedBit;
                    }
                    if (kernel.isVarying() || taps(v, u) != 0.0) {
                        out |= spreads;
                    }
                }
            }
            double const limits[] = {std::max(control.maskedKernelFraction, control.safeKernelFraction) * taps.sum(),
                                     control.maskedKernelFraction * taps.sum()};
            for (int i = 0; byFraction && i < 33; ++i) {
                bool const outweighs = weights[0][i] > limits[0] || weights[1][i] > limits[1];
                MaskPixel const mark = i < 32 ? static_cast<MaskPixel>(1U << i) : control.interpolatedBit;
                out |= outweighs ? mark : 0;
            }
        }
    }
    return result;
}

}  // namespace convolveReference
