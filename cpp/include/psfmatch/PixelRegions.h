// Regions of one shape cut out of both images, every pixel with a weight of its own: their normal equations, and
// what a kernel makes of them. Which pixels count, and how much, is the caller's to say, so that pixels can be
// rejected one by one and judged afresh. All regions are handled in one call, on all threads; results do not depend
// on their number.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "psfmatch/KernelCandidateFit.h"
#include "psfmatch/NormalEquations.h"
#include "psfmatch/parallel.h"
#include "psfmatch/types.h"

namespace psfmatch {

// One row per region: its fitted pixels, those whose kernel footprint lies inside the stamp, row by row.
using RegionPlane = OwnedImage<float>;

struct PixelRegions {
    Index height = 0;  // of the fitted part of a region, pixels
    Index width = 0;
    RegionPlane science;           // image units; 0 where not usable
    RegionPlane scienceVariance;   // image units squared
    RegionPlane templateVariance;  // the same, of the template before it is convolved
    OwnedImage<bool> usable;       // good in both images, the template's bad pixels grown
};

struct RegionEquations {
    RowMatrix matrices;        // (regions, m * m), m = images of the basis, plus one for the background
    RowMatrix rightHandSides;  // (regions, m)
};

struct RegionModels {
    RegionPlane image;     // K (x) template, the template's bad pixels filled
    RegionPlane variance;  // K^2 (x) variance of the template
};

// Stamps of one shape; other shapes, or stamps smaller than the kernel, are a std::invalid_argument. Of the control
// only the growth of bad pixels and the instruction set are used.
[[nodiscard]] PixelRegions readRegions(std::vector<CandidateStamp> const& stamps, Index kernelHeight, Index kernelWidth,
                                       CandidateFitControl const& control, Execution const& execution);

// Sums over the pixels of each region of w c_i c_j and w c_i d, c being the template convolved by the basis images,
// and 1 for the background.
[[nodiscard]] RegionEquations makeRegionEquations(std::vector<CandidateStamp> const& stamps, PreparedBasis const& basis,
                                                  RegionPlane const& weights,  // 1 / variance, 0 for no part
                                                  CandidateFitControl const& control, Execution const& execution);

// Each region under the kernel that is the sum of the basis images with its own coefficients.
[[nodiscard]] RegionModels convolveRegions(std::vector<CandidateStamp> const& stamps, KernelBasis const& basis,
                                           RowMatrix const& coefficients,  // (regions, n)
                                           CandidateFitControl const& control, Execution const& execution);

}  // namespace psfmatch
