// New numpy arrays for image, variance and mask of a result, which the core fills.
#pragma once

#include "arrays.h"

namespace psfmatch::python {

struct OutputPlanes {
    py::array image;
    py::array variance;
    py::array mask;

    OutputPlanes(Index height, Index width)
        : image(py::array_t<float>({height, width})),
          variance(py::array_t<float>({height, width})),
          mask(py::array_t<MaskPixel>({height, width})) {}

    MaskedImageTarget target() {
        return {mutableViewOf<float>(image, "image"), mutableViewOf<float>(variance, "variance"),
                mutableViewOf<MaskPixel>(mask, "mask")};
    }

    py::tuple arrays() const { return py::make_tuple(image, variance, mask); }
};

}  // namespace psfmatch::python
