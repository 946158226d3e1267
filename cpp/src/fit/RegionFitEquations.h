// Sums of weighted products over the pixels of one region, whole or of some pixels, and what they add to its equations.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/fit/RegionFit.h"
#include "simd/regionFunctions.h"

namespace psfmatch::detail {

// The rows whose products are summed: n columns, the background's ones, the science image, and zeros up to whole
// vectors; all without the images' skies.
struct ProductSpace {
    std::vector<float const*> rows;
    std::vector<float const*> piece;  // the same, of the pixels that are packed
    std::vector<float> constants;     // ones, then zeros: one region's pixels each
    std::vector<float> roots;         // of weights
    std::vector<float> packed;
    std::vector<double> products;  // (rows, rows), lower triangle
    RowMatrix exactPixels;
    RowMatrix exactColumns;
    std::vector<double> exactMemory;
};

// Makes the equations of region k from its weights.
void makeEquations(RegionFunctions const& functions, RegionFit& fit, Index k, ProductSpace& space);

// Follows a change of the weights of some pixels, which the fit has not been told yet; makes the equations anew where
// the change leaves too little for float32.
void updateEquations(RegionFunctions const& functions, RegionFit& fit, Index k, std::span<Index const> pixels,
                     std::span<float const> weights, ProductSpace& space);

}  // namespace psfmatch::detail
