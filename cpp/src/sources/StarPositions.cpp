#include "psfmatch/sources/StarPositions.h"

#include "cutouts.h"
#include "psfmatch/badPixels.h"
#include "psfmatch/statistics.h"

namespace psfmatch {

namespace {

using detail::nan;
using Matrix4 = Eigen::Matrix4d;
using Vector4 = Eigen::Vector4d;

double const fwhmToSigma = 1.0 / (2.0 * std::sqrt(2.0 * std::log(2.0)));
constexpr Index leastRadius = 3;
constexpr Index ringRadius = 5;  // of the rim on which the sky of a single pixel is taken

// Good pixels about a source, less their mean: large skies would cost digits.
struct GoodPixels {
    std::vector<std::int32_t> dx;  // from the nearest pixel
    std::vector<std::int32_t> dy;
    std::vector<double> values;
    std::vector<double> variances;

    GoodPixels(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, Index radius) {
        double sum = 0.0;
        for (Index y = std::max<Index>(0, row - radius); y <= std::min(image.image.rows() - 1, row + radius); ++y) {
            for (Index x = std::max<Index>(0, column - radius); x <= std::min(image.image.cols() - 1, column + radius);
                 ++x) {
                if (!isBad(image.image(y, x), image.variance(y, x), image.mask(y, x), badBits)) {
                    dx.push_back(static_cast<std::int32_t>(x - column));
                    dy.push_back(static_cast<std::int32_t>(y - row));
                    values.push_back(image.image(y, x));
                    variances.push_back(image.variance(y, x));
                    sum += values.back();
                }
            }
        }
        double const level = sum / std::max(1.0, static_cast<double>(values.size()));
        for (double& value : values) {
            value -= level;
        }
    }
};

// A Gaussian along one axis, from a distance -radius to radius of the nearest pixel.
struct Profile {
    std::vector<double> values;
    double sum = 0.0;

    Profile(Index radius, double centre, double sigma) {
        for (Index i = -radius; i <= radius; ++i) {
            double const d = (static_cast<double>(i) - centre) / sigma;
            values.push_back(std::exp(-0.5 * d * d));
            sum += values.back();
        }
    }
};

class PositionFit {
public:
    PositionFit(GoodPixels const& pixels, Index radius, double sigma)
        : pixels_(pixels), radius_(radius), sigma_(sigma) {}

    // The sums P^T W P and P^T W I, or P^T W V P alone, about a centre.
    void add(double centreX, double centreY) {
        normal_.setZero();
        right_.setZero();
        light_ = 0.0;
        eachPixel(centreX, centreY, [&](Vector4 const& term, std::size_t i) {
            normal_.noalias() += term * term.transpose();
            right_ += term * pixels_.values[i];
            light_ += term(0);
        });
    }

    [[nodiscard]] Matrix4 scatter(double centreX, double centreY) const {
        Matrix4 sums = Matrix4::Zero();
        eachPixel(centreX, centreY, [&](Vector4 const& term, std::size_t i) {
            sums.noalias() += (pixels_.variances[i] * term) * term.transpose();
        });
        return sums;
    }

    [[nodiscard]] Matrix4 const& normal() const { return normal_; }
    [[nodiscard]] Vector4 const& right() const { return right_; }
    // Share of the Gaussian that lies on good pixels of the disc.
    [[nodiscard]] double share(double centreX, double centreY) const {
        return light_ / (Profile(radius_, centreX, sigma_).sum * Profile(radius_, centreY, sigma_).sum);
    }

private:
    template <typename Body>
    void eachPixel(double centreX, double centreY, Body const& body) const {
        Profile const alongX(radius_, centreX, sigma_);
        Profile const alongY(radius_, centreY, sigma_);
        double const reach = static_cast<double>(radius_) + 0.5;
        double const inverse = 1.0 / (sigma_ * sigma_);
        for (std::size_t i = 0; i < pixels_.values.size(); ++i) {
            double const dx = pixels_.dx[i] - centreX;
            double const dy = pixels_.dy[i] - centreY;
            if (dx * dx + dy * dy > reach * reach) {
                continue;
            }
            double const profile = alongX.values[static_cast<std::size_t>(pixels_.dx[i] + radius_)] *
                                   alongY.values[static_cast<std::size_t>(pixels_.dy[i] + radius_)];
            body(Vector4(profile, profile * dx * inverse, profile * dy * inverse, 1.0), i);
        }
    }

    GoodPixels const& pixels_;
    Index radius_;
    double sigma_;
    Matrix4 normal_ = Matrix4::Zero();
    Vector4 right_ = Vector4::Zero();
    double light_ = 0.0;
};

StarPosition positionOf(MaskedImageView const& image, MaskPixel badBits, double x, double y,
                        PositionControl const& control) {
    double const sigma = control.fwhm * fwhmToSigma;
    Index const radius = std::max(leastRadius, static_cast<Index>(std::ceil(control.reachFwhm * control.fwhm)));
    Index const column = detail::nearestPixel(x);
    Index const row = detail::nearestPixel(y);
    GoodPixels const pixels(image, badBits, column, row, radius);
    if (pixels.values.empty()) {
        return {};
    }
    double const startX = x - static_cast<double>(column);
    double const startY = y - static_cast<double>(row);
    double centreX = startX;
    double centreY = startY;
    PositionFit fit(pixels, radius, sigma);
    StarPosition found;
    for (int iteration = 0; iteration < control.maxIterations; ++iteration) {
        fit.add(centreX, centreY);
        Matrix4 const inverse = detail::inverseOf<4>(fit.normal());
        Vector4 const solution = inverse * fit.right();
        // Written so that NaN is no good.
        if (!(solution(0) > 0.0) || !(fit.share(centreX, centreY) >= control.minDisc)) {
            return {};
        }
        double const stepX = std::clamp(solution(1) / solution(0), -1.0, 1.0);
        double const stepY = std::clamp(solution(2) / solution(0), -1.0, 1.0);
        bool const isLast =
            std::max(std::abs(stepX), std::abs(stepY)) < control.converged || iteration + 1 == control.maxIterations;
        if (isLast) {
            Matrix4 const covariance = inverse * fit.scatter(centreX, centreY) * inverse;
            found.xErr = std::sqrt(covariance(1, 1)) / solution(0);
            found.yErr = std::sqrt(covariance(2, 2)) / solution(0);
        }
        centreX += stepX;
        centreY += stepY;
        if (!(std::hypot(centreX - startX, centreY - startY) <= control.maxMove)) {
            return {};
        }
        if (isLast) {
            break;
        }
    }
    if (!std::isfinite(found.xErr) || !std::isfinite(found.yErr)) {
        return {};
    }
    found.x = static_cast<double>(column) + centreX;
    found.y = static_cast<double>(row) + centreY;
    return found;
}

bool isSinglePixel(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, double minNeighbours) {
    auto const valueAt = [&](Index dx, Index dy) {
        Index const y = std::clamp<Index>(row + dy, 0, image.image.rows() - 1);
        Index const x = std::clamp<Index>(column + dx, 0, image.image.cols() - 1);
        float const value = image.image(y, x);
        return isBad(value, image.variance(y, x), image.mask(y, x), badBits) ? nan : static_cast<double>(value);
    };
    std::vector<double> rim;
    for (Index dy = -ringRadius; dy <= ringRadius; ++dy) {
        Index const step = std::abs(dy) == ringRadius ? 1 : 2 * ringRadius;
        for (Index dx = -ringRadius; dx <= ringRadius; dx += step) {
            double const value = valueAt(dx, dy);
            if (!std::isnan(value)) {
                rim.push_back(value);
            }
        }
    }
    if (rim.empty()) {
        return false;
    }
    double const sky = medianOf(rim);
    double sum = 0.0;
    double peak = -std::numeric_limits<double>::infinity();
    for (Index dy = -1; dy <= 1; ++dy) {
        for (Index dx = -1; dx <= 1; ++dx) {
            double const value = valueAt(dx, dy) - sky;
            sum += value;
            peak = std::max(peak, value);
        }
    }
    // A bad pixel makes the sum NaN, which is less than nothing.
    return (sum - peak) / 8.0 < minNeighbours * peak;
}

}  // namespace

std::vector<StarPosition> fitPositions(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                                       std::span<double const> y, PositionControl const& control,
                                       Execution const& execution) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    if (!(control.fwhm > 0.0 && control.fwhm < 1e6)) {
        throw std::invalid_argument("the FWHM of stars is " + std::to_string(control.fwhm) + " pixels");
    }
    std::vector<StarPosition> found(x.size());
    detail::forEachStar(x.size(), execution,
                        [&](std::size_t i) { found[i] = positionOf(image, badBits, x[i], y[i], control); });
    return found;
}

std::vector<std::uint8_t> areSinglePixels(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                                          std::span<double const> y, double minNeighbours) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    std::vector<std::uint8_t> found(x.size(), 0);
    for (std::size_t i = 0; i < x.size(); ++i) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        found[i] = isSinglePixel(image, badBits, column, row, minNeighbours) ? 1 : 0;
    }
    return found;
}

}  // namespace psfmatch
