#include "convolve/convolveEdges.h"

#include <limits>

#include "psfmatch/image/badPixels.h"

namespace psfmatch::detail {

namespace {

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

}  // namespace

void writeEdges(Planes const& planes, ConvolutionControl const& control, Tile const& good) {
    for (Index y = 0; y < planes.height; ++y) {
        if (y < good.y0 || y >= good.y0 + good.height) {
            writeEdgePixels(planes, control, y, 0, planes.width);
        } else {
            writeEdgePixels(planes, control, y, 0, good.x0);
            writeEdgePixels(planes, control, y, good.x0 + good.width, planes.width);
        }
    }
}

}  // namespace psfmatch::detail
