// The fit to regions while it goes on: pixels, weights and equations, and what hangs on the weights - the sums of the
// system, each model judged by regions that it has not seen, their residuals -, made once and kept until they change.
// Every call may be made by any thread, one at a time.
#pragma once

#include <Eigen/Core>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/fit/RegionFit.h"
#include "psfmatch/fit/RegionOutliers.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "psfmatch/fit/SpatialComparison.h"
#include "psfmatch/fit/SpatialSystem.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

// Where regions lie and what their kernel is made of.
struct RegionModel {
    Eigen::VectorXd x;  // (regions) middles, pixels
    Eigen::VectorXd y;
    KernelBasis basis;
    SpatialModel spatialModel = SpatialModel::chebyshev1;  // of the usual model, and the frame
    Frame frame = {};
    double kernelNorm = 1.0;  // expected root of the sum of squares of the kernel
    OutlierControl outliers = {};
    RowMatrix noiseCorrelation;  // of the template's noise by lags, (2 n + 1, 2 n + 1); empty: white
};

class RegionSolver {
public:
    // With the first weights; see makeRegionFit. Positions of another number than stamps: std::invalid_argument.
    RegionSolver(std::shared_ptr<RegionStamps const> stamps, RegionModel model, Execution const& execution);

    [[nodiscard]] Index size() const { return fit_.size(); }
    [[nodiscard]] RegionModel const& model() const { return model_; }
    [[nodiscard]] RegionFit const& fit() const { return fit_; }

    // The model, of some images of the basis, that serves most fields with so many regions; what is rejected by it
    // hardly depends on the details.
    [[nodiscard]] SpatialModelOptions usualModel(std::vector<Index> images) const;
    [[nodiscard]] SpatialFunction polynomials(int order) const { return {model_.spatialModel, order, model_.frame}; }

    // How often pixels have been rejected and weighed anew.
    [[nodiscard]] int nPasses() const { return nPasses_; }

    // Sums the equations for models of some functions at least, as they are weighted now.
    void prepare(SpatialFunction const& function, Execution const& execution);

    // Chi-square of every region under the solution from the other folds; infinite for a model without solution.
    [[nodiscard]] Eigen::VectorXd chiSquares(SpatialModelOptions const& options, Execution const& execution);

    // Whether a model has been judged by the weights of now, and has a solution.
    [[nodiscard]] bool hasJudged(SpatialModelOptions const& options);

    // The same under solutions from another solver's regions, without those that overlap regions of the fold.
    [[nodiscard]] Eigen::VectorXd chiSquaresBy(RegionSolver& other, SpatialModelOptions const& options,
                                               Execution const& execution);

    // Rejects pixels that the held-out model cannot explain, if they are to be rejected; weighs the others by the light
    // that it expects. Returns whether the rejected pixels changed. SolutionError for a model without solution, as the
    // next.
    bool reject(SpatialModelOptions const& options, bool isRejecting, Execution const& execution);

    // Of the residuals of the held-out model.
    [[nodiscard]] BrightScatter brightPixels(SpatialModelOptions const& options, Execution const& execution);
    [[nodiscard]] RegionSummary summary(SpatialModelOptions const& options, Execution const& execution);

    // The solution from all regions, with its covariance if asked for, and by how much it lowers the chi-square of the
    // background alone.
    [[nodiscard]] SpatialSolution solve(SpatialModelOptions const& options, bool withCovariance,
                                        Execution const& execution);
    [[nodiscard]] double lightGain(SpatialSolution const& solution, Execution const& execution);

private:
    SpatialSystem const& system(SpatialFunction const& function, Execution const& execution);
    StampValues const& heldOut(SpatialModelOptions const& options, Execution const& execution);
    RegionResiduals const& residuals(SpatialModelOptions const& options, Execution const& execution);

    RegionModel model_;
    KernelBasis noiseImages_;  // the basis images smoothed by the noise's correlation; empty: white
    RegionFit fit_;
    std::vector<Index> folds_;
    int nPasses_ = 0;
    std::deque<SpatialSystem> systems_;  // of polynomials, and of other functions where these are tried
    std::deque<std::pair<SpatialModelOptions, StampValues>> heldOut_;
    std::optional<std::pair<SpatialModelOptions, RegionResiduals>> residuals_;
    std::mutex mutex_;
};

}  // namespace psfmatch
