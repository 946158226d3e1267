// Kernels of single candidates against a fit by definition, and their assessment. Bad pixels have a file of their own.
#include <doctest/doctest.h>

#include <Eigen/LU>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fitReference.h"

using namespace fitReference;
using psfmatch::assessCandidates;
using psfmatch::CandidateOutcome;
using psfmatch::CandidateStamp;
using psfmatch::fitCandidates;
using psfmatch::prepare;
using psfmatch::PreparedBasis;
using psfmatch::RowMatrix;
using simulate::deltaBasis;
using simulate::gaussian;
using simulate::relativeError;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();

void checkStatistics(ResidualStatistics const& found, ResidualStatistics const& expected, double tolerance) {
    CHECK(found.count == expected.count);
    CHECK(std::abs(found.mean - expected.mean) < tolerance);
    CHECK(std::abs(found.rms - expected.rms) < tolerance);
}

}  // namespace

TEST_CASE("a delta-like stamp gives the kernel it was convolved with") {
    // One pixel of 1024 = 2^10 and a kernel in multiples of 2^-12: all products are exact, the equations diagonal.
    Image<double> const kernel = (gaussian(7, 9, 1.5, 2048.0, 0.4, -0.2).round() / 4096.0).eval();
    StampPair pair{{7 + 20, 9 + 20}, {7 + 20, 9 + 20}};
    pair.templateStamp.image(13, 14) = 1024.0F;
    pair.templateStamp.variance.setConstant(1e-4F);
    pair.scienceStamp.variance.setConstant(1e-4F);
    pair.scienceStamp.image.block(3, 4, 21, 21) = correlate(pair.templateStamp.image, kernel).cast<float>();
    CandidateFit const fit = fitOne(pair, prepare(deltaBasis(7, 9)));
    CHECK(fit.outcome == CandidateOutcome::solved);
    CHECK((combine(deltaBasis(7, 9), fit.coefficients) - kernel).abs().maxCoeff() < 1e-15);
    CHECK(fit.kernelSum == doctest::Approx(kernel.sum()).epsilon(1e-14));
    // 63 independent pixels, each known to the root of the variances' sum over the light.
    CHECK(fit.kernelSumError == doctest::Approx(std::sqrt(63.0 * 2e-4) / 1024.0).epsilon(1e-6));
    CHECK(fit.background == 0.0);
    CHECK(fit.conditionNumber == doctest::Approx(1.0).epsilon(1e-12));
    CHECK(fit.whole.count == 21 * 21);
    CHECK(std::abs(fit.whole.rms) < 1e-9);
    CHECK(fit.core.count == 49);
}

TEST_CASE("scaled and offset stamps") {
    StampPair const original = star(1);
    auto const matchedTo = [&](float scale, float offset) {
        StampPair pair = original;
        pair.scienceStamp = pair.templateStamp;
        pair.scienceStamp.image = pair.scienceStamp.image * scale + offset;
        return pair;
    };
    CandidateFitControl control;
    control.fitBackground = true;
    for (auto const& [scale, offset] : {std::pair<float, float>{1.0F, 0.0F}, {2.7F, 0.0F}, {1.0F, 11.3F}}) {
        // The star's peak of 1600 is rounded to 6e-5 in float32, its sky of 3 noise to 1e-7: with weights from a
        // common variance the least certain pixel of a delta-function kernel is uncertain by about 1e-5.
        CandidateFit const fit = fitOne(matchedTo(scale, offset), prepare(deltaBasis(5, 5)), control);
        Image<double> kernel = combine(deltaBasis(5, 5), fit.coefficients);
        CHECK(fit.kernelSum == doctest::Approx(static_cast<double>(scale)).epsilon(1e-5));
        CHECK(std::abs(fit.background - static_cast<double>(offset)) < 1e-4);
        kernel(2, 2) -= static_cast<double>(scale);
        CHECK(kernel.abs().maxCoeff() < 1e-5);
    }
}

TEST_CASE("fits agree with the least squares of a list of pixels") {
    PreparedBasis const separable = prepare(smallBasis());
    REQUIRE(separable.separable.has_value());
    PreparedBasis const direct{smallBasis(), std::nullopt};
    for (int const options : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
        CandidateFitControl control;
        control.fitBackground = options % 2 == 1;
        control.zeroWeightBadPixels = options % 4 < 2;
        control.constantVariance = options < 4;
        control.iterate = options >= 8;
        CAPTURE(options);
        StampPair pair = star(2, control.fitBackground ? 50.0 : 0.0);
        damage(pair, 300.0F);
        Reference const expected = fitExactly(pair, smallBasis(), control);
        std::vector<CandidateFit> fits{fitOne(pair, separable, control), fitOne(pair, direct, control)};
        control.instructionSet = psfmatch::InstructionSet::baseline;
        fits.push_back(fitOne(pair, separable, control));
        for (CandidateFit const& fit : fits) {
            REQUIRE(fit.outcome == CandidateOutcome::solved);
            // Variances of the difference, which weight the second pass and the residuals, are summed in float32.
            double const precision = control.iterate ? 1e-6 : 1e-12;
            CHECK(relativeError(fit.equations.matrix, expected.matrix) < precision);
            CHECK(relativeError(fit.equations.rightHandSide, expected.rightHandSide) < precision);
            // The scaled equations have a condition number of some 1e3.
            VectorXd coefficients = expected.coefficients.head(9);
            CHECK(relativeError(fit.coefficients, coefficients) < 1e3 * precision);
            CHECK(fit.kernelSum == doctest::Approx(coefficients[0]).epsilon(1e3 * precision));
            double const background = control.fitBackground ? expected.coefficients[9] : 0.0;
            CHECK(std::abs(fit.background - background) < 1e5 * precision);
            CHECK(fit.lostFraction == doctest::Approx(expected.lostFraction).epsilon(1e-12));
            checkStatistics(fit.whole, expected.whole, 1e-5);
            checkStatistics(fit.core, expected.core, 1e-5);
        }
    }
}

TEST_CASE("noise is judged as noise, and the kernel found within its errors") {
    CandidateFitControl control = ownVariances();
    control.fitBackground = true;
    control.iterate = true;
    for (double const templateNoise : {0.0, 3.0}) {
        double rms = 0.0;
        double mean = 0.0;
        double pull = 0.0;
        for (unsigned seed = 0; seed < 20; ++seed) {
            CandidateFit const fit = fitOne(star(100 + seed, 40.0, templateNoise), prepare(smallBasis()), control);
            rms += fit.whole.rms / 20.0;
            mean += fit.whole.mean / 20.0;
            MatrixXd const covariance = fit.equations.matrix.inverse();
            pull += std::pow((fit.coefficients[0] - 1.6) / std::sqrt(covariance(0, 0)), 2) / 20.0;
            CHECK(std::abs(fit.background - 40.0) < 5.0 * std::sqrt(covariance(9, 9)));
        }
        CAPTURE(templateNoise);
        // 20 stamps of 483 pixels: scatter 0.7 %, 1 % taken up by ten coefficients.
        CHECK(rms == doctest::Approx(1.0).epsilon(0.03));
        CHECK(std::abs(mean) < 0.03);
        // chi square of 20 has a scatter of 0.32. Noise of the template, correlated by the kernel of sum 1.6, has
        // up to 1.6^2 times its variance at low frequencies, which the errors of the fit do not know.
        CHECK(pull < (templateNoise > 0.0 ? 5.0 : 2.0));
        CHECK(pull > 0.3);
    }
}

TEST_CASE("the condition number is checked before solving") {
    StampPair const pair = star(7);
    PreparedBasis const basis = prepare(smallBasis());
    CandidateFitControl control;
    control.checkConditionNumber = true;
    for (auto const type : {psfmatch::ConditionNumberType::eigenvalue, psfmatch::ConditionNumberType::svd}) {
        control.conditionNumberType = type;
        control.maxConditionNumber = 1e12;
        CandidateFit const good = fitOne(pair, basis, control);
        REQUIRE(good.outcome == CandidateOutcome::solved);
        CHECK(good.conditionNumber == psfmatch::conditionNumber(good.equations.matrix, type));
        control.maxConditionNumber = 0.99 * good.conditionNumber;
        CandidateFit const refused = fitOne(pair, basis, control);
        CHECK(refused.outcome == CandidateOutcome::illConditioned);
        CHECK(refused.message == "condition number " + std::to_string(good.conditionNumber) + " above " +
                                     std::to_string(control.maxConditionNumber));
        CHECK(refused.coefficients.size() == 0);
        CHECK(refused.conditionNumber == good.conditionNumber);
    }
}

TEST_CASE("a kernel of one's own is assessed as it was fitted") {
    for (int const options : {0, 1, 2, 3, 4, 5, 6, 7}) {
        CandidateFitControl control;
        control.fitBackground = options % 2 == 1;
        control.zeroWeightBadPixels = options % 4 < 2;
        control.constantVariance = options < 4;
        control.coreRadius = 2;
        CAPTURE(options);
        StampPair pair = star(8, control.fitBackground ? 30.0 : 0.0);
        damage(pair, 300.0F);
        CandidateFit const fit = fitOne(pair, prepare(smallBasis()), control);
        CandidateAssessment const own =
            assessOne(pair, combine(smallBasis(), fit.coefficients), fit.background, control);
        REQUIRE(own.valid);
        // Convolved in float32, the star's peak of 2000 is good to 1e-3 at 2 to 50 of noise.
        checkStatistics(own.whole, fit.whole, 1e-4);
        checkStatistics(own.core, fit.core, 1e-4);
        CandidateAssessment const wrong =
            assessOne(pair, 2.0 * combine(smallBasis(), fit.coefficients), fit.background + 10.0, control);
        if (control.zeroWeightBadPixels) {
            CHECK(wrong.core.rms > 4.0 * own.core.rms);
        }
    }
}

TEST_CASE("assessments of impossible kernels") {
    StampPair const pair = star(9);
    Image<double> kernel = combine(smallBasis(), trueCoefficients());
    CHECK_THROWS_WITH_AS((void)assessCandidates({pair.views()}, {kernel, kernel}, {0.0}, {}, {}),
                         "1 candidates, 2 kernels and 1 backgrounds", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)assessCandidates({pair.views()}, {kernel}, {}, {}, {}),
                         doctest::Contains("and 0 backgrounds"), std::invalid_argument);
    RowMatrix const coefficients = trueCoefficients().transpose();
    CHECK_THROWS_WITH_AS((void)assessCandidates({pair.views()}, smallBasis(), coefficients.leftCols(2), {0.0}, {}, {}),
                         doctest::Contains("1 rows of 2 coefficients for"), std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)assessCandidates({pair.views()}, smallBasis(), coefficients, {}, {}, {}),
                         doctest::Contains("and 0 backgrounds"), std::invalid_argument);
    CandidateAssessment const spoilt = assessOne(pair, kernel, std::nan(""), {});
    CHECK_FALSE(spoilt.valid);
    CHECK(spoilt.message == "residuals of 483 pixels hold NaN or infinity: kernel or background is not finite");
    kernel(4, 4) = std::nan("");  // the variance is then NaN everywhere, and no pixel counts
    CHECK(assessOne(pair, kernel, 0.0, {}).whole.count == 0);
    CHECK(std::isnan(assessOne(pair, kernel, 0.0, {}).whole.rms));
    CHECK(fitCandidates({}, prepare(smallBasis()), {}, {}).empty());
}

TEST_CASE("kernels given as coefficients are judged as their images are") {
    StampPair whole = star(31, 10.0);
    StampPair damaged = star(32, 10.0);
    damage(damaged, notANumber);
    std::vector<CandidateStamp> const stamps{whole.views(), damaged.views()};
    RowMatrix coefficients(2, smallBasis().size());
    coefficients.row(0) = trueCoefficients().transpose();
    coefficients.row(1) = 1.1 * coefficients.row(0);
    std::vector<Image<double>> kernels;
    for (Index i = 0; i < 2; ++i) {
        kernels.push_back(combine(smallBasis(), coefficients.row(i).transpose()));
    }
    for (bool const zeroWeightBadPixels : {true, false}) {
        CandidateFitControl control;
        control.zeroWeightBadPixels = zeroWeightBadPixels;
        auto const byImage = assessCandidates(stamps, kernels, {10.0, 11.0}, control, {});
        auto const byCoefficients =
            assessCandidates(stamps, smallBasis(), coefficients, {10.0, 11.0}, control, {2, {}});
        for (std::size_t i = 0; i < 2; ++i) {
            REQUIRE(byCoefficients[i].valid);
            // The images may differ in their last digit before they are rounded to float32.
            checkStatistics(byCoefficients[i].whole, byImage[i].whole, 1e-6);
            checkStatistics(byCoefficients[i].core, byImage[i].core, 1e-6);
        }
    }
}

TEST_CASE("fits follow the units of the images") {
    // Powers of two scale exactly: counts of 1/8, variances of 1/64.
    CandidateFitControl control;
    control.fitBackground = true;
    PreparedBasis const basis = prepare(smallBasis());
    StampPair pair = star(10, 16.0);
    CandidateFit const fit = fitOne(pair, basis, control);
    pair.scienceStamp.image *= 8.0F;
    pair.scienceStamp.variance *= 64.0F;
    pair.templateStamp.variance *= 64.0F;
    CandidateFit const science = fitOne(pair, basis, control);
    CHECK(relativeError(science.coefficients, VectorXd(8.0 * fit.coefficients)) < 1e-12);
    CHECK(science.background == doctest::Approx(8.0 * fit.background).epsilon(1e-10));
    pair.templateStamp.image *= 8.0F;
    CandidateFit const both = fitOne(pair, basis, control);
    CHECK(relativeError(both.coefficients, fit.coefficients) < 1e-12);
    CHECK(both.background == doctest::Approx(8.0 * fit.background).epsilon(1e-10));
    CHECK(both.whole.rms == doctest::Approx(fit.whole.rms).epsilon(1e-6));
}

TEST_CASE("neither threads nor strides nor company change a bit") {
    std::vector<StampPair> pairs;
    for (unsigned seed = 0; seed < 11; ++seed) {
        pairs.push_back(star(20 + seed, 10.0));
        if (seed % 3 == 1) {
            damage(pairs.back(), notANumber);
        }
    }
    pairs[4] = StampPair{{5, 5}, {5, 5}};
    StarControl large;
    large.height = 40;
    large.width = 33;
    pairs[6] = makeStar(combine(smallBasis(), trueCoefficients()), large, 3);
    std::vector<CandidateStamp> stamps;
    std::vector<Image<double>> kernels;
    for (StampPair const& pair : pairs) {
        stamps.push_back(pair.views());
        kernels.push_back(combine(smallBasis(), trueCoefficients()));
    }
    std::vector<double> const backgrounds(pairs.size(), 10.0);
    CandidateFitControl control = ownVariances();
    control.fitBackground = true;
    control.iterate = true;
    for (PreparedBasis const& basis : {prepare(smallBasis()), PreparedBasis{smallBasis(), std::nullopt}}) {
        for (int const nThreads : {1, 2, 7}) {
            auto const fits = fitCandidates(stamps, basis, control, {nThreads, {}});
            auto const assessments = assessCandidates(stamps, kernels, backgrounds, control, {nThreads, {}});
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                CAPTURE(i);
                CHECK(sameBits(fits[i], fitOne(pairs[i], basis, control)));
                CandidateAssessment const alone = assessOne(pairs[i], kernels[i], 10.0, control);
                CHECK(assessments[i].valid == (i != 4));
                CHECK(assessments[i].valid == alone.valid);
                CHECK(assessments[i].whole.rms == alone.whole.rms);
                CHECK(assessments[i].core.mean == alone.core.mean);
            }
        }
    }

    StampPair field{{60, 70}, {60, 70}};
    auto const place = [](MaskedImage& into, MaskedImage const& stamp) {
        into.image.setConstant(notANumber);
        into.image.block(17, 19, 29, 31) = stamp.image;
        into.variance.block(17, 19, 29, 31) = stamp.variance;
        into.mask.block(17, 19, 29, 31) = stamp.mask;
    };
    auto const cut = [](MaskedImage const& image) {
        auto const block = [](auto const& plane) {
            return psfmatch::ConstImageView<typename std::decay_t<decltype(plane)>::Scalar>(
                &plane(17, 19), 29, 31, Eigen::OuterStride<>(plane.cols()));
        };
        return psfmatch::MaskedImageView{block(image.image), block(image.variance), block(image.mask)};
    };
    place(field.templateStamp, pairs[1].templateStamp);
    place(field.scienceStamp, pairs[1].scienceStamp);
    CandidateStamp const strided{cut(field.templateStamp), cut(field.scienceStamp), field.templateBadBits,
                                 field.scienceBadBits};
    PreparedBasis const basis = prepare(smallBasis());
    CHECK(sameBits(fitCandidates({strided}, basis, control, {}).front(), fitOne(pairs[1], basis, control)));
}

TEST_CASE("a poll that throws ends the work") {
    StampPair const pair = star(40);
    // So many that the calling thread, which polls, comes to one of them even on a busy machine.
    std::vector<CandidateStamp> const stamps(5000, pair.views());
    auto const interrupt = [] { throw std::runtime_error("interrupted"); };
    CHECK_THROWS_WITH_AS((void)fitCandidates(stamps, prepare(smallBasis()), {}, {2, interrupt}), "interrupted",
                         std::runtime_error);
}

TEST_CASE("a template that is a plane shows no light") {
    auto const& basis = prepare(deltaBasis(3, 3));
    for (float const slope : {0.0F, 0.25F}) {
        StampPair pair = star(4);
        for (Index y = 0; y < pair.templateStamp.image.rows(); ++y) {
            for (Index x = 0; x < pair.templateStamp.image.cols(); ++x) {
                pair.templateStamp.image(y, x) = 100.0F + slope * static_cast<float>(x - 2 * y);
            }
        }
        CHECK(fitOne(pair, basis).outcome == CandidateOutcome::noLight);
        pair.templateStamp.image(9, 9) += 0.1F;
        CHECK(fitOne(pair, basis).outcome == CandidateOutcome::solved);
    }
}

TEST_CASE("light in common") {
    StampPair const original = star(2);
    auto const ratioOf = [](StampPair const& pair) {
        return psfmatch::lightRatios({pair.views()}, 5, 5, CandidateFitControl{}, {})[0];
    };
    StampPair scaled = original;
    scaled.scienceStamp = original.templateStamp;
    psfmatch::LightRatio const same = ratioOf(scaled);
    CHECK(same.value > 10.0 * same.error);
    // Neither skies nor slopes of them are light.
    scaled.scienceStamp.image *= -2.5F;
    for (Index y = 0; y < scaled.scienceStamp.image.rows(); ++y) {
        scaled.scienceStamp.image.row(y) += 40.0F + 3.0F * static_cast<float>(y);
        scaled.templateStamp.image.row(y) += 300.0F - 2.0F * static_cast<float>(y);
    }
    psfmatch::LightRatio const negative = ratioOf(scaled);
    CHECK(negative.value == doctest::Approx(-2.5 * same.value).epsilon(1e-4));
    CHECK(negative.error == doctest::Approx(2.5 * same.error).epsilon(1e-4));
    scaled.templateStamp.image.setConstant(7.0F);
    CHECK_FALSE(ratioOf(scaled).value > 0.0);
}
