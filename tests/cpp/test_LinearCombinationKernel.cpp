// Kernel images and their sums at a position.
#include <doctest/doctest.h>

#include <Eigen/QR>
#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "psfmatch/kernel/LinearCombinationKernel.h"
#include "simulate.h"

using Eigen::MatrixXd;
using psfmatch::kernelImage;
using psfmatch::kernelSum;
using psfmatch::LinearCombinationKernel;
using psfmatch::SpatialModel;
using psfmatch::termImages;
using namespace simulate;

namespace {

std::vector<std::pair<double, double>> const positions{{0.0, 0.0}, {1023.0, 4.5}, {-20.0, 600.25}, {311.0, 77.0}};

LinearCombinationKernel makeVarying(KernelBasis const& basis, SpatialModel model, int order, unsigned seed) {
    LinearCombinationKernel kernel{basis, {model, order, psfmatch::frameOf({0, 0, 1024, 700})}, {}};
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    kernel.parameters = MatrixXd::NullaryExpr(basis.size(), kernel.spatial.size(), [&] { return uniform(random); });
    return kernel;
}

}  // namespace

TEST_CASE("a kernel that does not vary is the sum of its images everywhere") {
    LinearCombinationKernel const kernel{deltaBasis(1, 3), {}, Eigen::Vector3d(0.25, 0.5, -1.0)};
    CHECK_FALSE(kernel.isVarying());
    for (auto const& [x, y] : positions) {
        Image<double> const image = kernelImage(kernel, x, y);
        CHECK(image(0, 0) == 0.25);
        CHECK(image(0, 1) == 0.5);
        CHECK(image(0, 2) == -1.0);
        CHECK(kernelSum(kernel, x, y) == -0.25);
    }
}

TEST_CASE("a linear kernel by hand") {
    // K(x, y) = 2 + 3 u - v with u = (x - 10) / 5, v = (y - 20) / 4
    LinearCombinationKernel kernel{deltaBasis(1, 1), {SpatialModel::polynomial, 1, {10.0, 20.0, 5.0, 4.0}}, {}};
    kernel.parameters = Eigen::RowVector3d(2.0, 3.0, -1.0);
    CHECK(kernel.isVarying());
    CHECK(kernelImage(kernel, 10.0, 20.0)(0, 0) == 2.0);
    CHECK(kernelImage(kernel, 15.0, 28.0)(0, 0) == 3.0);
    CHECK(kernelSum(kernel, 0.0, 20.0) == -4.0);
}

TEST_CASE("kernel images agree with the double sum") {
    for (KernelBasis const& basis : {smallBasis(), randomBasis(4, 5, 3, 2)}) {
        for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
            for (int const order : {0, 1, 3}) {
                LinearCombinationKernel const kernel = makeVarying(basis, model, order, 3);
                CHECK_NOTHROW(psfmatch::validate(kernel));
                RowMatrix const terms = termImages(kernel);
                CHECK(terms.rows() == kernel.spatial.size());
                for (auto const& [x, y] : positions) {
                    Eigen::VectorXd const f = kernel.spatial.evaluate(x, y);
                    Image<double> expected = Image<double>::Zero(basis.height, basis.width);
                    Image<double> fromTerms = expected;
                    for (Index s = 0; s < f.size(); ++s) {
                        for (Index i = 0; i < basis.size(); ++i) {
                            expected += kernel.parameters(i, s) * f[s] * imageOf(basis, i);
                        }
                        fromTerms +=
                            f[s] * Eigen::Map<Image<double> const>(terms.row(s).data(), basis.height, basis.width);
                    }
                    // Some hundred terms of order one.
                    CHECK((kernelImage(kernel, x, y) - expected).abs().maxCoeff() < 1e-13);
                    CHECK((fromTerms - expected).abs().maxCoeff() < 1e-13);
                    CHECK(std::abs(kernelSum(kernel, x, y) - expected.sum()) < 1e-12);
                }
            }
        }
    }
}

TEST_CASE("the sum of a renormalised basis is its first coefficient") {
    LinearCombinationKernel kernel = makeVarying(smallBasis(), SpatialModel::chebyshev1, 2, 5);
    kernel.parameters.row(0).setZero();
    kernel.parameters(0, 0) = 2.7;
    for (auto const& [x, y] : positions) {
        CHECK(kernelSum(kernel, x, y) == doctest::Approx(2.7).epsilon(1e-12));
    }
}

TEST_CASE("kernels are linear in their parameters") {
    LinearCombinationKernel const a = makeVarying(smallBasis(), SpatialModel::chebyshev1, 2, 6);
    LinearCombinationKernel const b = makeVarying(smallBasis(), SpatialModel::chebyshev1, 2, 7);
    LinearCombinationKernel sum = a;
    sum.parameters = 2.0 * a.parameters - b.parameters;
    for (auto const& [x, y] : positions) {
        Image<double> const expected = 2.0 * kernelImage(a, x, y) - kernelImage(b, x, y);
        CHECK((kernelImage(sum, x, y) - expected).abs().maxCoeff() < 1e-13);
    }
}

TEST_CASE("polynomials and Chebyshev sums describe the same kernels") {
    LinearCombinationKernel const chebyshev = makeVarying(smallBasis(), SpatialModel::chebyshev1, 2, 8);
    LinearCombinationKernel polynomial = chebyshev;
    polynomial.spatial = psfmatch::SpatialFunction{SpatialModel::polynomial, 2, chebyshev.spatial.frame()};
    // T_2 = 2 u^2 - 1; the sequence is 1; u, v; u^2, uv, v^2.
    polynomial.parameters.col(0) -= chebyshev.parameters.col(3) + chebyshev.parameters.col(5);
    polynomial.parameters.col(3) *= 2.0;
    polynomial.parameters.col(5) *= 2.0;
    for (auto const& [x, y] : positions) {
        CHECK((kernelImage(polynomial, x, y) - kernelImage(chebyshev, x, y)).abs().maxCoeff() < 1e-13);
    }
    // And in raw pixels, shifted to xy0 = 1e5 together with the frame.
    psfmatch::Frame moved = polynomial.spatial.frame();
    moved.xCentre += 1e5;
    moved.yCentre += 1e5;
    polynomial.spatial = psfmatch::SpatialFunction{SpatialModel::polynomial, 2, moved};
    LinearCombinationKernel raw = polynomial;
    raw.spatial = psfmatch::SpatialFunction{SpatialModel::polynomial, 2, {}};
    raw.parameters = changeFrame(polynomial.parameters, polynomial.spatial, raw.spatial.frame());
    for (auto const& [x, y] : positions) {
        Image<double> const expected = kernelImage(chebyshev, x, y);
        CHECK((kernelImage(polynomial, x + 1e5, y + 1e5) - expected).abs().maxCoeff() < 1e-13);
        // Terms of (1e5 / 350)^2 = 8e4, each with a rounding of 2e-16, nine images of six.
        CHECK((kernelImage(raw, x + 1e5, y + 1e5) - expected).abs().maxCoeff() < 1e-9);
    }
}

TEST_CASE("parts that do not belong together are refused") {
    LinearCombinationKernel kernel = makeVarying(smallBasis(), SpatialModel::chebyshev1, 1, 9);
    kernel.parameters.conservativeResize(9, 6);
    CHECK_THROWS_WITH_AS(
        psfmatch::validate(kernel),
        "a kernel of 9 basis images and spatial functions of order 1 needs parameters of shape (9, 3), not (9, 6)",
        std::invalid_argument);
    kernel.parameters = MatrixXd::Zero(8, 3);
    CHECK_THROWS_WITH_AS(psfmatch::validate(kernel), doctest::Contains("not (8, 3)"), std::invalid_argument);
    kernel.parameters = MatrixXd::Zero(9, 3);
    kernel.basis.width = 8;
    CHECK_THROWS_WITH_AS(psfmatch::validate(kernel), doctest::Contains("must be odd"), std::invalid_argument);
}

TEST_CASE("kernels at several positions are those of each") {
    LinearCombinationKernel const kernel = makeVarying(deltaBasis(3, 5), SpatialModel::chebyshev1, 2, 8);
    std::vector<double> const x{0.0, 1023.0, 311.5};
    std::vector<double> const y{0.0, -4.5, 77.0};
    MatrixXd const coefficients = psfmatch::coefficientsAt(kernel, x, y);
    KernelBasis const images = psfmatch::kernelImages(kernel, x, y);
    REQUIRE(images.size() == 3);
    for (std::size_t i = 0; i < x.size(); ++i) {
        auto const row = static_cast<psfmatch::Index>(i);
        Image<double> const one = kernelImage(kernel, x[i], y[i]);
        for (psfmatch::Index k = 0; k < one.size(); ++k) {
            CHECK(images.images(row, k) == doctest::Approx(one.data()[k]).epsilon(1e-12));
        }
        for (psfmatch::Index n = 0; n < kernel.basis.size(); ++n) {
            double const expected = kernel.parameters.row(n).dot(kernel.spatial.evaluate(x[i], y[i]));
            CHECK(coefficients(row, n) == doctest::Approx(expected).epsilon(1e-12));
        }
    }
    CHECK_THROWS_AS(static_cast<void>(psfmatch::kernelImages(kernel, x, std::vector<double>{1.0})),
                    std::invalid_argument);
}
