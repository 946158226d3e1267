// Alard-Lupton bases, their renormalisation, and the search for one-dimensional factors.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "psfmatch/base/exceptions.h"
#include "simulate.h"

using Eigen::VectorXd;
using psfmatch::alardLuptonImages;
using psfmatch::makeAlardLuptonBasis;
using psfmatch::NumericalError;
using psfmatch::renormalize;
using psfmatch::SeparableBasis;
using psfmatch::separate;
using namespace simulate;

namespace {

// Widths and degrees of the defaults, the deconvolution cases and single Gaussians (spec 2.2).
struct GaussianSet {
    std::vector<double> sigmas;
    std::vector<int> degrees;
};

std::vector<GaussianSet> const gaussianSets{{{0.7, 1.5, 3.0}, {4, 2, 2}},
                                            {{0.4, 0.8, 1.6}, {4, 2, 2}},
                                            {{1.3429, 2.6858, 5.3716}, {4, 2, 2}},
                                            {{0.5657, 0.8944, 1.6492}, {3, 3, 3}},
                                            {{1.0, 1.05}, {2, 6}},
                                            {{2.0}, {0}},
                                            {{1.7}, {5}}};

Image<double> reconstruct(SeparableBasis const& factors, Index i) {
    auto const product = [&](Index k) {
        return Image<double>(factors.columnFactors.row(k).transpose() *
                             factors.rowFactors.row(factors.rowOf[static_cast<std::size_t>(k)]));
    };
    return product(i) + factors.firstImageWeight[i] * product(0);
}

KernelBasis basisOf(std::vector<Image<double>> const& images) {
    KernelBasis basis{RowMatrix(static_cast<Index>(images.size()), images[0].size()), images[0].rows(),
                      images[0].cols()};
    for (std::size_t i = 0; i < images.size(); ++i) {
        basis.images.row(static_cast<Index>(i)) =
            Eigen::Map<Eigen::RowVectorXd const>(images[i].data(), images[i].size());
    }
    return basis;
}

// A Gaussian of two widths, along x and along y; unit sum.
Image<double> elliptical(Index side, double sigmaX, double sigmaY) {
    Image<double> image(side, side);
    for (Index y = 0; y < side; ++y) {
        for (Index x = 0; x < side; ++x) {
            double const u = static_cast<double>(x - side / 2) / sigmaX;
            double const v = static_cast<double>(y - side / 2) / sigmaY;
            image(y, x) = std::exp(-0.5 * (u * u + v * v));
        }
    }
    return image / image.sum();
}

}  // namespace

TEST_CASE("counts and sides of Alard-Lupton bases") {
    KernelBasis const usual = makeAlardLuptonBasis(10, {0.7, 1.5, 3.0}, {4, 2, 2});
    CHECK(usual.size() == 27);
    CHECK(usual.height == 21);
    CHECK(usual.width == 21);
    CHECK(usual.images.cols() == 441);
    CHECK(makeAlardLuptonBasis(3, {0.6, 0.9, 1.6}, {3, 3, 3}).size() == 30);
    CHECK(makeAlardLuptonBasis(1, {2.0}, {0}).size() == 1);
}

TEST_CASE("images of lower degrees are those of a basis of these degrees alone") {
    CHECK(alardLuptonImages({1, 1}, {2, 1}) == std::vector<Index>{0, 1, 2, 6, 7, 8});
    std::vector<double> const sigmas{0.7, 1.5, 3.0};
    std::vector<int> const most{4, 2, 3};
    KernelBasis const all = makeAlardLuptonBasis(5, sigmas, most);
    for (std::vector<int> const& degrees :
         {std::vector<int>{0, 0, 0}, {4, 0, 2}, {1, 2, 1}, {4, 2, -1}, {2, -1, 0}, most}) {
        KernelBasis const few = makeAlardLuptonBasis(5, sigmas, degrees);
        std::vector<Index> const chosen = alardLuptonImages(degrees, most);
        REQUIRE(static_cast<Index>(chosen.size()) == few.size());
        for (Index k = 0; k < few.size(); ++k) {
            CHECK(few.images.row(k) == all.images.row(chosen[static_cast<std::size_t>(k)]));
        }
    }
    CHECK_THROWS_AS((void)alardLuptonImages({2, 0}, {2}), std::invalid_argument);
    CHECK_THROWS_AS((void)alardLuptonImages({3, 0}, {2, 1}), std::invalid_argument);
    // Any Gaussian may be left out but the first, which carries the sum.
    CHECK_THROWS_AS((void)alardLuptonImages({-1}, {2}), std::invalid_argument);
    CHECK_THROWS_AS((void)alardLuptonImages({1, -2}, {2, 2}), std::invalid_argument);
    CHECK_THROWS_AS((void)makeAlardLuptonBasis(5, {1.0, 2.0}, {-1, 0}), std::invalid_argument);
    CHECK_THROWS_AS((void)makeAlardLuptonBasis(5, {1.0, 2.0}, {0, -2}), std::invalid_argument);
}

TEST_CASE("Alard-Lupton images are Gaussians times monomials, pixel by pixel") {
    Index const h = 6;
    std::vector<double> const sigmas{0.7, 2.5};
    std::vector<int> const degrees{4, 1};
    KernelBasis const basis = makeAlardLuptonBasis(h, sigmas, degrees);
    std::vector<std::pair<int, int>> const powers{{0, 0}, {1, 0}, {0, 1}, {2, 0}, {1, 1}, {0, 2}, {3, 0}, {2, 1},
                                                  {1, 2}, {0, 3}, {4, 0}, {3, 1}, {2, 2}, {1, 3}, {0, 4},  //
                                                  {0, 0}, {1, 0}, {0, 1}};
    REQUIRE(basis.size() == static_cast<Index>(powers.size()));
    for (std::size_t i = 0; i < powers.size(); ++i) {
        double const sigma = i < 15 ? sigmas[0] : sigmas[1];
        Image<double> const profile = elliptical(2 * h + 1, sigma, sigma);
        Image<double> expected(2 * h + 1, 2 * h + 1);
        for (Index y = -h; y <= h; ++y) {
            for (Index x = -h; x <= h; ++x) {
                expected(y + h, x + h) = profile(y + h, x + h) *
                                         std::pow(static_cast<double>(x) / static_cast<double>(h), powers[i].first) *
                                         std::pow(static_cast<double>(y) / static_cast<double>(h), powers[i].second);
            }
        }
        CAPTURE(i);
        CHECK((imageOf(basis, static_cast<Index>(i)) - expected).abs().maxCoeff() < 1e-15);
    }
}

TEST_CASE("Hermite functions are orthogonal and span what the monomials span") {
    using psfmatch::Polynomials;
    // Waves of up to sqrt(17) / sigma = 2.1 per pixel, which the grid holds, and 4.1 sigma wide, far from the edge.
    KernelBasis const hermite = makeAlardLuptonBasis(15, {2.0}, {8}, Polynomials::hermite);
    RowMatrix const gram = hermite.images * hermite.images.transpose() / hermite.images.row(0).squaredNorm();
    CHECK((gram - RowMatrix::Identity(gram.rows(), gram.cols())).cwiseAbs().maxCoeff() < 1e-3);

    KernelBasis const monomials = makeAlardLuptonBasis(15, {2.0}, {8});
    REQUIRE(monomials.size() == hermite.size());
    Eigen::MatrixXd const axes = hermite.images.transpose().householderQr().householderQ() *
                                 Eigen::MatrixXd::Identity(hermite.images.cols(), hermite.size());
    for (Index i = 0; i < monomials.size(); ++i) {
        Eigen::VectorXd const image = monomials.images.row(i).transpose();
        CAPTURE(i);
        CHECK((image - axes * (axes.transpose() * image)).norm() < 1e-13 * image.norm());
    }
    // Prefixes, too: a lower degree is the first images of a higher one.
    KernelBasis const lower = makeAlardLuptonBasis(15, {2.0}, {3}, Polynomials::hermite);
    CHECK((lower.images - hermite.images.topRows(lower.size())).cwiseAbs().maxCoeff() < 1e-16);
    CHECK((hermite.images.row(0) - monomials.images.row(0)).cwiseAbs().maxCoeff() < 1e-16);
}

TEST_CASE("renormalised: first image of sum 1, others of sum 0 and norm 1") {
    for (GaussianSet const& set : gaussianSets) {
        for (Index const halfWidth : {4, 10, 13}) {
            KernelBasis const basis = renormalize(makeAlardLuptonBasis(halfWidth, set.sigmas, set.degrees));
            CAPTURE(set.sigmas[0]);
            CAPTURE(halfWidth);
            CHECK(basis.images.row(0).sum() == doctest::Approx(1.0).epsilon(1e-14));
            CHECK((basis.images.row(0).array() >= 0.0).all());
            for (Index i = 1; i < basis.size(); ++i) {
                CAPTURE(i);
                // The sum of 729 pixels of unit norm has a rounding of 1e-15; the difference of two nearly equal
                // Gaussians is magnified some tenfold.
                CHECK(std::abs(basis.images.row(i).sum()) < 1e-12);
                CHECK(basis.images.row(i).norm() == doctest::Approx(1.0).epsilon(1e-14));
            }
        }
    }
}

TEST_CASE("renormalised images are (image / sum - first) / norm, or image / norm without a sum") {
    KernelBasis const raw =
        basisOf({5.0 * elliptical(19, 2.0, 2.0), -3.0 * elliptical(19, 3.0, 4.0), elliptical(19, 0.2, 0.25),
                 Image<double>(gaussian(19, 19, 2.0, 7.0, 1.0) - gaussian(19, 19, 2.0, 7.0, -1.0))});
    KernelBasis const basis = renormalize(raw);
    Image<double> const first = elliptical(19, 2.0, 2.0);
    CHECK((imageOf(basis, 0) - first).abs().maxCoeff() < 1e-15);
    for (Index i : {1, 2}) {
        Image<double> expected = imageOf(raw, i) / imageOf(raw, i).sum() - first;
        expected /= std::sqrt(expected.square().sum());
        CHECK((imageOf(basis, i) - expected).abs().maxCoeff() < 1e-13);
        CHECK(std::abs(imageOf(basis, i).sum()) < 1e-13);
    }
    Image<double> const odd = imageOf(raw, 3) / std::sqrt(imageOf(raw, 3).square().sum());
    CHECK((imageOf(basis, 3) - odd).abs().maxCoeff() < 1e-15);
    CHECK(renormalize(KernelBasis{}).size() == 0);
}

TEST_CASE("sums below the float epsilon are taken for rounding") {
    Image<double> small = gaussian(9, 9, 1.0, 1.0, 1.0) - gaussian(9, 9, 1.0, 1.0, -1.0);
    small(4, 4) += 1e-7;
    Image<double> larger = small;
    larger(4, 4) += 1e-7;
    KernelBasis const basis = renormalize(basisOf({gaussian(9, 9, 2.0, 1.0), small, larger}));
    double const norm = std::sqrt(small.square().sum());
    CHECK(basis.images.row(1).sum() == doctest::Approx(1e-7 / norm).epsilon(1e-6));
    // Divided by its sum of 2e-7 the image has pixels of 1e6, hence a rounding of 1e-9 before the norm is taken.
    CHECK(std::abs(basis.images.row(2).sum()) < 1e-9);
}

TEST_CASE("every Alard-Lupton basis has one-dimensional factors") {
    for (GaussianSet const& set : gaussianSets) {
        for (Index const side : {5, 7, 9, 15, 21, 27, 35}) {
            for (bool const renormalised : {true, false}) {
                CAPTURE(set.sigmas[0]);
                CAPTURE(side);
                CAPTURE(renormalised);
                KernelBasis basis = makeAlardLuptonBasis(side / 2, set.sigmas, set.degrees);
                basis = renormalised ? renormalize(basis) : basis;
                auto const factors = separate(basis);
                REQUIRE(factors.has_value());
                CHECK(factors->firstImageWeight[0] == 0.0);
                for (Index i = 0; i < basis.size(); ++i) {
                    CAPTURE(i);
                    Image<double> const image = imageOf(basis, i);
                    double const norm = std::sqrt(image.square().sum());
                    CHECK((reconstruct(*factors, i) - image).abs().maxCoeff() < 1e-11 * norm);
                }
            }
        }
    }
}

TEST_CASE("images of the same Gaussian and power of x share a row factor") {
    KernelBasis const basis = renormalize(makeAlardLuptonBasis(10, {0.7, 1.5, 3.0}, {4, 2, 2}));
    auto const factors = separate(basis);
    REQUIRE(factors.has_value());
    // 1, x, x^2, x^3 of the first Gaussian and, of rank one as they are, x^2 - c and x^4 - c; three of each other.
    CHECK(factors->rowFactors.rows() == 6 + 3 + 3);
    CHECK(factors->columnFactors.rows() == 27);
    CHECK(factors->rowOf[0] == factors->rowOf[2]);   // 1 and y
    CHECK(factors->rowOf[0] == factors->rowOf[14]);  // and y^4
    CHECK(factors->rowOf[0] != factors->rowOf[15]);  // the next Gaussian
}

TEST_CASE("other stacks of products are recognised, oblong ones too") {
    auto const deltas = separate(deltaBasis(5, 3));
    REQUIRE(deltas.has_value());
    CHECK(deltas->rowFactors.rows() == 3);
    for (Index i = 0; i < 15; ++i) {
        CHECK((reconstruct(*deltas, i) - imageOf(deltaBasis(5, 3), i)).abs().maxCoeff() < 1e-15);
    }

    std::srand(4);
    Image<double> const first = VectorXd::Random(7) * Eigen::RowVectorXd::Random(11);
    Image<double> const product = VectorXd::Random(7) * Eigen::RowVectorXd::Random(11);
    KernelBasis const mixed = basisOf({first, product, product - 3.0 * first, 1e-3 * product + first});
    auto const factors = separate(mixed);
    REQUIRE(factors.has_value());
    CHECK(factors->firstImageWeight[2] == doctest::Approx(-3.0).epsilon(1e-10));
    CHECK(factors->firstImageWeight[3] == doctest::Approx(1.0).epsilon(1e-10));
    for (Index i = 0; i < 4; ++i) {
        CHECK((reconstruct(*factors, i) - imageOf(mixed, i)).abs().maxCoeff() < 1e-12);
    }

    for (auto const& [height, width] : {std::pair<Index, Index>{1, 9}, {9, 1}, {1, 1}}) {
        KernelBasis const line = randomBasis(3, height, width, 5);
        auto const lineFactors = separate(line);
        REQUIRE(lineFactors.has_value());
        CHECK((reconstruct(*lineFactors, 2) - imageOf(line, 2)).abs().maxCoeff() < 1e-14);
    }
}

TEST_CASE("stacks without that form are not separable") {
    CHECK_FALSE(separate(randomBasis(4, 9, 9, 1)).has_value());
    CHECK_FALSE(separate(randomBasis(1, 5, 3, 2)).has_value());
    // One image too many, a Gaussian at 45 degrees, among products.
    Image<double> diagonal(9, 9);
    for (Index y = 0; y < 9; ++y) {
        for (Index x = 0; x < 9; ++x) {
            auto const u = static_cast<double>(x - 4);
            auto const v = static_cast<double>(y - 4);
            diagonal(y, x) = std::exp(-0.2 * (u * u + v * v - u * v));
        }
    }
    CHECK_FALSE(separate(basisOf({gaussian(9, 9, 1.0, 1.0), diagonal})).has_value());
    CHECK_FALSE(separate(basisOf({diagonal, gaussian(9, 9, 1.0, 1.0)})).has_value());
    // Rank two, but not with the first image as one of the two.
    Image<double> const pair = gaussian(9, 9, 1.0, 1.0, 1.0, 2.0) + gaussian(9, 9, 2.0, 1.0, -1.0, 0.0);
    CHECK_FALSE(separate(basisOf({gaussian(9, 9, 1.5, 1.0), pair})).has_value());
    // A defect of 1e-9 is more than rounding.
    KernelBasis defect = smallBasis();
    defect.images(3, 17) += 1e-9;
    CHECK_FALSE(separate(defect).has_value());
}

TEST_CASE("widths and degrees that make no basis are refused") {
    CHECK_THROWS_WITH_AS((void)makeAlardLuptonBasis(0, {1.0}, {1}),
                         "half width of the kernel is 0 pixels, must be at least 1", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)makeAlardLuptonBasis(5, {1.0, 2.0}, {1}), doctest::Contains("2 sigmas for 1 degrees"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)makeAlardLuptonBasis(5, {}, {}), doctest::Contains("0 sigmas for 0 degrees"),
                         std::invalid_argument);
    for (double const sigma : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
        CHECK_THROWS_WITH_AS((void)makeAlardLuptonBasis(5, {1.0, sigma}, {1, 1}),
                             doctest::Contains("Gaussian 1 has sigma"), std::invalid_argument);
    }
    CHECK_THROWS_WITH_AS((void)makeAlardLuptonBasis(5, {1.0}, {-1}), doctest::Contains("degree -1"),
                         std::invalid_argument);
}

TEST_CASE("stacks that cannot be renormalised are an error") {
    Image<double> const star = gaussian(7, 7, 1.0, 1.0);
    CHECK_THROWS_WITH_AS((void)renormalize(basisOf({Image<double>::Zero(7, 7), star})),
                         doctest::Contains("first basis image sums to zero"), NumericalError);
    for (double const factor : {1.0, 2.0, 3.0, -0.7}) {
        CHECK_THROWS_WITH_AS((void)renormalize(basisOf({star, factor * star})),
                             doctest::Contains("basis image 1 is a multiple of the first one"), NumericalError);
    }
    CHECK_THROWS_WITH_AS((void)renormalize(basisOf({star, Image<double>::Zero(7, 7)})),
                         "basis image 1 is zero everywhere", NumericalError);
}

TEST_CASE("stacks of wrong shape are refused") {
    KernelBasis basis = deltaBasis(5, 3);
    CHECK_NOTHROW(psfmatch::validate(basis));
    CHECK_THROWS_WITH_AS(psfmatch::validate(KernelBasis{}), doctest::Contains("at least one image"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(psfmatch::validate(deltaBasis(4, 3)), doctest::Contains("must be odd"), std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)separate(deltaBasis(3, 4)), doctest::Contains("not 3x4"), std::invalid_argument);
    basis.height = 3;
    CHECK_THROWS_WITH_AS(psfmatch::validate(basis), doctest::Contains("hold 15 pixels, not 3x3"),
                         std::invalid_argument);
    basis = deltaBasis(5, 3);
    basis.images(2, 2) = std::nan("");
    CHECK_THROWS_WITH_AS(psfmatch::validate(basis), doctest::Contains("NaN or infinity"), std::invalid_argument);
}
