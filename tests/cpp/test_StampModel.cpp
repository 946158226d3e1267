#include <doctest/doctest.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/StampColumns.h"
#include "psfmatch/fit/StampEvidence.h"
#include "psfmatch/fit/StampModel.h"

using namespace psfmatch;

namespace {

OwnedImage<double> star(Index side, double x, double y, double flux, double sigma) {
    OwnedImage<double> image(side, side);
    for (Index v = 0; v < side; ++v) {
        for (Index u = 0; u < side; ++u) {
            double const dx = static_cast<double>(u) - x;
            double const dy = static_cast<double>(v) - y;
            image(v, u) = flux / (2.0 * 3.141592653589793 * sigma * sigma) *
                          std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma));
        }
    }
    return image;
}

OwnedImage<double> noise(Index height, Index width, double sigma, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(0.0, sigma);
    OwnedImage<double> image(height, width);
    for (Index i = 0; i < image.size(); ++i) {
        image(i) = normal(generator);
    }
    return image;
}

StampColumnsControl smallColumns() {
    StampColumnsControl control;
    control.widths = {0.5, 1.0, -0.6};
    control.halfWidth = 3;
    control.deviationRadius = 1.5;
    return control;
}

struct Small {
    OwnedImage<double> science = star(13, 5.3, 6.8, 500.0, 1.4) + noise(13, 13, 1.0, 1);
    OwnedImage<double> reference = star(13, 5.1, 6.9, 480.0, 1.1) + noise(13, 13, 0.3, 2);
    StampColumns columns = stampColumns(science, reference, smallColumns());
    Eigen::VectorXd weights;

    Small() {
        weights.resize(science.size());
        for (Index i = 0; i < weights.size(); ++i) {
            weights(i) = i % 11 == 3 ? 0.0 : 1.0 / (1.0 + 0.01 * static_cast<double>(i % 17));
        }
    }
};

// Columns of all unknowns, their prior covariance and their means, as the model defines them.
struct Dense {
    Eigen::MatrixXd design;
    Eigen::MatrixXd prior;
    Eigen::VectorXd mean;
};

Dense denseOf(StampProblem const& problem, StampChoice const& choice, StampExtra const& extra) {
    StampColumns const& columns = problem.columns;
    Index const nDeviation = columns.nDeviation();
    Index const n = nDeviation + 9 + extra.size();
    Dense dense{Eigen::MatrixXd::Zero(columns.values.rows(), n), Eigen::MatrixXd::Zero(n, n), Eigen::VectorXd::Zero(n)};
    dense.design.leftCols(nDeviation) = columns.values.leftCols(nDeviation);
    dense.design.middleCols(nDeviation, 6) = columns.values.middleCols(columns.firstOf(choice.width), 6);
    dense.design.middleCols(nDeviation + 6, 3) = columns.values.middleCols(columns.plane(), 3);
    for (std::size_t i = 0; i < extra.pixels.size(); ++i) {
        dense.design.row(extra.pixels[i]).tail(extra.size()) = extra.values.row(static_cast<Index>(i));
    }
    double const r = choice.ratio;
    double const deviation = r * choice.deviation * columns.peaks[static_cast<std::size_t>(choice.width)];
    Eigen::MatrixXd const& turn = problem.turn(choice.envelope, choice.length);
    dense.prior.topLeftCorner(nDeviation, nDeviation) = deviation * deviation * turn * turn.transpose();
    Eigen::VectorXd sizes(9);
    auto const& priors = problem.priors;
    sizes << choice.ratioError * r, priors.shift * r, priors.shift * r, priors.moments * r, priors.moments * r,
        priors.moments * r, priors.plane, priors.plane, priors.plane;
    dense.prior.diagonal().segment(nDeviation, 9) = sizes.array().square();
    dense.prior.diagonal().tail(extra.size()) = extra.sizes.array().square();
    dense.mean(nDeviation) = r;
    return dense;
}

StampExtra smallExtra() {
    StampExtra extra;
    extra.pixels = {70, 71, 72, 83, 84, 85};
    extra.values.resize(6, 2);
    extra.values << 0.1, 0.2, 0.3, -0.1, 0.1, 0.0, 0.2, 0.4, 1.0, 0.1, 0.2, -0.3;
    extra.sizes = Eigen::Vector2d(20.0, 5.0);
    return extra;
}

}  // namespace

TEST_CASE("StampColumns are the template convolved by their kernels") {
    Small const small;
    StampColumns const& columns = small.columns;
    Index const half = columns.halfWidth;
    for (Index column = 0; column < columns.plane(); ++column) {
        double worst = 0.0;
        for (Index y = 0; y < 13; ++y) {
            for (Index x = 0; x < 13; ++x) {
                double sum = 0.0;
                for (Index v = -half; v <= half; ++v) {
                    for (Index u = -half; u <= half; ++u) {
                        sum += columns.kernels(column, (v + half) * (2 * half + 1) + u + half) *
                               small.reference(std::clamp<Index>(y - v, 0, 12), std::clamp<Index>(x - u, 0, 12));
                    }
                }
                worst = std::max(worst, std::abs(sum - columns.values(y * 13 + x, column)));
            }
        }
        CHECK(worst < 1e-11 * columns.kernels.row(column).lpNorm<1>() * small.reference.abs().maxCoeff());
    }
    CHECK(columns.values(3, columns.science()) == small.science(3));
}

TEST_CASE("StampColumns: kernels have the sum of a kernel, of derivatives none, and first derivatives shift") {
    StampColumnsControl control;
    control.widths = {1.3, -0.7};
    auto const columns = stampColumns(OwnedImage<double>::Zero(41, 41), star(41, 20.0, 20.0, 1.0, 1.5), control);
    Index const side = 2 * columns.halfWidth + 1;
    for (Index w = 0; w < 2; ++w) {
        Index const first = columns.firstOf(w);
        CHECK(columns.kernels.row(first).sum() == doctest::Approx(1.0).epsilon(1e-12));
        for (Index k = 1; k < StampColumns::perWidth; ++k) {
            // What the border of the kernel cuts off.
            CHECK(std::abs(columns.kernels.row(first + k).sum()) < 2e-2);
        }
        auto const moment = [&](Index column, bool alongX) {
            double sum = 0.0;
            for (Index i = 0; i < side * side; ++i) {
                sum += columns.kernels(column, i) *
                       static_cast<double>((alongX ? i % side : i / side) - columns.halfWidth);
            }
            return sum;
        };
        // What sharpens rings beyond its border.
        double const cutOff = w == 0 ? 1e-6 : 0.1;
        CHECK(moment(first + 1, true) == doctest::Approx(1.0).epsilon(cutOff));
        CHECK(moment(first + 1, false) == doctest::Approx(0.0));
        CHECK(moment(first + 2, false) == doctest::Approx(1.0).epsilon(cutOff));
    }
    CHECK_THROWS_AS((void)stampColumns(OwnedImage<double>::Zero(4, 5), OwnedImage<double>::Zero(5, 4)),
                    std::invalid_argument);
}

TEST_CASE("StampEvidence is the density of the data, and the solution its most likely coefficients") {
    Small const small;
    StampPriors priors;
    priors.plane = 3.0;
    auto const problem = makeStampProblem(small.columns, priors, 0.0);
    for (double const deviation : {0.0, 0.1}) {
        for (bool const hasExtra : {false, true}) {
            StampChoice const choice{1, 1, 2, deviation, 1.1, 0.2};
            StampExtra const extra = hasExtra ? smallExtra() : StampExtra{};
            auto sums = stampSums(problem.columns, small.weights);
            auto const solution = solveStamp(problem, sums, extra, choice);

            auto const dense = denseOf(problem, choice, extra);
            std::vector<Index> used;
            for (Index i = 0; i < small.weights.size(); ++i) {
                if (small.weights(i) > 0.0) {
                    used.push_back(i);
                }
            }
            Eigen::MatrixXd const design = dense.design(used, Eigen::all);
            Eigen::MatrixXd covariance = design * dense.prior * design.transpose();
            covariance.diagonal() += Eigen::VectorXd(small.weights(used)).cwiseInverse();
            Eigen::VectorXd const data = problem.columns.values.col(problem.columns.science())(used);
            Eigen::VectorXd const left = data - design * dense.mean;
            Eigen::LLT<Eigen::MatrixXd> const factor(covariance);
            Eigen::MatrixXd const lower = factor.matrixL();
            double const expected = -0.5 * left.dot(factor.solve(left)) - lower.diagonal().array().log().sum();
            CHECK(solution.evidence == doctest::Approx(expected).epsilon(1e-10));

            Eigen::VectorXd const unknowns = dense.mean + dense.prior * design.transpose() * factor.solve(left);
            Index const nDeviation = problem.columns.nDeviation();
            Eigen::VectorXd const base = solution.coefficients.segment(problem.columns.firstOf(1), 6);
            CHECK((base - unknowns.segment(nDeviation, 6)).norm() < 1e-9);
            CHECK((solution.coefficients.head(nDeviation) - unknowns.head(nDeviation)).norm() < 1e-9);
            CHECK(std::abs(solution.coefficients.head(nDeviation).sum()) < 1e-9);
            if (hasExtra) {
                CHECK((solution.extra - unknowns.tail(2)).norm() < 1e-9);
            }
            Eigen::VectorXd const residuals = stampResiduals(problem, solution, &extra);
            Eigen::VectorXd const all = problem.columns.values.col(problem.columns.science()) - dense.design * unknowns;
            CHECK((residuals - all).norm() < 1e-8);
            // The model's own variance at a pixel is that of the posterior.
            std::vector<Index> const pixels{84, 20};
            Eigen::MatrixXd rows = designRows(problem, solution, extra, pixels).transpose();
            solution.factor.triangularView<Eigen::Lower>().solveInPlace(rows);
            Eigen::MatrixXd const posterior =
                dense.prior - dense.prior * design.transpose() * factor.solve(design * dense.prior);
            Eigen::MatrixXd const error =
                dense.design(pixels, Eigen::all) * posterior * dense.design(pixels, Eigen::all).transpose();
            CHECK((rows.transpose() * rows - error).norm() < 1e-8 * error.norm());
        }
    }
}

TEST_CASE("StampEvidence: the template's noise is no misfit, and the second solution is pulled to the first") {
    Small const small;
    auto const plain = makeStampProblem(small.columns, {}, 0.0);
    auto const noisy = makeStampProblem(small.columns, {}, 0.09);
    StampChoice const choice{0, 0, 1, 0.0, 1.0, 0.05};
    auto sums = stampSums(small.columns, small.weights);
    auto const first = solveStamp(plain, sums, {}, choice);
    auto const second = solveStamp(noisy, sums, {}, choice);
    double const factor = 0.09 * small.weights.sum();
    CHECK(second.evidence ==
          doctest::Approx(first.evidence + 0.5 * factor * first.kernel.squaredNorm()).epsilon(1e-12));
    // H (second - first) = N first, in scaled unknowns.
    Eigen::VectorXd const change = second.coefficients.segment(small.columns.firstOf(0), 6) -
                                   first.coefficients.segment(small.columns.firstOf(0), 6);
    Eigen::VectorXd pull = Eigen::VectorXd::Zero(9);
    pull.head(6) = factor * small.columns.kernels.middleRows(small.columns.firstOf(0), 6) * first.kernel;
    pull.array() *= first.scales.array();
    Eigen::MatrixXd const hessian = first.factor * first.factor.transpose();
    Eigen::VectorXd const expected = hessian.llt().solve(pull).array() * first.scales.array();
    CHECK((change - expected.head(6)).norm() < 1e-10 * expected.norm() + 1e-14);
}

TEST_CASE("StampEvidence: what is left out has no weight, and what is brought back is as before") {
    Small const small;
    auto const problem = makeStampProblem(small.columns, {}, 0.01);
    StampChoice const choice{1, 1, 1, 0.1, 1.0, 0.3};
    auto sums = stampSums(small.columns, small.weights);
    double const before = solveStamp(problem, sums, {}, choice).evidence;
    std::vector<Index> const pixels{30, 31, 44, 36, 80};  // 36 has no weight
    leaveOut(sums, small.columns, pixels);
    Eigen::VectorXd masked = small.weights;
    masked(pixels).setZero();
    auto anew = stampSums(small.columns, masked);
    CHECK(solveStamp(problem, sums, {}, choice).evidence ==
          doctest::Approx(solveStamp(problem, anew, {}, choice).evidence).epsilon(1e-10));
    CHECK(sums.totalWeight == doctest::Approx(anew.totalWeight));
    bringBack(sums, small.columns, pixels, small.weights);
    CHECK(solveStamp(problem, sums, {}, choice).evidence == doctest::Approx(before).epsilon(1e-10));
    CHECK(sums.weights == small.weights);
}

TEST_CASE("StampEvidence: sums follow other weights") {
    Small const small;
    auto const sums = stampSums(small.columns, small.weights);
    Eigen::VectorXd weights = 3.0 * small.weights;
    weights(40) *= 2.0;
    weights(41) *= 0.1;
    weights(42) *= 1.01;  // no more than 5 %
    Eigen::VectorXd const asked = weights;
    auto const other = reweighted(sums, small.columns, weights);
    auto const anew = stampSums(small.columns, weights);
    CHECK((other.products - anew.products).norm() < 1e-11 * anew.products.norm());
    CHECK(other.totalWeight == doctest::Approx(anew.totalWeight).epsilon(1e-12));
    CHECK(other.logWeights == doctest::Approx(anew.logWeights).epsilon(1e-12));
    CHECK(((weights - asked).array().abs() <= 0.05 * asked.array()).all());
    CHECK(weights(40) == asked(40));
}

namespace {

StampModelControl const usual;

struct Alert {
    OwnedImage<float> science;
    OwnedImage<float> reference;
    StampFlags good = StampFlags::Ones(51, 51);

    // Three stars; in the science image wider, at 1.5 times the flux, and with a new one in the middle.
    explicit Alert(double transient, unsigned seed = 5) {
        OwnedImage<double> before = noise(51, 51, 0.3, seed) + 20.0;
        OwnedImage<double> after = noise(51, 51, 1.0, seed + 1) + 70.0 + star(51, 25.0, 25.0, transient, 1.6);
        for (auto const& [x, y, flux] : {std::array{12.3, 14.1, 4000.0}, {38.2, 10.4, 2500.0}, {30.6, 40.7, 3000.0}}) {
            before += star(51, x, y, flux, 1.2);
            after += star(51, x, y, 1.5 * flux, 1.6);
        }
        reference = before.cast<float>();
        science = after.cast<float>();
    }

    [[nodiscard]] StampImages images() const {
        auto const view = [](OwnedImage<float> const& image) {
            return ConstImageView<float>(image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols()));
        };
        return {view(science), view(reference), good, good, {}, {}};
    }
};

}  // namespace

TEST_CASE("StampModel tells kernel, ratio, noise, and keeps a transient") {
    StampModelControl control;
    control.isAlert = true;
    Alert const alert(600.0);
    auto const model = fitStamp(alert.images(), control);
    // Noise of 1 over 4 pi 1.6^2 pixels of three stars: a thousandth.
    CHECK(model.ratio == doctest::Approx(1.5).epsilon(5e-3));
    CHECK(model.isFree);
    CHECK(model.ratioError < 0.01);
    CHECK(model.scienceNoise == doctest::Approx(1.0).epsilon(0.06));
    CHECK(model.referenceNoise == doctest::Approx(0.3).epsilon(0.1));
    // sqrt(1.6^2 - 1.2^2) = 1.06
    CHECK(model.kernelWidth > 0.6);
    CHECK(model.kernelWidth < 1.5);
    CHECK(model.rejected.empty());
    REQUIRE(!model.attempts.empty());
    // Of the light within 3.5 px; six times the noise of 38 pixels.
    double const expected = 600.0 * (1.0 - std::exp(-0.5 * 3.5 * 3.5 / 2.56));
    CHECK(std::abs(model.attempts.front().middleFlux - expected) < 6.0 * std::sqrt(38.0));
    CHECK(model.attempts.front().account == model.account);
    CHECK(model.account != StampAccount::scaled);
    CHECK((model.noData == 0).all());
    CHECK(model.scienceSky == doctest::Approx(70.0).epsilon(0.01));
}

TEST_CASE("StampModel: scale and level of the images do not matter") {
    StampModelControl control;
    Alert alert(0.0);
    auto const first = fitStamp(alert.images(), control);
    alert.science = alert.science * 8.0F + 256.0F;
    alert.reference = alert.reference * 4.0F - 64.0F;
    control.ratio = 2.0;
    auto const other = fitStamp(alert.images(), control);
    CHECK(other.ratio == doctest::Approx(2.0 * first.ratio).epsilon(1e-4));
    CHECK((other.kernel - 2.0 * first.kernel).abs().maxCoeff() < 1e-3 * first.kernel.maxCoeff());
}

TEST_CASE("StampModel: what has changed elsewhere is left out") {
    Alert alert(0.0);
    alert.science += star(51, 17.0, 36.0, 900.0, 1.6).cast<float>();
    auto const model = fitStamp(alert.images(), usual);
    REQUIRE(model.rejected.size() == 1);
    CHECK(std::abs(model.rejected[0][0] - 17) <= 1);
    CHECK(std::abs(model.rejected[0][1] - 36) <= 1);
    CHECK(model.ratio == doctest::Approx(1.5).epsilon(5e-3));
}

TEST_CASE("StampModel: no data where light from beyond the template's pixels is missing, and only there") {
    Alert alert(0.0);
    StampFlags good = alert.good;
    good.leftCols(11).setZero();  // through the wings of the first star
    StampImages images = alert.images();
    images.referenceGood = good;
    auto const model = fitStamp(images, usual);
    CHECK(model.noData(14, 11) == 1);
    CHECK(model.noData(40, 11) == 0);
    CHECK(model.noData(30, 30) == 0);
    CHECK(model.ratio == doctest::Approx(1.5).epsilon(0.02));
}

TEST_CASE("StampModel: a template without a source, no source at all, and stamps that hold nothing") {
    Alert alert(900.0);
    alert.reference = (noise(51, 51, 0.3, 9) + 20.0).cast<float>();
    auto const empty = fitStamp(alert.images(), usual);
    CHECK(!empty.referenceHasLight);
    CHECK(empty.scienceHasLight);
    CHECK(empty.kernel.sum() == doctest::Approx(1.0));
    CHECK(empty.plane[0] == doctest::Approx(70.0 - 20.0).epsilon(0.01));
    alert.science = (noise(51, 51, 1.0, 10) + 70.0).cast<float>();
    CHECK(!fitStamp(alert.images(), usual).scienceHasLight);
    StampImages none = alert.images();
    none.scienceGood.setZero();
    CHECK_THROWS_WITH_AS((void)fitStamp(none, usual), doctest::Contains("0 of them good in both images"),
                         NumericalError);
    alert.good = StampFlags::Ones(50, 51);
    CHECK_THROWS_AS((void)fitStamp(alert.images(), usual), std::invalid_argument);
}
