// Pixels too near the edge of the image for the kernel, internal to convolve.cpp.
#pragma once

#include "convolve/convolvePlanes.h"
#include "psfmatch/convolve/convolve.h"

namespace psfmatch::detail {

// Writes all output pixels outside `good`, as ConvolutionControl::copyEdge says.
void writeEdges(Planes const& planes, ConvolutionControl const& control, Tile const& good);

}  // namespace psfmatch::detail
