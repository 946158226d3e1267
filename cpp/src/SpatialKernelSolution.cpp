#include "psfmatch/SpatialKernelSolution.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "KernelCandidateFitEquations.h"
#include "SpatialKernelSolutionSums.h"
#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

using detail::SpatialLayout;
using detail::SpatialSums;
using detail::SpatialTerm;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Candidates whose equations are in memory at the same time: 25 MB of 441 basis functions. Fixed, so that the
// sequence of additions is.
constexpr std::size_t batchSize = 16;

SpatialLayout layoutOf(std::size_t nCandidates, Index nBasis, SpatialFunction const& kernelFunction,
                       std::optional<SpatialFunction> const& backgroundFunction, SpatialKernelControl const& control) {
    if (nCandidates == 0) {
        throw SolutionError("the spatial kernel has no candidate to be fitted to");
    }
    if (nBasis < 1) {
        throw std::invalid_argument("the spatial kernel has " + std::to_string(nBasis) +
                                    " basis images, needs at least 1");
    }
    return {nBasis, kernelFunction.size(), backgroundFunction ? backgroundFunction->size() : 0,
            control.constantFirstTerm};
}

SpatialTerm termAt(double x, double y, SpatialFunction const& kernelFunction,
                   std::optional<SpatialFunction> const& backgroundFunction) {
    return {kernelFunction.evaluate(x, y), backgroundFunction ? backgroundFunction->evaluate(x, y) : VectorXd(),
            nullptr, nullptr};
}

SpatialKernelSolution solveSystem(SpatialSums const& sums, VectorXd const& rightHandSide, SpatialSums const* noise,
                                  SpatialKernelControl const& control, Execution const& execution = {}) {
    SpatialLayout const& layout = sums.layout;
    MatrixXd const matrix = assemble(sums);
    SymmetricFactor const factor = factorize(matrix, control.solver);
    Solution const solution = solveSymmetric(factor, rightHandSide);
    SpatialKernelSolution result;
    result.method = solution.method;
    result.conditionNumber = conditionNumber(matrix, control.conditionNumberType, factor);
    result.nUnknowns = layout.nUnknowns();
    result.kernelParameters = MatrixXd::Zero(layout.nBasis, layout.p);
    for (Index i = 0; i < layout.nBasis; ++i) {
        result.kernelParameters.row(i).head(layout.size(i)) =
            solution.coefficients.segment(layout.start(i), layout.size(i)).transpose();
    }
    result.backgroundParameters = layout.q > 0 ? VectorXd(solution.coefficients.tail(layout.q)) : VectorXd::Zero(1);
    if (noise != nullptr) {
        result.covariance = sandwich(factor, assemble(*noise), execution);
    }
    return result;
}

}  // namespace

SpatialKernelSolution solveSpatialKernel(std::vector<CandidateEquations> const& candidates, Index nBasis,
                                         SpatialFunction const& kernelFunction,
                                         std::optional<SpatialFunction> const& backgroundFunction,
                                         SpatialKernelControl const& control, Execution const& execution) {
    SpatialLayout const layout = layoutOf(candidates.size(), nBasis, kernelFunction, backgroundFunction, control);
    Index const m = layout.nCoefficients();
    bool const withNoise = candidates.front().noiseMatrix != nullptr;
    SpatialSums sums(layout);
    std::optional<SpatialSums> noise;
    if (withNoise) {
        noise.emplace(layout);
    }
    VectorXd rightHandSide = VectorXd::Zero(layout.nUnknowns());
    std::vector<SpatialTerm> terms;
    std::vector<SpatialTerm> noiseTerms;
    for (CandidateEquations const& candidate : candidates) {
        if (candidate.nUnknowns != m) {
            throw std::invalid_argument("a candidate has equations of " + std::to_string(candidate.nUnknowns) +
                                        " unknowns, the spatial model wants " + std::to_string(m));
        }
        if ((candidate.noiseMatrix != nullptr) != withNoise) {
            throw std::invalid_argument("some candidates have a noise matrix and some have none");
        }
        terms.push_back(termAt(candidate.x, candidate.y, kernelFunction, backgroundFunction));
        terms.back().matrix = candidate.matrix;
        terms.back().rightHandSide = candidate.rightHandSide;
        addRightHandSide(layout, terms.back(), rightHandSide);
        if (withNoise) {
            noiseTerms.push_back(terms.back());
            noiseTerms.back().matrix = candidate.noiseMatrix;
        }
    }
    addTerms(terms, execution, sums);
    if (noise) {
        addTerms(noiseTerms, execution, *noise);
    }
    return solveSystem(sums, rightHandSide, noise ? &*noise : nullptr, control, execution);
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
    SpatialLayout const layout =
        layoutOf(stamps.size(), basis.basis.size(), kernelFunction, backgroundFunction, control);
    detail::FitSetup const setup = detail::setupFit(basis, fitControl, regularization);
    SpatialSums sums(layout);
    std::optional<SpatialSums> noise;
    if (fitControl.covariance) {
        noise.emplace(layout);
    }
    VectorXd rightHandSide = VectorXd::Zero(layout.nUnknowns());
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
        std::vector<SpatialTerm> terms;
        for (std::size_t k = 0; k < count; ++k) {
            terms.push_back(termAt(x[first + k], y[first + k], kernelFunction, backgroundFunction));
            terms.back().matrix = rebuilt[k].equations.matrix.data();
            terms.back().rightHandSide = rebuilt[k].equations.rightHandSide.data();
            addRightHandSide(layout, terms.back(), rightHandSide);
        }
        addTerms(terms, execution, sums);
        if (noise) {
            for (std::size_t k = 0; k < count; ++k) {
                terms[k].matrix = rebuilt[k].noiseMatrix.data();
            }
            addTerms(terms, execution, *noise);
        }
    }
    return solveSystem(sums, rightHandSide, noise ? &*noise : nullptr, control, execution);
}

}  // namespace psfmatch
