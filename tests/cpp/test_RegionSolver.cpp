// What two models differ by, and the fit to regions in one object against its parts one by one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/RegionPlaces.h"
#include "psfmatch/fit/RegionSolver.h"
#include "regionReference.h"

using namespace psfmatch;
using namespace regionReference;
using Eigen::VectorXd;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index side = 7;
Execution const one{1};

KernelBasis gaussians() {
    return renormalize(makeAlardLuptonBasis(side / 2, {0.8, 1.5}, {2, 0}, Polynomials::hermite));
}

// Of the regions first <= k < end of a field.
RegionSolver solverOf(Field field, std::size_t first, std::size_t end, RowMatrix const& correlation = {},
                      int nThreads = 1) {
    field.x = {field.x.begin() + static_cast<std::ptrdiff_t>(first),
               field.x.begin() + static_cast<std::ptrdiff_t>(end)};
    field.y = {field.y.begin() + static_cast<std::ptrdiff_t>(first),
               field.y.begin() + static_cast<std::ptrdiff_t>(end)};
    auto const n = static_cast<Index>(field.x.size());
    RegionModel model{VectorXd(n), VectorXd(n), gaussians(), SpatialModel::chebyshev1, {50.0, 50.0, 50.0, 50.0},
                      0.3,         {5.0, 3},    correlation};
    for (Index k = 0; k < n; ++k) {
        model.x[k] = static_cast<double>(field.x[static_cast<std::size_t>(k)]);
        model.y[k] = static_cast<double>(field.y[static_cast<std::size_t>(k)]);
    }
    return RegionSolver(cut(field, nThreads), model, {nThreads});
}

SpatialSystem systemOf(RegionSolver const& solver, int order) {
    RegionModel const& model = solver.model();
    return {solver.fit().equations,
            model.x,
            model.y,
            regionFolds(model.x, model.y),
            {model.spatialModel, order, model.frame},
            model.basis,
            model.kernelNorm};
}

std::vector<Index> allImages() {
    std::vector<Index> images(static_cast<std::size_t>(gaussians().size()));
    std::iota(images.begin(), images.end(), Index{0});
    return images;
}

}  // namespace

TEST_CASE("the gain of a model is the sum of differences without the extreme ones") {
    std::mt19937 random(3);
    std::normal_distribution<double> noise(0.0, 1.0);
    for (Index const n : {0, 1, 49, 50, 201}) {
        VectorXd const first = VectorXd::NullaryExpr(n, [&] { return noise(random); });
        VectorXd second = VectorXd::NullaryExpr(n, [&] { return noise(random); });
        if (n > 0) {
            second[0] = 1e6;  // a variable star
        }
        std::vector<double> ordered;
        for (Index k = 0; k < n; ++k) {
            ordered.push_back(first[k] - second[k]);
        }
        std::sort(ordered.begin(), ordered.end());
        auto const between = [&](double fraction) {
            double const place = fraction * static_cast<double>(n - 1);
            auto const low = static_cast<std::size_t>(place);
            return ordered[low] +
                   (place - static_cast<double>(low)) * (ordered[std::min(low + 1, ordered.size() - 1)] - ordered[low]);
        };
        double sum = 0.0;
        double squares = 0.0;
        for (double const value : ordered) {
            double const kept = n < 50 ? value : std::clamp(value, between(0.01), between(0.99));
            sum += kept;
            squares += kept * kept;
        }
        PairedGain const found = pairedGain(first, second);
        CHECK(found.gain == doctest::Approx(sum).epsilon(1e-12));
        CHECK(found.error == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
    }
    VectorXd const known = VectorXd::Ones(3);
    VectorXd const unsolved = VectorXd::Constant(3, infinity);
    CHECK(pairedGain(unsolved, known).gain == infinity);
    CHECK(pairedGain(known, unsolved).gain == -infinity);
    CHECK(pairedGain(unsolved, unsolved).gain == -infinity);
    CHECK(pairedGain(unsolved, known).error == 0.0);
    CHECK_THROWS_AS((void)pairedGain(known, VectorXd::Ones(2)), std::invalid_argument);
}

TEST_CASE("a part of a solution is its images, with the covariance of their coefficients") {
    SpatialSolution whole;
    whole.kernel = Eigen::MatrixXd::Random(4, 3);
    whole.background = VectorXd::Random(6);
    whole.kernelCovariance = Eigen::MatrixXd::Random(12, 12);
    SpatialSolution const part = partOf(whole, {0, 3});
    CHECK(part.background == whole.background);
    for (Index i = 0; i < 2; ++i) {
        CHECK(part.kernel.row(i) == whole.kernel.row(3 * i));
        for (Index a = 0; a < 3; ++a) {
            for (Index j = 0; j < 6; ++j) {
                CHECK(part.kernelCovariance(3 * i + a, j) == whole.kernelCovariance(9 * i + a, j < 3 ? j : j + 6));
            }
        }
    }
    whole.kernelCovariance.resize(0, 0);
    CHECK(partOf(whole, {1}).kernelCovariance.size() == 0);
    CHECK_THROWS_AS((void)partOf(whole, {4}), std::invalid_argument);
}

TEST_CASE("a fit in one object is that of its parts, before and after a rejection") {
    Field const field = makeField(side);
    RegionSolver solver = solverOf(field, 0, 16);
    REQUIRE(solver.size() == 16);
    SpatialModelOptions const usual = solver.usualModel(allImages());
    CHECK(usual == SpatialModelOptions{allImages(), solver.polynomials(1), solver.polynomials(1), 1.0, 0.01, 0.2});
    SpatialModelOptions richer = usual;
    richer.kernel = solver.polynomials(2);
    for (int pass = 0; pass < 2; ++pass) {
        CHECK(solver.nPasses() == pass);
        CHECK_FALSE(solver.hasJudged(usual));
        StampValues const values = systemOf(solver, 1).heldOut(usual);
        RegionResiduals const residuals = judge(solver.fit(), values.coefficients, values.backgrounds, one);
        CHECK(solver.chiSquares(usual, one) == values.chiSquares);
        CHECK(solver.hasJudged(usual));
        CHECK_FALSE(solver.hasJudged(richer));
        CHECK(solver.chiSquares(richer, one) == systemOf(solver, 2).heldOut(richer).chiSquares);
        BrightScatter const scatter = solver.brightPixels(usual, one);
        CHECK(scatter.scatter == brightScatter(residuals, *solver.fit().stamps, 0.3).scatter);
        CHECK(solver.summary(usual, one).rms == summarize(residuals, &solver.fit().rejected).rms);
        SpatialSolution const solution = solver.solve(usual, true, one);
        CHECK(solution.kernel == systemOf(solver, 1).solve(usual, true).kernel);
        CHECK(solution.kernelCovariance.size() != 0);
        CHECK(solver.lightGain(solution, one) == systemOf(solver, 1).lightGain(solution));
        RegionFit expected = solver.fit();
        RegionFlags const outliers = findOutliers(residuals, {5.0, 3}, one);
        bool const hasChanged = reweigh(expected, residuals.variance, pass == 0 ? &outliers : nullptr, one);
        CHECK(solver.reject(usual, pass == 0, one) == hasChanged);
        CHECK((solver.fit().weights == expected.weights).all());
        CHECK(solver.fit().rejected == expected.rejected);
    }
}

TEST_CASE("regions are judged by others that do not overlap them") {
    Field const field = makeField(side);
    RegionSolver stars = solverOf(field, 0, 6);
    RegionSolver tiles = solverOf(field, 4, 16);  // two are the same regions
    SpatialModelOptions const model{allImages(), {}, {}, 1.0, 0.01, 0.2};
    VectorXd const found = stars.chiSquaresBy(tiles, model, one);
    SpatialSystem const own = systemOf(stars, 0);
    for (Index k = 0; k < 6; ++k) {  // few regions are each withheld alone
        std::vector<char> without(12, 0);
        for (Index j = 0; j < 12; ++j) {
            without[static_cast<std::size_t>(j)] = std::abs(stars.model().x[k] - tiles.model().x[j]) < 17.0 &&
                                                           std::abs(stars.model().y[k] - tiles.model().y[j]) < 17.0
                                                       ? 1
                                                       : 0;
        }
        CHECK(std::count(without.begin(), without.end(), 1) == (k < 4 ? 0 : 1));
        StampValues const values = own.at(systemOf(tiles, 0).solve(model, false, without));
        CHECK(found[k] == own.chiSquares(values.coefficients, values.backgrounds)[k]);
    }
    // All that there is overlaps the region: what is left has no solution.
    RegionSolver alone = solverOf(field, 0, 1);
    RegionSolver same = solverOf(field, 0, 1);
    SpatialModelOptions const withoutPrior{allImages()};
    CHECK(alone.chiSquaresBy(same, withoutPrior, one)[0] == infinity);
    CHECK_THROWS_AS((void)alone.chiSquaresBy(alone, model, one), std::invalid_argument);
}

TEST_CASE("a correlation of noise of one pixel is white noise, and threads change nothing") {
    Field const field = makeField(side);
    RowMatrix white = RowMatrix::Zero(3, 3);
    white(1, 1) = 1.0;
    RegionSolver plain = solverOf(field, 0, 16);
    RegionSolver same = solverOf(field, 0, 16, white, 3);
    RegionSolver shared = solverOf(field, 0, 16, RowMatrix::Constant(3, 3, 1.0));
    SpatialModelOptions const model = plain.usualModel(allImages());
    VectorXd const expected = plain.chiSquares(model, one);
    CHECK((same.chiSquares(model, {3}) - expected).cwiseAbs().maxCoeff() < 1e-9 * expected.maxCoeff());
    CHECK((shared.chiSquares(model, one) - expected).cwiseAbs().maxCoeff() > 1e-6 * expected.maxCoeff());
    RegionSolver threads = solverOf(field, 0, 16, {}, 3);
    CHECK(threads.chiSquares(model, {3}) == expected);
    CHECK_THROWS_AS(solverOf(field, 0, 16, RowMatrix::Ones(2, 2)), std::invalid_argument);
}

TEST_CASE("a model without solution is told, with what to try") {
    Field const field = makeField(side);
    RegionSolver alone = solverOf(field, 0, 1);
    SpatialModelOptions const model{allImages()};  // no region is left, and no prior tells anything
    CHECK(alone.chiSquares(model, one)[0] == infinity);
    CHECK_FALSE(alone.hasJudged(model));
    CHECK_THROWS_WITH_AS(alone.reject(model, true, one), doctest::Contains("Try lower spatial orders"), SolutionError);
    CHECK(alone.nPasses() == 0);
    CHECK_THROWS_AS(RegionSolver(cut(field), RegionModel{}, one), std::invalid_argument);
}
