// Equations of stars against a design matrix of differences, the fit that they make, and means of residuals.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/sources/StarEquations.h"

using namespace psfmatch;

namespace {

constexpr Index side = 64;
using Image = OwnedImage<float>;

ConstImageView<float> viewOf(Image const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

StarShape const shape{0.35, 0.2, 0.6, std::log(3.2), 0.1, -0.07};
std::vector<Star> const stars = {{20.3, 30.8, 900.0, 2.0}, {3.1, 60.4, 500.0, -1.0}, {45.6, 22.2, 2000.0, 0.5}};
std::vector<double> const radii = {8.0, 7.5, 10.0};
std::vector<StarFreedom> const freedoms = {StarFreedom::shape, StarFreedom::shape, StarFreedom::flux};

struct Scene {
    Image residual = Image(side, side);
    Image weight = Image(side, side);

    Scene() {
        std::mt19937 random(3);
        std::normal_distribution<float> deviate(0.0F, 1.0F);
        for (Index i = 0; i < residual.size(); ++i) {
            residual(i) = deviate(random);
            weight(i) = 0.5F + 0.1F * static_cast<float>(i % 7);
        }
        weight.block(28, 22, 2, 3).setZero();
        residual(31, 17) = std::numeric_limits<float>::quiet_NaN();
    }
};

using Matrix6 = Eigen::Matrix<double, 6, 6, Eigen::RowMajor>;

}  // namespace

TEST_CASE("equations are those of the design matrix, flux, place and sky eliminated") {
    Scene const scene;
    std::vector<StarShape> const shapes(stars.size(), shape);
    auto const found = starEquations(viewOf(scene.residual), viewOf(scene.weight), stars, shapes, radii, freedoms);
    auto const threaded =
        starEquations(viewOf(scene.residual), viewOf(scene.weight), stars, shapes, radii, freedoms, {3, {}});
    for (std::size_t i = 0; i < stars.size(); ++i) {
        CHECK(found[i].normal == threaded[i].normal);
        CHECK(found[i].step == threaded[i].step);
        bool const moves = freedoms[i] == StarFreedom::shape;
        auto const column = static_cast<Index>(std::floor(stars[i].x + 0.5));
        auto const row = static_cast<Index>(std::floor(stars[i].y + 0.5));
        std::vector<double> dx, dy, values, weights;
        for (Index y = 0; y < side; ++y) {
            for (Index x = 0; x < side; ++x) {
                auto const u = static_cast<double>(x - column);
                auto const v = static_cast<double>(y - row);
                if (u * u + v * v <= radii[i] * radii[i] && scene.weight(y, x) > 0.0F &&
                    std::isfinite(scene.residual(y, x))) {
                    dx.push_back(u);
                    dy.push_back(v);
                    values.push_back(scene.residual(y, x) - stars[i].sky);
                    weights.push_back(scene.weight(y, x));
                }
            }
        }
        auto const n = static_cast<Index>(dx.size());
        Eigen::Map<Eigen::ArrayXd const> const u(dx.data(), n), v(dy.data(), n);
        Eigen::Map<Eigen::VectorXd const> const value(values.data(), n), weight(weights.data(), n);
        StarProfile profile;
        profile.evaluate(shape, u, v, stars[i].x - static_cast<double>(column), stars[i].y - static_cast<double>(row),
                         StarFreedom::shape);
        Eigen::MatrixXd own(n, moves ? 4 : 2);
        own.col(0) = profile.values().col(0);
        if (moves) {
            own.middleCols(1, 2) = stars[i].flux * profile.values().middleCols(1, 2);
        }
        own.rightCols(1).setOnes();
        Eigen::MatrixXd const terms = (moves ? stars[i].flux : 0.0) * profile.values().rightCols(6);
        // Projected off what the star has for itself.
        Eigen::VectorXd const root = weight.cwiseSqrt();
        Eigen::MatrixXd const a = root.asDiagonal() * own;
        Eigen::MatrixXd const b = root.asDiagonal() * terms;
        Eigen::VectorXd const c = root.asDiagonal() * value;
        auto const solver = a.colPivHouseholderQr();
        Eigen::MatrixXd const left = b - a * solver.solve(b);
        Eigen::MatrixXd const expected = left.transpose() * left;
        Eigen::VectorXd const right = left.transpose() * c;
        Eigen::Map<Matrix6 const> const normal(found[i].normal.data());
        CHECK((normal - expected).cwiseAbs().maxCoeff() <= 1e-9 * expected.cwiseAbs().maxCoeff());
        Eigen::Map<Eigen::Matrix<double, 6, 1> const> const side6(found[i].right.data());
        CHECK((side6 - right).cwiseAbs().maxCoeff() <= 1e-9 * (b.cwiseAbs().transpose() * c.cwiseAbs()).maxCoeff());
        Eigen::VectorXd const step = solver.solve(c);
        CHECK(found[i].step[0] == doctest::Approx(step(0)).epsilon(1e-9));
        CHECK(found[i].step[3] == doctest::Approx(step(step.size() - 1)).epsilon(1e-9));
        CHECK(found[i].step[1] == doctest::Approx(moves ? step(1) : 0.0).epsilon(1e-9));
        Eigen::MatrixXd const coupling = solver.solve(b);
        for (Index k = 0; k < 6; ++k) {
            CHECK(found[i].coupling[static_cast<std::size_t>(k)] == doctest::Approx(coupling(0, k)).epsilon(1e-8));
        }
        CHECK(found[i].variance == doctest::Approx((a.transpose() * a).inverse()(0, 0)).epsilon(1e-9));
        CHECK(found[i].chi2 == doctest::Approx(c.squaredNorm()).epsilon(1e-12));
        CHECK(found[i].nPixels == static_cast<double>(n));
    }
    CHECK(found[0].coverage < 1.0);
    CHECK(found[2].coverage == 1.0);
}

TEST_CASE("steps lead to the stars that were drawn") {
    std::vector<StarShape> const truth(stars.size(), shape);
    std::vector<double> const everywhere(stars.size(), 100.0);
    Image image = Image::Zero(side, side);
    drawStars({image.data(), side, side, Eigen::OuterStride<>(side)}, stars, truth, everywhere);
    Image const weight = Image::Ones(side, side);
    std::vector<Star> known = stars;
    StarShape guess = shape;
    guess.logFwhm += 0.05;
    guess.e1 -= 0.03;
    guess.inverseBeta += 0.03;
    for (std::size_t i = 0; i < known.size(); ++i) {
        known[i] = {stars[i].x + 0.2, stars[i].y - 0.1, 0.9 * stars[i].flux, 0.0};
    }
    std::vector<StarFreedom> const all(stars.size(), StarFreedom::shape);
    // Of the second function little is told: it is left as it is.
    std::vector<Index> const free = {0, 3, 4, 5};
    for (int iteration = 0; iteration < 12; ++iteration) {
        std::vector<StarShape> const shapes(stars.size(), guess);
        Image residual = Image::Zero(side, side);
        drawStars({residual.data(), side, side, Eigen::OuterStride<>(side)}, known, shapes, everywhere);
        residual = image - residual;
        auto const found = starEquations(viewOf(residual), viewOf(weight), known, shapes, radii, all);
        Eigen::Matrix4d normal = Eigen::Matrix4d::Zero();
        Eigen::Vector4d right = Eigen::Vector4d::Zero();
        for (StarEquations const& star : found) {
            normal += Eigen::Map<Matrix6 const>(star.normal.data())(free, free);
            right += Eigen::Map<Eigen::Matrix<double, 6, 1> const>(star.right.data())(free);
        }
        Eigen::Matrix<double, 6, 1> step = Eigen::Matrix<double, 6, 1>::Zero();
        step(free) = Eigen::Vector4d(normal.ldlt().solve(right));
        guess.inverseBeta += step(0);
        guess.logFwhm += step(3);
        guess.e1 += step(4);
        guess.e2 += step(5);
        for (std::size_t i = 0; i < known.size(); ++i) {
            Eigen::Vector4d const own =
                Eigen::Map<Eigen::Vector4d const>(found[i].step.data()) -
                Eigen::Map<Eigen::Matrix<double, 4, 6, Eigen::RowMajor> const>(found[i].coupling.data()) * step;
            known[i] = {known[i].x + own(1), known[i].y + own(2), known[i].flux + own(0), known[i].sky + own(3)};
        }
    }
    // float32 pixels of some hundred counts.
    CHECK(guess.inverseBeta == doctest::Approx(shape.inverseBeta).epsilon(1e-4));
    CHECK(guess.logFwhm == doctest::Approx(shape.logFwhm).epsilon(1e-5));
    for (std::size_t i = 0; i < known.size(); ++i) {
        CHECK(known[i].flux == doctest::Approx(stars[i].flux).epsilon(1e-4));
        CHECK(std::abs(known[i].x - stars[i].x) < 1e-5);
    }
}

TEST_CASE("stars without pixels or light have no equations") {
    Scene const scene;
    std::vector<Star> const lost = {{-50.0, 3.0, 10.0, 0.0}, {std::nan(""), 3.0, 10.0, 0.0}, {30.0, 30.0, 0.0, 0.0}};
    std::vector<StarShape> const shapes(3, shape);
    std::vector<StarFreedom> const all(3, StarFreedom::shape);
    auto const found = starEquations(viewOf(scene.residual), viewOf(scene.weight), lost, shapes, radii, all);
    for (StarEquations const& star : found) {
        CHECK(std::isnan(star.step[0]));
    }
    Image const small = Image::Ones(5, 5);
    CHECK_THROWS_AS(static_cast<void>(starEquations(viewOf(scene.residual), viewOf(small), lost, shapes, radii, all)),
                    std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(starEquations(viewOf(small), viewOf(small), lost, shapes, radii, {})),
                    std::invalid_argument);
}

TEST_CASE("the mean residual is that of the stars, about their centres") {
    // A bump that pixels sample well, at places between them.
    auto const bump = [](double dx, double dy) { return 0.02 * std::exp(-0.125 * (dx * dx + dy * dy)); };
    Image residual = Image::Zero(side, side);
    Image weight = Image::Constant(side, side, 2.0F);
    // The last has no light that could tell anything.
    std::vector<Star> const some = {{15.3, 16.8, 900.0, 3.0}, {44.6, 42.1, 500.0, 3.0}, {30.0, 30.0, 0.0, 3.0}};
    for (Star const& star : some) {
        for (Index y = 0; y < side; ++y) {
            for (Index x = 0; x < side; ++x) {
                residual(y, x) += static_cast<float>(
                    star.flux * bump(static_cast<double>(x) - star.x, static_cast<double>(y) - star.y));
            }
        }
    }
    residual += 3.0F;
    weight(17, 15) = 0.0F;
    std::vector<double> const factors = {1.0, 0.5, 1.0};
    auto const found = meanResidual(viewOf(residual), viewOf(weight), some, factors, 5);
    auto const threaded = meanResidual(viewOf(residual), viewOf(weight), some, factors, 5, {3, {}});
    CHECK((found.mean == threaded.mean).all());
    for (Index y = 0; y < 11; ++y) {
        for (Index x = 0; x < 11; ++x) {
            // Lanczos's window errs by some 1e-3 for a width of 2 pixels.
            CHECK(std::abs(found.mean(y, x) - bump(static_cast<double>(x - 5), static_cast<double>(y - 5))) < 1e-4);
        }
    }
    CHECK(found.variance(10, 10) == doctest::Approx(1.0 / (2.0 * (900.0 * 900.0 + 0.5 * 500.0 * 500.0))));
    // The bad pixel takes the first star out of the middle.
    CHECK(found.variance(5, 5) == doctest::Approx(1.0 / (2.0 * 0.5 * 500.0 * 500.0)));
    auto const nowhere = meanResidual(viewOf(residual), viewOf(weight), {}, {}, 1);
    CHECK(std::isinf(nowhere.variance(1, 1)));
    CHECK_THROWS_AS(static_cast<void>(meanResidual(viewOf(residual), viewOf(weight), some, {}, 1)),
                    std::invalid_argument);
}
