// Covariances of single and spatial fits against the covariance matrix of all pixels, and against repeated noise.
#include <doctest/doctest.h>

#include <Eigen/LU>
#include <cmath>
#include <random>
#include <vector>

#include "fitReference.h"
#include "psfmatch/kernel/Regularization.h"

using namespace fitReference;
using psfmatch::CandidateOutcome;
using psfmatch::prepare;
using psfmatch::PreparedBasis;
using psfmatch::Regularization;
using simulate::deltaBasis;
using simulate::relativeError;

namespace {

// C^T W Sigma W C with the whole Sigma, the covariance of the pixels of science - K (x) template: (unknowns, unknowns)
MatrixXd noiseByDefinition(StampPair const& pair, KernelBasis const& basis, VectorXd const& weights,
                           Image<double> const& kernel, bool withBackground) {
    Index const stampWidth = pair.templateStamp.image.cols();
    Index const width = stampWidth - kernel.cols() + 1;
    Index const height = pair.templateStamp.image.rows() - kernel.rows() + 1;
    MatrixXd design = MatrixXd::Ones(height * width, basis.size() + (withBackground ? 1 : 0));
    for (Index i = 0; i < basis.size(); ++i) {
        Image<double> const column = correlate(pair.templateStamp.image, imageOf(basis, i));
        design.col(i) = Eigen::Map<VectorXd const>(column.data(), column.size());
    }
    MatrixXd correlation = MatrixXd::Zero(height * width, pair.templateStamp.image.size());
    VectorXd science(height * width);
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            for (Index v = 0; v < kernel.rows(); ++v) {
                for (Index u = 0; u < kernel.cols(); ++u) {
                    correlation(y * width + x, (y + v) * stampWidth + x + u) = kernel(v, u);
                }
            }
            science[y * width + x] =
                static_cast<double>(pair.scienceStamp.variance(y + kernel.rows() / 2, x + kernel.cols() / 2));
        }
    }
    Image<double> const templateVariance = pair.templateStamp.variance.cast<double>();
    VectorXd const templates = Eigen::Map<VectorXd const>(templateVariance.data(), templateVariance.size());
    MatrixXd sigma = correlation * templates.asDiagonal() * correlation.transpose();
    sigma.diagonal() += science;
    MatrixXd const weighted = weights.asDiagonal() * design;
    return weighted.transpose() * sigma * weighted;
}

// 1 / variance at the fitted pixels of a stamp without bad ones.
VectorXd plainWeights(StampPair const& pair, Index kernelHeight, Index kernelWidth, bool constantVariance) {
    Index const height = pair.scienceStamp.image.rows() - kernelHeight + 1;
    Index const width = pair.scienceStamp.image.cols() - kernelWidth + 1;
    Image<double> const variance =
        pair.scienceStamp.variance.cast<double>() + pair.templateStamp.variance.cast<double>();
    Image<double> const inside = variance.block(kernelHeight / 2, kernelWidth / 2, height, width);
    if (constantVariance) {
        return VectorXd::Constant(height * width,
                                  1.0 / psfmatch::median({variance.data(), variance.data() + variance.size()}));
    }
    return Eigen::Map<VectorXd const>(inside.data(), inside.size()).cwiseInverse();
}

// A star whose noise is drawn anew, under variances that stay.
struct NoiseDraws {
    explicit NoiseDraws(unsigned seed)
        : truth(makeStar(combine(smallBasis(), trueCoefficients()), noiseless(), 1)), random(seed) {
        for (psfmatch::Index i = 0; i < truth.templateStamp.image.size(); ++i) {
            truth.templateStamp.variance(i) = 9.0F + std::abs(truth.templateStamp.image(i));
            truth.scienceStamp.variance(i) = 25.0F + std::abs(truth.scienceStamp.image(i));
        }
    }

    static StarControl noiseless() {
        StarControl control;
        control.flux = 1e5;
        control.templateNoise = 0.0;
        control.scienceNoise = 0.0;
        return control;
    }

    StampPair draw() {
        StampPair pair = truth;
        for (MaskedImage* stamp : {&pair.templateStamp, &pair.scienceStamp}) {
            for (Index i = 0; i < stamp->image.size(); ++i) {
                stamp->image(i) += std::sqrt(stamp->variance(i)) * noise(random);
            }
        }
        return pair;
    }

    StampPair truth;
    std::mt19937 random;
    std::normal_distribution<float> noise{0.0F, 1.0F};
};

}  // namespace

TEST_CASE("the noise of the equations is that of all pixels together") {
    Regularization const regularization{
        psfmatch::makeRegularizationMatrix(5, 3), psfmatch::LambdaType::absolute, 40.0, 0.0, {}, 1e5};
    for (int const options : {0, 1, 2, 3, 4, 5, 6, 7}) {
        CAPTURE(options);
        bool const delta = options % 2 == 1;
        CandidateFitControl control;
        control.covariance = true;
        control.fitBackground = options % 4 > 1;
        control.constantVariance = options > 3;
        StampPair const pair = star(5, control.fitBackground ? 50.0 : 0.0);
        KernelBasis const basis = delta ? deltaBasis(3, 5) : smallBasis();
        CandidateFit const fit =
            fitCandidates({pair.views()}, prepare(basis), control, {}, delta ? &regularization : nullptr).front();
        REQUIRE(fit.outcome == CandidateOutcome::solved);
        VectorXd const weights = plainWeights(pair, basis.height, basis.width, control.constantVariance);
        MatrixXd const noise =
            noiseByDefinition(pair, basis, weights, combine(basis, fit.coefficients), control.fitBackground);
        CHECK(relativeError(fit.noiseMatrix, noise) < 1e-12);
        MatrixXd const matrix = delta ? regularized(fit.equations.matrix, regularization, 40.0) : fit.equations.matrix;
        MatrixXd const inverse = matrix.inverse();
        // The scaled equations have condition numbers up to 1e4, twice.
        CHECK(relativeError(fit.covariance, MatrixXd(inverse * noise * inverse)) < 1e-8);
    }
}

TEST_CASE("a template without noise leaves the inverse of the matrix") {
    StarControl stars;
    stars.templateNoise = 0.0;
    StampPair const pair = makeStar(combine(smallBasis(), trueCoefficients()), stars, 3);
    CandidateFitControl control = ownVariances();
    control.covariance = true;
    CandidateFit const fit = fitOne(pair, prepare(smallBasis()), control);
    REQUIRE(fit.outcome == CandidateOutcome::solved);
    CHECK(relativeError(fit.noiseMatrix, fit.equations.matrix) < 1e-12);
    CHECK(relativeError(fit.covariance, MatrixXd(fit.equations.matrix.inverse())) < 1e-9);
}

TEST_CASE("pixels without weight or without a known variance add no noise") {
    CandidateFitControl control = ownVariances();
    control.covariance = true;
    StampPair pair = star(6);
    damage(pair, 300.0F);
    CandidateFit const expected = fitOne(pair, prepare(smallBasis()), control);
    damage(pair, std::nanf(""));
    pair.scienceStamp.variance(11, 11) = std::nanf("");
    CandidateFit const fit = fitOne(pair, prepare(smallBasis()), control);
    REQUIRE(fit.outcome == CandidateOutcome::solved);
    CHECK(fit.covariance == expected.covariance);
    CHECK(fit.covariance.allFinite());
}

TEST_CASE("repeated noise scatters the coefficients as the covariance says") {
    constexpr int nDraws = 300;
    constexpr int nUnknowns = 10;
    for (bool const constantVariance : {true, false}) {
        CAPTURE(constantVariance);
        CandidateFitControl control;
        control.fitBackground = true;
        control.constantVariance = constantVariance;
        control.covariance = true;
        PreparedBasis const basis = prepare(smallBasis());
        NoiseDraws draws(11);
        MatrixXd samples(nUnknowns, nDraws);
        MatrixXd predicted = MatrixXd::Zero(nUnknowns, nUnknowns);
        MatrixXd naive = MatrixXd::Zero(nUnknowns, nUnknowns);
        for (int draw = 0; draw < nDraws; ++draw) {
            CandidateFit const fit = fitOne(draws.draw(), basis, control);
            REQUIRE(fit.outcome == CandidateOutcome::solved);
            samples.col(draw) << fit.coefficients, fit.background;
            predicted += fit.covariance / nDraws;
            naive += fit.equations.matrix.inverse() / nDraws;
        }
        MatrixXd const deviations = samples.colwise() - samples.rowwise().mean();
        // The mean of a^T C^-1 a over draws and unknowns is 1 with a standard deviation of
        // sqrt(2 / (nUnknowns (nDraws - 1))) = 0.026; five of them.
        double const all =
            (deviations.transpose() * predicted.inverse() * deviations).trace() / (nUnknowns * (nDraws - 1));
        CHECK(std::abs(all - 1.0) < 0.13);
        // Each variance for itself is good to sqrt(2 / (nDraws - 1)) = 0.082; four and a half of them.
        VectorXd const each = deviations.rowwise().squaredNorm() / (nDraws - 1);
        CHECK((each.cwiseQuotient(predicted.diagonal()).array() - 1.0).abs().maxCoeff() < 0.37);
        // The inverse of the normal matrix, which takes one variance for all pixels and none for correlated, is far
        // off.
        double const naiveRatio =
            (deviations.transpose() * naive.inverse() * deviations).trace() / (nUnknowns * (nDraws - 1));
        CHECK((!constantVariance || std::abs(naiveRatio - 1.0) > 0.3));
    }
}
