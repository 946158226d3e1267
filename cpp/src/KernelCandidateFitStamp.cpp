#include "KernelCandidateFitStamp.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "psfmatch/badPixels.h"
#include "psfmatch/exceptions.h"

namespace psfmatch::detail {

namespace {

using Eigen::VectorXd;
using BoolImage = OwnedImage<bool>;

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

}  // namespace

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

}  // namespace psfmatch::detail
