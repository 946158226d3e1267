#include "psfmatch/fit/KernelCandidateFit.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "fit/KernelCandidateFitEquations.h"
#include "fit/KernelCandidateFitLight.h"
#include "fit/KernelCandidateFitStamp.h"
#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

using detail::FitSetup;
using detail::KernelFit;
using detail::PreparedStamp;
using detail::Workspace;
using Eigen::VectorXd;

// Fits coefficients (and background); nothing when the condition number of the matrix itself forbids it.
std::optional<KernelFit> trySolving(VectorXd const& weights, FitSetup const& setup, Workspace& workspace,
                                    CandidateFit& fit) {
    CandidateFitControl const& control = setup.control;
    NormalEquations equations = equationsOf(weights, setup, workspace);
    if (control.checkConditionNumber) {
        fit.conditionNumber = conditionNumber(equations.matrix, control.conditionNumberType);
        if (fit.conditionNumber > control.maxConditionNumber) {
            fit.equations = std::move(equations);
            fit.outcome = CandidateOutcome::illConditioned;
            fit.message = "condition number " + std::to_string(fit.conditionNumber) + " above " +
                          std::to_string(control.maxConditionNumber);
            return std::nullopt;
        }
    }
    KernelFit solved = solveKernel(std::move(equations), setup);
    if (!control.checkConditionNumber) {
        fit.conditionNumber = solved.solution.conditionNumber;
    }
    fit.method = solved.solution.method;
    fit.regularizationStrength = solved.strength;
    fit.coefficients = solved.solution.coefficients.head(setup.nBasis());
    fit.background = control.fitBackground ? solved.solution.coefficients[setup.nBasis()] : 0.0;
    return solved;
}

// Standard deviation of sum_i a_i sum(K_i) under the (penalised) normal matrix as the inverse of a covariance.
double kernelSumErrorOf(SymmetricFactor const& factor, FitSetup const& setup) {
    VectorXd sums = VectorXd::Zero(factor.scale.size());
    sums.head(setup.nBasis()) = setup.basisSums;
    return std::sqrt(std::max(0.0, sums.dot(solveVector(factor, sums))));
}

void fitCandidate(CandidateStamp const& candidate, FitSetup const& setup, Workspace& workspace, CandidateFit& fit) {
    CandidateFitControl const& control = setup.control;
    prepareColumns(candidate, setup, workspace);
    PreparedStamp const& stamp = workspace.stamp;
    fit.lostFraction = static_cast<double>(stamp.nBad) / static_cast<double>(stamp.good.size());
    // With regularisation neighbouring pixels of the kernel tell of those that nothing else constrains.
    if (stamp.nGood < (setup.regularization == nullptr ? setup.nUnknowns() : 1)) {
        throw NumericalError(std::to_string(stamp.nGood) + " good pixels for " + std::to_string(setup.nUnknowns()) +
                             " coefficients");
    }
    if (!detail::showsLight(stamp)) {
        fit.outcome = CandidateOutcome::noLight;
        fit.message = "the image to convolve is the same everywhere in the stamp, or a plane";
        return;
    }
    VectorXd weights = firstWeights(candidate, setup, workspace);
    std::optional<KernelFit> solved = trySolving(weights, setup, workspace, fit);
    if (!solved) {
        return;
    }
    OwnedImage<double> kernel = detail::kernelOf(setup.functions, setup.basis.basis, fit.coefficients.data());
    VectorXd differenceVariance = differenceVarianceOf(setup.functions, stamp, kernel);
    if (control.iterate && !control.constantVariance) {
        weights = weightsOf(stamp, differenceVariance);
        solved = trySolving(weights, setup, workspace, fit);
        if (!solved) {
            return;
        }
        kernel = detail::kernelOf(setup.functions, setup.basis.basis, fit.coefficients.data());
        differenceVariance = differenceVarianceOf(setup.functions, stamp, kernel);
    }
    fit.kernelSum = kernel.sum();
    fit.kernelSumError = kernelSumErrorOf(solved->factor, setup);
    if (control.covariance) {
        fit.noiseMatrix = noiseMatrixOf(workspace, weights, kernel, setup);
        fit.covariance = sandwich(solved->factor, fit.noiseMatrix);
    }
    fit.equations = std::move(solved->equations);
    VectorXd residual = stamp.science.array() - fit.background;
    VectorXd const minusCoefficients = -fit.coefficients;
    auto const nPixels = static_cast<int>(residual.size());
    setup.functions.correlate(minusCoefficients.data(), static_cast<int>(setup.nBasis()), workspace.columns.data(),
                              nPixels, nPixels, residual.data());
    std::tie(fit.whole, fit.core) = judge(stamp, residual, differenceVariance, control.coreRadius);
    fit.outcome = CandidateOutcome::solved;
}

}  // namespace

std::vector<CandidateFit> fitCandidates(std::vector<CandidateStamp> const& stamps, PreparedBasis const& basis,
                                        CandidateFitControl const& control, Execution const& execution,
                                        Regularization const* regularization) {
    auto const count = static_cast<Index>(stamps.size());
    FitSetup const setup = detail::setupFit(basis, control, regularization);
    std::vector<CandidateFit> fits(stamps.size());
    std::vector<Workspace> workspaces(static_cast<std::size_t>(workerCount(count, execution)));
    parallelFor(count, execution, [&](Index item, int worker) {
        auto const i = static_cast<std::size_t>(item);
        try {
            fitCandidate(stamps[i], setup, workspaces[static_cast<std::size_t>(worker)], fits[i]);
        } catch (NumericalError const& error) {
            fits[i].outcome = CandidateOutcome::failed;
            fits[i].message = error.what();
        }
        if (!control.keepEquations) {
            fits[i].equations = {};
            fits[i].noiseMatrix.resize(0, 0);
        }
    });
    return fits;
}

namespace {

// `kernelOf(i)` gives the kernel of candidate i.
template <typename KernelOf>
std::vector<CandidateAssessment> assess(std::vector<CandidateStamp> const& stamps, KernelOf const& kernelOf,
                                        std::vector<double> const& backgrounds, CandidateFitControl const& control,
                                        detail::RowFunctions const& functions, Execution const& execution) {
    std::vector<CandidateAssessment> assessments(stamps.size());
    auto const count = static_cast<Index>(stamps.size());
    std::vector<PreparedStamp> prepared(static_cast<std::size_t>(workerCount(count, execution)));
    parallelFor(count, execution, [&](Index item, int worker) {
        PreparedStamp& stamp = prepared[static_cast<std::size_t>(worker)];
        auto const i = static_cast<std::size_t>(item);
        CandidateAssessment& assessment = assessments[i];
        try {
            auto const& kernel = kernelOf(item);
            detail::prepareStamp(stamps[i], kernel.rows(), kernel.cols(), control, stamp);
            VectorXd const residual =
                (stamp.science - detail::correlated(functions, stamp.templateImage, kernel)).array() - backgrounds[i];
            VectorXd const variance = detail::differenceVarianceOf(functions, stamp, kernel);
            std::tie(assessment.whole, assessment.core) = judge(stamp, residual, variance, control.coreRadius);
            assessment.valid = true;
        } catch (NumericalError const& error) {
            assessment.message = error.what();
        }
    });
    return assessments;
}

}  // namespace

std::vector<CandidateAssessment> assessCandidates(std::vector<CandidateStamp> const& stamps,
                                                  std::vector<OwnedImage<double>> const& kernels,
                                                  std::vector<double> const& backgrounds,
                                                  CandidateFitControl const& control, Execution const& execution) {
    if (kernels.size() != stamps.size() || backgrounds.size() != stamps.size()) {
        throw std::invalid_argument(std::to_string(stamps.size()) + " candidates, " + std::to_string(kernels.size()) +
                                    " kernels and " + std::to_string(backgrounds.size()) + " backgrounds");
    }
    auto const kernelOf = [&](Index i) -> OwnedImage<double> const& { return kernels[static_cast<std::size_t>(i)]; };
    return assess(stamps, kernelOf, backgrounds, control, detail::chooseRowFunctions(control.instructionSet),
                  execution);
}

std::vector<CandidateAssessment> assessCandidates(std::vector<CandidateStamp> const& stamps, KernelBasis const& basis,
                                                  RowMatrix const& coefficients, std::vector<double> const& backgrounds,
                                                  CandidateFitControl const& control, Execution const& execution) {
    validate(basis);
    if (coefficients.rows() != static_cast<Index>(stamps.size()) || backgrounds.size() != stamps.size() ||
        coefficients.cols() != basis.size()) {
        throw std::invalid_argument(
            std::to_string(stamps.size()) + " candidates, " + std::to_string(coefficients.rows()) + " rows of " +
            std::to_string(coefficients.cols()) + " coefficients for " + std::to_string(basis.size()) +
            " basis images, and " + std::to_string(backgrounds.size()) + " backgrounds");
    }
    detail::RowFunctions const functions = detail::chooseRowFunctions(control.instructionSet);
    auto const kernelOf = [&](Index i) { return detail::kernelOf(functions, basis, coefficients.row(i).data()); };
    return assess(stamps, kernelOf, backgrounds, control, functions, execution);
}

}  // namespace psfmatch
