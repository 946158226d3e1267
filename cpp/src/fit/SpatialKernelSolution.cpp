#include "psfmatch/fit/SpatialKernelSolution.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "fit/KernelCandidateFitEquations.h"
#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/SpatialSums.h"

namespace psfmatch {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Candidates whose equations are in memory at the same time: 25 MB of 441 basis functions. Fixed, so that the
// sequence of additions is.
constexpr std::size_t batchSize = 16;

// What the candidates are summed to, and by which functions.
struct Model {
    SpatialLayout layout;
    SpatialFunction function;         // of kernel and background
    SpatialFunction kernel;           // of all images
    std::vector<Index> scalePlaces;   // of the functions of the first image among those
    std::vector<Index> kernelPlaces;  // of those of the others
    SpatialSums sums;
    std::optional<SpatialSums> noise;  // of the noise matrices
};

Model modelOf(std::size_t nCandidates, Index nBasis, SpatialFunction const& kernelFunction,
              std::optional<SpatialFunction> const& backgroundFunction, bool withNoise,
              SpatialKernelControl const& control) {
    if (nCandidates == 0) {
        throw SolutionError("the spatial kernel has no candidate to be fitted to");
    }
    if (nBasis < 1) {
        throw std::invalid_argument("the spatial kernel has " + std::to_string(nBasis) +
                                    " basis images, needs at least 1");
    }
    if (control.constantFirstTerm && control.scaleFunction) {
        throw std::invalid_argument("a constant first term has no function of its own");
    }
    SpatialFunction const scale =
        control.constantFirstTerm ? SpatialFunction() : control.scaleFunction.value_or(kernelFunction);
    SpatialFunction const whole = joined(kernelFunction, scale);
    SpatialFunction const function = backgroundFunction ? joined(whole, *backgroundFunction) : whole;
    SpatialLayout layout{std::vector<Index>(static_cast<std::size_t>(nBasis)), *scale.placesIn(function),
                         *kernelFunction.placesIn(function),
                         backgroundFunction ? *backgroundFunction->placesIn(function) : std::vector<Index>{}};
    std::iota(layout.images.begin(), layout.images.end(), 0);
    // So many of the first functions as hold all of the kernel's, and of the background's.
    auto const extent = [](std::vector<Index> const& places) {
        return places.empty() ? 0 : *std::max_element(places.begin(), places.end()) + 1;
    };
    SpatialSums const sums(function, nBasis, extent(*whole.placesIn(function)), extent(layout.background));
    return {layout,
            function,
            whole,
            *scale.placesIn(whole),
            *kernelFunction.placesIn(whole),
            sums,
            withNoise ? std::optional(sums) : std::nullopt};
}

SpatialKernelSolution solveModel(Model const& model, SpatialKernelControl const& control, Execution const& execution) {
    SpatialLayout const& layout = model.layout;
    RowMatrix lower;
    assembleLower(model.sums, layout, lower);
    MatrixXd const matrix = mirrored(lower);
    SymmetricFactor const factor = factorize(matrix, control.solver);
    Solution const solution = solveSymmetric(factor, assembleSide(model.sums, layout));
    SpatialKernelSolution result;
    result.method = solution.method;
    result.conditionNumber = conditionNumber(matrix, control.conditionNumberType, factor);
    result.nUnknowns = layout.nUnknowns();
    result.kernelFunction = model.kernel;
    result.scalePlaces = model.scalePlaces;
    result.kernelPlaces = model.kernelPlaces;
    result.kernelParameters = MatrixXd::Zero(layout.count(), model.kernel.size());
    for (Index i = 0; i < layout.count(); ++i) {
        result.kernelParameters(i, i == 0 ? model.scalePlaces : model.kernelPlaces) =
            solution.coefficients.segment(layout.start(i), layout.size(i)).transpose();
    }
    Index const q = layout.backgroundSize();
    result.backgroundParameters = q > 0 ? VectorXd(solution.coefficients.tail(q)) : VectorXd::Zero(1);
    if (model.noise) {
        assembleLower(*model.noise, layout, lower);
        result.covariance = sandwich(factor, mirrored(lower), execution);
    }
    return result;
}

}  // namespace

SpatialKernelSolution solveSpatialKernel(std::vector<CandidateEquations> const& candidates, Index nBasis,
                                         SpatialFunction const& kernelFunction,
                                         std::optional<SpatialFunction> const& backgroundFunction,
                                         SpatialKernelControl const& control, Execution const& execution) {
    bool const withNoise = !candidates.empty() && candidates.front().noiseMatrix != nullptr;
    Model model = modelOf(candidates.size(), nBasis, kernelFunction, backgroundFunction, withNoise, control);
    Index const m = model.sums.sides.rows();
    auto const nCandidates = static_cast<Index>(candidates.size());
    VectorXd x(nCandidates);
    VectorXd y(nCandidates);
    RowMatrix rightHandSides(nCandidates, m);
    std::vector<double const*> matrices;
    std::vector<double const*> noiseMatrices;
    for (CandidateEquations const& candidate : candidates) {
        if (candidate.nUnknowns != m) {
            throw std::invalid_argument("a candidate has equations of " + std::to_string(candidate.nUnknowns) +
                                        " unknowns, the spatial model wants " + std::to_string(m));
        }
        if ((candidate.noiseMatrix != nullptr) != withNoise) {
            throw std::invalid_argument("some candidates have a noise matrix and some have none");
        }
        auto const k = static_cast<Index>(matrices.size());
        x[k] = candidate.x;
        y[k] = candidate.y;
        rightHandSides.row(k) = Eigen::Map<Eigen::RowVectorXd const>(candidate.rightHandSide, m);
        matrices.push_back(candidate.matrix);
        noiseMatrices.push_back(candidate.noiseMatrix);
    }
    RowMatrix const moments = momentsAt(model.function, x, y);
    addMatrices(matrices, moments, execution, model.sums);
    addSides(rightHandSides, termsAt(model.function, x, y), model.sums);
    if (model.noise) {
        addMatrices(noiseMatrices, moments, execution, *model.noise);
    }
    return solveModel(model, control, execution);
}

SpatialKernelSolution solveSpatialKernelFromStamps(
    std::vector<CandidateStamp> const& stamps, std::vector<double> const& x, std::vector<double> const& y,
    PreparedBasis const& basis, CandidateFitControl const& fitControl, SpatialFunction const& kernelFunction,
    std::optional<SpatialFunction> const& backgroundFunction, SpatialKernelControl const& control,
    Regularization const* regularization, std::vector<double> const& strengths, Execution const& execution) {
    if (x.size() != stamps.size() || y.size() != stamps.size() ||
        (!strengths.empty() && strengths.size() != stamps.size())) {
        throw std::invalid_argument(std::to_string(stamps.size()) + " candidates, " + std::to_string(x.size()) +
                                    " x, " + std::to_string(y.size()) + " y and " + std::to_string(strengths.size()) +
                                    " strengths of the regularisation");
    }
    if (!strengths.empty() && regularization == nullptr) {
        throw std::invalid_argument("strengths of a regularisation that is not given");
    }
    if (fitControl.fitBackground != backgroundFunction.has_value()) {
        throw std::invalid_argument("a background function goes with candidates fitted with a background");
    }
    Model model =
        modelOf(stamps.size(), basis.basis.size(), kernelFunction, backgroundFunction, fitControl.covariance, control);
    detail::FitSetup const setup = detail::setupFit(basis, fitControl, regularization);
    auto const nStamps = static_cast<Index>(stamps.size());
    VectorXd const xs = Eigen::Map<VectorXd const>(x.data(), nStamps);
    VectorXd const ys = Eigen::Map<VectorXd const>(y.data(), nStamps);
    RowMatrix const moments = momentsAt(model.function, xs, ys);
    RowMatrix rightHandSides(nStamps, model.sums.sides.rows());
    std::vector<detail::RebuiltEquations> rebuilt(std::min(batchSize, stamps.size()));
    auto const nWorkers = workerCount(static_cast<Index>(rebuilt.size()), execution);
    std::vector<detail::Workspace> workspaces(static_cast<std::size_t>(nWorkers));
    for (std::size_t first = 0; first < stamps.size(); first += batchSize) {
        std::size_t const count = std::min(batchSize, stamps.size() - first);
        parallelFor(static_cast<Index>(count), execution, [&](Index item, int worker) {
            auto const k = static_cast<std::size_t>(item);
            std::optional<double> const strength =
                strengths.empty() ? std::nullopt : std::optional<double>(strengths[first + k]);
            rebuilt[k] =
                rebuildEquations(stamps[first + k], setup, strength, workspaces[static_cast<std::size_t>(worker)]);
        });
        std::vector<double const*> matrices;
        std::vector<double const*> noiseMatrices;
        for (std::size_t k = 0; k < count; ++k) {
            rightHandSides.row(static_cast<Index>(first + k)) = rebuilt[k].equations.rightHandSide.transpose();
            matrices.push_back(rebuilt[k].equations.matrix.data());
            noiseMatrices.push_back(rebuilt[k].noiseMatrix.data());
        }
        auto const part = moments.middleRows(static_cast<Index>(first), static_cast<Index>(count));
        addMatrices(matrices, part, execution, model.sums);
        if (model.noise) {
            addMatrices(noiseMatrices, part, execution, *model.noise);
        }
    }
    addSides(rightHandSides, termsAt(model.function, xs, ys), model.sums);
    return solveModel(model, control, execution);
}

}  // namespace psfmatch
