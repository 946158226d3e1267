// How a kernel serves a stamp: residuals and their variance.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "fit/KernelCandidateFitStamp.h"
#include "psfmatch/base/exceptions.h"

namespace psfmatch::detail {

using Eigen::VectorXd;

VectorXd correlated(RowFunctions const& functions, OwnedImage<float> const& plane, OwnedImage<double> const& kernel) {
    Index const height = plane.rows() - kernel.rows() + 1;
    Index const width = plane.cols() - kernel.cols() + 1;
    Index const paddedWidth = (width + rowPadding - 1) / rowPadding * rowPadding;
    OwnedImage<float> input(plane.rows(), paddedWidth + kernel.cols() - 1);
    input.leftCols(plane.cols()) = plane;
    input.rightCols(input.cols() - plane.cols()).setZero();
    // Several rows of the result at a time, so that many sums are under way. Row t of a block sees the kernel t rows
    // further down, between rows of zeros; these must not meet pixels that are not finite.
    bool const isFinite = (plane * 0.0F).sum() == 0.0F;
    Index const rowsAtOnce = isFinite ? std::min<Index>(maxTerms, height) : 1;
    auto const kernelWidth = static_cast<int>(kernel.cols());
    OwnedImage<float> taps = OwnedImage<float>::Zero(kernel.rows() + 2 * (rowsAtOnce - 1), kernel.cols());
    taps.middleRows(rowsAtOnce - 1, kernel.rows()) = kernel.cast<float>();
    OwnedImage<float> sums(height, paddedWidth);
    for (Index next = 0; next < height; next += rowsAtOnce) {
        // The last block is as high as the others and finds some rows again.
        Index const y = std::min(next, height - rowsAtOnce);
        sums.middleRows(y, rowsAtOnce).setZero();
        functions.accumulate({taps.row(rowsAtOnce - 1).data(), -kernelWidth}, static_cast<int>(rowsAtOnce), kernelWidth,
                             static_cast<int>(kernel.rows() + rowsAtOnce - 1), kernelWidth,
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
    constexpr double largest = std::numeric_limits<double>::max();
    VectorXd chi(residual.size());
    Index nWhole = 0;
    for (Index i = 0; i < chi.size(); ++i) {
        double const inverse = 1.0 / variance[i];
        bool const counts = stamp.judged[static_cast<std::size_t>(i)] != 0 && std::abs(inverse) <= largest;
        chi[i] = counts ? residual[i] * std::sqrt(inverse) : 0.0;
        nWhole += counts ? 1 : 0;
    }
    double const sum = chi.sum();
    double const squares = chi.squaredNorm();
    if (!std::isfinite(sum) || !std::isfinite(squares)) {
        throw NumericalError("residuals of " + std::to_string(nWhole) +
                             " pixels hold NaN or infinity: kernel or background is not finite");
    }
    // The core, about the middle of the stamp, as far as it is fitted.
    auto const coreOf = [coreRadius](Index side, Index first, Index count) {
        return std::pair{std::clamp<Index>(side / 2 - coreRadius - first, 0, count),
                         std::clamp<Index>(side / 2 + coreRadius + 1 - first, 0, count)};
    };
    auto const [x0, x1] = coreOf(stamp.templateImage.cols(), stamp.left, stamp.width);
    auto const [y0, y1] = coreOf(stamp.templateImage.rows(), stamp.bottom, stamp.height);
    double coreSum = 0.0;
    double coreSquares = 0.0;
    Index nCore = 0;
    for (Index y = y0; y < y1; ++y) {
        for (Index i = y * stamp.width + x0; i < y * stamp.width + x1; ++i) {
            bool const counts =
                stamp.judged[static_cast<std::size_t>(i)] != 0 && std::abs(1.0 / variance[i]) <= largest;
            coreSum += chi[i];
            coreSquares += chi[i] * chi[i];
            nCore += counts ? 1 : 0;
        }
    }
    return {residualStatistics(sum, squares, nWhole), residualStatistics(coreSum, coreSquares, nCore)};
}

}  // namespace psfmatch::detail
