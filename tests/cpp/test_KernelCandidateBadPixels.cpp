// Candidates with bad pixels, impossible variances or too few pixels: what they do to a fit, and what it says.
#include <doctest/doctest.h>

#include <Eigen/LU>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "fitReference.h"

using namespace fitReference;
using psfmatch::CandidateOutcome;
using psfmatch::prepare;
using psfmatch::PreparedBasis;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("what a bad pixel holds does not matter, nor does it bias the fit") {
    CandidateFitControl control = ownVariances();
    control.fitBackground = true;
    PreparedBasis const basis = prepare(smallBasis());
    StampPair const clean = star(3, 20.0);
    CandidateFit const expected = fitOne(clean, basis, control);
    StampPair damaged = clean;
    damage(damaged, notANumber);
    CandidateFit const fit = fitOne(damaged, basis, control);
    REQUIRE(fit.outcome == CandidateOutcome::solved);
    CHECK(fit.lostFraction == doctest::Approx(9.0 / 483.0).epsilon(1e-12));  // one of the ten is at the edge
    CHECK(fit.whole.count < 483 - 80);                                       // the template's are grown to 5x5 pixels
    MatrixXd const covariance = fit.equations.matrix.inverse();
    CHECK(std::abs(fit.coefficients[0] - expected.coefficients[0]) < 3.0 * std::sqrt(covariance(0, 0)));
    CHECK(std::abs(fit.background - expected.background) < 3.0 * std::sqrt(covariance(9, 9)));
    CHECK(fit.whole.rms == doctest::Approx(expected.whole.rms).epsilon(0.1));

    for (float const value : {1e30F, -5.0F, std::numeric_limits<float>::infinity()}) {
        StampPair other = clean;
        damage(other, value);
        CHECK(sameBits(fitOne(other, basis, control), fit));
    }
    StampPair unmasked = damaged;  // NaN alone makes a pixel bad
    unmasked.templateStamp.mask.setZero();
    unmasked.scienceStamp.mask.setZero();
    CHECK(sameBits(fitOne(unmasked, basis, control), fit));
    StampPair variance = clean;
    damage(variance, 5.0F);
    variance.scienceStamp.variance(6, 6) = -1.0F;
    variance.scienceStamp.mask(6, 6) = 0;
    variance.templateStamp.variance(3, 4) = notANumber;
    CHECK(sameBits(fitOne(variance, basis, control), fit));
}

TEST_CASE("without weight zero the fit does not look at masks") {
    CandidateFitControl control;
    control.zeroWeightBadPixels = false;
    PreparedBasis const basis = prepare(smallBasis());
    StampPair pair = star(4);
    CandidateFit const clean = fitOne(pair, basis, control);
    damage(pair, 300.0F);
    CandidateFit const masked = fitOne(pair, basis, control);
    pair.templateStamp.mask.setZero();
    pair.scienceStamp.mask.setZero();
    CandidateFit const unmasked = fitOne(pair, basis, control);
    CHECK(masked.coefficients == unmasked.coefficients);
    CHECK(masked.lostFraction == doctest::Approx(9.0 / 483.0).epsilon(1e-12));
    CHECK(masked.whole.count < unmasked.whole.count);
    CHECK(unmasked.whole.count == 21 * 23);
    // The defects of 60 noise sigmas in the science stamp are what the option is for.
    CHECK(unmasked.whole.rms > 3.0 * clean.whole.rms);

    for (MaskedImage StampPair::* const stamp : {&StampPair::templateStamp, &StampPair::scienceStamp}) {
        StampPair spoilt = star(4);
        (spoilt.*stamp).image(14, 15) = notANumber;
        (spoilt.*stamp).mask(14, 15) = 3;
        CandidateFit const fit = fitOne(spoilt, basis, control);
        CHECK(fit.outcome == CandidateOutcome::failed);
        CHECK(fit.message == "normal equations of 9 unknowns hold NaN or infinity: bad pixels entered the fit");
    }
}

TEST_CASE("variances that cannot be inverted") {
    CandidateFitControl control = ownVariances();
    control.zeroWeightBadPixels = false;
    PreparedBasis const basis = prepare(smallBasis());
    auto const fitWith = [&](float variance) {
        StampPair pair = star(5);
        pair.scienceStamp.variance(10, 10) = variance;
        pair.templateStamp.variance(10, 10) = 0.0F;
        return fitOne(pair, basis, control);
    };
    CHECK(fitWith(0.0F).outcome == CandidateOutcome::failed);
    CHECK(fitWith(0.0F).message == "variance equals 0.0, cannot invert variance weight");
    CHECK(fitWith(-1.0F).message == "variance less than 0.0");
    CHECK(fitWith(notANumber).message ==
          "normal equations of 9 unknowns hold NaN or infinity: bad pixels entered the fit");
    CHECK(fitWith(4.0F).outcome == CandidateOutcome::solved);

    control.zeroWeightBadPixels = true;  // then such a pixel has no weight
    CHECK(fitWith(0.0F).outcome == CandidateOutcome::solved);
    CHECK(fitWith(0.0F).whole.count == 21 * 23 - 1);
    control.constantVariance = true;  // and with one variance for all it is as good as any
    CHECK(fitWith(0.0F).outcome == CandidateOutcome::solved);
    CHECK(fitWith(0.0F).lostFraction == 0.0);

    StampPair noiseless = star(5);
    noiseless.templateStamp.variance.setZero();
    noiseless.scienceStamp.variance.setZero();
    CandidateFit const fit = fitOne(noiseless, basis, control);  // weights of 1
    CHECK(fit.outcome == CandidateOutcome::solved);
    CHECK(fit.coefficients[0] == doctest::Approx(1.6).epsilon(0.05));
    CHECK(fit.whole.count == 0);
    CHECK(std::isnan(fit.whole.mean));
}

TEST_CASE("stamps that cannot be fitted say why") {
    PreparedBasis const basis = prepare(smallBasis());
    StarControl small;
    small.height = 9;
    small.width = 9;
    CandidateFitControl control;
    control.fitBackground = true;
    StampPair const single = makeStar(Image<double>::Ones(1, 1), small, 1);
    CHECK(fitOne(single, basis, control).message == "1 good pixels for 10 coefficients");
    StampPair const low{{8, 31}, {8, 31}};
    CHECK(fitOne(low, basis).outcome == CandidateOutcome::failed);
    CHECK(fitOne(low, basis).message == "stamp of 31x8 pixels is smaller than the kernel of 9x9");
    CHECK(assessOne(low, Image<double>::Ones(9, 9), 0.0, control).message == fitOne(low, basis).message);

    StampPair masked = star(6);
    masked.scienceStamp.mask.setConstant(masked.scienceBadBits);
    masked.scienceStamp.mask.block(10, 10, 3, 3).setZero();
    CandidateFit const fit = fitOne(masked, basis, control);
    CHECK(fit.outcome == CandidateOutcome::failed);
    CHECK(fit.message == "9 good pixels for 10 coefficients");
    CHECK(fit.lostFraction == doctest::Approx(1.0 - 9.0 / 483.0).epsilon(1e-12));

    StampPair empty = star(6);
    empty.templateStamp.image.setZero();
    CHECK(fitOne(empty, basis).outcome == CandidateOutcome::noLight);

    StampPair uneven = star(6);
    uneven.templateStamp.variance.resize(29, 30);
    CHECK_THROWS_WITH_AS((void)fitOne(uneven, basis), "the planes of a candidate's two stamps differ in shape",
                         std::invalid_argument);
}
