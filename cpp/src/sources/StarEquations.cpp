#include "psfmatch/sources/StarEquations.h"

#include <numbers>

#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

using detail::nan;

constexpr Index ownSize = 4;
constexpr Index allSize = ownSize + shapeSize;
constexpr Index leastPixels = 12;
constexpr Index window = 3;  // of Lanczos, pixels to either side

void requireImages(ConstImageView<float> const& residual, ConstImageView<float> const& weight) {
    if (!haveOneShape(residual, weight)) {
        throw std::invalid_argument("residual and weight must have one shape");
    }
}

struct Space {
    StarProfile profile;
    Eigen::ArrayXd dx, dy, values, weights;
    Eigen::Matrix<double, Eigen::Dynamic, allSize> terms, weighted;
};

class OneStar {
public:
    OneStar(ConstImageView<float> const& residual, ConstImageView<float> const& weight, Star const& star,
            StarShape const& shape, double radius, StarFreedom freedom)
        : residual_(residual), weight_(weight), star_(star), shape_(shape), radius_(radius), freedom_(freedom) {}

    [[nodiscard]] StarEquations equations(Space& space) const {
        StarEquations found;
        found.normal.fill(nan);
        found.right.fill(nan);
        found.step.fill(nan);
        found.coupling.fill(nan);
        found.variance = nan;
        found.chi2 = nan;
        if (!(std::isfinite(star_.x) && std::isfinite(star_.y) && std::isfinite(star_.flux) &&
              std::isfinite(star_.sky) && radius_ >= 0.0 && radius_ < 1e6)) {
            return found;
        }
        Index const column = detail::nearestPixel(star_.x);
        Index const row = detail::nearestPixel(star_.y);
        if (read(space, column, row) == 0) {
            return found;
        }
        space.profile.evaluate(shape_, space.dx, space.dy, star_.x - static_cast<double>(column),
                               star_.y - static_cast<double>(row), freedom_);
        auto const& profile = space.profile.values();
        auto const n = static_cast<Index>((space.weights > 0.0).count());
        found.nPixels = static_cast<double>(n);
        found.coverage =
            (profile.col(0).square() * (space.weights > 0.0).cast<double>()).sum() / profile.col(0).square().sum();
        if (n < leastPixels) {
            return found;
        }
        solve(space, found);
        return found;
    }

private:
    Index read(Space& space, Index column, Index row) const {
        auto const reach = static_cast<Index>(radius_);
        Index const room = (2 * reach + 1) * (2 * reach + 1);
        space.dx.resize(room);
        space.dy.resize(room);
        space.values.resize(room);
        space.weights.resize(room);
        Index n = 0;
        for (Index y = -reach; y <= reach; ++y) {
            for (Index x = -reach; x <= reach; ++x) {
                if (static_cast<double>(x * x + y * y) > radius_ * radius_) {
                    continue;
                }
                Index const i = row + y;
                Index const j = column + x;
                bool const isInside = i >= 0 && i < residual_.rows() && j >= 0 && j < residual_.cols();
                double const weight = isInside ? weight_(i, j) : 0.0F;
                bool const isGood = weight > 0.0 && std::isfinite(residual_(i, j));
                space.dx(n) = static_cast<double>(x);
                space.dy(n) = static_cast<double>(y);
                space.weights(n) = isGood ? weight : 0.0;
                space.values(n++) = isGood ? residual_(i, j) - star_.sky : 0.0;
            }
        }
        space.dx.conservativeResize(n);
        space.dy.conservativeResize(n);
        space.weights.conservativeResize(n);
        space.values.conservativeResize(n);
        return n;
    }

    void solve(Space& space, StarEquations& found) const {
        auto const& profile = space.profile.values();
        auto const& weights = space.weights.matrix();
        space.terms.resize(profile.rows(), allSize);
        space.weighted.resize(profile.rows(), allSize);
        space.terms.col(0) = profile.col(0);
        space.terms.rightCols(allSize - 1).setZero();
        if (freedom_ != StarFreedom::flux) {
            space.terms.middleCols(1, 2) = star_.flux * profile.middleCols(1, 2);
        }
        space.terms.col(3).setOnes();
        if (freedom_ == StarFreedom::shape) {
            space.terms.rightCols<shapeSize>() = star_.flux * profile.rightCols<shapeSize>();
        }
        Index const used = freedom_ == StarFreedom::shape ? allSize : ownSize;
        space.weighted.leftCols(used) = weights.asDiagonal() * space.terms.leftCols(used);
        Eigen::Matrix<double, allSize, allSize> normal = Eigen::Matrix<double, allSize, allSize>::Zero();
        Eigen::Matrix<double, allSize, 1> right = Eigen::Matrix<double, allSize, 1>::Zero();
        normal.topLeftCorner(used, used) = space.weighted.leftCols(used).transpose() * space.terms.leftCols(used);
        right.head(used) = space.weighted.leftCols(used).transpose() * space.values.matrix();
        if (freedom_ == StarFreedom::flux) {
            for (Index const k : {Index{1}, Index{2}}) {
                normal.row(k).setZero();
                normal.col(k).setZero();
                normal(k, k) = 1.0;
                right(k) = 0.0;
            }
        }
        Eigen::Matrix4d const own = normal.topLeftCorner<ownSize, ownSize>();
        Eigen::Matrix4d const inverse = detail::inverseOf<4>(own);
        Eigen::Matrix<double, ownSize, shapeSize> const coupling =
            inverse * normal.topRightCorner<ownSize, shapeSize>();
        Eigen::Vector4d const step = inverse * right.head<ownSize>();
        Eigen::Matrix<double, shapeSize, shapeSize> reduced =
            normal.bottomRightCorner<shapeSize, shapeSize>() - normal.bottomLeftCorner<shapeSize, ownSize>() * coupling;
        reduced = (0.5 * (reduced + reduced.transpose())).eval();
        Eigen::Matrix<double, shapeSize, 1> const side =
            right.tail<shapeSize>() - normal.bottomLeftCorner<shapeSize, ownSize>() * step;
        Eigen::Map<Eigen::Matrix<double, shapeSize, shapeSize, Eigen::RowMajor>>(found.normal.data()) = reduced;
        Eigen::Map<Eigen::Matrix<double, shapeSize, 1>>(found.right.data()) = side;
        Eigen::Map<Eigen::Vector4d>(found.step.data()) = step;
        Eigen::Map<Eigen::Matrix<double, ownSize, shapeSize, Eigen::RowMajor>>(found.coupling.data()) = coupling;
        found.variance = inverse(0, 0);
        found.chi2 = (space.weights * space.values.square()).sum();
    }

    ConstImageView<float> const& residual_;
    ConstImageView<float> const& weight_;
    Star const& star_;
    StarShape const& shape_;
    double radius_;
    StarFreedom freedom_;
};

// Weights of the pixels floor(t) - 2 .. floor(t) + 3 for the value at t = floor(t) + part, of sum 1.
std::array<double, 2 * window> lanczos(double part) {
    std::array<double, 2 * window> weights{};
    double sum = 0.0;
    for (Index k = 0; k < 2 * window; ++k) {
        double const d = std::numbers::pi * (static_cast<double>(k - window + 1) - part);
        double& weight = weights[static_cast<std::size_t>(k)];
        weight = std::abs(d) < 1e-8 ? 1.0 : window * std::sin(d) * std::sin(d / window) / (d * d);
        sum += weight;
    }
    for (double& weight : weights) {
        weight /= sum;
    }
    return weights;
}

}  // namespace

std::vector<StarEquations> starEquations(ConstImageView<float> const& residual, ConstImageView<float> const& weight,
                                         std::span<Star const> stars, std::span<StarShape const> shapes,
                                         std::span<double const> radii, std::span<StarFreedom const> freedoms,
                                         Execution const& execution) {
    requireImages(residual, weight);
    if (shapes.size() != stars.size() || radii.size() != stars.size() || freedoms.size() != stars.size()) {
        throw std::invalid_argument(std::to_string(stars.size()) + " stars have " + std::to_string(shapes.size()) +
                                    " shapes, " + std::to_string(radii.size()) + " radii and " +
                                    std::to_string(freedoms.size()) + " freedoms");
    }
    std::vector<StarEquations> found(stars.size());
    detail::forEachStar(stars.size(), execution, Space{}, [&](std::size_t i, Space& space) {
        found[i] = OneStar(residual, weight, stars[i], shapes[i], radii[i], freedoms[i]).equations(space);
    });
    return found;
}

StarResidual meanResidual(ConstImageView<float> const& residual, ConstImageView<float> const& weight,
                          std::span<Star const> stars, std::span<double const> factors, Index half,
                          Execution const& execution) {
    requireImages(residual, weight);
    if (factors.size() != stars.size() || half < 0) {
        throw std::invalid_argument(std::to_string(stars.size()) + " stars have " + std::to_string(factors.size()) +
                                    " factors");
    }
    struct Place {
        Index column, row;
        std::array<double, 2 * window> alongX, alongY;
    };
    std::vector<Place> places;
    places.reserve(stars.size());
    for (Star const& star : stars) {
        double const x = std::isfinite(star.x) ? star.x : -1e9;
        double const y = std::isfinite(star.y) ? star.y : -1e9;
        places.push_back({static_cast<Index>(std::floor(x)), static_cast<Index>(std::floor(y)),
                          lanczos(x - std::floor(x)), lanczos(y - std::floor(y))});
    }
    Index const side = 2 * half + 1;
    StarResidual found{OwnedImage<double>::Zero(side, side),
                       OwnedImage<double>::Constant(side, side, std::numeric_limits<double>::infinity())};
    // A row of the result at a time: all stars in their order, whatever the threads.
    parallelForBrief(side, execution, [&](Index row, int) {
        for (Index column = 0; column < side; ++column) {
            double sum = 0.0;
            double norm = 0.0;
            for (std::size_t i = 0; i < stars.size(); ++i) {
                Place const& place = places[i];
                Star const& star = stars[i];
                Index const y0 = place.row + row - half - window + 1;
                Index const x0 = place.column + column - half - window + 1;
                if (!(factors[i] > 0.0) || y0 < 0 || x0 < 0 || y0 + 2 * window > residual.rows() ||
                    x0 + 2 * window > residual.cols()) {
                    continue;
                }
                double value = 0.0;
                bool isGood = true;
                double least = std::numeric_limits<double>::infinity();
                for (Index dy = 0; dy < 2 * window; ++dy) {
                    double along = 0.0;
                    for (Index dx = 0; dx < 2 * window; ++dx) {
                        double const w = weight(y0 + dy, x0 + dx);
                        isGood = isGood && w > 0.0;
                        least = std::min(least, w);
                        along += place.alongX[static_cast<std::size_t>(dx)] * residual(y0 + dy, x0 + dx);
                    }
                    value += place.alongY[static_cast<std::size_t>(dy)] * along;
                }
                double const w = factors[i] * star.flux * star.flux * least;
                if (isGood && std::isfinite(value) && w > 0.0) {
                    sum += w * (value - star.sky) / star.flux;
                    norm += w;
                }
            }
            if (norm > 0.0) {
                found.mean(row, column) = sum / norm;
                found.variance(row, column) = 1.0 / norm;
            }
        }
    });
    return found;
}

}  // namespace psfmatch
