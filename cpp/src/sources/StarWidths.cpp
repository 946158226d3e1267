#include "psfmatch/sources/StarWidths.h"

#include <cstdlib>

#include "psfmatch/image/badPixels.h"
#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/adaptiveMoments.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

using detail::nan;

double const sigmaToFwhm = 2.0 * std::sqrt(2.0 * std::log(2.0));

// Fills the square about a pixel with what is above the sky, 0 where pixels are bad or beyond reach; false if the core
// has a bad pixel or the rim no good one.
bool cut(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, Index reach,
         StarWidthControl const& control, std::vector<double>& stamp, std::vector<double>& rim) {
    Index const side = 2 * control.radius + 1;
    std::fill(stamp.begin(), stamp.end(), nan);
    for (Index dy = -reach; dy <= reach; ++dy) {
        double* const to = stamp.data() + (dy + control.radius) * side + control.radius - reach;
        Index const y = row + dy;
        Index const x0 = column - reach;
        float const* const values = image.image.data() + y * image.image.outerStride() + x0;
        float const* const variances = image.variance.data() + y * image.variance.outerStride() + x0;
        MaskPixel const* const mask = image.mask.data() + y * image.mask.outerStride() + x0;
        for (Index i = 0; i <= 2 * reach; ++i) {
            to[i] = isBad(values[i], variances[i], mask[i], badBits) ? nan : static_cast<double>(values[i]);
        }
    }
    auto const at = [&](Index dx, Index dy) {
        return stamp[static_cast<std::size_t>((dy + control.radius) * side + dx + control.radius)];
    };
    Index const core = std::min(control.coreRadius, reach);
    for (Index dy = -core; dy <= core; ++dy) {
        for (Index dx = -core; dx <= core; ++dx) {
            if (std::isnan(at(dx, dy))) {
                return false;
            }
        }
    }
    rim.clear();
    for (Index dy = -reach; dy <= reach; ++dy) {
        bool const isWhole = std::abs(dy) >= reach - 1;
        for (Index dx = -reach; dx <= reach; dx += !isWhole && dx == 1 - reach ? 2 * reach - 2 : 1) {
            if (!std::isnan(at(dx, dy))) {
                rim.push_back(at(dx, dy));
            }
        }
    }
    if (rim.empty()) {
        return false;
    }
    double const sky = medianOf(rim);
    for (double& value : stamp) {
        value = std::isnan(value) ? 0.0 : value - sky;
    }
    return true;
}

}  // namespace

std::vector<double> starWidths(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                               std::span<double const> y, StarWidthControl const& control, Execution const& execution) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    if (control.leastReach < 1 || control.radius < control.leastReach || control.coreRadius < 0) {
        throw std::invalid_argument("a square of half width " + std::to_string(control.radius) +
                                    " pixels cannot reach " + std::to_string(control.leastReach));
    }
    Index const side = 2 * control.radius + 1;
    std::vector<double> widths(x.size(), nan);
    struct Space {
        std::vector<double> stamp;
        std::vector<double> rim;
    };
    std::vector<double> const whole(static_cast<std::size_t>(side * side));
    detail::forEachStar(x.size(), execution, Space{whole, whole}, [&](std::size_t i, Space& space) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        Index const reach =
            std::min({control.radius, column, row, image.image.cols() - 1 - column, image.image.rows() - 1 - row});
        if (reach < control.leastReach) {
            return;
        }
        if (!cut(image, badBits, column, row, reach, control, space.stamp, space.rim)) {
            return;
        }
        AdaptiveMomentsControl moments;
        moments.maxShift = static_cast<double>(control.coreRadius);
        SecondMoments const found =
            adaptiveMoments({space.stamp.data(), 1, side * side, Eigen::OuterStride<>(side * side)}, side, side,
                            {x[i] - static_cast<double>(column - control.radius)},
                            {y[i] - static_cast<double>(row - control.radius)}, moments)[0];
        double const determinant = found.xx * found.yy - found.xy * found.xy;
        widths[i] = determinant > 0.0 ? sigmaToFwhm * std::sqrt(std::sqrt(determinant)) : nan;
    });
    return widths;
}

}  // namespace psfmatch
