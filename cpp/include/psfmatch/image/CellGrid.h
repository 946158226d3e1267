// Typical values of an image in the cells of a coarse grid, and between them: levels of sky and of variance. Clipped
// means (3 sigma, three times) of about as many pixels of each cell leave sources out.
#pragma once

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct CellGridControl {
    MaskPixel badBits = 0;    // planes whose pixels do not count
    bool isVariance = false;  // negative values do not count
    Index x0 = 0;             // of pixel [0, 0] in the parent frame
    Index y0 = 0;
    Index mostCells = 8;  // along each axis
    Index leastSide = 32;
    Index samples = 4096;  // of each cell, about
};

struct CellGrid {
    OwnedImage<double> values;  // (y.size(), x.size())
    Eigen::ArrayXd x;           // centres, parent pixels, ascending
    Eigen::ArrayXd y;

    // Whether any cell has a value above zero.
    [[nodiscard]] bool isKnown() const { return (values > 0.0).any(); }
    // Linear between the centres of cells, constant beyond.
    [[nodiscard]] double at(double atX, double atY) const;
};

// Of `plane`, where mask, variance and plane are good. A cell without a pixel takes the median of the others; without
// any cell all are zero.
[[nodiscard]] CellGrid measureCells(MaskedImageView const& input, ConstImageView<float> const& plane,
                                    CellGridControl const& control, Execution const& execution = {});

}  // namespace psfmatch
