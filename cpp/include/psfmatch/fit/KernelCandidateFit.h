// Kernels of single candidates (a star's stamp in both images), and how well a kernel serves each candidate.
// All candidates of a pass are handled in one call, on all threads; results do not depend on their number.
#pragma once

#include <Eigen/Core>
#include <limits>
#include <string>
#include <vector>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/image/statistics.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"
#include "psfmatch/kernel/Regularization.h"

namespace psfmatch {

// Both images of one candidate, of one shape. Their mask planes may be numbered differently.
struct CandidateStamp {
    MaskedImageView templateStamp;  // the image to convolve
    MaskedImageView scienceStamp;   // the image to match
    MaskPixel templateBadBits = 0;
    MaskPixel scienceBadBits = 0;
};

struct CandidateFitControl {
    bool fitBackground = false;
    // One variance for the whole stamp (the median of both images' sum), else each pixel its own.
    bool constantVariance = true;
    // Fit again with the variance of the first difference (only with variances of their own).
    bool iterate = false;
    // Bad pixels get weight zero and are left out of the statistics; the template's are filled from their
    // neighbours and grown by `growTemplateBad`. Off: masks are not consulted in the fit, and the statistics
    // leave out every pixel with a bad one of the template in its kernel footprint.
    bool zeroWeightBadPixels = true;
    Index growTemplateBad = 2;  // pixels
    Index coreRadius = 3;       // pixels; the core is the (2r+1)^2 pixels about the stamp's middle
    bool checkConditionNumber = false;
    double maxConditionNumber = 5e7;
    ConditionNumberType conditionNumberType = ConditionNumberType::eigenvalue;
    // Equations and noise matrix are returned; large bases build them again when they are needed.
    bool keepEquations = true;
    // Covariances of coefficients and background are computed.
    bool covariance = false;
    SolverControl solver = {};
    InstructionSet instructionSet = InstructionSet::automatic;
};

enum class CandidateOutcome {
    solved,
    noLight,         // the template is a plane: not solved
    illConditioned,  // condition number above the limit, not solved
    failed           // no solution; `message` says why
};

struct CandidateFit {
    CandidateOutcome outcome = CandidateOutcome::failed;
    std::string message;
    NormalEquations equations;     // m = n [+ 1] unknowns, the background last; without regularisation
    Eigen::VectorXd coefficients;  // (n)
    double background = 0.0;       // image units
    double kernelSum = 0.0;
    double kernelSumError = 0.0;   // standard deviation, as far as the weights are inverse variances
    double conditionNumber = 0.0;  // as Solution::conditionNumber, or by the type checked
    SolverMethod method = SolverMethod::none;
    double regularizationStrength = 0.0;  // the lambda used
    // (m, m), where asked for: of coefficients and background, (M + lambda H)^-1 N (M + lambda H)^-1 with N the
    // covariance of the equations' right-hand side. To first order in the noise of both images, for any weights.
    Eigen::MatrixXd covariance;
    Eigen::MatrixXd noiseMatrix;  // (m, m): N
    double lostFraction = 0.0;    // of the fitted pixels that are bad in either image
    ResidualStatistics whole;     // residual / sqrt(var_S + sum K^2 var_T) over the fitted pixels
    ResidualStatistics core;
};

[[nodiscard]] std::vector<CandidateFit> fitCandidates(std::vector<CandidateStamp> const& stamps,
                                                      PreparedBasis const& basis, CandidateFitControl const& control,
                                                      Execution const& execution,
                                                      Regularization const* regularization = nullptr);

// The template's light in units of the science image's, by one parameter: both less a plane, the template smoothed by a
// Gaussian that reaches over a kernel's middle.
struct LightRatio {
    double value = std::numeric_limits<double>::quiet_NaN();  // science over template
    // Its standard deviation where the pixels of either image, that by which it is larger, stand in any sequence, as
    // noise would.
    double error = std::numeric_limits<double>::infinity();
};

// Of the control only the handling of bad pixels is used. Throws NumericalError for a stamp smaller than the kernel.
[[nodiscard]] std::vector<LightRatio> lightRatios(std::vector<CandidateStamp> const& stamps, Index kernelHeight,
                                                  Index kernelWidth, CandidateFitControl const& control,
                                                  Execution const& execution);

struct CandidateAssessment {
    bool valid = false;  // else `message` says why
    std::string message;
    ResidualStatistics whole;
    ResidualStatistics core;
};

// Residuals of each candidate under a kernel image and a background of its own (those of a spatial model at its
// position, say). Of the control only the handling of bad pixels and the core radius are used.
[[nodiscard]] std::vector<CandidateAssessment> assessCandidates(
    std::vector<CandidateStamp> const& stamps,
    std::vector<OwnedImage<double>> const& kernels,  // one per candidate
    std::vector<double> const& backgrounds,          // one per candidate, image units
    CandidateFitControl const& control, Execution const& execution);

// The same with kernels that are sums of the images of a basis.
[[nodiscard]] std::vector<CandidateAssessment> assessCandidates(
    std::vector<CandidateStamp> const& stamps, KernelBasis const& basis,
    RowMatrix const& coefficients,           // (candidates, n)
    std::vector<double> const& backgrounds,  // one per candidate, image units
    CandidateFitControl const& control, Execution const& execution);

}  // namespace psfmatch
