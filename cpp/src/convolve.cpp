#include "psfmatch/convolve.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "convolveEdges.h"
#include "convolveMask.h"
#include "convolveSpectrum.h"
#include "convolveTiling.h"
#include "psfmatch/badPixels.h"
#include "psfmatch/exceptions.h"
#include "rowFunctions.h"

namespace psfmatch {

namespace detail {

namespace {

// Kernels of no more taps are convolved by direct sums: transforms cost as much as some 64 products a pixel and term.
constexpr int maxDirectTaps = 64;

std::string shapeText(Index height, Index width) {
    return "(" + std::to_string(height) + ", " + std::to_string(width) + ")";
}

template <typename Pixel>
Plane<Pixel> planeOf(ConstImageView<Pixel> const& input, ImageView<Pixel>& output, Index height, Index width,
                     char const* name) {
    auto const check = [&](Index rows, Index cols, char const* role) {
        if (rows != height || cols != width) {
            throw std::invalid_argument("the " + std::string(role) + " " + name + " has shape " +
                                        shapeText(rows, cols) + ", the image to convolve " + shapeText(height, width));
        }
    };
    check(input.rows(), input.cols(), "input");
    check(output.rows(), output.cols(), "output");
    return {input.data(), input.outerStride(), output.data(), output.outerStride()};
}

template <typename In, typename Out>
void requireApart(Plane<In> const& in, Plane<Out> const& out, Index height, Index width) {
    std::less<void const*> const before;
    if (before(in.input, out.outputAt(height - 1, width)) && before(out.output, in.inputAt(height - 1, width))) {
        throw std::invalid_argument("input and output of a convolution overlap in memory");
    }
}

void validate(Planes const& planes, LinearCombinationKernel const& kernel, ConvolutionControl const& control) {
    psfmatch::validate(kernel);
    if (!kernel.parameters.allFinite()) {
        throw NumericalError("the kernel's parameters are not all finite");
    }
    if (planes.height < kernel.basis.height || planes.width < kernel.basis.width) {
        throw std::invalid_argument("an image of shape " + shapeText(planes.height, planes.width) +
                                    " is smaller than the kernel of shape " +
                                    shapeText(kernel.basis.height, kernel.basis.width));
    }
    if (!(control.maskedKernelFraction >= 0.0 && control.maskedKernelFraction < 1.0)) {
        throw std::invalid_argument("maskedKernelFraction is " + std::to_string(control.maskedKernelFraction) +
                                    ", must be at least 0 and less than 1");
    }
    requireApart(planes.image, planes.image, planes.height, planes.width);
    if (planes.mask.input != nullptr) {
        requireApart(planes.image, planes.variance, planes.height, planes.width);
        requireApart(planes.variance, planes.image, planes.height, planes.width);
        requireApart(planes.variance, planes.variance, planes.height, planes.width);
        requireApart(planes.mask, planes.mask, planes.height, planes.width);
    }
}

// Output pixels around which the kernel fits.
Tile goodRegion(Planes const& planes, KernelBasis const& basis) {
    return {(basis.width - 1) / 2, (basis.height - 1) / 2, static_cast<int>(planes.width - basis.width + 1),
            static_cast<int>(planes.height - basis.height + 1)};
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

// The work is done in three kinds of items, which may run at the same time: regions of the variance, pairs of tiles
// of the image, tiles of the mask.
class Convolution {
public:
    Convolution(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                ConvolutionControl const& control, FilledPixels const& fill)
        : planes_(planes),
          control_(control),
          fill_(fill),
          kernelHeight_(static_cast<int>(kernel.basis.height)),
          kernelWidth_(static_cast<int>(kernel.basis.width)),
          good_(goodRegion(planes, kernel.basis)),
          functions_(chooseRowFunctions(control.instructionSet)),
          fourier_(chooseFourierFunctions(control.instructionSet)),
          twiddles_(makeTwiddles()),
          footprint_(footprintOf(kernel)),
          expansion_(kernel, x0, y0),
          mask_{kernel, footprint_, functions_, control, fill, x0, y0},
          tiles_(good_, tileWidth, tileHeight) {}

    void run(Execution const& execution) const {
        bool const masked = planes_.mask.input != nullptr;
        bool const spectral = usesTransforms();
        SpectralWorkspace setUp;
        AlignedFloats spectra;
        std::unique_ptr<SpectralKernel> imageKernel;
        Tiling const spectralTiles = spectralTiling(good_);
        Tiling regions = tiles_;
        Index nImage = tiles_.size();
        if (spectral) {
            imageKernel = std::make_unique<SpectralKernel>(
                spectralKernel(expansion_.kernel(expansion_.expand(good_)), good_, setUp, spectra));
            nImage = spectralTiles.pairRows() * spectralTiles.columns();
            if (masked) {
                regions = varianceRegions();
            }
        }
        Index const nRegions = masked ? regions.size() : 0;
        Index const nMask = masked ? tiles_.size() : 0;
        Index const nItems = nRegions + nImage + nMask;
        std::vector<Workspace> workspaces(static_cast<std::size_t>(workerCount(nItems, execution)));
        parallelFor(nItems, execution, [&](Index item, int worker) {
            Workspace& work = workspaces[static_cast<std::size_t>(worker)];
            if (item < nRegions) {
                spectral ? convolveVarianceRegion(regions[item], work) : convolveVarianceTile(regions[item], work);
                clampVariance(regions[item]);
            } else if (item < nRegions + nImage) {
                Index const i = item - nRegions;
                spectral ? convolveImagePair(*imageKernel, spectralTiles, i, work) : convolveImageTile(tiles_[i], work);
            } else {
                convolveMask(tiles_[item - nRegions - nImage], work);
            }
        });
        if (control_.normalize) {
            parallelFor(tiles_.size(), execution, [&](Index item, int) { normalize(tiles_[item]); });
        }
    }

    [[nodiscard]] Tile const& good() const { return good_; }

private:
    [[nodiscard]] Index inputX(Tile const& tile) const { return tile.x0 - (kernelWidth_ - 1) / 2; }
    [[nodiscard]] Index inputY(Tile const& tile) const { return tile.y0 - (kernelHeight_ - 1) / 2; }
    [[nodiscard]] int inputWidth(Tile const& tile) const { return tile.width + kernelWidth_ - 1; }
    [[nodiscard]] int inputHeight(Tile const& tile) const { return tile.height + kernelHeight_ - 1; }
    [[nodiscard]] int inputStride(Tile const& tile) const { return padded(tile.width) + padded(kernelWidth_ - 1); }

    [[nodiscard]] bool usesTransforms() const {
        bool const isPossible =
            std::max(kernelHeight_, kernelWidth_) <= maxSpectralSide && expansion_.maxTerms() <= maxTermsOnAxis;
        if (control_.method == ConvolutionMethod::transforms && !isPossible) {
            throw std::invalid_argument("a kernel of shape " + shapeText(kernelHeight_, kernelWidth_) +
                                        " is too large, or of too high an order, for transforms");
        }
        if (control_.method != ConvolutionMethod::automatic) {
            return control_.method == ConvolutionMethod::transforms;
        }
        int nTaps = footprint_.spans.empty() ? footprint_.height * footprint_.width : 0;
        for (Footprint::Span const& span : footprint_.spans) {
            nTaps += span.width;
        }
        return isPossible && nTaps > maxDirectTaps;
    }

    [[nodiscard]] Tiling spectralTiling(Tile const& box) const {
        return {box, std::max(1, transformSize - kernelWidth_ + 1), std::max(1, transformSize - kernelHeight_ + 1)};
    }

    [[nodiscard]] SpectralKernel spectralKernel(TileKernel const& kernel, Tile const& region, SpectralWorkspace& work,
                                                AlignedFloats& spectra) const {
        return {kernel, kernelHeight_, kernelWidth_, region, fourier_, functions_, twiddles_, work, spectra};
    }

    // Regions of whole pairs of tiles in which K^2 has an expansion of its own, of as low a degree as the accuracy of
    // the variance allows: small ones need few terms, large ones few spectra. Judged by nine regions of each size.
    [[nodiscard]] Tiling varianceRegions() const {
        Index best = 0;
        double lowest = std::numeric_limits<double>::infinity();
        for (Index const size : {8, 6, 4, 2}) {
            Tiling const regions = regionsOf(size);
            double const nPairs = 0.5 * static_cast<double>(size * size);
            double cost = 0.0;
            for (int i = 0; i < 9; ++i) {
                Tile const region = regions.at(i / 3 * (regions.rows() - 1) / 2, i % 3 * (regions.columns() - 1) / 2);
                int const degree = expansion_.squaredKernel(expansion_.expand(region)).degree();
                cost += costOfPair(degree) + costOfSetUp(degree) / nPairs;
            }
            if (cost < lowest) {
                lowest = cost;
                best = size;
            }
        }
        return regionsOf(best);
    }

    // In one-dimensional transforms of a pair of tiles; with many terms the spectra no longer fit into the cache.
    static double costOfPair(int degree) { return (3.0 * degree + 4.0) * (degree < 4 ? 1.0 : degree == 4 ? 1.3 : 1.6); }
    static double costOfSetUp(int degree) { return 8.0 + 1.4 * termCount(degree + 1); }

    [[nodiscard]] Tiling regionsOf(Index size) const {
        return {good_, size * (transformSize - kernelWidth_ + 1), size * (transformSize - kernelHeight_ + 1)};
    }

    void convolveVarianceRegion(Tile const& region, Workspace& work) const {
        SpectralKernel const kernel = spectralKernel(expansion_.squaredKernel(expansion_.expand(region)), region,
                                                     work.spectral, work.spectral.spectra);
        Tiling const tiles = spectralTiling(region);
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
            convolveDirectly(expansion_.squaredKernel(expansion_.expand(tile)), planes_.variance,
                             &FilledPixel::variance, tile, work);
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
            convolveDirectly(expansion_.kernel(expansion_.expand(tile)), planes_.image, &FilledPixel::value, tile,
                             work);
        }
    }

    void convolveDirectly(TileKernel const& kernel, Plane<float> const& plane, float FilledPixel::* fillValue,
                          Tile const& tile, Workspace& work) const {
        findFilled(tile, work);
        copyInput(plane, fillValue, tile, work);
        convolveTile(functions_, kernel, footprint_, kernelWidth_, {work.input.data(), inputStride(tile)}, tile,
                     TileFactors(tile, expansion_.maxTerms()), plane.outputAt(tile.y0, tile.x0), plane.outputStride,
                     work.rows);
    }

    void findFilled(Tile const& tile, Workspace& work) const {
        work.filled.assign(static_cast<std::size_t>(inputHeight(tile)), {});
        if (fill_.empty()) {
            return;
        }
        Index const xBegin = inputX(tile);
        auto const isBefore = [](FilledPixel const& pixel, Index x) { return pixel.x < x; };
        for (int i = 0; i < inputHeight(tile); ++i) {
            auto const row = fill_.row(inputY(tile) + i);
            auto const first = std::lower_bound(row.begin(), row.end(), xBegin, isBefore);
            auto const last = std::lower_bound(first, row.end(), xBegin + inputWidth(tile), isBefore);
            work.filled[static_cast<std::size_t>(i)] = {first, last};
        }
    }

    void copyInput(Plane<float> const& plane, float FilledPixel::* fillValue, Tile const& tile, Workspace& work) const {
        int const stride = inputStride(tile);
        work.input.resize(static_cast<std::size_t>(stride * inputHeight(tile)));
        for (int i = 0; i < inputHeight(tile); ++i) {
            float* const row = work.input.data() + i * stride;
            std::copy_n(plane.inputAt(inputY(tile) + i, inputX(tile)), inputWidth(tile), row);
            std::fill(row + inputWidth(tile), row + stride, 0.0F);
            for (FilledPixel const& pixel : work.filled[static_cast<std::size_t>(i)]) {
                row[pixel.x - inputX(tile)] = pixel.*fillValue;
            }
        }
    }

    void convolveMask(Tile const& tile, Workspace& work) const {
        MaskRows const output{planes_.mask.outputAt(tile.y0, tile.x0), planes_.mask.outputStride};
        findFilled(tile, work);
        int const width = inputWidth(tile);
        work.mask.resize(static_cast<std::size_t>(width * inputHeight(tile)));
        for (int i = 0; i < inputHeight(tile); ++i) {
            MaskPixel* const row = work.mask.data() + i * width;
            std::copy_n(planes_.mask.inputAt(inputY(tile) + i, inputX(tile)), width, row);
            prepareMaskRow(mask_, work.filled[static_cast<std::size_t>(i)], inputX(tile), row);
        }
        spreadMask(footprint_, kernelHeight_, kernelWidth_, {work.mask.data(), width}, tile, output, work.maskRows);
        bool const anyFilled =
            std::any_of(work.filled.begin(), work.filled.end(), [](auto const& row) { return !row.empty(); });
        if (mask_.byFraction() && anyFilled) {
            markFilledFraction(mask_, expansion_.kernel(expansion_.expand(tile)), tile,
                               TileFactors(tile, expansion_.maxTerms()), work.filled, output);
        }
    }

    void normalize(Tile const& tile) const {
        // Coefficients of the kernel's sum, in the sequence of the expansion.
        Eigen::VectorXd const sums = expansion_.expand(tile).rowwise().sum();
        TileFactors const factors(tile, expansion_.maxTerms());
        for (int row = 0; row < tile.height; ++row) {
            for (int column = 0; column < tile.width; ++column) {
                double sum = 0.0;
                for (int s = 0; s < sums.size(); ++s) {
                    sum += sums[s] * factors.xRows().data[SpatialFunction::xDegree(s) * factors.xStride + column] *
                           factors.yRow(row)[SpatialFunction::yDegree(s)];
                }
                Index const y = tile.y0 + row;
                Index const x = tile.x0 + column;
                if (sum == 0.0) {
                    throw NumericalError("the kernel's sum, by which to normalize, is 0 at pixel (" +
                                         std::to_string(x) + ", " + std::to_string(y) + ") of the image");
                }
                float& image = *planes_.image.outputAt(y, x);
                image = static_cast<float>(image / sum);
                if (planes_.mask.input != nullptr) {
                    float& variance = *planes_.variance.outputAt(y, x);
                    variance = static_cast<float>(variance / (sum * sum));
                }
            }
        }
    }

    Planes const& planes_;
    ConvolutionControl const& control_;
    FilledPixels const& fill_;
    int kernelHeight_;
    int kernelWidth_;
    Tile good_;
    RowFunctions functions_;
    FourierFunctions fourier_;
    std::vector<float> twiddles_;
    Footprint footprint_;
    KernelExpansion expansion_;
    MaskContext mask_;
    Tiling tiles_;
};

void convolvePlanes(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                    ConvolutionControl const& control, Execution const& execution, FilledPixels const& fill) {
    Convolution const convolution(planes, kernel, x0, y0, control, fill);
    convolution.run(execution);
    writeEdges(planes, control, convolution.good());
}

}  // namespace

}  // namespace detail

void convolve(MaskedImageView const& input, LinearCombinationKernel const& kernel, Index x0, Index y0,
              ConvolutionControl const& control, Execution const& execution, MaskedImageTarget output) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    detail::Planes const planes{height, width, detail::planeOf(input.image, output.image, height, width, "image"),
                                detail::planeOf(input.variance, output.variance, height, width, "variance"),
                                detail::planeOf(input.mask, output.mask, height, width, "mask")};
    detail::validate(planes, kernel, control);
    FilledPixels const fill = control.fillBad ? fillBadPixels(input, control.badBits, execution) : FilledPixels{};
    detail::convolvePlanes(planes, kernel, x0, y0, control, execution, fill);
}

void convolve(ConstImageView<float> const& image, LinearCombinationKernel const& kernel, Index x0, Index y0,
              ConvolutionControl const& control, Execution const& execution, ImageView<float> output) {
    Index const height = image.rows();
    Index const width = image.cols();
    detail::Planes const planes{height, width, detail::planeOf(image, output, height, width, "image"), {}, {}};
    detail::validate(planes, kernel, control);
    FilledPixels const fill = control.fillBad ? fillBadPixels(image, execution) : FilledPixels{};
    detail::convolvePlanes(planes, kernel, x0, y0, control, execution, fill);
}

}  // namespace psfmatch
