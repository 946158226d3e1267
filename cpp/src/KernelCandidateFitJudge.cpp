// How a kernel serves a stamp: residuals and their variance.
#include <cmath>
#include <string>
#include <utility>

#include "KernelCandidateFitStamp.h"
#include "psfmatch/exceptions.h"

namespace psfmatch::detail {

using Eigen::VectorXd;

VectorXd correlated(RowFunctions const& functions, OwnedImage<float> const& plane, OwnedImage<double> const& kernel) {
    Index const height = plane.rows() - kernel.rows() + 1;
    Index const width = plane.cols() - kernel.cols() + 1;
    Index const paddedWidth = (width + rowPadding - 1) / rowPadding * rowPadding;
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

VectorXd differenceVarianceOf(RowFunctions const& functions, PreparedStamp const& stamp,
                              OwnedImage<double> const& kernel) {
    if ((stamp.templateVariance == 0.0F).all()) {
        return stamp.scienceVariance;
    }
    return stamp.scienceVariance + correlated(functions, stamp.templateVariance, kernel.square());
}

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

}  // namespace psfmatch::detail
