#include "fit/KernelCandidateFitEquations.h"

#include <limits>
#include <utility>

namespace psfmatch::detail {

using Eigen::MatrixXd;
using Eigen::VectorXd;

FitSetup setupFit(PreparedBasis const& basis, CandidateFitControl const& control,
                  Regularization const* regularization) {
    if (regularization != nullptr) {
        validate(*regularization, basis.basis.size());
    }
    return {basis, control, regularization, chooseRowFunctions(control.instructionSet),
            basis.basis.images.rowwise().sum()};
}

void prepareColumns(CandidateStamp const& candidate, FitSetup const& setup, Workspace& workspace) {
    KernelBasis const& basis = setup.basis.basis;
    PreparedStamp& stamp = workspace.stamp;
    prepareStamp(candidate, basis.height, basis.width, setup.control, stamp);
    ConstImageView<float> const templateView(stamp.templateImage.data(), stamp.templateImage.rows(),
                                             stamp.templateImage.cols(),
                                             Eigen::OuterStride<>(stamp.templateImage.cols()));
    convolveStamp(setup.basis, templateView, workspace.scratch, workspace.columns, setup.control.instructionSet,
                  setup.control.fitBackground);
}

VectorXd firstWeights(CandidateStamp const& candidate, FitSetup const& setup, Workspace& workspace) {
    PreparedStamp const& stamp = workspace.stamp;
    if (setup.control.constantVariance) {
        double const variance = medianVariance(candidate, stamp, setup.control.zeroWeightBadPixels, workspace.values);
        return weightsOf(stamp, VectorXd::Constant(stamp.science.size(), variance));
    }
    return weightsOf(stamp, stamp.scienceVariance + stamp.templateVarianceHere);
}

NormalEquations equationsOf(VectorXd const& weights, FitSetup const& setup, Workspace& workspace) {
    return makeNormalEquations(workspace.columns, weights, workspace.stamp.science, setup.control.instructionSet,
                               &workspace.values);
}

KernelFit solveKernel(NormalEquations equations, FitSetup const& setup, std::optional<double> strength) {
    KernelFit fit;
    fit.equations = std::move(equations);
    SolverControl solver = setup.control.solver;
    solver.instructionSet = setup.control.instructionSet;
    if (setup.regularization == nullptr) {
        fit.factor = factorize(fit.equations.matrix, solver);
    } else {
        fit.strength =
            strength ? *strength
                     : regularizationStrength(*setup.regularization, fit.equations.matrix, fit.equations.rightHandSide);
        fit.factor = factorize(regularized(fit.equations.matrix, *setup.regularization, fit.strength), solver);
    }
    fit.solution = solveSymmetric(fit.factor, fit.equations.rightHandSide);
    return fit;
}

RebuiltEquations rebuildEquations(CandidateStamp const& candidate, FitSetup const& setup,
                                  std::optional<double> strength, Workspace& workspace) {
    CandidateFitControl const& control = setup.control;
    auto const kernelOfFit = [&setup](KernelFit const& fit) {
        return kernelOf(setup.functions, setup.basis.basis, fit.solution.coefficients.data());
    };
    prepareColumns(candidate, setup, workspace);
    PreparedStamp const& stamp = workspace.stamp;
    VectorXd weights = firstWeights(candidate, setup, workspace);
    RebuiltEquations result{equationsOf(weights, setup, workspace), {}};
    if (control.iterate && !control.constantVariance) {
        OwnedImage<double> const kernel = kernelOfFit(solveKernel(std::move(result.equations), setup));
        weights = weightsOf(stamp, differenceVarianceOf(setup.functions, stamp, kernel));
        result.equations = equationsOf(weights, setup, workspace);
    }
    if (setup.regularization != nullptr && !strength) {
        strength =
            regularizationStrength(*setup.regularization, result.equations.matrix, result.equations.rightHandSide);
    }
    if (control.covariance) {
        OwnedImage<double> const kernel = kernelOfFit(solveKernel(result.equations, setup, strength));
        result.noiseMatrix = noiseMatrixOf(workspace, weights, kernel, setup);
    }
    if (setup.regularization != nullptr) {
        result.equations.matrix = regularized(std::move(result.equations.matrix), *setup.regularization, *strength);
    }
    return result;
}

OwnedImage<double> kernelOf(RowFunctions const& functions, KernelBasis const& basis, double const* coefficients) {
    OwnedImage<double> kernel = OwnedImage<double>::Zero(basis.height, basis.width);
    auto const nPixels = static_cast<int>(kernel.size());
    functions.correlate(coefficients, static_cast<int>(basis.size()), basis.images.data(), nPixels, nPixels,
                        kernel.data());
    return kernel;
}

MatrixXd noiseMatrixOf(Workspace const& workspace, VectorXd const& weights, OwnedImage<double> const& kernel,
                       FitSetup const& setup) {
    PreparedStamp const& stamp = workspace.stamp;
    InstructionSet const instructionSet = setup.control.instructionSet;
    // A pixel without weight adds nothing, whatever its variance is.
    VectorXd const scienceTerm =
        (weights.array() > 0.0)
            .select(weights.array().square() * stamp.scienceVariance.array(), VectorXd::Zero(weights.size()).array())
            .matrix();
    MatrixXd noise = weightedProducts(workspace.columns, scienceTerm, instructionSet);
    if ((stamp.templateVariance == 0.0F).all()) {
        return noise;
    }
    // Row i of `spread` is A^T (w c_i) on the pixels of the whole template stamp: each row of the weighted column is
    // correlated with the kernel's rows turned round, and added where they lead.
    Index const height = stamp.templateImage.rows();
    Index const width = stamp.templateImage.cols();
    auto const kernelWidth = static_cast<int>(kernel.cols());
    OwnedImage<double> const turned = kernel.rowwise().reverse();
    RowMatrix spread = RowMatrix::Zero(workspace.columns.rows(), height * width);
    VectorXd padded = VectorXd::Zero(stamp.width + 2 * (kernel.cols() - 1));
    for (Index i = 0; i < spread.rows(); ++i) {
        for (Index y = 0; y < stamp.height; ++y) {
            Index const start = y * stamp.width;
            padded.segment(kernel.cols() - 1, stamp.width) = workspace.columns.row(i)
                                                                 .segment(start, stamp.width)
                                                                 .transpose()
                                                                 .cwiseProduct(weights.segment(start, stamp.width));
            for (Index v = 0; v < kernel.rows(); ++v) {
                setup.functions.correlate(turned.row(v).data(), kernelWidth, padded.data(), 1, static_cast<int>(width),
                                          spread.row(i).data() + (y + v) * width);
            }
        }
    }
    // Pixels of the template whose variance is not known are taken to be without noise.
    VectorXd const templateTerm =
        Eigen::Map<Eigen::VectorXf const>(stamp.templateVariance.data(), stamp.templateVariance.size())
            .unaryExpr([](float v) { return v > 0.0F && v <= std::numeric_limits<float>::max() ? v : 0.0F; })
            .cast<double>();
    return noise + weightedProducts(spread, templateTerm, instructionSet);
}

}  // namespace psfmatch::detail
