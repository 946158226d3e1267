// Principal components of kernel images: cases by hand, orthogonality, noise, limits.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/KernelPca.h"
#include "simulate.h"

using psfmatch::principalComponents;
using psfmatch::PrincipalComponents;
using simulate::Index;
using simulate::RowMatrix;

namespace {

RowMatrix noisyCopies(Index count, double noise, unsigned seed) {
    simulate::Image<double> const star = simulate::gaussian(9, 9, 1.5, 1.0);
    std::mt19937 random(seed);
    std::normal_distribution<double> draw(0.0, noise);
    RowMatrix images = RowMatrix::NullaryExpr(count, star.size(), [&] { return draw(random); });
    images.rowwise() += Eigen::Map<Eigen::RowVectorXd const>(star.data(), star.size());
    return images;
}

}  // namespace

TEST_CASE("one shape has one component") {
    RowMatrix images(3, 4);
    images.row(0) << 0.1, -0.7, 0.5, 0.5;
    images.row(0).normalize();
    images.row(1) = images.row(0);
    images.row(2) = images.row(0);
    PrincipalComponents const components = principalComponents(images);
    CHECK(components.values[0] == doctest::Approx(1.0).epsilon(1e-14));
    CHECK(components.values.tail(2).isZero(0.0));
    // The element of largest magnitude is -0.7: it becomes +1.
    Eigen::RowVectorXd expected(4);
    expected << -1.0 / 7.0, 1.0, -5.0 / 7.0, -5.0 / 7.0;
    CHECK((components.images.row(0) - expected).cwiseAbs().maxCoeff() < 1e-14);
    CHECK(components.images.bottomRows(2).isZero(0.0));
}

TEST_CASE("one image is its own component") {
    RowMatrix image(1, 3);
    image << 2.0, -4.0, 1.0;
    PrincipalComponents const components = principalComponents(image);
    CHECK(components.values == Eigen::VectorXd::Ones(1));
    CHECK(components.images == RowMatrix(image / -4.0));
    CHECK(principalComponents(RowMatrix::Zero(1, 3)).images == RowMatrix::Zero(1, 3));
}

TEST_CASE("images without light have no component") {
    PrincipalComponents const components = principalComponents(RowMatrix::Zero(4, 9));
    CHECK(components.values == Eigen::VectorXd::Zero(4));
    CHECK(components.images == RowMatrix::Zero(4, 9));
}

TEST_CASE("components are orthogonal, fall in power and hold all of it") {
    RowMatrix const images = noisyCopies(12, 0.05, 3);
    PrincipalComponents const components = principalComponents(images);
    CHECK(components.values.sum() == doctest::Approx(images.squaredNorm() / 12.0).epsilon(1e-13));
    RowMatrix normalized = components.images;
    for (Index k = 0; k < 12; ++k) {
        CHECK((k == 0 || components.values[k] < components.values[k - 1]));
        CHECK(components.images.row(k).maxCoeff() == 1.0);
        CHECK(components.images.row(k).minCoeff() >= -1.0);
        normalized.row(k).normalize();
        // The mean square of what the images have of component k is its eigenvalue.
        double const power = (images * normalized.row(k).transpose()).squaredNorm() / 12.0;
        CHECK(power == doctest::Approx(components.values[k]).epsilon(1e-11));
    }
    // Rounding grows by the ratio of the eigenvalues, some hundred.
    CHECK((normalized * normalized.transpose() - RowMatrix::Identity(12, 12)).cwiseAbs().maxCoeff() < 1e-12);
}

TEST_CASE("without its mean a set has less power and one component less") {
    RowMatrix images = noisyCopies(50, 0.02, 4);
    double const peak = images.colwise().mean().maxCoeff();
    PrincipalComponents const with = principalComponents(images);
    // The first component is the common shape, its noise averaged down to 0.02 / sqrt(50), of a peak of 0.07.
    simulate::Image<double> const star = simulate::gaussian(9, 9, 1.5, 1.0);
    Eigen::RowVectorXd const shape = Eigen::Map<Eigen::RowVectorXd const>(star.data(), star.size()) / star.maxCoeff();
    CHECK((with.images.row(0) - shape).cwiseAbs().maxCoeff() < 0.2);
    CHECK(std::abs(peak / star.maxCoeff() - 1.0) < 0.2);
    images.rowwise() -= images.colwise().mean().eval();
    PrincipalComponents const without = principalComponents(images);
    CHECK(without.values[0] < with.values[0]);
    CHECK(without.values[49] == 0.0);
    CHECK(without.values[48] > 0.0);
}

TEST_CASE("at most a hundred components are kept") {
    PrincipalComponents const components = principalComponents(noisyCopies(103, 0.02, 5));
    CHECK(components.values.size() == 100);
    CHECK(components.images.rows() == 100);
    CHECK(components.values[0] == components.values.maxCoeff());
}

TEST_CASE("images that have no components are refused") {
    CHECK_THROWS_WITH_AS((void)principalComponents(RowMatrix(0, 9)),
                         "principal components of no image: no candidate has a kernel", std::invalid_argument);
    RowMatrix images = noisyCopies(3, 0.1, 6);
    images(1, 4) = std::nan("");
    CHECK_THROWS_WITH_AS((void)principalComponents(images), doctest::Contains("3 images that hold NaN"),
                         psfmatch::NumericalError);
}
