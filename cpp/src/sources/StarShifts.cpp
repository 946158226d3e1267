#include "psfmatch/sources/StarShifts.h"

#include <array>
#include <vector>

#include "psfmatch/image/statistics.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

using detail::nan;

// f'(0) = sum over k > 0 of stencil[k - 1] (f(k) - f(-k))
constexpr std::array<double, 5> stencil = {5.0 / 6.0, -5.0 / 21.0, 5.0 / 84.0, -5.0 / 504.0, 1.0 / 1260.0};
constexpr auto reach = static_cast<Index>(stencil.size());

struct Space {
    std::vector<double> model;
    std::vector<double> finite;
};

// The matched image about a star, less its median.
void readModel(ConstImageView<float> const& matched, Index column, Index row, Index half, Space& space) {
    auto& [model, finite] = space;
    model.clear();
    finite.clear();
    for (Index y = row - half; y <= row + half; ++y) {
        for (Index x = column - half; x <= column + half; ++x) {
            double const value = matched(y, x);
            model.push_back(value);
            if (std::isfinite(value)) {
                finite.push_back(value);
            }
        }
    }
    double const level = finite.empty() ? nan : medianOf(finite);
    for (double& value : model) {
        value -= level;
    }
}

double derivative(double const* at, Index step) {
    double sum = 0.0;
    for (Index k = 1; k <= reach; ++k) {
        sum += stencil[static_cast<std::size_t>(k - 1)] * (at[k * step] - at[-k * step]);
    }
    return sum;
}

}  // namespace

StarShifts starShifts(MaskedImageView const& difference, ConstImageView<float> const& matched, MaskPixel badBits,
                      std::span<double const> x, std::span<double const> y, StarShiftControl const& control,
                      Execution const& execution) {
    detail::requirePlanes(difference);
    detail::requirePairs(x, y);
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    if (matched.rows() != height || matched.cols() != width || control.radius < 1) {
        throw std::invalid_argument("a matched image of " + std::to_string(matched.cols()) + "x" +
                                    std::to_string(matched.rows()) + " pixels and one of its difference of " +
                                    std::to_string(width) + "x" + std::to_string(height) + ", radius " +
                                    std::to_string(control.radius));
    }
    auto const n = static_cast<Index>(x.size());
    StarShifts found{Eigen::MatrixXd::Constant(n, 4, nan), Eigen::MatrixXd::Constant(n, 4, nan)};
    Index const half = control.radius + reach;
    Index const side = 2 * half + 1;
    auto const isInside = [half](double place, Index size) {
        return place > static_cast<double>(half) && place < static_cast<double>(size - 1 - half);
    };
    std::vector<double> const whole(static_cast<std::size_t>(side * side));
    detail::forEachStar(x.size(), execution, Space{whole, whole}, [&](std::size_t i, Space& space) {
        if (!isInside(x[i], width) || !isInside(y[i], height)) {
            return;
        }
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        readModel(matched, column, row, half, space);
        Eigen::Matrix4d normal = Eigen::Matrix4d::Zero();
        Eigen::Vector4d right = Eigen::Vector4d::Zero();
        Index nGood = 0;
        for (Index dy = -control.radius; dy <= control.radius; ++dy) {
            for (Index dx = -control.radius; dx <= control.radius; ++dx) {
                double const value = difference.image(row + dy, column + dx);
                double const variance = difference.variance(row + dy, column + dx);
                double const* const at = space.model.data() + (dy + half) * side + dx + half;
                Eigen::Vector4d const terms(derivative(at, 1), derivative(at, side), *at, 1.0);
                bool const isGood = (difference.mask(row + dy, column + dx) & badBits) == 0 && std::isfinite(value) &&
                                    variance > 0.0 && std::isfinite(variance) && terms.allFinite();
                if (isGood) {
                    Eigen::Vector4d const weighted = terms / variance;
                    normal.noalias() += weighted * terms.transpose();
                    right += weighted * value;
                    ++nGood;
                }
            }
        }
        auto const area = static_cast<double>((2 * control.radius + 1) * (2 * control.radius + 1));
        if (nGood < control.minPixels || static_cast<double>(nGood) < control.minGood * area) {
            return;
        }
        Eigen::Matrix4d const covariance = detail::inverseOf<4>(normal);
        found.values.row(static_cast<Index>(i)) = (covariance * right).transpose();
        found.errors.row(static_cast<Index>(i)) = covariance.diagonal().cwiseSqrt().transpose();
    });
    return found;
}

}  // namespace psfmatch
