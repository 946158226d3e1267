#include "psfmatch/convolve.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "convolveMask.h"
#include "convolveTile.h"
#include "psfmatch/badPixels.h"
#include "psfmatch/exceptions.h"
#include "rowFunctions.h"

namespace psfmatch {

namespace detail {

namespace {

template <typename Pixel>
struct Plane {
    Pixel const* input = nullptr;  // null: absent
    Index inputStride = 0;
    Pixel* output = nullptr;
    Index outputStride = 0;

    [[nodiscard]] Pixel* outputAt(Index y, Index x) const { return output + y * outputStride + x; }
    [[nodiscard]] Pixel const* inputAt(Index y, Index x) const { return input + y * inputStride + x; }
};

struct Planes {
    Index height = 0;
    Index width = 0;
    Plane<float> image;
    Plane<float> variance;
    Plane<MaskPixel> mask;
};

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
Box goodRegion(Planes const& planes, KernelBasis const& basis) {
    return {(basis.width - 1) / 2, (basis.height - 1) / 2, planes.width - basis.width + 1,
            planes.height - basis.height + 1};
}

// A copied pixel that is bad for its values alone carries noDataBit, as everywhere in the result.
void copyEdgePixel(Planes const& planes, ConvolutionControl const& control, Index y, Index x) {
    float const image = *planes.image.inputAt(y, x);
    *planes.image.outputAt(y, x) = image;
    if (planes.mask.input != nullptr) {
        float const variance = *planes.variance.inputAt(y, x);
        MaskPixel const noData = isBad(image, variance, 0, 0) ? control.noDataBit : 0;
        *planes.variance.outputAt(y, x) = variance;
        *planes.mask.outputAt(y, x) = *planes.mask.inputAt(y, x) | control.edgeBit | noData;
    }
}

void blankEdgePixel(Planes const& planes, ConvolutionControl const& control, Index y, Index x) {
    *planes.image.outputAt(y, x) = std::numeric_limits<float>::quiet_NaN();
    if (planes.mask.input != nullptr) {
        *planes.variance.outputAt(y, x) = std::numeric_limits<float>::infinity();
        *planes.mask.outputAt(y, x) = control.noDataBit;
    }
}

void writeEdgePixels(Planes const& planes, ConvolutionControl const& control, Index y, Index xBegin, Index xEnd) {
    for (Index x = xBegin; x < xEnd; ++x) {
        if (control.copyEdge) {
            copyEdgePixel(planes, control, y, x);
        } else {
            blankEdgePixel(planes, control, y, x);
        }
    }
}

void writeEdges(Planes const& planes, ConvolutionControl const& control, Box const& good) {
    for (Index y = 0; y < planes.height; ++y) {
        if (y < good.y0 || y >= good.y0 + good.height) {
            writeEdgePixels(planes, control, y, 0, planes.width);
        } else {
            writeEdgePixels(planes, control, y, 0, good.x0);
            writeEdgePixels(planes, control, y, good.x0 + good.width, planes.width);
        }
    }
}

// The good region cut into nearly equal tiles.
class Tiling {
public:
    explicit Tiling(Box const& good)
        : good_(good),
          nx_((good.width + tileWidth - 1) / tileWidth),
          ny_((good.height + tileHeight - 1) / tileHeight) {}

    [[nodiscard]] Index size() const { return nx_ * ny_; }

    [[nodiscard]] Tile operator[](Index i) const {
        Index const x = (i % nx_) * tileWidth;
        Index const y = good_.height * (i / nx_) / ny_;
        Index const yEnd = good_.height * (i / nx_ + 1) / ny_;
        return {good_.x0 + x, good_.y0 + y, static_cast<int>(std::min<Index>(tileWidth, good_.width - x)),
                static_cast<int>(yEnd - y)};
    }

private:
    Box good_;
    Index nx_;
    Index ny_;
};

// Memory that a worker keeps from tile to tile.
struct Workspace {
    std::vector<float> input;
    std::vector<float> rows;
    std::vector<MaskPixel> mask;
    std::vector<MaskPixel> maskRows;
    std::vector<std::span<FilledPixel const>> filled;  // of each row of the tile's input
};

class Convolution {
public:
    Convolution(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                ConvolutionControl const& control, FilledPixels const& fill)
        : planes_(planes),
          control_(control),
          fill_(fill),
          kernelHeight_(static_cast<int>(kernel.basis.height)),
          kernelWidth_(static_cast<int>(kernel.basis.width)),
          functions_(chooseRowFunctions(control.instructionSet)),
          footprint_(footprintOf(kernel)),
          expansion_(kernel, x0, y0),
          mask_{kernel, footprint_, functions_, control, fill, x0, y0} {}

    void convolve(Tile const& tile, Workspace& work) const {
        RowMatrix const expansion = expansion_.expand(tile);
        TileFactors const factors(tile, expansion_.maxTerms());
        TileKernel const kernel = expansion_.kernel(expansion);
        findFilled(tile, work);

        copyInput(planes_.image, &FilledPixel::value, tile, work);
        convolvePlane(kernel, planes_.image, tile, factors, work);
        bool const masked = planes_.mask.input != nullptr;
        if (masked) {
            copyInput(planes_.variance, &FilledPixel::variance, tile, work);
            convolvePlane(expansion_.squaredKernel(expansion), planes_.variance, tile, factors, work);
            convolveMask(kernel, tile, factors, work);
        }
        if (control_.normalize) {
            normalize(expansion.rowwise().sum(), tile, factors, masked);
        }
    }

private:
    [[nodiscard]] Index inputX(Tile const& tile) const { return tile.x0 - (kernelWidth_ - 1) / 2; }
    [[nodiscard]] Index inputY(Tile const& tile) const { return tile.y0 - (kernelHeight_ - 1) / 2; }
    [[nodiscard]] int inputWidth(Tile const& tile) const { return tile.width + kernelWidth_ - 1; }
    [[nodiscard]] int inputHeight(Tile const& tile) const { return tile.height + kernelHeight_ - 1; }
    [[nodiscard]] int inputStride(Tile const& tile) const { return padded(tile.width) + padded(kernelWidth_ - 1); }

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

    void convolvePlane(TileKernel const& kernel, Plane<float> const& plane, Tile const& tile,
                       TileFactors const& factors, Workspace& work) const {
        convolveTile(functions_, kernel, footprint_, kernelWidth_, {work.input.data(), inputStride(tile)}, tile,
                     factors, plane.outputAt(tile.y0, tile.x0), plane.outputStride, work.rows);
    }

    void convolveMask(TileKernel const& kernel, Tile const& tile, TileFactors const& factors, Workspace& work) const {
        int const width = inputWidth(tile);
        work.mask.resize(static_cast<std::size_t>(width * inputHeight(tile)));
        for (int i = 0; i < inputHeight(tile); ++i) {
            MaskPixel* const row = work.mask.data() + i * width;
            std::copy_n(planes_.mask.inputAt(inputY(tile) + i, inputX(tile)), width, row);
            prepareMaskRow(mask_, work.filled[static_cast<std::size_t>(i)], inputX(tile), row);
        }
        MaskRows const output{planes_.mask.outputAt(tile.y0, tile.x0), planes_.mask.outputStride};
        spreadMask(footprint_, kernelHeight_, kernelWidth_, {work.mask.data(), width}, tile, output, work.maskRows);
        if (mask_.byFraction()) {
            markFilledFraction(mask_, kernel, tile, factors, work.filled, output);
        }
    }

    // sums: coefficients of the kernel's sum, in the sequence of the expansion.
    void normalize(Eigen::VectorXd const& sums, Tile const& tile, TileFactors const& factors, bool masked) const {
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
                if (masked) {
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
    RowFunctions functions_;
    Footprint footprint_;
    KernelExpansion expansion_;
    MaskContext mask_;
};

void convolvePlanes(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                    ConvolutionControl const& control, Execution const& execution, FilledPixels const& fill) {
    Convolution const convolution(planes, kernel, x0, y0, control, fill);
    Box const good = goodRegion(planes, kernel.basis);
    Tiling const tiles(good);
    std::vector<Workspace> work(static_cast<std::size_t>(workerCount(tiles.size(), execution)));
    parallelFor(tiles.size(), execution, [&](Index item, int worker) {
        convolution.convolve(tiles[item], work[static_cast<std::size_t>(worker)]);
    });
    writeEdges(planes, control, good);
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
