// Skies, noise and weights of a stamp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "fit/StampFitter.h"
#include "fit/StampModelNoise.h"

namespace psfmatch {

namespace {

constexpr double expectedModelError = 0.02;
constexpr double litShare = 0.3;    // of the noise of a pixel, light that tells of photons and the model's error
constexpr double lightSigma = 1.2;  // px, of the filter that finds light
constexpr double ratioSigma = 2.0;  // px, of the filter of light that is compared
constexpr double litSigmas = 5.0;

}  // namespace

void StampFitter::measureSkies(StampImages const& images) {
    auto const scienceSky = stampSky(science_, scienceGood_);
    auto const referenceSky = stampSky(reference_, referenceGood_);
    science_ -= scienceSky.level;
    reference_ -= referenceSky.level;
    fillStamp(science_, scienceGood_);
    fillStamp(reference_, referenceGood_);
    model_.scienceSky = scienceSky.level;
    model_.referenceSky = referenceSky.level;
    ground_.scienceNoise = scienceSky.noise;
    model_.referenceNoise = referenceSky.noise;
    hasVariance_ = images.scienceVariance.size() > 0 && images.referenceVariance.size() > 0;
    if (hasVariance_) {
        scienceVariance_ = images.scienceVariance;
        referenceVariance_ = images.referenceVariance;
        auto const typical = [](OwnedImage<double> const& variance, StampFlags const& good) {
            std::vector<double> values;
            for (Index i = 0; i < variance.size(); ++i) {
                if (good(i) != 0) {
                    values.push_back(variance(i));
                }
            }
            return std::sqrt(std::max(middleOf(std::move(values)), 0.0));
        };
        ground_.scienceNoise = typical(scienceVariance_, scienceGood_);
        model_.referenceNoise = typical(referenceVariance_, referenceGood_);
    }
    // An image without noise is not without limits, those of its own counts.
    auto const leastOf = [](OwnedImage<double> const& image) { return 1e-6 * image.abs().maxCoeff() + 1e-30; };
    leastNoise_ = leastOf(science_);
    ground_.scienceNoise = std::max(ground_.scienceNoise, leastNoise_);
    leastReferenceNoise_ = leastOf(reference_);
    auto const hasLight = [&](OwnedImage<double> const& image, double noise) {
        return smoothedStamp(image, lightSigma).maxCoeff() > litSigmas * smoothedNoise(noise, lightSigma);
    };
    model_.scienceHasLight = hasLight(science_, ground_.scienceNoise);
    model_.referenceHasLight = hasLight(reference_, std::max(model_.referenceNoise, leastReferenceNoise_));
    if (!hasVariance_) {
        scienceVariance_ = OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(ground_.scienceNoise));
        referenceVariance_ =
            OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(model_.referenceNoise));
    }
}

double StampFitter::freeRatio() const {
    OwnedImage<double> const after = smoothedStamp(science_, ratioSigma);
    OwnedImage<double> const before = smoothedStamp(reference_, ratioSigma);
    double const least = litSigmas * smoothedNoise(std::max(model_.referenceNoise, leastReferenceNoise_), ratioSigma);
    std::vector<std::pair<double, double>> ratios;
    double total = 0.0;
    for (Index y = 0; y < before.rows(); ++y) {
        for (Index x = 0; x < before.cols(); ++x) {
            bool const isMiddle = control_.isAlert && ground_.fromMiddle(x, y) <= control_.middleRadius + 2.0;
            if (before(y, x) > least && !isMiddle && usable_(y, x) != 0) {
                ratios.emplace_back(after(y, x) / before(y, x), before(y, x));
                total += before(y, x);
            }
        }
    }
    if (static_cast<Index>(ratios.size()) < control_.freeLeastPixels) {
        return 0.0;
    }
    std::sort(ratios.begin(), ratios.end());
    double sum = 0.0;
    for (auto const& [ratio, light] : ratios) {
        sum += light;
        if (sum >= 0.5 * total) {
            return ratio;
        }
    }
    return 0.0;
}

double StampFitter::varianceAt(Index i, double norm, double light, double photon, double modelError) const {
    double const seen = std::max({light, ground_.scienceLight(i), 0.0});
    return std::max(scienceVariance_(i) + norm * referenceVariance_(i) + photon * seen + square(modelError * light),
                    square(leastNoise_));
}

void StampFitter::setWeights(Eigen::VectorXd const& kernel, Eigen::VectorXd const& light) {
    double const norm = kernel.squaredNorm();
    ground_.variance.resize(light.size());
    ground_.weights = Eigen::VectorXd::Zero(light.size());
    for (Index i = 0; i < light.size(); ++i) {
        ground_.variance(i) = varianceAt(i, norm, light(i), model_.photonVariance, modelError_);
        if (usable_(i) != 0) {
            ground_.weights(i) = 1.0 / ground_.variance(i);
        }
    }
    ground_.sums = ground_.sums.weights.size() == light.size()
                       ? reweighted(ground_.sums, ground_.problem.columns, ground_.weights)
                       : stampSums(ground_.problem.columns, ground_.weights);
    for (Index i = 0; i < light.size(); ++i) {
        if (ground_.weights(i) > 0.0) {
            ground_.variance(i) = 1.0 / ground_.weights(i);
        }
    }
}

void StampFitter::reweigh(StampTry& attempt) {
    fitNoise(attempt);
    setWeights(attempt.solution.kernel, lightOf(ground_, attempt.solution));
    StampTry next = startTry(ground_, attempt.account, attempt.extra, attempt.blobs);
    next.solution = attempt.solution;
    next.cost = attempt.cost;
    attempt = std::move(next);
}

void StampFitter::fitNoise(StampTry const& attempt) {
    constexpr std::size_t leastDark = 100;
    constexpr double mostTemplateShare = 0.7;
    Eigen::VectorXd const residuals = stampResiduals(ground_.problem, attempt.solution, &attempt.extra);
    Eigen::VectorXd const light = lightOf(ground_, attempt.solution);
    double const norm = attempt.solution.kernel.squaredNorm();
    // Dark pixels, or the fainter half where there are none.
    double const half = middleOf(std::vector<double>(light.data(), light.data() + light.size()));
    double const faint = std::max(ground_.scienceNoise, half);
    std::vector<Index> kept;  // with light: the others' variance is the same for all
    std::vector<double> dark;
    double brightest = 0.0;
    for (Index i = 0; i < light.size(); ++i) {
        if (attempt.sums.weights(i) > 0.0) {
            if (light(i) > litShare * ground_.scienceNoise || ground_.scienceLight(i) > 0.0) {
                kept.push_back(i);
            }
            brightest = std::max(brightest, light(i));
            if (light(i) < faint) {
                dark.push_back(residuals(i));
            }
        }
    }
    if (!hasVariance_ && dark.size() >= leastDark) {
        // Where sources crowd, second differences show their light: the template has no more noise than is left.
        double const left = square(spreadOf(dark));
        double const share = std::min(norm * square(model_.referenceNoise), mostTemplateShare * left);
        model_.referenceNoise = std::sqrt(share / norm);
        referenceVariance_.setConstant(square(model_.referenceNoise));
        ground_.problem.templateVariance = square(model_.referenceNoise);
        ground_.scienceNoise = std::max(std::sqrt(left - share), leastNoise_);
        scienceVariance_.setConstant(square(ground_.scienceNoise));
    }
    double best = -std::numeric_limits<double>::infinity();
    double bestPhoton = 0.0;
    double const unit = brightest > 0.0 ? square(ground_.scienceNoise) / brightest : 0.0;
    for (int step = -1; step <= 16; ++step) {
        double const photon = step < 0 ? 0.0 : unit * std::pow(10.0, 0.25 * (step - 2));
        if ((hasVariance_ || unit == 0.0) && step >= 0) {
            break;
        }
        for (double const share : modelErrors) {
            double value = -0.5 * square(share / expectedModelError);
            for (Index const i : kept) {
                double const variance = varianceAt(i, norm, light(i), photon, share);
                value -= 0.5 * (square(residuals(i)) / variance + std::log(variance));
            }
            if (value > best) {
                best = value;
                bestPhoton = photon;
                modelError_ = share;
            }
        }
    }
    model_.photonVariance = bestPhoton;
}

}  // namespace psfmatch
