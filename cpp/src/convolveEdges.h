// Pixels too near the edge of the image for the kernel, internal to convolve.cpp.
#pragma once

#include "convolvePlanes.h"
#include "psfmatch/convolve.h"

namespace psfmatch::detail {

// Writes all output pixels outside `good`, as ConvolutionControl::copyEdge says.
void writeEdges(Planes const& planes, ConvolutionControl const& control, Tile const& good);

}  // namespace psfmatch::detail
