#include "psfmatch/KernelCandidateFit.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "psfmatch/badPixels.h"
#include "psfmatch/exceptions.h"
#include "rowFunctions.h"

namespace psfmatch {

namespace {

using Eigen::VectorXd;
using BoolImage = OwnedImage<bool>;

// Memory of one worker that is kept from candidate to candidate.
struct Workspace {
    RowMatrix scratch;
    RowMatrix convolved;
    RowMatrix columns;
};

// One candidate made ready: the template without bad pixels, and per fitted pixel the data and whether it
// counts. The fitted pixels are those whose kernel footprint lies inside the stamp, row by row.
struct PreparedStamp {
    OwnedImage<float> templateImage;
    OwnedImage<float> templateVariance;
    Index width = 0;  // of the fitted region
    Index height = 0;
    Index left = 0;  // its first pixel in the stamp
    Index bottom = 0;
    std::vector<char> good;    // counts in the fit
    std::vector<char> judged;  // counts in the statistics
    VectorXd science;          // 0 where not good
    VectorXd scienceVariance;
    VectorXd templateVarianceHere;  // at the same pixels, unconvolved
    OwnedImage<bool> unusable;      // of the whole stamp
    Index nGood = 0;
    Index nBad = 0;  // bad in either image themselves, not by growing
};

void requireShapes(CandidateStamp const& stamp) {
    auto const shapeIs = [&stamp](auto const& view) {
        return view.rows() == stamp.scienceStamp.image.rows() && view.cols() == stamp.scienceStamp.image.cols();
    };
    if (!shapeIs(stamp.templateStamp.image) || !shapeIs(stamp.templateStamp.variance) ||
        !shapeIs(stamp.templateStamp.mask) || !shapeIs(stamp.scienceStamp.variance) ||
        !shapeIs(stamp.scienceStamp.mask)) {
        throw std::invalid_argument("the planes of a candidate's two stamps differ in shape");
    }
}

BoolImage badPixelsOf(MaskedImageView const& stamp, MaskPixel badBits) {
    BoolImage bad(stamp.image.rows(), stamp.image.cols());
    for (Index y = 0; y < bad.rows(); ++y) {
        for (Index x = 0; x < bad.cols(); ++x) {
            bad(y, x) = isBad(stamp.image(y, x), stamp.variance(y, x), stamp.mask(y, x), badBits);
        }
    }
    return bad;
}

ImageView<float> viewOf(OwnedImage<float>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

// True where any pixel of the box from (y - below, x - left) to (y + above, x + right) is true.
BoolImage grow(BoolImage const& bad, Index left, Index right, Index below, Index above) {
    BoolImage grown = BoolImage::Constant(bad.rows(), bad.cols(), false);
    for (Index y = 0; y < bad.rows(); ++y) {
        for (Index x = 0; x < bad.cols(); ++x) {
            if (bad(y, x)) {
                Index const x0 = std::max<Index>(0, x - right);
                Index const y0 = std::max<Index>(0, y - above);
                grown.block(y0, x0, std::min(bad.rows(), y + below + 1) - y0, std::min(bad.cols(), x + left + 1) - x0)
                    .setConstant(true);
            }
        }
    }
    return grown;
}

PreparedStamp prepareStamp(CandidateStamp const& stamp, Index kernelHeight, Index kernelWidth,
                           CandidateFitControl const& control) {
    requireShapes(stamp);
    PreparedStamp result;
    result.width = stamp.scienceStamp.image.cols() - kernelWidth + 1;
    result.height = stamp.scienceStamp.image.rows() - kernelHeight + 1;
    if (result.width < 1 || result.height < 1) {
        throw NumericalError("stamp of " + std::to_string(stamp.scienceStamp.image.cols()) + "x" +
                             std::to_string(stamp.scienceStamp.image.rows()) +
                             " pixels is smaller than the kernel of " + std::to_string(kernelWidth) + "x" +
                             std::to_string(kernelHeight));
    }
    result.left = (kernelWidth - 1) / 2;
    result.bottom = (kernelHeight - 1) / 2;

    BoolImage const templateBad = badPixelsOf(stamp.templateStamp, stamp.templateBadBits);
    BoolImage const scienceBad = badPixelsOf(stamp.scienceStamp, stamp.scienceBadBits);
    bool const anyTemplateBad = templateBad.any();
    result.templateImage = stamp.templateStamp.image;
    result.templateVariance = stamp.templateStamp.variance;
    if (control.zeroWeightBadPixels && anyTemplateBad) {
        writeFill(fillBadPixels(stamp.templateStamp, stamp.templateBadBits), viewOf(result.templateImage),
                  viewOf(result.templateVariance));
    }
    BoolImage unusable = scienceBad;
    if (control.zeroWeightBadPixels && anyTemplateBad) {
        Index const g = control.growTemplateBad;
        unusable = unusable || grow(templateBad, g, g, g, g);
    }
    result.unusable = unusable;
    BoolImage unjudged = unusable;
    if (!control.zeroWeightBadPixels && anyTemplateBad) {
        unjudged = unjudged || grow(templateBad, result.left, kernelWidth - 1 - result.left, result.bottom,
                                    kernelHeight - 1 - result.bottom);
    }

    Index const count = result.width * result.height;
    result.good.resize(static_cast<std::size_t>(count));
    result.judged.resize(static_cast<std::size_t>(count));
    result.science.resize(count);
    result.scienceVariance.resize(count);
    result.templateVarianceHere.resize(count);
    for (Index y = 0, i = 0; y < result.height; ++y) {
        for (Index x = 0; x < result.width; ++x, ++i) {
            Index const row = y + result.bottom;
            Index const column = x + result.left;
            double const variance = static_cast<double>(stamp.scienceStamp.variance(row, column)) +
                                    static_cast<double>(result.templateVariance(row, column));
            // With one variance for the stamp a pixel of variance zero can still be fitted.
            bool const weightless = !control.constantVariance && !(variance > 0.0);
            bool const good = !control.zeroWeightBadPixels || !(unusable(row, column) || weightless);
            result.good[static_cast<std::size_t>(i)] = good;
            result.judged[static_cast<std::size_t>(i)] = good && !unjudged(row, column);
            result.nGood += good ? 1 : 0;
            result.nBad += scienceBad(row, column) || templateBad(row, column) || weightless ? 1 : 0;
            result.science[i] = good ? static_cast<double>(stamp.scienceStamp.image(row, column)) : 0.0;
            result.scienceVariance[i] = stamp.scienceStamp.variance(row, column);
            result.templateVarianceHere[i] = result.templateVariance(row, column);
        }
    }
    return result;
}

// The plane of a stamp correlated with a kernel, at the fitted pixels, in float32: for judging residuals and
// their variance that is exact enough, and several times quicker than in float64.
VectorXd correlated(detail::RowFunctions const& functions, OwnedImage<float> const& plane,
                    OwnedImage<double> const& kernel) {
    Index const height = plane.rows() - kernel.rows() + 1;
    Index const width = plane.cols() - kernel.cols() + 1;
    Index const paddedWidth = (width + detail::rowPadding - 1) / detail::rowPadding * detail::rowPadding;
    OwnedImage<float> input = OwnedImage<float>::Zero(plane.rows(), paddedWidth + kernel.cols() - 1);
    input.leftCols(plane.cols()) = plane;
    OwnedImage<float> const taps = kernel.cast<float>();
    OwnedImage<float> sums = OwnedImage<float>::Zero(height, paddedWidth);
    for (Index y = 0; y < height; ++y) {
        functions.accumulate({taps.data(), static_cast<int>(taps.cols())}, 1, static_cast<int>(taps.cols()),
                             static_cast<int>(taps.rows()), static_cast<int>(taps.cols()),
                             {input.row(y).data(), static_cast<int>(input.cols())}, static_cast<int>(paddedWidth),
                             sums.row(y).data(), static_cast<int>(paddedWidth));
    }
    VectorXd result(height * width);
    Eigen::Map<OwnedImage<double>>(result.data(), height, width) = sums.leftCols(width).cast<double>();
    return result;
}

// var_S + sum K^2 var_T at the fitted pixels
VectorXd differenceVarianceOf(detail::RowFunctions const& functions, PreparedStamp const& stamp,
                              OwnedImage<double> const& kernel) {
    if ((stamp.templateVariance == 0.0F).all()) {
        return stamp.scienceVariance;
    }
    return stamp.scienceVariance + correlated(functions, stamp.templateVariance, kernel.square());
}

// Statistics of residual / sqrt(variance) over the judged pixels, and over those of the core among them.
std::pair<ResidualStatistics, ResidualStatistics> judge(PreparedStamp const& stamp, VectorXd const& residual,
                                                        VectorXd const& variance, Index coreRadius) {
    struct Sums {
        double sum = 0.0;
        double squares = 0.0;
        Index count = 0;
    } whole, core;
    Index const stampWidth = stamp.templateImage.cols();
    Index const stampHeight = stamp.templateImage.rows();
    for (Index y = 0, i = 0; y < stamp.height; ++y) {
        for (Index x = 0; x < stamp.width; ++x, ++i) {
            double const inverse = 1.0 / variance[i];
            if (!stamp.judged[static_cast<std::size_t>(i)] || !std::isfinite(inverse)) {
                continue;
            }
            double const chi = residual[i] * std::sqrt(inverse);
            whole.sum += chi;
            whole.squares += chi * chi;
            ++whole.count;
            bool const inCore = std::abs(x + stamp.left - stampWidth / 2) <= coreRadius &&
                                std::abs(y + stamp.bottom - stampHeight / 2) <= coreRadius;
            if (inCore) {
                core.sum += chi;
                core.squares += chi * chi;
                ++core.count;
            }
        }
    }
    if (!std::isfinite(whole.sum) || !std::isfinite(whole.squares)) {
        throw NumericalError("residuals of " + std::to_string(whole.count) +
                             " pixels hold NaN or infinity: kernel or background is not finite");
    }
    return {residualStatistics(whole.sum, whole.squares, whole.count),
            residualStatistics(core.sum, core.squares, core.count)};
}

// Median of var_S + var_T over the usable pixels of the whole stamp; 1 if it is not positive.
double medianVariance(CandidateStamp const& candidate, PreparedStamp const& stamp, bool leaveOutUnusable) {
    std::vector<double> variances;
    variances.reserve(static_cast<std::size_t>(stamp.unusable.size()));
    for (Index y = 0; y < stamp.unusable.rows(); ++y) {
        for (Index x = 0; x < stamp.unusable.cols(); ++x) {
            double const variance = static_cast<double>(candidate.scienceStamp.variance(y, x)) +
                                    static_cast<double>(candidate.templateStamp.variance(y, x));
            if (std::isfinite(variance) && !(leaveOutUnusable && stamp.unusable(y, x))) {
                variances.push_back(variance);
            }
        }
    }
    double const middle = variances.empty() ? 0.0 : median(std::move(variances));
    return middle > 0.0 ? middle : 1.0;
}

VectorXd weightsOf(PreparedStamp const& stamp, VectorXd const& variance) {
    VectorXd weights = VectorXd::Zero(variance.size());
    for (Index i = 0; i < variance.size(); ++i) {
        if (stamp.good[static_cast<std::size_t>(i)]) {
            // NaN passes: the solver reports it with all else that is not finite.
            if (variance[i] <= 0.0) {
                throw NumericalError(variance[i] < 0.0 ? "variance less than 0.0"
                                                       : "variance equals 0.0, cannot invert variance weight");
            }
            weights[i] = 1.0 / variance[i];
        }
    }
    return weights;
}

// Fits coefficients (and background); false when the condition number forbids it.
bool solve(PreparedStamp const& stamp, Workspace const& workspace, VectorXd const& weights, Index nBasis,
           CandidateFitControl const& control, CandidateFit& fit) {
    fit.equations = makeNormalEquations(workspace.columns, weights, stamp.science, control.instructionSet);
    if (control.checkConditionNumber) {
        fit.conditionNumber = conditionNumber(fit.equations.matrix, control.conditionNumberType);
        if (fit.conditionNumber > control.maxConditionNumber) {
            fit.outcome = CandidateOutcome::illConditioned;
            fit.message = "condition number " + std::to_string(fit.conditionNumber) + " above " +
                          std::to_string(control.maxConditionNumber);
            return false;
        }
    }
    Solution const solution = solveSymmetric(fit.equations.matrix, fit.equations.rightHandSide, control.solver);
    if (!control.checkConditionNumber) {
        fit.conditionNumber = solution.conditionNumber;
    }
    fit.method = solution.method;
    fit.coefficients = solution.coefficients.head(nBasis);
    fit.background = control.fitBackground ? solution.coefficients[nBasis] : 0.0;
    return true;
}

OwnedImage<double> kernelOf(KernelBasis const& basis, VectorXd const& coefficients) {
    OwnedImage<double> kernel(basis.height, basis.width);
    Eigen::Map<VectorXd>(kernel.data(), kernel.size()) = basis.images.transpose() * coefficients;
    return kernel;
}

void fitCandidate(CandidateStamp const& candidate, PreparedBasis const& basis, CandidateFitControl const& control,
                  Workspace& workspace, CandidateFit& fit) {
    Index const nBasis = basis.basis.size();
    detail::RowFunctions const functions = detail::chooseRowFunctions(control.instructionSet);
    PreparedStamp const stamp = prepareStamp(candidate, basis.basis.height, basis.basis.width, control);
    Index const nUnknowns = nBasis + (control.fitBackground ? 1 : 0);
    fit.lostFraction = static_cast<double>(stamp.nBad) / static_cast<double>(stamp.good.size());
    if (stamp.nGood < nUnknowns) {
        throw NumericalError(std::to_string(stamp.nGood) + " good pixels for " + std::to_string(nUnknowns) +
                             " coefficients");
    }
    ConstImageView<float> const templateView(stamp.templateImage.data(), stamp.templateImage.rows(),
                                             stamp.templateImage.cols(),
                                             Eigen::OuterStride<>(stamp.templateImage.cols()));
    convolveStamp(basis, templateView, workspace.scratch, workspace.convolved, control.instructionSet);
    workspace.columns.resize(nUnknowns, workspace.convolved.cols());
    workspace.columns.topRows(nBasis) = workspace.convolved;
    if (control.fitBackground) {
        workspace.columns.row(nBasis).setOnes();
    }

    VectorXd const variance =
        control.constantVariance
            ? VectorXd(VectorXd::Constant(stamp.science.size(),
                                          medianVariance(candidate, stamp, control.zeroWeightBadPixels)))
            : VectorXd(stamp.scienceVariance + stamp.templateVarianceHere);
    if (!solve(stamp, workspace, weightsOf(stamp, variance), nBasis, control, fit)) {
        return;
    }
    OwnedImage<double> kernel = kernelOf(basis.basis, fit.coefficients);
    VectorXd differenceVariance = differenceVarianceOf(functions, stamp, kernel);
    if (control.iterate && !control.constantVariance) {
        if (!solve(stamp, workspace, weightsOf(stamp, differenceVariance), nBasis, control, fit)) {
            return;
        }
        kernel = kernelOf(basis.basis, fit.coefficients);
        differenceVariance = differenceVarianceOf(functions, stamp, kernel);
    }
    fit.kernelSum = kernel.sum();
    VectorXd residual = stamp.science;
    residual.noalias() -= workspace.convolved.transpose() * fit.coefficients;
    residual.array() -= fit.background;
    std::tie(fit.whole, fit.core) = judge(stamp, residual, differenceVariance, control.coreRadius);
    fit.outcome = CandidateOutcome::solved;
}

}  // namespace

std::vector<CandidateFit> fitCandidates(std::vector<CandidateStamp> const& stamps, PreparedBasis const& basis,
                                        CandidateFitControl const& control, Execution const& execution) {
    auto const count = static_cast<Index>(stamps.size());
    std::vector<CandidateFit> fits(stamps.size());
    std::vector<Workspace> workspaces(static_cast<std::size_t>(workerCount(count, execution)));
    parallelFor(count, execution, [&](Index item, int worker) {
        auto const i = static_cast<std::size_t>(item);
        try {
            fitCandidate(stamps[i], basis, control, workspaces[static_cast<std::size_t>(worker)], fits[i]);
        } catch (NumericalError const& error) {
            fits[i].outcome = CandidateOutcome::failed;
            fits[i].message = error.what();
        }
    });
    return fits;
}

std::vector<CandidateAssessment> assessCandidates(std::vector<CandidateStamp> const& stamps,
                                                  std::vector<OwnedImage<double>> const& kernels,
                                                  std::vector<double> const& backgrounds,
                                                  CandidateFitControl const& control, Execution const& execution) {
    if (kernels.size() != stamps.size() || backgrounds.size() != stamps.size()) {
        throw std::invalid_argument(std::to_string(stamps.size()) + " candidates, " + std::to_string(kernels.size()) +
                                    " kernels and " + std::to_string(backgrounds.size()) + " backgrounds");
    }
    std::vector<CandidateAssessment> assessments(stamps.size());
    detail::RowFunctions const functions = detail::chooseRowFunctions(control.instructionSet);
    parallelFor(static_cast<Index>(stamps.size()), execution, [&](Index item, int) {
        auto const i = static_cast<std::size_t>(item);
        CandidateAssessment& assessment = assessments[i];
        try {
            PreparedStamp const stamp = prepareStamp(stamps[i], kernels[i].rows(), kernels[i].cols(), control);
            VectorXd const residual =
                (stamp.science - correlated(functions, stamp.templateImage, kernels[i])).array() - backgrounds[i];
            VectorXd const variance = differenceVarianceOf(functions, stamp, kernels[i]);
            std::tie(assessment.whole, assessment.core) = judge(stamp, residual, variance, control.coreRadius);
            assessment.valid = true;
        } catch (NumericalError const& error) {
            assessment.message = error.what();
        }
    });
    return assessments;
}

}  // namespace psfmatch
