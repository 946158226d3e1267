#include "psfmatch/sources/StarProfile.h"

#include <numbers>

#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

constexpr double leastInverseBeta = 1e-3;  // nearer to a Gaussian than any image tells
constexpr double wideFwhm = 4.0;           // pixels; from here on four points do in the core as well as nine
constexpr double leastInner = 10.0;        // pixels, and 2 FWHM: farther out a profile is flat enough for one point
constexpr Index rowsPerStrip = 32;

struct Points {
    int count;
    double offsets[3];
    double weights[3];
};

double const inSixth = std::sqrt(1.0 / 12.0);
double const inTwentieth = std::sqrt(3.0 / 20.0);
Points const onePoint{1, {0.0, 0.0, 0.0}, {1.0, 0.0, 0.0}};
Points const twoPoints{2, {-inSixth, inSixth, 0.0}, {0.5, 0.5, 0.0}};
Points const threePoints{3, {-inTwentieth, 0.0, inTwentieth}, {5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0}};

Points const& pointsAt(double distance, double fwhm) {
    if (distance > std::max(leastInner, 2.0 * fwhm)) {
        return onePoint;
    }
    return distance <= fwhm && fwhm < wideFwhm ? threePoints : twoPoints;
}

void requireShape(StarShape const& shape) {
    bool const isSound = shape.inverseBeta >= 0.0 && shape.inverseBeta < 1.0 && shape.share < 1.0 &&
                         shape.share > -1.0 && std::abs(shape.logRatio) < 10.0 && std::abs(shape.logFwhm) < 10.0 &&
                         shape.e1 * shape.e1 + shape.e2 * shape.e2 < 1.0;
    if (!isSound) {
        throw std::invalid_argument("a star has no shape of 1/beta " + std::to_string(shape.inverseBeta) +
                                    ", logarithm of the FWHM " + std::to_string(shape.logFwhm) + ", ellipticity " +
                                    std::to_string(shape.e1) + ", " + std::to_string(shape.e2));
    }
}

}  // namespace

void StarProfile::sample(Eigen::ArrayXd const& dx, Eigen::ArrayXd const& dy, double x, double y, double fwhm) {
    Index const n = dx.size();
    first_.resize(n + 1);
    u_.resize(9 * n);
    v_.resize(9 * n);
    weight_.resize(9 * n);
    int next = 0;
    for (Index i = 0; i < n; ++i) {
        first_(i) = next;
        Points const& points = pointsAt(std::hypot(dx(i), dy(i)), fwhm);
        for (int row = 0; row < points.count; ++row) {
            for (int column = 0; column < points.count; ++column) {
                u_(next) = dx(i) + points.offsets[column] - x;
                v_(next) = dy(i) + points.offsets[row] - y;
                weight_(next) = points.weights[column] * points.weights[row];
                ++next;
            }
        }
    }
    first_(n) = next;
    u_.conservativeResize(next);
    v_.conservativeResize(next);
    weight_.conservativeResize(next);
}

void StarProfile::addFunction(StarShape const& shape, double b, double width, double share, bool isSecond,
                              StarFreedom freedom) {
    double const power = std::exp2(b);
    double const half = (power - 1.0) / b;
    double const c = 4.0 * half / (width * width);
    q_ = c * radius_;
    inverse_ = (1.0 + b * q_).inverse();
    logs_ = -inverse_.log() / b;
    light_ = (share * (1.0 - b) * c / std::numbers::pi) * (-logs_).exp();
    samples_.col(0) += light_;
    if (freedom == StarFreedom::flux) {
        return;
    }
    // The logarithm of a profile falls by c / (1 + b q) with r^2.
    slope_ = -c * light_ * inverse_;
    double const root = std::sqrt(1.0 - shape.e1 * shape.e1 - shape.e2 * shape.e2);
    samples_.col(1) -= slope_ * (2.0 / root) * (u_ * (1.0 - shape.e1) - shape.e2 * v_);
    samples_.col(2) -= slope_ * (2.0 / root) * (v_ * (1.0 + shape.e1) - shape.e2 * u_);
    if (freedom == StarFreedom::place) {
        return;
    }
    double const byBeta = power * std::numbers::ln2 / (power - 1.0) - 1.0 / b;  // of ln c
    samples_.col(3) += light_ * ((byBeta - 1.0 / (1.0 - b)) + (logs_ - q_ * inverse_) / b - byBeta * q_ * inverse_);
    samples_.col(7) += slope_ * ((v_.square() - u_.square()) / root + radius_ * (shape.e1 / (root * root)));
    samples_.col(8) += slope_ * (-2.0 / root * u_ * v_ + radius_ * (shape.e2 / (root * root)));
    slope_ = -2.0 * light_ * (1.0 - q_ * inverse_);
    samples_.col(6) += slope_;
    if (isSecond) {
        samples_.col(5) += slope_;
    }
    samples_.col(4) += light_ / (isSecond ? share : -share);
}

void StarProfile::evaluate(StarShape const& shape, Eigen::ArrayXd const& dx, Eigen::ArrayXd const& dy, double x,
                           double y, StarFreedom freedom) {
    requireShape(shape);
    double const fwhm = std::exp(shape.logFwhm);
    sample(dx, dy, x, y, fwhm);
    double const root = std::sqrt(1.0 - shape.e1 * shape.e1 - shape.e2 * shape.e2);
    radius_ = (u_.square() * (1.0 - shape.e1) + v_.square() * (1.0 + shape.e1) - 2.0 * shape.e2 * u_ * v_) / root;
    samples_.resize(u_.size(), columns);
    Index const used = freedom == StarFreedom::shape ? columns : freedom == StarFreedom::place ? 3 : 1;
    samples_.leftCols(used).setZero();
    double const b = std::max(shape.inverseBeta, leastInverseBeta);
    addFunction(shape, b, fwhm, 1.0 - shape.share, false, freedom);
    if (shape.share != 0.0) {
        addFunction(shape, b, fwhm * std::exp(shape.logRatio), shape.share, true, freedom);
    } else if (freedom == StarFreedom::shape) {
        samples_.col(4).setZero();
    }
    Index const n = dx.size();
    values_.resize(n, columns);
    for (Index k = 0; k < used; ++k) {
        double const* const from = samples_.col(k).data();
        for (Index i = 0; i < n; ++i) {
            double sum = 0.0;
            for (int j = first_(i); j < first_(i + 1); ++j) {
                sum += weight_(j) * from[j];
            }
            values_(i, k) = sum;
        }
    }
}

void drawStars(ImageView<float> image, std::span<Star const> stars, std::span<StarShape const> shapes,
               std::span<double const> radii, Execution const& execution) {
    if (shapes.size() != stars.size() || radii.size() != stars.size()) {
        throw std::invalid_argument(std::to_string(stars.size()) + " stars have " + std::to_string(shapes.size()) +
                                    " shapes and " + std::to_string(radii.size()) + " radii");
    }
    struct alignas(cacheLine) Space {
        StarProfile profile;
        Eigen::ArrayXd dx, dy;
    };
    Index const nStrips = (image.rows() + rowsPerStrip - 1) / rowsPerStrip;
    std::vector<Space> spaces(static_cast<std::size_t>(workerCount(nStrips, execution)));
    // Every strip has all of its stars in their order, so that no pixel's sum depends on the threads.
    parallelForBrief(nStrips, execution, [&](Index strip, int worker) {
        Space& space = spaces[static_cast<std::size_t>(worker)];
        Index const top = strip * rowsPerStrip;
        Index const end = std::min(image.rows(), top + rowsPerStrip);
        for (std::size_t i = 0; i < stars.size(); ++i) {
            Star const& star = stars[i];
            if (!(std::isfinite(star.flux) && star.flux != 0.0 && radii[i] >= 0.0 && radii[i] < 1e6)) {
                continue;
            }
            Index const column = detail::nearestPixel(star.x);
            Index const row = detail::nearestPixel(star.y);
            auto const reach = static_cast<Index>(radii[i]);
            Index const y0 = std::max(top, row - reach);
            Index const y1 = std::min(end, row + reach + 1);
            Index const x0 = std::max<Index>(0, column - reach);
            Index const x1 = std::min(image.cols(), column + reach + 1);
            if (y0 >= y1 || x0 >= x1) {
                continue;
            }
            Index const room = (y1 - y0) * (x1 - x0);
            space.dx.resize(room);
            space.dy.resize(room);
            Index n = 0;
            for (Index y = y0; y < y1; ++y) {
                for (Index x = x0; x < x1; ++x) {
                    auto const dx = static_cast<double>(x - column);
                    auto const dy = static_cast<double>(y - row);
                    if (dx * dx + dy * dy <= radii[i] * radii[i]) {
                        space.dx(n) = dx;
                        space.dy(n++) = dy;
                    }
                }
            }
            if (n == 0) {
                continue;
            }
            space.dx.conservativeResize(n);
            space.dy.conservativeResize(n);
            space.profile.evaluate(shapes[i], space.dx, space.dy, star.x - static_cast<double>(column),
                                   star.y - static_cast<double>(row), StarFreedom::flux);
            for (Index k = 0; k < n; ++k) {
                image(row + static_cast<Index>(space.dy(k)), column + static_cast<Index>(space.dx(k))) +=
                    static_cast<float>(star.flux * space.profile.values()(k, 0));
            }
        }
    });
}

}  // namespace psfmatch
