#include "psfmatch/convolve/subtract.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "psfmatch/base/pages.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch {

namespace {

constexpr Index blockRows = 32;  // rows that a thread takes at a time

template <typename View>
auto* rowOf(View& view, Index y) {
    return view.data() + y * view.outerStride();
}

template <bool isScaled>
void subtractRow(MaskedImageView const& minuend, MaskedImageView const& subtrahend, Index y, double const* background,
                 SubtractionControl const& control, bool hasVariance, MaskedImageTarget& output) {
    float const* __restrict const a = rowOf(minuend.image, y);
    float const* __restrict const b = rowOf(subtrahend.image, y);
    float const* __restrict const aVariance = rowOf(minuend.variance, y);
    float const* __restrict const bVariance = rowOf(subtrahend.variance, y);
    MaskPixel const* __restrict const aMask = rowOf(minuend.mask, y);
    MaskPixel const* __restrict const bMask = rowOf(subtrahend.mask, y);
    float* __restrict const image = rowOf(output.image, y);
    float* __restrict const variance = rowOf(output.variance, y);
    MaskPixel* __restrict const mask = rowOf(output.mask, y);
    Index const width = minuend.image.cols();
    double const divisor = control.divisor;
    double const squared = divisor * divisor;
    MaskPixel const noDataBit = control.noDataBit;
    MaskPixel const minuendBits = control.minuendBits;
    MaskPixel const subtrahendBits = control.subtrahendBits;
    // Asked of a variance: to be positive, or nothing.
    float const bound = hasVariance ? 0.0F : -1.0F;
    for (Index x = 0; x < width; ++x) {
        double const difference = static_cast<double>(a[x]) - static_cast<double>(b[x]) - background[x];
        image[x] = static_cast<float>(isScaled ? difference / divisor : difference);
    }
    for (Index x = 0; x < width; ++x) {
        double const sum = static_cast<double>(aVariance[x]) + static_cast<double>(bVariance[x]);
        variance[x] = isScaled ? static_cast<float>(sum / squared) : aVariance[x] + bVariance[x];
    }
    for (Index x = 0; x < width; ++x) {
        bool const isUnusable = isBad(a[x], aVariance[x], 0, 0) | isBad(b[x], bVariance[x], 0, 0) |
                                isBad(image[x], variance[x], 0, 0) | !(variance[x] > bound);
        mask[x] = (aMask[x] & minuendBits) | (bMask[x] & subtrahendBits) | (isUnusable ? noDataBit : 0);
    }
}

// Whether any pixel of the difference has a variance that is positive and finite; usually the first ones do.
bool hasPositiveVariance(MaskedImageView const& minuend, MaskedImageView const& subtrahend, double squared) {
    for (Index y = 0; y < minuend.image.rows(); ++y) {
        for (Index x = 0; x < minuend.image.cols(); ++x) {
            auto const sum = static_cast<float>(
                (static_cast<double>(minuend.variance(y, x)) + static_cast<double>(subtrahend.variance(y, x))) /
                squared);
            if (sum > 0.0F && sum <= std::numeric_limits<float>::max()) {
                return true;
            }
        }
    }
    return false;
}

void validate(MaskedImageView const& minuend, MaskedImageView const& subtrahend, Eigen::VectorXd const& background,
              SpatialFunction const& spatial, SubtractionControl const& control, MaskedImageTarget const& output) {
    auto const isAlike = [&](auto const& planes) {
        return haveOneShape(minuend.image, planes.image, planes.variance, planes.mask);
    };
    if (!isAlike(minuend) || !isAlike(subtrahend) || !isAlike(output)) {
        throw std::invalid_argument("the planes of a subtraction differ in shape");
    }
    if (background.size() != spatial.size()) {
        throw std::invalid_argument("a background of " + spatial.form().told() + " has " +
                                    std::to_string(spatial.size()) + " coefficients, not " +
                                    std::to_string(background.size()));
    }
    if (!std::isfinite(control.divisor) || control.divisor == 0.0) {
        throw std::invalid_argument("a difference cannot be divided by " + std::to_string(control.divisor));
    }
}

}  // namespace

void subtract(MaskedImageView const& minuend, MaskedImageView const& subtrahend, Eigen::VectorXd const& background,
              SpatialFunction const& spatial, Index x0, Index y0, SubtractionControl const& control,
              Execution const& execution, MaskedImageTarget output) {
    validate(minuend, subtrahend, background, spatial, control, output);
    Index const height = minuend.image.rows();
    Index const width = minuend.image.cols();
    bool const hasVariance = hasPositiveVariance(minuend, subtrahend, control.divisor * control.divisor);

    // background(x, y) = sum_i alongX(i, x) c_i(y)
    SpatialForm const& form = spatial.form();
    auto const valuesAt = [&](Axis axis, Index pixel) {
        auto const position = static_cast<double>(pixel);
        return form.axisValues(axis, position, position);
    };
    OwnedImage<double> alongX(valuesAt(Axis::x, x0).size(), width);
    for (Index x = 0; x < width; ++x) {
        alongX.col(x) = valuesAt(Axis::x, x0 + x).array();
    }
    providePages(output, execution);
    auto const subtractOneRow = control.divisor == 1.0 ? &subtractRow<false> : &subtractRow<true>;
    Index const nBlocks = (height + blockRows - 1) / blockRows;
    std::vector<OwnedImage<double>> scratch(static_cast<std::size_t>(workerCount(nBlocks, execution)));
    parallelFor(nBlocks, execution, [&](Index block, int worker) {
        OwnedImage<double>& row = scratch[static_cast<std::size_t>(worker)];
        for (Index y = block * blockRows; y < std::min(height, (block + 1) * blockRows); ++y) {
            Eigen::VectorXd const alongY = valuesAt(Axis::y, y0 + y);
            Eigen::VectorXd coefficients = Eigen::VectorXd::Zero(alongX.rows());
            for (Index s = 0; s < form.size(); ++s) {
                auto const [ofX, ofY] = form.terms()[static_cast<std::size_t>(s)];
                coefficients[ofX] += background[s] * alongY[ofY];
            }
            row.setZero(1, width);
            for (Index i = 0; i < alongX.rows(); ++i) {
                row += coefficients[i] * alongX.row(i);
            }
            subtractOneRow(minuend, subtrahend, y, row.data(), control, hasVariance, output);
        }
    });
}

}  // namespace psfmatch
