#include "KernelCandidateFitEquations.h"

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
    return {basis, control, regularization, chooseRowFunctions(control.instructionSet)};
}

PreparedStamp prepareColumns(CandidateStamp const& candidate, FitSetup const& setup, Workspace& workspace) {
    KernelBasis const& basis = setup.basis.basis;
    PreparedStamp stamp = prepareStamp(candidate, basis.height, basis.width, setup.control);
    ConstImageView<float> const templateView(stamp.templateImage.data(), stamp.templateImage.rows(),
                                             stamp.templateImage.cols(),
                                             Eigen::OuterStride<>(stamp.templateImage.cols()));
    convolveStamp(setup.basis, templateView, workspace.scratch, workspace.columns, setup.control.instructionSet,
                  setup.control.fitBackground);
    return stamp;
}

VectorXd firstWeights(CandidateStamp const& candidate, PreparedStamp const& stamp, FitSetup const& setup) {
    if (setup.control.constantVariance) {
        double const variance = medianVariance(candidate, stamp, setup.control.zeroWeightBadPixels);
        return weightsOf(stamp, VectorXd::Constant(stamp.science.size(), variance));
    }
    return weightsOf(stamp, stamp.scienceVariance + stamp.templateVarianceHere);
}

NormalEquations equationsOf(PreparedStamp const& stamp, Workspace const& workspace, VectorXd const& weights,
                            FitSetup const& setup) {
    return makeNormalEquations(workspace.columns, weights, stamp.science, setup.control.instructionSet);
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
        return kernelOf(setup.basis.basis, fit.solution.coefficients.head(setup.nBasis()));
    };
    PreparedStamp const stamp = prepareColumns(candidate, setup, workspace);
    VectorXd weights = firstWeights(candidate, stamp, setup);
    RebuiltEquations result{equationsOf(stamp, workspace, weights, setup), {}};
    if (control.iterate && !control.constantVariance) {
        OwnedImage<double> const kernel = kernelOfFit(solveKernel(std::move(result.equations), setup));
        weights = weightsOf(stamp, differenceVarianceOf(setup.functions, stamp, kernel));
        result.equations = equationsOf(stamp, workspace, weights, setup);
    }
    if (setup.regularization != nullptr && !strength) {
        strength =
            regularizationStrength(*setup.regularization, result.equations.matrix, result.equations.rightHandSide);
    }
    if (control.covariance) {
        OwnedImage<double> const kernel = kernelOfFit(solveKernel(result.equations, setup, strength));
        result.noiseMatrix = noiseMatrixOf(stamp, workspace, weights, kernel, setup);
    }
    if (setup.regularization != nullptr) {
        result.equations.matrix = regularized(std::move(result.equations.matrix), *setup.regularization, *strength);
    }
    return result;
}

OwnedImage<double> kernelOf(KernelBasis const& basis, VectorXd const& coefficients) {
    OwnedImage<double> kernel(basis.height, basis.width);
    Eigen::Map<VectorXd>(kernel.data(), kernel.size()) = basis.images.transpose() * coefficients;
    return kernel;
}

MatrixXd noiseMatrixOf(PreparedStamp const& stamp, Workspace const& workspace, VectorXd const& weights,
                       OwnedImage<double> const& kernel, FitSetup const& setup) {
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
