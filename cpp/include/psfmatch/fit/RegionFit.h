// The normal equations of regions and the weights of their pixels while a fit goes on: the template convolved by
// every basis image (the columns) is kept, and equations follow changes of few weights by their share (Alard & Lupton
// 1998, eq. 3-6, pixel by pixel). Columns and products in float32, sums of more than some hundred pixels in float64.
// Where images of the basis are so nearly alike that their coefficients are large and cancel, nothing is kept, and all
// is made anew in float64. The equations are those of the images with their skies.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <vector>

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/fit/RegionStamps.h"
#include "psfmatch/fit/StampEquations.h"

namespace psfmatch {

struct RegionFit {
    std::shared_ptr<RegionStamps const> stamps;
    Index nImages = 0;
    Eigen::VectorXd imageSums;  // (n) of the basis images
    OwnedImage<float> images;   // (n, kernel pixels in whole vectors)
    RowMatrix noiseImages;      // (n, kernel pixels): smoothed by the correlation of the template's noise; empty: white
    // (regions * n, pixels): row i + n * region, of the template without its sky; none with an exact basis.
    RegionValues columns;
    std::shared_ptr<PreparedBasis const> exactBasis;  // of images that are nearly alike, else null
    RegionValues variance;                            // of the pixels' differences, as last told
    RegionValues weights;  // 1 / variance, but where it has hardly changed since; 0 for no part
    RegionFlags rejected;
    StampEquations equations;  // n + 1 unknowns, the background last
    RowMatrix freshDiagonals;  // (regions, n + 2): when equations were last made anew; see RegionFitEquations
    // The first weights are of variances with the pixels' own noise in them: none of them stays.
    bool hasFirstWeights = true;
    InstructionSet instructionSet = InstructionSet::automatic;

    [[nodiscard]] Index size() const { return weights.rows(); }
    [[nodiscard]] std::vector<std::int64_t> weightCounts() const;  // (regions): pixels that have weight
};

// Of a kernel of another size than the stamps were cut for: std::invalid_argument. The first weights are of the
// science image's variance, smoothed over 5x5 pixels, and a tenth of the template's. noiseImages: the basis images
// smoothed by the correlation of the template's noise (correlatedImages), null where that is white.
[[nodiscard]] RegionFit makeRegionFit(std::shared_ptr<RegionStamps const> stamps, PreparedBasis const& basis,
                                      Execution const& execution,
                                      InstructionSet instructionSet = InstructionSet::automatic,
                                      KernelBasis const* noiseImages = nullptr);

// Weighs the pixels by these variances (regions, pixels), rejected ones with zero. A weight that would change by no
// more than 5 % stays; a region's first weights all go together. Null for `rejected` keeps those of now. Returns
// whether the rejected pixels changed.
bool reweigh(RegionFit& fit, RegionValues const& variance, RegionFlags const* rejected, Execution const& execution);

}  // namespace psfmatch
