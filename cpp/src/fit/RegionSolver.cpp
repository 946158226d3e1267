#include "psfmatch/fit/RegionSolver.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/RegionPlaces.h"

namespace psfmatch {

using Eigen::VectorXd;

namespace {

// From which the usual model varies over the field by a plane, and by a parabola.
constexpr Index someRegions = 10;
constexpr Index manyRegions = 30;

// Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
// norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2.
constexpr double usualShape = 1.0;
constexpr double usualVariation = 0.01;
constexpr double usualWidening = 0.2;

// Images of the size of the basis', smoothed by a correlation of noise; none for white noise.
KernelBasis correlatedImages(KernelBasis const& basis, RowMatrix const& correlation, Execution const& execution) {
    if (correlation.size() == 0) {
        return {};
    }
    Index const side = correlation.rows();
    if (side != correlation.cols() || side % 2 == 0) {
        throw std::invalid_argument("a correlation of noise by lags has odd sides of one length, not " +
                                    std::to_string(side) + " and " + std::to_string(correlation.cols()));
    }
    KernelBasis const lags{Eigen::Map<RowMatrix const>(correlation.data(), 1, correlation.size()), side, side};
    KernelBasis const whole = composed(basis, lags, execution);
    KernelBasis images{RowMatrix(basis.size(), basis.height * basis.width), basis.height, basis.width};
    for (Index k = 0; k < basis.size(); ++k) {
        Eigen::Map<RowMatrix const> const from(whole.images.row(k).data(), whole.height, whole.width);
        Eigen::Map<RowMatrix>(images.images.row(k).data(), basis.height, basis.width) =
            from.block(side / 2, side / 2, basis.height, basis.width);
    }
    return images;
}

RegionModel checked(RegionModel model, RegionStamps const& stamps) {
    if (model.x.size() != stamps.size() || model.y.size() != stamps.size()) {
        throw std::invalid_argument(std::to_string(model.x.size()) + " x and " + std::to_string(model.y.size()) +
                                    " y of " + std::to_string(stamps.size()) + " regions");
    }
    return model;
}

// What to try goes with the reason.
template <typename Function>
auto solved(Function const& function) {
    try {
        return function();
    } catch (NumericalError const& error) {
        throw SolutionError(std::string(error.what()) + ". Try lower spatial orders, or more stars.");
    }
}

}  // namespace

RegionSolver::RegionSolver(std::shared_ptr<RegionStamps const> stamps, RegionModel model, Execution const& execution)
    : model_(checked(std::move(model), *stamps)),
      noiseImages_(correlatedImages(model_.basis, model_.noiseCorrelation, execution)),
      fit_(makeRegionFit(std::move(stamps), psfmatch::prepare(model_.basis), execution, InstructionSet::automatic,
                         noiseImages_.size() == 0 ? nullptr : &noiseImages_)),
      folds_(regionFolds(model_.x, model_.y)) {}

SpatialModelOptions RegionSolver::usualModel(std::vector<Index> images) const {
    int const order = size() >= manyRegions ? 2 : size() >= someRegions ? 1 : 0;
    return {std::move(images), polynomials(order), polynomials(order), usualShape, usualVariation, usualWidening};
}

void RegionSolver::prepare(SpatialFunction const& function, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    system(function, execution);
}

VectorXd RegionSolver::chiSquares(SpatialModelOptions const& options, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    try {
        return heldOut(options, execution).chiSquares;
    } catch (NumericalError const&) {
        return VectorXd::Constant(size(), std::numeric_limits<double>::infinity());
    }
}

bool RegionSolver::hasJudged(SpatialModelOptions const& options) {
    std::scoped_lock const lock(mutex_);
    return std::any_of(heldOut_.begin(), heldOut_.end(), [&](auto const& each) { return each.first == options; });
}

VectorXd RegionSolver::chiSquaresBy(RegionSolver& other, SpatialModelOptions const& options,
                                    Execution const& execution) {
    if (&other == this) {
        throw std::invalid_argument("regions are judged by those of another solver");
    }
    std::scoped_lock const lock(mutex_, other.mutex_);
    PlacedSystem const own{system(options.whole(), execution), model_.x, model_.y};
    PlacedSystem const theirs{other.system(options.whole(), execution), other.model_.x, other.model_.y};
    auto const side = static_cast<double>(other.fit_.stamps->shape.width);
    return psfmatch::chiSquaresBy(own, folds_, theirs, side, options, execution);
}

bool RegionSolver::reject(SpatialModelOptions const& options, bool isRejecting, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    residuals(options, execution);
    RegionResiduals const judged = std::move(residuals_->second);
    residuals_.reset();
    std::optional<RegionFlags> rejected;
    if (isRejecting) {
        rejected = findOutliers(judged, model_.outliers, execution);
    }
    ++nPasses_;
    systems_.clear();
    heldOut_.clear();
    return reweigh(fit_, judged.variance, rejected ? &*rejected : nullptr, execution);
}

BrightScatter RegionSolver::brightPixels(SpatialModelOptions const& options, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    return brightScatter(residuals(options, execution), *fit_.stamps, model_.kernelNorm);
}

RegionSummary RegionSolver::summary(SpatialModelOptions const& options, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    return summarize(residuals(options, execution), &fit_.rejected);
}

SpatialSolution RegionSolver::solve(SpatialModelOptions const& options, bool withCovariance,
                                    Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    return solved([&] { return system(options.whole(), execution).solve(options, withCovariance, {}, execution); });
}

double RegionSolver::lightGain(SpatialSolution const& solution, Execution const& execution) {
    std::scoped_lock const lock(mutex_);
    SpatialFunction const whole = joined(solution.kernelFunction, solution.backgroundFunction);
    return solved([&] { return system(whole, execution).lightGain(solution, execution); });
}

SpatialSystem const& RegionSolver::system(SpatialFunction const& function, Execution const& execution) {
    for (SpatialSystem const& system : systems_) {
        if (function.placesIn(system.function())) {
            return system;
        }
    }
    // It serves all that those do whose functions it has.
    std::erase_if(systems_,
                  [&](SpatialSystem const& system) { return system.function().placesIn(function).has_value(); });
    return systems_.emplace_back(fit_.equations, model_.x, model_.y, folds_, function, model_.basis, model_.kernelNorm,
                                 execution, SolverControl{}, noiseImages_.size() == 0 ? nullptr : &noiseImages_);
}

StampValues const& RegionSolver::heldOut(SpatialModelOptions const& options, Execution const& execution) {
    auto const known =
        std::find_if(heldOut_.begin(), heldOut_.end(), [&](auto const& each) { return each.first == options; });
    if (known != heldOut_.end()) {
        return known->second;
    }
    StampValues values = system(options.whole(), execution).heldOut(options, execution);
    return heldOut_.emplace_back(options, std::move(values)).second;
}

RegionResiduals const& RegionSolver::residuals(SpatialModelOptions const& options, Execution const& execution) {
    if (!residuals_ || residuals_->first != options) {
        residuals_ = solved([&] {
            StampValues const& values = heldOut(options, execution);
            return std::pair(options, judge(fit_, values.coefficients, values.backgrounds, execution));
        });
    }
    return residuals_->second;
}

}  // namespace psfmatch
