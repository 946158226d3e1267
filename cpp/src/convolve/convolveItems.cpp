#include "convolve/convolveItems.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "convolve/convolveEdges.h"
#include "convolve/convolveMask.h"
#include "convolve/convolveSpectrum.h"
#include "convolve/convolveTiling.h"
#include "psfmatch/base/exceptions.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

namespace {

// Kernels of no more taps are convolved by direct sums: transforms cost as much as some 64 products a pixel and term.
constexpr int maxDirectTaps = 64;

// Output pixels around which the kernel fits, or all.
Tile resultRegion(Planes const& planes, KernelBasis const& basis) {
    if (planes.image.isExtended) {
        return {0, 0, static_cast<int>(planes.width), static_cast<int>(planes.height)};
    }
    return {(basis.width - 1) / 2, (basis.height - 1) / 2, static_cast<int>(planes.width - basis.width + 1),
            static_cast<int>(planes.height - basis.height + 1)};
}

// Where on one axis the pixels begin to be others' than those before, of `count` from `begin` on: at the breaks of the
// kernel's spatial functions (`origin`: position of pixel 0); and the end of all.
std::vector<Index> piecesOf(std::vector<double> const& breaks, Index origin, Index begin, int count) {
    std::vector<Index> begins{begin};
    for (double const position : breaks) {
        auto const first = static_cast<Index>(std::ceil(position)) - origin;
        if (first > begins.back() && first < begin + count) {
            begins.push_back(first);
        }
    }
    begins.push_back(begin + count);
    return begins;
}

// Memory that a worker keeps from tile to tile.
struct Workspace {
    std::vector<float> input;
    std::vector<float> rows;
    std::vector<MaskPixel> mask;
    std::vector<MaskPixel> maskRows;
    std::vector<std::span<FilledPixel const>> filled;  // of each row of the tile's input
    SpectralWorkspace spectral;
};

// The taps that matter to one plane, and how its sums are done.
struct PlaneKernel {
    PlaneKernel(LinearCombinationKernel const& kernel, Index x0, Index y0, ConvolutionMethod method)
        : height(static_cast<int>(kernel.basis.height)),
          width(static_cast<int>(kernel.basis.width)),
          footprint(footprintOf(kernel)),
          expansion(kernel, x0, y0),
          isSpectral(usesTransforms(method)) {}

    [[nodiscard]] Index inputX(Tile const& tile) const { return tile.x0 - (width - 1) / 2; }
    [[nodiscard]] Index inputY(Tile const& tile) const { return tile.y0 - (height - 1) / 2; }
    [[nodiscard]] int inputWidth(Tile const& tile) const { return tile.width + width - 1; }
    [[nodiscard]] int inputHeight(Tile const& tile) const { return tile.height + height - 1; }
    [[nodiscard]] int inputStride(Tile const& tile) const { return padded(tile.width) + padded(width - 1); }

    // A box in tiles, `size` of them together on either axis.
    [[nodiscard]] Tiling tiling(Tile const& box, Index size = 1) const {
        return {box, size * std::max(1, transformSize - width + 1), size * std::max(1, transformSize - height + 1)};
    }

    [[nodiscard]] bool usesTransforms(ConvolutionMethod method) const {
        bool const isPossible = std::max(height, width) <= maxSpectralSide && expansion.maxTerms() <= maxTermsOnAxis;
        if (method == ConvolutionMethod::transforms && !isPossible) {
            throw std::invalid_argument("a kernel of shape " + shapeText(height, width) +
                                        " is too large, or of too high an order, for transforms");
        }
        if (method != ConvolutionMethod::automatic) {
            return method == ConvolutionMethod::transforms;
        }
        int nTaps = footprint.spans.empty() ? footprint.height * footprint.width : 0;
        for (Footprint::Span const& span : footprint.spans) {
            nTaps += span.width;
        }
        return isPossible && nTaps > maxDirectTaps;
    }

    int height;
    int width;
    Footprint footprint;
    KernelExpansion expansion;
    bool isSpectral;
};

class Convolution {
public:
    Convolution(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                ConvolutionControl const& control, FilledPixels const& fill, Tile const& piece)
        : planes_(planes),
          control_(control),
          fill_(fill),
          good_(piece),
          functions_(chooseRowFunctions(control.instructionSet)),
          fourier_(chooseFourierFunctions(control.instructionSet)),
          twiddles_(makeTwiddles()),
          kernel_(kernel, x0, y0, control.method),
          // Where pixels are used as they are, what is not finite must spread over the whole kernel.
          square_(control.fillBad && planes.hasVariance()
                      ? withoutRings(kernel, kernel_.expansion.spareRings(good_, kernel_.height, kernel_.width))
                      : kernel,
                  x0, y0, control.method),
          mask_{kernel, kernel_.footprint, functions_, control, fill, x0, y0},
          tiles_(good_, tileWidth, tileHeight) {}

    void run(Execution const& execution) const {
        SpectralWorkspace setUp;
        AlignedFloats spectra;
        std::unique_ptr<SpectralKernel> imageKernel;
        Tiling const spectralTiles = kernel_.tiling(good_);
        Index nImage = tiles_.size();
        if (kernel_.isSpectral) {
            KernelExpansion const& expansion = kernel_.expansion;
            imageKernel = std::make_unique<SpectralKernel>(
                spectralKernel(kernel_, expansion.kernel(expansion.expand(good_)), good_, setUp, spectra));
            nImage = spectralTiles.pairRows() * spectralTiles.columns();
        }
        Tiling const regions = square_.isSpectral && planes_.hasVariance() ? varianceRegions() : tiles_;
        Index const nRegions = planes_.hasVariance() ? regions.size() : 0;
        Index const nMask = planes_.hasMask() ? tiles_.size() : 0;
        Index const nItems = nRegions + nImage + nMask;
        std::vector<Workspace> workspaces(static_cast<std::size_t>(workerCount(nItems, execution)));
        parallelFor(nItems, execution, [&](Index item, int worker) {
            Workspace& work = workspaces[static_cast<std::size_t>(worker)];
            if (item < nRegions) {
                Tile const region = regions[item];
                square_.isSpectral ? convolveVarianceRegion(region, work) : convolveVarianceTile(region, work);
                clampVariance(region);
            } else if (item < nRegions + nImage) {
                Index const i = item - nRegions;
                kernel_.isSpectral ? convolveImagePair(*imageKernel, spectralTiles, i, work)
                                   : convolveImageTile(tiles_[i], work);
            } else {
                convolveMask(tiles_[item - nRegions - nImage], work);
            }
        });
        if (control_.normalize) {
            parallelFor(tiles_.size(), execution, [&](Index item, int) { normalize(tiles_[item]); });
        }
    }

private:
    [[nodiscard]] SpectralKernel spectralKernel(PlaneKernel const& part, TileKernel const& taps, Tile const& region,
                                                SpectralWorkspace& work, AlignedFloats& spectra) const {
        return {taps, part.height, part.width, region, fourier_, functions_, twiddles_, work, spectra};
    }

    // Regions of whole pairs of tiles in which K^2 has an expansion of its own, of as low a degree as the accuracy of
    // the variance allows: small ones need few terms, large ones few spectra. Judged by nine regions of each size.
    [[nodiscard]] Tiling varianceRegions() const {
        Index best = 0;
        double lowest = std::numeric_limits<double>::infinity();
        for (Index const size : {8, 6, 4, 2}) {
            Tiling const regions = square_.tiling(good_, size);
            double const nPairs = 0.5 * static_cast<double>(size * size);
            double cost = 0.0;
            for (int i = 0; i < 9; ++i) {
                Tile const region = regions.at(i / 3 * (regions.rows() - 1) / 2, i % 3 * (regions.columns() - 1) / 2);
                int const degree = squaredTaps(region).degree();
                cost += costOfPair(degree) + costOfSetUp(degree) / nPairs;
            }
            if (cost < lowest) {
                lowest = cost;
                best = size;
            }
        }
        return square_.tiling(good_, best);
    }

    // In one-dimensional transforms of a pair of tiles; with many terms the spectra no longer fit into the cache.
    static double costOfPair(int degree) { return (3.0 * degree + 4.0) * (degree < 4 ? 1.0 : degree == 4 ? 1.3 : 1.6); }
    static double costOfSetUp(int degree) { return 8.0 + 1.4 * termCount(degree + 1); }

    [[nodiscard]] TileKernel squaredTaps(Tile const& tile) const {
        return square_.expansion.squaredKernel(square_.expansion.expand(tile));
    }

    void convolveVarianceRegion(Tile const& region, Workspace& work) const {
        SpectralKernel const kernel =
            spectralKernel(square_, squaredTaps(region), region, work.spectral, work.spectral.spectra);
        Tiling const tiles = square_.tiling(region);
        for (Index row = 0; row < tiles.pairRows(); ++row) {
            for (Index column = 0; column < tiles.columns(); ++column) {
                TilePair const pair = tiles.pair(row, column);
                if (!kernel.convolve(planes_.variance, fill_, &FilledPixel::variance, pair, work.spectral)) {
                    convolveVarianceTile(pair.upper, work);
                    convolveVarianceTile(pair.lower, work);
                }
            }
        }
    }

    // Taps of K^2 near zero are uncertain by a trifle, and so is its sign where they alone meet any variance.
    void clampVariance(Tile const& tile) const {
        for (Index y = tile.y0; y < tile.y0 + tile.height; ++y) {
            float* const row = planes_.variance.outputAt(y, tile.x0);
            for (int x = 0; x < tile.width; ++x) {
                row[x] = row[x] < 0.0F ? 0.0F : row[x];
            }
        }
    }

    void convolveVarianceTile(Tile const& tile, Workspace& work) const {
        if (tile.height > 0) {
            convolveDirectly(square_, squaredTaps(tile), planes_.variance, &FilledPixel::variance, tile, work);
        }
    }

    void convolveImagePair(SpectralKernel const& kernel, Tiling const& tiles, Index item, Workspace& work) const {
        TilePair const pair = tiles.pair(item / tiles.columns(), item % tiles.columns());
        if (!kernel.convolve(planes_.image, fill_, &FilledPixel::value, pair, work.spectral)) {
            convolveImageTile(pair.upper, work);
            convolveImageTile(pair.lower, work);
        }
    }

    void convolveImageTile(Tile const& tile, Workspace& work) const {
        if (tile.height > 0) {
            KernelExpansion const& expansion = kernel_.expansion;
            convolveDirectly(kernel_, expansion.kernel(expansion.expand(tile)), planes_.image, &FilledPixel::value,
                             tile, work);
        }
    }

    void convolveDirectly(PlaneKernel const& part, TileKernel const& taps, Plane<float> const& plane,
                          float FilledPixel::* fillValue, Tile const& tile, Workspace& work) const {
        findFilled(part, tile, work);
        int const stride = part.inputStride(tile);
        int const width = part.inputWidth(tile);
        work.input.resize(static_cast<std::size_t>(stride * part.inputHeight(tile)));
        for (int i = 0; i < part.inputHeight(tile); ++i) {
            float* const row = work.input.data() + i * stride;
            plane.copyInput(part.inputY(tile) + i, part.inputX(tile), width, row);
            std::fill(row + width, row + stride, 0.0F);
            for (FilledPixel const& pixel : work.filled[static_cast<std::size_t>(i)]) {
                row[pixel.x - part.inputX(tile)] = pixel.*fillValue;
            }
        }
        convolveTile(functions_, taps, part.footprint, part.width, {work.input.data(), stride}, tile,
                     TileFactors(tile, part.expansion.maxTerms()), plane.outputAt(tile.y0, tile.x0), plane.outputStride,
                     work.rows);
    }

    void findFilled(PlaneKernel const& part, Tile const& tile, Workspace& work) const {
        int const height = part.inputHeight(tile);
        work.filled.assign(static_cast<std::size_t>(height), {});
        if (fill_.empty()) {
            return;
        }
        Index const xBegin = part.inputX(tile);
        auto const isBefore = [](FilledPixel const& pixel, Index x) { return pixel.x < x; };
        for (int i = 0; i < height; ++i) {
            auto const row = fill_.row(part.inputY(tile) + i);
            auto const first = std::lower_bound(row.begin(), row.end(), xBegin, isBefore);
            auto const last = std::lower_bound(first, row.end(), xBegin + part.inputWidth(tile), isBefore);
            work.filled[static_cast<std::size_t>(i)] = {first, last};
        }
    }

    void convolveMask(Tile const& tile, Workspace& work) const {
        MaskRows const output{planes_.mask.outputAt(tile.y0, tile.x0), planes_.mask.outputStride};
        findFilled(kernel_, tile, work);
        int const width = kernel_.inputWidth(tile);
        int const height = kernel_.inputHeight(tile);
        work.mask.resize(static_cast<std::size_t>(width * height));
        for (int i = 0; i < height; ++i) {
            MaskPixel* const row = work.mask.data() + i * width;
            planes_.mask.copyInput(kernel_.inputY(tile) + i, kernel_.inputX(tile), width, row);
            prepareMaskRow(mask_, work.filled[static_cast<std::size_t>(i)], kernel_.inputX(tile), row);
        }
        spreadMask(kernel_.footprint, kernel_.height, kernel_.width, {work.mask.data(), width}, tile, output,
                   work.maskRows);
        bool const anyFilled =
            std::any_of(work.filled.begin(), work.filled.end(), [](auto const& row) { return !row.empty(); });
        if (mask_.byFraction() && anyFilled) {
            markFilledFraction(mask_, kernel_.expansion.kernel(kernel_.expansion.expand(tile)), tile,
                               TileFactors(tile, kernel_.expansion.maxTerms()), work.filled, output);
        }
    }

    void normalize(Tile const& tile) const {
        // Coefficients of the kernel's sum, in the sequence of the expansion.
        Eigen::VectorXd const sums = kernel_.expansion.expand(tile).rowwise().sum();
        TileFactors const factors(tile, kernel_.expansion.maxTerms());
        for (int row = 0; row < tile.height; ++row) {
            for (int column = 0; column < tile.width; ++column) {
                double sum = 0.0;
                for (int s = 0; s < sums.size(); ++s) {
                    sum += sums[s] * factors.xRows().data[xDegree(s) * factors.xStride + column] *
                           factors.yRow(row)[yDegree(s)];
                }
                Index const y = tile.y0 + row;
                Index const x = tile.x0 + column;
                if (sum == 0.0) {
                    throw NumericalError("the kernel's sum, by which to normalize, is 0 at pixel (" +
                                         std::to_string(x) + ", " + std::to_string(y) + ") of the image");
                }
                float& image = *planes_.image.outputAt(y, x);
                image = static_cast<float>(image / sum);
                if (planes_.hasVariance()) {
                    float& variance = *planes_.variance.outputAt(y, x);
                    variance = static_cast<float>(variance / (sum * sum));
                }
            }
        }
    }

    Planes const& planes_;
    ConvolutionControl const& control_;
    FilledPixels const& fill_;
    Tile good_;
    RowFunctions functions_;
    FourierFunctions fourier_;
    std::vector<float> twiddles_;
    PlaneKernel kernel_;
    PlaneKernel square_;  // the taps whose squares the variance needs
    MaskContext mask_;
    Tiling tiles_;
};

}  // namespace

std::string shapeText(Index height, Index width) {
    return std::string("(").append(std::to_string(height)).append(", ").append(std::to_string(width)).append(")");
}

void convolvePlanes(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                    ConvolutionControl const& control, Execution const& execution, FilledPixels const& fill) {
    Tile const good = resultRegion(planes, kernel.basis);
    SpatialForm const& form = kernel.spatial.form();
    std::vector<Index> const columns = piecesOf(form.breaks(Axis::x), x0, good.x0, good.width);
    std::vector<Index> const rows = piecesOf(form.breaks(Axis::y), y0, good.y0, good.height);
    for (std::size_t row = 0; row + 1 < rows.size(); ++row) {
        for (std::size_t column = 0; column + 1 < columns.size(); ++column) {
            Tile const piece{columns[column], rows[row], static_cast<int>(columns[column + 1] - columns[column]),
                             static_cast<int>(rows[row + 1] - rows[row])};
            Convolution(planes, kernel, x0, y0, control, fill, piece).run(execution);
        }
    }
    writeEdges(planes, control, good);
}

}  // namespace psfmatch::detail
