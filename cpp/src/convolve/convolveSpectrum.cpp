#include "convolve/convolveSpectrum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <new>
#include <numbers>

#include "simd/prefetch.h"

namespace psfmatch::detail {

namespace {

// Transforms in float32 spread some 1e-7 of a tile's root mean square over all of it, and sums are to be good to 1e-5
// of the largest within a kernel box. So where the root mean square exceeds `safeContrast` times the least of the
// largest pixels of all 8x8 blocks, pixels above `brightContrast` times that are lifted out and added exactly.
constexpr double safeContrast = 5.0;
constexpr float brightContrast = 20.0F;
// So many are lifted out at most: beyond that direct sums over the tile cost no more.
constexpr std::size_t maxBright = 1500;
constexpr int blockSize = 8;

constexpr std::size_t alignment = 64;

// Row d: coefficients of 1, t, t^2 ... of the Chebyshev polynomial of degree d.
Eigen::MatrixXd chebyshevMonomials(int n) {
    Eigen::MatrixXd monomials = Eigen::MatrixXd::Zero(n, n);
    monomials(0, 0) = 1.0;
    if (n > 1) {
        monomials(1, 1) = 1.0;
    }
    for (int d = 2; d < n; ++d) {
        monomials.row(d).tail(n - 1) = 2.0 * monomials.row(d - 1).head(n - 1);
        monomials.row(d) -= monomials.row(d - 2);
    }
    return monomials;
}

constexpr int blocksAcross = transformSize / blockSize;

// Largest |pixel| of each 8x8 block of a tile, row after row of blocks, zero beyond the pixels.
using BlockMaxima = std::array<float, blocksAcross * blocksAcross>;

// Returns the sum of squares.
double measureBlocks(float const* pixels, int height, BlockMaxima& blockMaxima) {
    std::array<float, transformSize> maxima;
    std::array<float, transformSize> squares;
    double sumOfSquares = 0.0;
    blockMaxima.fill(0.0F);
    for (int y = 0; y < height; y += blockSize) {
        maxima.fill(0.0F);
        squares.fill(0.0F);
        for (int i = 0; i < std::min(blockSize, height - y); ++i) {
            float const* const row = pixels + (y + i) * tileStride;
            for (std::size_t x = 0; x < transformSize; ++x) {
                maxima[x] = std::max(maxima[x], std::abs(row[x]));
                squares[x] += row[x] * row[x];
            }
        }
        double sum = 0.0;
        for (float const square : squares) {
            sum += static_cast<double>(square);
        }
        sumOfSquares += sum;
        for (int block = 0; block < blocksAcross; ++block) {
            float const* const first = maxima.data() + block * blockSize;
            blockMaxima[static_cast<std::size_t>(y / blockSize * blocksAcross + block)] =
                *std::max_element(first, first + blockSize);
        }
    }
    return sumOfSquares;
}

// Of the whole blocks of a tile, or of all of a tile smaller than one. Blocks that hold nothing but what lies outside
// an image, or stands in for its bad pixels, do not count.
float leastMaximum(BlockMaxima const& maxima, Plane<float> const& plane, int width, int height) {
    float least = std::numeric_limits<float>::infinity();
    float const nothing = std::abs(plane.outside);
    for (int y = 0; y < std::max(1, height / blockSize); ++y) {
        for (int x = 0; x < std::max(1, width / blockSize); ++x) {
            float const largest = maxima[static_cast<std::size_t>(y * blocksAcross + x)];
            least = plane.isExtended && largest == nothing ? least : std::min(least, largest);
        }
    }
    return least;
}

void powersOf(double centre, double half, Index first, int count, int power, float* factors) {
    for (int i = 0; i < count; ++i) {
        double const position = (static_cast<double>(first + i) - centre) / half;
        double product = 1.0;
        for (int p = 0; p < power; ++p) {
            product *= position;
        }
        factors[i] = static_cast<float>(product);
    }
}

}  // namespace

void AlignedFloats::resize(std::size_t size) {
    if (size > size_) {
        data_.reset(static_cast<float*>(::operator new(size * sizeof(float), std::align_val_t(alignment))));
        size_ = size;
    }
}

void AlignedFloats::Free::operator()(float* data) const {
    ::operator delete(data, std::align_val_t(alignment));
}

std::vector<float> makeTwiddles() {
    std::vector<float> twiddles;
    twiddles.reserve(twiddleLength);
    for (int const size : {transformSize, transformSize / 4}) {
        for (int j = 0; j < size / 4; ++j) {
            for (int k = 1; k <= 3; ++k) {
                double const angle = -2.0 * std::numbers::pi * j * k / size;
                twiddles.push_back(static_cast<float>(std::cos(angle)));
                twiddles.push_back(static_cast<float>(std::sin(angle)));
            }
        }
    }
    return twiddles;
}

SpectralKernel::SpectralKernel(TileKernel const& kernel, int height, int width, Tile const& region,
                               FourierFunctions const& functions, RowFunctions const& rowFunctions,
                               std::vector<float> const& twiddles, SpectralWorkspace& work, AlignedFloats& spectra)
    : height_(height),
      width_(width),
      xCentre_(static_cast<double>(region.x0) + 0.5 * (region.width - 1)),
      yCentre_(static_cast<double>(region.y0) + 0.5 * (region.height - 1)),
      xHalf_(halfExtent(region.width)),
      yHalf_(halfExtent(region.height)),
      functions_(functions),
      rowFunctions_(rowFunctions),
      twiddles_(twiddles),
      n_(kernel.degree() + 1),
      rowStride_(padded(width + rowPadding - 1)) {
    makeTerms(kernel);
    spectra.resize(static_cast<std::size_t>(transformSize * transformSize * 2 * termCount(n_)));
    makeSpectra(work, spectra.data());
    spectra_ = spectra.data();
}

void SpectralKernel::makeTerms(TileKernel const& kernel) {
    int const size = height_ * width_;
    Eigen::MatrixXd const monomials = chebyshevMonomials(n_);
    terms_.assign(static_cast<std::size_t>(termCount(n_) * height_ * rowStride_), 0.0F);
    float* target = terms_.data();
    Eigen::MatrixXd powers(n_, size);  // of Y, for one power of X: C_qp
    for (int q = 0; q < n_; ++q) {
        powers.setZero();
        float const* row = kernel.coefficients.data();
        for (int a = 0; a < kernel.xTerms(); ++a) {
            for (int b = 0; b < kernel.yTerms[static_cast<std::size_t>(a)]; ++b, row += kernel.tapStride) {
                if (monomials(a, q) == 0.0) {
                    continue;
                }
                Eigen::Map<Eigen::RowVectorXf const> const taps(row, size);
                for (int p = 0; p <= b; ++p) {
                    powers.row(p) += (monomials(a, q) * monomials(b, p)) * taps.cast<double>();
                }
            }
        }
        // (Y_in - d)^p = sum over k of binomial(p, k) Y_in^k (-d)^(p - k), d = (v - centre) / yHalf
        for (int k = 0; k < n_ - q; ++k) {
            for (int v = 0; v < height_; ++v) {
                double const d = (v - (height_ - 1) / 2) / yHalf_;
                float* const to = target + (height_ - 1 - v) * rowStride_ + width_ - 1;
                for (int u = 0; u < width_; ++u) {
                    double factor = 1.0;  // binomial(p, k) (-d)^(p - k)
                    double sum = 0.0;
                    for (int p = k; p < n_ - q; ++p) {
                        sum += factor * powers(p, v * width_ + u);
                        factor *= -d * (p + 1) / (p + 1 - k);
                    }
                    to[-u] = static_cast<float>(sum);
                }
            }
            target += height_ * rowStride_;
        }
    }
}

void SpectralKernel::makeSpectra(SpectralWorkspace& work, float* spectra) const {
    work.tiles.resize(2 * realTileLength);
    work.streams.resize(complexTileLength);
    float* const tile = work.tiles.data();
    std::fill(tile, tile + 2 * realTileLength, 0.0F);
    std::fill(work.streams.data(), work.streams.data() + complexTileLength, 0.0F);
    std::vector<float> const ones(transformSize, 1.0F);
    constexpr float scale = 1.0F / (transformSize * transformSize);
    int const nColumnBatches = (width_ + batchWidth - 1) / batchWidth;
    for (int term = 0; term < termCount(n_); ++term) {
        // The conjugate of a real image's spectrum makes a correlation of a convolution.
        float const* const taps = terms_.data() + term * height_ * rowStride_;
        for (int v = 0; v < height_; ++v) {
            std::reverse_copy(taps + (height_ - 1 - v) * rowStride_, taps + (height_ - 1 - v) * rowStride_ + width_,
                              tile + v * tileStride);
        }
        functions_.forwardColumns(tile, tile + realTileLength, ones.data(), ones.data(), twiddles_.data(),
                                  nColumnBatches, work.streams.data());
        functions_.forwardSpectrum(work.streams.data(), twiddles_.data(), scale, term, termCount(n_), spectra);
    }
}

void SpectralKernel::load(Plane<float> const& plane, FilledPixels const& fill, float FilledPixel::* fillValue,
                          Tile const& tile, float* target) const {
    int const height = tile.height > 0 ? tile.height + height_ - 1 : 0;
    int const width = tile.width + width_ - 1;
    Index const x0 = tile.x0 - (width_ - 1) / 2;
    Index const y0 = tile.y0 - (height_ - 1) / 2;
    for (int y = 0; y < height; ++y) {
        float* const row = target + y * tileStride;
        Index const ahead = y0 + y + rowsAhead;
        if (y + rowsAhead < height && ahead >= 0 && ahead < plane.height) {
            Index const begin = std::max<Index>(x0, 0);
            prefetchRow(plane.inputAt(ahead, begin), std::min(x0 + width, plane.width) - begin);
        }
        plane.copyInput(y0 + y, x0, width, row);
        std::fill(row + width, row + tileStride, 0.0F);
        if (!fill.empty()) {
            auto const pixels = fill.row(y0 + y);
            auto pixel = std::lower_bound(pixels.begin(), pixels.end(), x0,
                                          [](FilledPixel const& filled, Index x) { return filled.x < x; });
            for (; pixel != pixels.end() && pixel->x < x0 + width; ++pixel) {
                row[pixel->x - x0] = *pixel.*fillValue;
            }
        }
    }
    std::fill(target + height * tileStride, target + realTileLength, 0.0F);
}

bool SpectralKernel::liftBright(Plane<float> const& plane, TilePair const& pair, SpectralWorkspace& work) const {
    int const width = pair.upper.width + width_ - 1;
    int const heights[2] = {pair.upper.height + height_ - 1,
                            pair.lower.height > 0 ? pair.lower.height + height_ - 1 : 0};
    std::array<BlockMaxima, 2> maxima;
    double sumOfSquares = 0.0;
    float least = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < 2; ++i) {
        work.bright[i].clear();
        if (heights[i] > 0) {
            sumOfSquares += measureBlocks(work.tiles.data() + i * realTileLength, heights[i], maxima[i]);
            least = std::min(least, leastMaximum(maxima[i], plane, width, heights[i]));
        }
    }
    if (!std::isfinite(sumOfSquares)) {
        return false;
    }
    if (std::sqrt(sumOfSquares / (transformSize * transformSize)) <= safeContrast * static_cast<double>(least)) {
        return true;
    }
    float const limit = brightContrast * least;
    for (std::size_t i = 0; i < 2; ++i) {
        float* const tile = work.tiles.data() + i * realTileLength;
        auto& bright = work.bright[i];
        for (int y = 0; y < heights[i]; ++y) {
            for (int x = 0; x < transformSize; ++x) {
                if (maxima[i][static_cast<std::size_t>(y / blockSize * blocksAcross + x / blockSize)] <= limit) {
                    x += blockSize - 1;
                } else if (float& pixel = tile[y * tileStride + x]; std::abs(pixel) > limit) {
                    bright.push_back({y, x, pixel});
                    pixel = 0.0F;
                }
            }
            if (bright.size() > maxBright) {
                return false;
            }
        }
    }
    return true;
}

// yFactors: powers of Y, transformSize apart, of the rows of the tile's input; xFactors: X of its output's columns.
void SpectralKernel::addBright(std::vector<SpectralWorkspace::Bright> const& bright, Tile const& tile,
                               float const* yFactors, float const* xFactors, SpectralWorkspace& work,
                               float* target) const {
    int const size = height_ * rowStride_;
    work.footprint.resize(static_cast<std::size_t>(n_ * size));
    std::vector<float> weights(static_cast<std::size_t>(n_));
    for (auto const& pixel : bright) {
        for (std::size_t p = 0; p < weights.size(); ++p) {
            weights[p] = pixel.value * yFactors[static_cast<int>(p) * transformSize + pixel.row];
        }
        float const* terms = terms_.data();
        for (int q = 0; q < n_; ++q) {
            rowFunctions_.combine({terms, size}, weights.data(), n_ - q, size, work.footprint.data() + q * size);
            terms += (n_ - q) * size;
        }
        // The footprint's first pixel falls on output (row - height + 1, column - width + 1).
        int const rowSkip = std::max(0, height_ - 1 - pixel.row);
        int const columnSkip = std::max(0, width_ - 1 - pixel.column);
        int const y = pixel.row - height_ + 1 + rowSkip;
        int const x = pixel.column - width_ + 1 + columnSkip;
        int const nRows = std::min(height_ - rowSkip, tile.height - y);
        if (nRows > 0) {
            functions_.addPolynomial(work.footprint.data() + rowSkip * rowStride_ + columnSkip, size, rowStride_, n_,
                                     xFactors + x, nRows, padded(width_ - columnSkip), target + y * tileStride + x);
        }
    }
}

bool SpectralKernel::convolve(Plane<float> const& plane, FilledPixels const& fill, float FilledPixel::* fillValue,
                              TilePair const& pair, SpectralWorkspace& work) const {
    work.tiles.resize(2 * realTileLength);
    work.streams.resize(static_cast<std::size_t>(n_ * complexTileLength));
    work.columns.resize(complexTileLength);
    work.scratch.resize(static_cast<std::size_t>(n_ * transformSize * lineLength));
    work.factors.resize(static_cast<std::size_t>((2 * n_ + 2) * transformSize));
    float* const tiles[2] = {work.tiles.data(), work.tiles.data() + realTileLength};
    Tile const* const parts[2] = {&pair.upper, &pair.lower};
    for (int i = 0; i < 2; ++i) {
        load(plane, fill, fillValue, *parts[i], tiles[i]);
    }
    if (!liftBright(plane, pair, work)) {
        return false;
    }
    float* const xFactors = work.factors.data() + 2 * n_ * transformSize;
    powersOf(xCentre_, xHalf_, pair.upper.x0, tileStride, 1, xFactors);
    for (int i = 0; i < 2; ++i) {
        for (int p = 0; p < n_; ++p) {
            powersOf(yCentre_, yHalf_, parts[i]->y0 - (height_ - 1) / 2, transformSize, p,
                     work.factors.data() + (i * n_ + p) * transformSize);
        }
    }
    for (int p = 0; p < n_; ++p) {
        functions_.forwardColumns(tiles[0], tiles[1], work.factors.data() + p * transformSize,
                                  work.factors.data() + (n_ + p) * transformSize, twiddles_.data(), nBatches,
                                  work.streams.data() + p * complexTileLength);
    }
    int const nColumnBatches = (pair.upper.width + batchWidth - 1) / batchWidth;
    functions_.convolveRows(work.streams.data(), spectra_, n_, xFactors, twiddles_.data(), nColumnBatches,
                            work.scratch.data(), work.columns.data());
    functions_.inverseColumns(work.columns.data(), twiddles_.data(), nColumnBatches, tiles[0], tiles[1]);
    for (int i = 0; i < 2; ++i) {
        addBright(work.bright[i], *parts[i], work.factors.data() + i * n_ * transformSize, xFactors, work, tiles[i]);
        for (int y = 0; y < parts[i]->height; ++y) {
            std::copy_n(tiles[i] + y * tileStride, parts[i]->width, plane.outputAt(parts[i]->y0 + y, parts[i]->x0));
        }
    }
    return true;
}

}  // namespace psfmatch::detail
