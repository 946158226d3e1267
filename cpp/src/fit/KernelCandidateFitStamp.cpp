#include "fit/KernelCandidateFitStamp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/image/badPixels.h"
#include "simd/prefetch.h"

namespace psfmatch::detail {

namespace {

using Eigen::VectorXd;
using BoolImage = OwnedImage<bool>;

void requireShapes(CandidateStamp const& stamp) {
    MaskedImageView const& one = stamp.templateStamp;
    MaskedImageView const& other = stamp.scienceStamp;
    if (!haveOneShape(one.image, one.variance, one.mask, other.image, other.variance, other.mask)) {
        throw std::invalid_argument("the planes of a candidate's two stamps differ in shape");
    }
}

// Whether there is any.
bool findBadPixels(MaskedImageView const& stamp, MaskPixel badBits, BoolImage& bad) {
    bad.setConstant(stamp.image.rows(), stamp.image.cols(), false);
    bool any = false;
    for (Index y = 0; y < bad.rows(); ++y) {
        float const* const image = stamp.image.row(y).data();
        float const* const variance = stamp.variance.row(y).data();
        MaskPixel const* const mask = stamp.mask.row(y).data();
        if (y + rowsAhead < bad.rows()) {
            prefetchRow(stamp.image.row(y + rowsAhead).data(), bad.cols());
            prefetchRow(stamp.variance.row(y + rowsAhead).data(), bad.cols());
            prefetchRow(stamp.mask.row(y + rowsAhead).data(), bad.cols());
        }
        // Counting is done by whole vectors; few rows have a pixel to be told apart.
        int count = 0;
        for (Index x = 0; x < bad.cols(); ++x) {
            count += isBad(image[x], variance[x], mask[x], badBits) ? 1 : 0;
        }
        for (Index x = 0; count > 0 && x < bad.cols(); ++x) {
            bad(y, x) = isBad(image[x], variance[x], mask[x], badBits);
        }
        any = any || count > 0;
    }
    return any;
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

void prepareStamp(CandidateStamp const& stamp, Index kernelHeight, Index kernelWidth,
                  CandidateFitControl const& control, PreparedStamp& result) {
    requireShapes(stamp);
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

    BoolImage& templateBad = result.templateBad;
    BoolImage& scienceBad = result.scienceBad;
    bool const anyTemplateBad = findBadPixels(stamp.templateStamp, stamp.templateBadBits, templateBad);
    bool const anyBad = findBadPixels(stamp.scienceStamp, stamp.scienceBadBits, scienceBad) || anyTemplateBad;
    result.templateImage = stamp.templateStamp.image;
    result.templateVariance = stamp.templateStamp.variance;
    result.unusable = scienceBad;
    BoolImage unjudged;
    if (anyTemplateBad && control.zeroWeightBadPixels) {
        writeFill(fillBadPixels(stamp.templateStamp, stamp.templateBadBits), viewOf(result.templateImage),
                  viewOf(result.templateVariance));
        Index const g = control.growTemplateBad;
        result.unusable = result.unusable || grow(templateBad, g, g, g, g);
    } else if (anyTemplateBad) {
        unjudged = grow(templateBad, result.left, kernelWidth - 1 - result.left, result.bottom,
                        kernelHeight - 1 - result.bottom);
    }

    Index const count = result.width * result.height;
    result.good.assign(static_cast<std::size_t>(count), 1);
    result.judged.assign(static_cast<std::size_t>(count), 1);
    result.science.resize(count);
    result.scienceVariance.resize(count);
    result.templateVarianceHere.resize(count);
    result.nGood = 0;
    result.nBad = 0;
    // With one variance for the stamp a pixel of variance zero can still be fitted.
    bool const allGood = !anyBad && control.constantVariance;
    for (Index y = 0; y < result.height; ++y) {
        Index const row = y + result.bottom;
        Index const start = y * result.width;
        auto const fitted = [&](auto const& plane) { return plane.row(row).segment(result.left, result.width); };
        auto science = result.science.segment(start, result.width);
        auto scienceVariance = result.scienceVariance.segment(start, result.width);
        auto templateVariance = result.templateVarianceHere.segment(start, result.width);
        science = fitted(stamp.scienceStamp.image).template cast<double>().transpose();
        scienceVariance = fitted(stamp.scienceStamp.variance).template cast<double>().transpose();
        templateVariance = fitted(result.templateVariance).template cast<double>().transpose();
        if (allGood) {
            result.nGood += result.width;
            continue;
        }
        bool const* const unusable = fitted(result.unusable).data();
        bool const* const badInScience = fitted(scienceBad).data();
        bool const* const badInTemplate = fitted(templateBad).data();
        bool const* const outside = unjudged.size() > 0 ? fitted(unjudged).data() : nullptr;
        char* const good = result.good.data() + start;
        char* const judged = result.judged.data() + start;
        for (Index x = 0; x < result.width; ++x) {
            bool const weightless = !control.constantVariance && !(scienceVariance[x] + templateVariance[x] > 0.0);
            good[x] = !control.zeroWeightBadPixels || !(unusable[x] || weightless) ? 1 : 0;
            judged[x] = good[x] != 0 && !unusable[x] && (outside == nullptr || !outside[x]) ? 1 : 0;
            result.nGood += good[x];
            result.nBad += badInScience[x] || badInTemplate[x] || weightless ? 1 : 0;
            if (good[x] == 0) {
                science[x] = 0.0;
            }
        }
    }
}

double medianVariance(CandidateStamp const& candidate, PreparedStamp const& stamp, bool leaveOutUnusable,
                      std::vector<double>& memory) {
    memory.resize(static_cast<std::size_t>(stamp.unusable.size()));
    std::size_t count = 0;
    for (Index y = 0; y < stamp.unusable.rows(); ++y) {
        float const* const science = candidate.scienceStamp.variance.row(y).data();
        float const* const ours = candidate.templateStamp.variance.row(y).data();
        bool const* const unusable = stamp.unusable.row(y).data();
        for (Index x = 0; x < stamp.unusable.cols(); ++x) {
            double const variance = static_cast<double>(science[x]) + static_cast<double>(ours[x]);
            // Written in any case, kept by counting it: a branch that is taken at random costs more.
            memory[count] = variance;
            bool const isFinite = std::abs(variance) <= std::numeric_limits<double>::max();
            count += isFinite && !(leaveOutUnusable && unusable[x]) ? 1 : 0;
        }
    }
    double const middle = count == 0 ? 0.0 : medianOf(std::span(memory.data(), count));
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
