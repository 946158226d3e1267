#include "psfmatch/fit/RegionFit.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "fit/RegionFitColumns.h"
#include "fit/RegionFitEquations.h"
#include "fit/RegionWindows.h"
#include "psfmatch/base/pages.h"
#include "simd/regionFunctions.h"

namespace psfmatch {

namespace {

// Equations follow a pixel whose weight has changed by more than this part.
constexpr float weightChange = 0.05F;
// Sum of squares of a usual kernel of unit sum: the template's share of the variance before any kernel is known.
constexpr float typicalNoise = 0.1F;
// Pixels of a region beyond which its equations are made anew: gathering them would cost more.
constexpr double mostChanges = 1.0 / 3.0;

// Of the scalar products of the images, each of unit norm: beyond it coefficients that cancel magnify the rounding of
// float32 to more than a part in a thousand.
constexpr double largestCondition = 1e7;
// Larger bases are of pixels or of components, which are not alike.
constexpr Index mostImages = 300;

bool areNearlyAlike(PreparedBasis const& basis) {
    if (basis.deltas || basis.basis.size() > mostImages) {
        return false;
    }
    RowMatrix images = basis.basis.images;
    for (Index i = 0; i < images.rows(); ++i) {
        images.row(i) /= std::max(images.row(i).norm(), std::numeric_limits<double>::min());
    }
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(images * images.transpose(), Eigen::EigenvaluesOnly);
    Eigen::VectorXd const& values = solver.eigenvalues();
    return !(values[values.size() - 1] <= largestCondition * values[0]);
}

// 1 / variance where the pixel counts, else 0.
float weightOf(RegionFit const& fit, Index k, Index x, float variance) {
    bool const counts = fit.stamps->usable(k, x) != 0 && fit.rejected.flags(k, x) == 0 && variance > 0.0F &&
                        variance <= std::numeric_limits<float>::max();
    // What is denormal has an infinite inverse.
    return counts ? std::min(1.0F / variance, std::numeric_limits<float>::max()) : 0.0F;
}

struct alignas(cacheLine) WeightSpace {
    detail::ProductSpace products;
    std::vector<Index> pixels;
    std::vector<float> weights;
};

void followWeights(detail::RegionFunctions const& functions, RegionFit& fit, Index k, WeightSpace& space) {
    space.pixels.clear();
    space.weights.clear();
    RegionShape const& shape = fit.stamps->shape;
    for (Index x = 0; x < shape.size(); ++x) {
        float const own = weightOf(fit, k, x, fit.variance(k, x));
        float const before = fit.weights(k, x);
        if (std::abs(own - before) > weightChange * own || (own == 0.0F) != (before == 0.0F)) {
            space.pixels.push_back(x);
            space.weights.push_back(own);
        }
    }
    if (space.pixels.empty()) {
        return;
    }
    bool const areFew = static_cast<double>(space.pixels.size()) <= mostChanges * static_cast<double>(shape.nPixels());
    if (areFew && !fit.hasFirstWeights && fit.exactBasis == nullptr) {
        detail::updateEquations(functions, fit, k, space.pixels, space.weights, space.products);
        return;
    }
    for (Index x = 0; x < shape.size(); ++x) {
        fit.weights(k, x) = weightOf(fit, k, x, fit.variance(k, x));
    }
    detail::makeEquations(functions, fit, k, space.products);
}

void followAll(RegionFit& fit, Execution const& execution) {
    detail::RegionFunctions const functions = detail::chooseRegionFunctions(fit.instructionSet);
    std::vector<WeightSpace> spaces(static_cast<std::size_t>(workerCount(fit.size(), execution)));
    parallelForBrief(fit.size(), execution, [&](Index k, int worker) {
        followWeights(functions, fit, k, spaces[static_cast<std::size_t>(worker)]);
    });
}

// The science image's variance smoothed over usable pixels, and a usual share of the template's.
void firstVariance(RegionStamps const& stamps, Index k, std::vector<float>& count, detail::WindowSpace& space,
                   float* variance) {
    count.resize(static_cast<std::size_t>(stamps.shape.size()));
    for (Index x = 0; x < stamps.shape.size(); ++x) {
        bool const usable = stamps.usable(k, x) != 0;
        count[static_cast<std::size_t>(x)] = usable ? 1.0F : 0.0F;
        variance[x] = usable ? stamps.scienceVariance(k, x) : 0.0F;
    }
    detail::boxSum(stamps.shape, detail::smoothing, count.data(), space);
    detail::boxSum(stamps.shape, detail::smoothing, variance, space);
    for (Index x = 0; x < stamps.shape.size(); ++x) {
        float const ours = stamps.usable(k, x) != 0 ? stamps.varianceHere(k, x) : 0.0F;
        variance[x] = variance[x] / std::max(count[static_cast<std::size_t>(x)], 1.0F) + typicalNoise * ours;
    }
}

}  // namespace

std::vector<std::int64_t> RegionFit::weightCounts() const {
    std::vector<std::int64_t> counts;
    for (Index k = 0; k < size(); ++k) {
        counts.push_back((weights.row(k) > 0.0F).count());
    }
    return counts;
}

RegionFit makeRegionFit(std::shared_ptr<RegionStamps const> stamps, PreparedBasis const& basis,
                        Execution const& execution, InstructionSet instructionSet, KernelBasis const* noiseImages) {
    KernelBasis const& kernels = basis.basis;
    if (noiseImages != nullptr && !haveOneShape(noiseImages->images, kernels.images)) {
        throw std::invalid_argument(std::to_string(noiseImages->size()) + " images of the noise for a basis of " +
                                    std::to_string(kernels.size()) + ", or of another size");
    }
    if (kernels.height != stamps->kernelHeight || kernels.width != stamps->kernelWidth) {
        throw std::invalid_argument("stamps cut for kernels of " + std::to_string(stamps->kernelWidth) + "x" +
                                    std::to_string(stamps->kernelHeight) + " pixels cannot be fitted by those of " +
                                    std::to_string(kernels.width) + "x" + std::to_string(kernels.height));
    }
    Index const nRegions = stamps->size();
    Index const n = kernels.size();
    Index const m = n + 1;
    Index const nPixels = stamps->shape.size();
    RegionFit fit;
    fit.stamps = std::move(stamps);
    fit.nImages = n;
    fit.imageSums = kernels.images.rowwise().sum();
    Index const kernelPixels = kernels.images.cols();
    fit.images =
        OwnedImage<float>::Zero(n, (kernelPixels + detail::rowPadding - 1) / detail::rowPadding * detail::rowPadding);
    fit.images.leftCols(kernelPixels) = kernels.images.cast<float>().array();
    if (noiseImages != nullptr) {
        fit.noiseImages = noiseImages->images;
    }
    if (areNearlyAlike(basis)) {
        fit.exactBasis = std::make_shared<PreparedBasis const>(basis);
    } else {
        fit.columns.resize(nRegions * n, nPixels);
        providePages(fit.columns.data(), static_cast<std::size_t>(fit.columns.size()) * sizeof(float), execution);
    }
    fit.variance.resize(nRegions, nPixels);
    fit.weights.resize(nRegions, nPixels);
    fit.rejected = {fit.stamps->shape, RegionBytes::Zero(nRegions, nPixels)};
    fit.equations = {RowMatrix(nRegions, m * m), RowMatrix(nRegions, m), Eigen::VectorXd(nRegions),
                     Eigen::VectorXd(nRegions)};
    fit.freshDiagonals.resize(nRegions, m + 1);
    fit.instructionSet = instructionSet;
    auto const plan = detail::planColumns(basis);
    detail::RegionFunctions const functions = detail::chooseRegionFunctions(instructionSet);
    detail::RowFunctions const rowFunctions = detail::chooseRowFunctions(instructionSet);
    struct Space {
        detail::ColumnScratch columns;
        detail::ProductSpace products;
        std::vector<float> count;
        detail::WindowSpace windows;
    };
    std::vector<Space> spaces(static_cast<std::size_t>(workerCount(nRegions, execution)));
    parallelFor(nRegions, execution, [&](Index k, int worker) {
        Space& space = spaces[static_cast<std::size_t>(worker)];
        if (fit.exactBasis == nullptr) {
            detail::makeColumns(functions, rowFunctions, plan, basis, *fit.stamps, k, space.columns,
                                fit.columns.row(k * n).data(), instructionSet);
        }
        firstVariance(*fit.stamps, k, space.count, space.windows, fit.variance.row(k).data());
        for (Index x = 0; x < nPixels; ++x) {
            fit.weights(k, x) = weightOf(fit, k, x, fit.variance(k, x));
        }
        detail::makeEquations(functions, fit, k, space.products);
    });
    return fit;
}

bool reweigh(RegionFit& fit, RegionValues const& variance, RegionFlags const* rejected, Execution const& execution) {
    auto const isLikeFit = [&](auto const& plane) {
        return plane.rows() == fit.weights.rows() && plane.cols() == fit.weights.cols();
    };
    if (!isLikeFit(variance) || (rejected != nullptr && !isLikeFit(rejected->flags))) {
        throw std::invalid_argument("variances or flags of other regions than the fit's");
    }
    fit.variance = variance;
    bool const hasChanged = rejected != nullptr && !(fit.rejected == *rejected);
    if (hasChanged) {
        fit.rejected = *rejected;
    }
    followAll(fit, execution);
    fit.hasFirstWeights = false;
    return hasChanged;
}

}  // namespace psfmatch
