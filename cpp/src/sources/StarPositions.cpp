#include "psfmatch/sources/StarPositions.h"

#include "psfmatch/image/badPixels.h"
#include "psfmatch/image/statistics.h"
#include "sources/sourcesCutouts.h"

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

    explicit GoodPixels(Index radius) {
        auto const size = static_cast<std::size_t>((2 * radius + 1) * (2 * radius + 1));
        dx.resize(size);
        dy.resize(size);
        values.resize(size);
        variances.resize(size);
    }

    void read(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, Index radius) {
        dx.clear();
        dy.clear();
        values.clear();
        variances.clear();
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

// Sums over the disc, with u = dx / sigma^2, v = dy / sigma^2 and the Gaussian p.
struct DiscSums {
    Matrix4 normal = Matrix4::Zero();  // of (p, p u, p v, 1)
    Vector4 right = Vector4::Zero();
    double share = 0.0;  // of the Gaussian that lies on good pixels of the disc
};

class Disc {
public:
    Disc(GoodPixels const& pixels, Index radius, double sigma, double centreX, double centreY)
        : pixels_(pixels),
          alongX_(radius, centreX, sigma),
          alongY_(radius, centreY, sigma),
          centreX_(centreX),
          centreY_(centreY),
          inverse_(1.0 / (sigma * sigma)),
          radius_(radius) {}

    [[nodiscard]] DiscSums sums() const {
        DiscSums found;
        Matrix4& m = found.normal;
        eachPixel([&](Vector4 const& term, std::size_t i) {
            addOuter(term, term, m);
            found.right += term * pixels_.values[i];
        });
        found.share = m(3, 0) / (alongX_.sum * alongY_.sum);
        m.triangularView<Eigen::StrictlyUpper>() = m.transpose();
        return found;
    }

    // The sums P^T W V P.
    [[nodiscard]] Matrix4 scatter() const {
        Matrix4 m = Matrix4::Zero();
        eachPixel([&](Vector4 const& term, std::size_t i) { addOuter(term, pixels_.variances[i] * term, m); });
        m.triangularView<Eigen::StrictlyUpper>() = m.transpose();
        return m;
    }

private:
    static void addOuter(Vector4 const& a, Vector4 const& b, Matrix4& m) {
        m.col(0) += a * b(0);
        m.col(1) += a * b(1);
        m.col(2) += a * b(2);
        m(3, 3) += a(3) * b(3);
    }

    template <typename Body>
    void eachPixel(Body const& body) const {
        double const reach = static_cast<double>(radius_) + 0.5;
        for (std::size_t i = 0; i < pixels_.values.size(); ++i) {
            double const dx = pixels_.dx[i] - centreX_;
            double const dy = pixels_.dy[i] - centreY_;
            if (dx * dx + dy * dy > reach * reach) {
                continue;
            }
            double const profile = alongX_.values[static_cast<std::size_t>(pixels_.dx[i] + radius_)] *
                                   alongY_.values[static_cast<std::size_t>(pixels_.dy[i] + radius_)];
            body(Vector4(profile, profile * dx * inverse_, profile * dy * inverse_, 1.0), i);
        }
    }

    GoodPixels const& pixels_;
    Profile alongX_;
    Profile alongY_;
    double centreX_;
    double centreY_;
    double inverse_;
    Index radius_;
};

Index radiusOf(PositionControl const& control) {
    return std::max(leastRadius, static_cast<Index>(std::ceil(control.reachFwhm * control.fwhm)));
}

StarPosition positionOf(MaskedImageView const& image, MaskPixel badBits, double x, double y,
                        PositionControl const& control, GoodPixels& pixels) {
    double const sigma = control.fwhm * fwhmToSigma;
    Index const radius = radiusOf(control);
    Index const column = detail::nearestPixel(x);
    Index const row = detail::nearestPixel(y);
    pixels.read(image, badBits, column, row, radius);
    if (pixels.values.empty()) {
        return {};
    }
    double const startX = x - static_cast<double>(column);
    double const startY = y - static_cast<double>(row);
    double centreX = startX;
    double centreY = startY;
    StarPosition found;
    for (int iteration = 0; iteration < control.maxIterations; ++iteration) {
        Disc const disc(pixels, radius, sigma, centreX, centreY);
        DiscSums const sums = disc.sums();
        Matrix4 const inverse = detail::inverseOf<4>(sums.normal);
        Vector4 const solution = inverse * sums.right;
        // Written so that NaN is no good.
        if (!(solution(0) > 0.0) || !(sums.share >= control.minDisc)) {
            return {};
        }
        double const stepX = std::clamp(solution(1) / solution(0), -1.0, 1.0);
        double const stepY = std::clamp(solution(2) / solution(0), -1.0, 1.0);
        bool const isLast =
            std::max(std::abs(stepX), std::abs(stepY)) < control.converged || iteration + 1 == control.maxIterations;
        if (isLast) {
            Matrix4 const covariance = inverse * disc.scatter() * inverse;
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

bool isSinglePixel(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, double minNeighbours,
                   double minSigmas) {
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
    double variance = 0.0;
    for (Index dy = -1; dy <= 1; ++dy) {
        for (Index dx = -1; dx <= 1; ++dx) {
            double const value = valueAt(dx, dy) - sky;
            sum += value;
            if (value > peak) {
                peak = value;
                variance = image.variance(std::clamp<Index>(row + dy, 0, image.image.rows() - 1),
                                          std::clamp<Index>(column + dx, 0, image.image.cols() - 1));
            }
        }
    }
    // A bad pixel makes the sum NaN, which is less than nothing.
    return (sum - peak) / 8.0 < minNeighbours * peak && peak >= minSigmas * std::sqrt(variance);
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
    // As many pixels as an image can have, however wide the stars.
    Index const largest = std::max(image.image.rows(), image.image.cols());
    GoodPixels const space(std::min(radiusOf(control), largest / 2));
    detail::forEachStar(x.size(), execution, space, [&](std::size_t i, GoodPixels& pixels) {
        found[i] = positionOf(image, badBits, x[i], y[i], control, pixels);
    });
    return found;
}

std::vector<std::uint8_t> areSinglePixels(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                                          std::span<double const> y, double minNeighbours, double minSigmas) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    std::vector<std::uint8_t> found(x.size(), 0);
    for (std::size_t i = 0; i < x.size(); ++i) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        found[i] = isSinglePixel(image, badBits, column, row, minNeighbours, minSigmas) ? 1 : 0;
    }
    return found;
}

}  // namespace psfmatch
