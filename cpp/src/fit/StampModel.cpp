#include "psfmatch/fit/StampModel.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>

#include "fit/StampAccounts.h"
#include "fit/StampAttempt.h"
#include "fit/StampModelNoise.h"
#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

constexpr Index leastSide = 10;
constexpr Index leastPixels = 50;
constexpr double nominalWidth = 1.5;  // px, of a kernel before there is one
constexpr double expectedModelError = 0.02;
constexpr double firstModelError = 0.01;
// Of |k| on saturated cores: of pixels that are fitted, and of those that are told.
constexpr double fittedHiddenShare = 1e-3;
constexpr double toldHiddenShare = 0.03;
constexpr double alikeNats = 5.0;       // between kinds of kernels, before their noise is known
constexpr double negativeShare = 0.05;  // of a kernel's absolute sum
constexpr double litShare = 0.3;        // of the noise of a pixel, light that tells of photons and the model's error
constexpr double lightSigma = 1.2;      // px, of the filter that finds light
constexpr double ratioSigma = 2.0;      // px, of the filter of light that is compared
constexpr double otherUnits = 3.0;      // decades beside the expected ratio that only other units make
constexpr double litSigmas = 5.0;
constexpr std::array<double, 7> modelErrors{0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08};

OwnedImage<double> gaussianKernel(double sigma, Index half) {
    OwnedImage<double> image = OwnedImage<double>::Zero(2 * half + 1, 2 * half + 1);
    image(half, half) = 1.0;
    image = smoothedStamp(image, sigma);
    return image / image.sum();
}

class StampFitter {
public:
    StampFitter(StampImages const& images, StampModelControl const& control)
        : control_(control),
          science_(images.science.cast<double>()),
          reference_(images.reference.cast<double>()),
          scienceGood_(images.scienceGood),
          referenceGood_(images.referenceGood) {
        if (!haveOneShape(science_, reference_, scienceGood_, referenceGood_)) {
            throw std::invalid_argument("images of a stamp differ in shape");
        }
        Index const side = std::min(science_.rows(), science_.cols());
        auto const nGood = static_cast<Index>((scienceGood_ * referenceGood_).cast<Index>().sum());
        if (side < leastSide || nGood < leastPixels) {
            throw NumericalError("a stamp of " + std::to_string(science_.cols()) + " x " +
                                 std::to_string(science_.rows()) + " pixels, " + std::to_string(nGood) +
                                 " of them good in both images, holds no kernel; " + std::to_string(leastSide) +
                                 " on each side and " + std::to_string(leastPixels) + " are needed");
        }
        measureSkies(images);
        limitKernel(side);
    }

    [[nodiscard]] bool hasLight() const { return model_.referenceHasLight; }

    // The accounts of the middle, best first, of the kind of kernel that fits best.
    std::vector<StampTry> explained() {
        prepare();
        StampAccount const first = control_.isAlert ? StampAccount::out : StampAccount::none;
        StampTry attempt = startTry(ground_, first, {}, middleBlobs(ground_, first));
        ascend(ground_, attempt, StampStart::allWidths);
        std::optional<StampFitter> sharp;
        std::vector<StampTry> sharpTries;
        if (mayBeSharp(attempt)) {
            // Weights are those of a first guess: what is nearly as good is brought to its end as well.
            sharp = *this;
            StampTry other = sharp->sharpened(attempt);
            double const gain = other.solution.evidence - other.cost - attempt.solution.evidence + attempt.cost;
            if (gain <= -alikeNats) {
                sharp.reset();
            } else {
                sharpTries = sharp->settled(std::move(other));
                if (gain > alikeNats) {
                    *this = std::move(*sharp);
                    return sharpTries;
                }
            }
        }
        std::vector<StampTry> tries = settled(std::move(attempt));
        if (sharp && sharp->explainedBy(sharpTries.front()) > explainedBy(tries.front())) {
            *this = std::move(*sharp);
            return sharpTries;
        }
        return tries;
    }

    // The score of a try, comparable with those of other weights: the noise that a kernel makes of a dark template
    // tells nothing of that kernel, so that its expected share of the evidence is taken off.
    [[nodiscard]] double explainedBy(StampTry const& attempt) const {
        double const noise = firstScience_ + attempt.solution.kernel.squaredNorm() * firstTemplate_;
        auto const nUsable = static_cast<double>((ground_.weights.array() > 0.0).count());
        return attempt.score + 0.5 * nUsable * std::log(std::max(noise, square(leastNoise_)));
    }

    // Whether the light has told a flux ratio where the expected one was possible.
    [[nodiscard]] bool isFreed(StampTry const& attempt) const {
        return attempt.cost > 0.0 && ground_.ratios.size() > 1;
    }

    // The brightest source, beside an alert's middle, where it was rejected; else none.
    [[nodiscard]] std::vector<StampBlob> brightestRejected(StampTry const& attempt) const {
        auto const sources = brightSources(ground_, lightOf(ground_, attempt.solution));
        if (sources.empty()) {
            return {};
        }
        StampBlob const& source = sources.front();
        bool const isRejected = ground_.lit(source.y * ground_.width() + source.x) > 0.0 &&
                                std::any_of(attempt.blobs.begin(), attempt.blobs.end(), [&](StampBlob const& blob) {
                                    return std::hypot(static_cast<double>(blob.x - source.x),
                                                      static_cast<double>(blob.y - source.y)) <= source.radius;
                                });
        return isRejected ? std::vector<StampBlob>{source} : std::vector<StampBlob>{};
    }

    void hold(std::vector<StampBlob> const& sources) { ground_.held = sources; }

    StampModel finished(std::vector<StampTry> const& tries) {
        StampTry const& best = tries.front();
        auto const& columns = ground_.problem.columns;
        Index const side = 2 * columns.halfWidth + 1;
        model_.kernel = Eigen::Map<OwnedImage<double> const>(best.solution.kernel.data(), side, side);
        model_.ratio = model_.kernel.sum();
        model_.choice = best.solution.choice;
        model_.kernelWidth = columns.widths[static_cast<std::size_t>(model_.choice.width)];
        model_.isFree = best.cost > 0.0;
        model_.account = best.account;
        Index const nDeviation = model_.choice.deviation > 0.0 ? columns.nDeviation() : 0;
        Eigen::VectorXd unit = Eigen::VectorXd::Zero(best.solution.scales.size());
        unit(nDeviation) = best.solution.scales(nDeviation);
        best.solution.factor.triangularView<Eigen::Lower>().solveInPlace(unit);
        model_.ratioError = unit.norm();
        for (StampTry const& attempt : tries) {
            if (!std::isfinite(attempt.score)) {
                continue;
            }
            StampAttempt told{attempt.account, attempt.score, 0.0, 0.0, attempt.solution.kernel.sum(), 0};
            auto const disc = middleDisc(ground_);
            Eigen::VectorXd const left = stampResiduals(ground_.problem, attempt.solution, nullptr);
            for (Index const pixel : disc) {
                told.middleFlux += left(pixel);
            }
            told.middleError = modelErrorAt(ground_, attempt, disc);
            for (StampBlob const& blob : attempt.blobs) {
                told.nRejected += blob.isMiddle ? 0 : 1;
            }
            model_.attempts.push_back(told);
        }
        for (StampBlob const& blob : best.blobs) {
            if (!(blob.isMiddle && best.account == StampAccount::out)) {
                model_.rejected.push_back({blob.x, blob.y});
            }
        }
        setPlane(best.solution.coefficients.segment(columns.plane(), StampColumns::nPlane));
        Eigen::VectorXd const light = lightOf(ground_, best.solution);
        finish(light);
        return model_;
    }

    // A template that shows nothing: its noise, smoothed, is taken away, and the sky.
    StampModel withoutLight() {
        auto const half = std::min<Index>(5, control_.columns.halfWidth);
        model_.kernel = gaussianKernel(nominalWidth, half);
        model_.kernelWidth = nominalWidth;
        double const most = 0.5 * ground_.scienceNoise / std::max(model_.referenceNoise, 1e-300);
        model_.ratio = std::min(control_.ratio, most / std::sqrt(model_.kernel.square().sum()));
        model_.ratioError = model_.ratio;
        model_.kernel *= model_.ratio;
        model_.account = StampAccount::none;
        ground_.scienceLight = significantLight(science_, ground_.scienceNoise);
        OwnedImage<double> const light = convolvedStamp(reference_, model_.kernel);
        // The plane of what is not lit; pixels beyond 3 sigma of it leave.
        Eigen::Vector3d terms = Eigen::Vector3d::Zero();
        for (int pass = 0; pass < 5; ++pass) {
            Eigen::Matrix3d normal = 1e-9 * Eigen::Matrix3d::Identity();
            Eigen::Vector3d right = Eigen::Vector3d::Zero();
            for (Index y = 0; y < science_.rows(); ++y) {
                for (Index x = 0; x < science_.cols(); ++x) {
                    Eigen::Vector3d const row{
                        1.0, 2.0 * static_cast<double>(x) / static_cast<double>(science_.cols() - 1) - 1.0,
                        2.0 * static_cast<double>(y) / static_cast<double>(science_.rows() - 1) - 1.0};
                    double const left = science_(y, x) - light(y, x);
                    if (scienceGood_(y, x) != 0 && ground_.scienceLight(y, x) <= 0.0 &&
                        std::abs(left - row.dot(terms)) < 3.0 * ground_.scienceNoise) {
                        normal += row * row.transpose();
                        right += left * row;
                    }
                }
            }
            terms = normal.ldlt().solve(right);
        }
        setPlane(terms);
        modelError_ = 0.0;
        finish(Eigen::Map<Eigen::VectorXd const>(light.data(), light.size()));
        return model_;
    }

private:
    void measureSkies(StampImages const& images) {
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
            scienceVariance_ =
                OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(ground_.scienceNoise));
            referenceVariance_ =
                OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(model_.referenceNoise));
        }
    }

    static double square(double value) { return value * value; }

    // Kernels no larger than the stamp bears.
    void limitKernel(Index side) {
        auto& columns = control_.columns;
        columns.halfWidth = std::min(columns.halfWidth, (side - 1) / 4);
        columns.deviationRadius = std::min({columns.deviationRadius, std::floor(static_cast<double>(side) / 6.0),
                                            static_cast<double>(columns.halfWidth)});
        std::erase_if(columns.widths,
                      [&](double width) { return width > 0.45 * static_cast<double>(columns.halfWidth) + 0.3; });
        ground_.control = control_;
        ground_.middleX = science_.cols() / 2;
        ground_.middleY = science_.rows() / 2;
    }

    void prepare() {
        auto const wide = gaussianKernel(nominalWidth, std::min<Index>(5, control_.columns.halfWidth));
        OwnedImage<double> const light = significantLight(reference_, model_.referenceNoise);
        ground_.lit = Eigen::Map<Eigen::VectorXd const>(light.data(), light.size());
        usable_ = scienceGood_ * referenceGood_;
        double const first = freeRatio();
        double const scale = first > 0.0 ? first : control_.ratio;
        auto const missing = missingLight(wide, light * scale, referenceGood_, hiddenLight(light, referenceGood_),
                                          fittedHiddenShare, scienceVariance_);
        for (Index i = 0; i < usable_.size(); ++i) {
            usable_(i) = usable_(i) != 0 && missing(i) == 0 ? 1 : 0;
        }
        double const free = freeRatio();
        double const ratio = free > 0.0 ? free : control_.ratio;
        ground_.ratios = {{control_.ratio, control_.ratioError, 0.0}};
        if (control_.canFreeRatio && model_.scienceHasLight && free > 0.0) {
            if (std::abs(std::log10(free / control_.ratio)) > otherUnits) {
                ground_.ratios.clear();
            }
            ground_.ratios.push_back({free, control_.freeRatioError, control_.freeCost});
        }
        StampPriors priors = control_.priors;
        priors.plane = 5.0 * ground_.scienceNoise;
        ground_.problem = makeStampProblem(stampColumns(science_, reference_, control_.columns), priors,
                                           square(model_.referenceNoise));
        ground_.scienceLight = significantLight(science_, ground_.scienceNoise);
        modelError_ = firstModelError;
        OwnedImage<double> const guess = (light * ratio).max(ground_.scienceLight);
        firstScience_ = square(ground_.scienceNoise);
        firstTemplate_ = square(model_.referenceNoise);
        Eigen::VectorXd const kernel = Eigen::VectorXd::Constant(1, 0.2 * ratio);
        setWeights(kernel, Eigen::Map<Eigen::VectorXd const>(guess.data(), guess.size()));
    }

    // Science over template, where either is lit, by the median of the light; 0 where too little lies outside the
    // middle.
    [[nodiscard]] double freeRatio() const {
        OwnedImage<double> const after = smoothedStamp(science_, ratioSigma);
        OwnedImage<double> const before = smoothedStamp(reference_, ratioSigma);
        double const least =
            litSigmas * smoothedNoise(std::max(model_.referenceNoise, leastReferenceNoise_), ratioSigma);
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

    [[nodiscard]] double varianceAt(Index i, double norm, double light, double photon, double modelError) const {
        double const seen = std::max({light, ground_.scienceLight(i), 0.0});
        return std::max(scienceVariance_(i) + norm * referenceVariance_(i) + photon * seen + square(modelError * light),
                        square(leastNoise_));
    }

    void setWeights(Eigen::VectorXd const& kernel, Eigen::VectorXd const& light) {
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

    // Whether a narrow kernel does what one that sharpens is for: it deviates much, or is negative about its core.
    [[nodiscard]] static bool mayBeSharp(StampTry const& attempt) {
        auto const& [choice, kernel] = std::tie(attempt.solution.choice, attempt.solution.kernel);
        double const negative = -kernel.cwiseMin(0.0).sum() / kernel.cwiseAbs().sum();
        return choice.width == 0 || (choice.width <= 2 && (choice.deviation >= 0.1 || negative > negativeShare));
    }

    // The try with kernels that sharpen, for which the stamp is made ready: what is rejected comes after, for they
    // multiply the template's noise.
    StampTry sharpened(StampTry const& attempt) {
        ground_.control.columns.widths = control_.sharpWidths;
        ground_.problem = makeStampProblem(stampColumns(science_, reference_, ground_.control.columns),
                                           ground_.problem.priors, ground_.problem.templateVariance);
        ground_.sums = stampSums(ground_.problem.columns, ground_.weights);
        StampTry other = startTry(ground_, attempt.account, {}, attempt.blobs);
        ascend(ground_, other, StampStart::allWidths);
        return other;
    }

    // The accounts of the middle, best first, of a try of which the width is known.
    std::vector<StampTry> settled(StampTry attempt) {
        if (ground_.control.columns.widths == control_.sharpWidths) {
            setWeights(attempt.solution.kernel, lightOf(ground_, attempt.solution));
            StampTry next = startTry(ground_, attempt.account, {}, attempt.blobs);
            next.solution = std::move(attempt.solution);
            next.cost = attempt.cost;
            attempt = std::move(next);
            ascend(ground_, attempt, StampStart::choice);
        }
        rejectBlobs(ground_, attempt);
        reweigh(attempt);
        ascend(ground_, attempt, StampStart::choice);
        rejectBlobs(ground_, attempt);
        if (control_.isAlert) {
            // The account that fits best tells the noise better than one without the brightest pixels.
            attempt = std::move(bestAccounts(ground_, attempt, false).front());
        }
        reweigh(attempt);
        return bestAccounts(ground_, attempt, true);
    }

    // Noise and weights anew of what a try leaves, and the try with them.
    void reweigh(StampTry& attempt) {
        fitNoise(attempt);
        setWeights(attempt.solution.kernel, lightOf(ground_, attempt.solution));
        StampTry next = startTry(ground_, attempt.account, attempt.extra, attempt.blobs);
        next.solution = attempt.solution;
        next.cost = attempt.cost;
        attempt = std::move(next);
    }

    // Noise of dark pixels, photons of the light and the model's error, of the pixels that are kept.
    void fitNoise(StampTry const& attempt) {
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

    void setPlane(Eigen::Vector3d const& terms) {
        auto const scale = [](Index n) { return n > 1 ? 2.0 / static_cast<double>(n - 1) : 0.0; };
        model_.plane = {terms(0) - (science_.cols() > 1 ? terms(1) : 0.0) - (science_.rows() > 1 ? terms(2) : 0.0),
                        terms(1) * scale(science_.cols()), terms(2) * scale(science_.rows())};
        // On the images with their skies.
        model_.plane[0] += model_.scienceSky - model_.ratio * model_.referenceSky;
    }

    void finish(Eigen::VectorXd const& light) {
        double const norm = model_.kernel.square().sum();
        model_.scienceNoise = ground_.scienceNoise;
        model_.modelError = modelError_;
        model_.largestModelError = modelErrors.back();
        model_.light = Eigen::Map<OwnedImage<double> const>(light.data(), science_.rows(), science_.cols());
        model_.variance.resize(science_.rows(), science_.cols());
        for (Index i = 0; i < light.size(); ++i) {
            model_.variance(i) = varianceAt(i, norm, light(i), model_.photonVariance, modelError_);
        }
        for (Index const pixel : middleDisc(ground_)) {
            model_.middleLight += light(pixel);
            model_.middleNoise += model_.variance(pixel);
        }
        model_.middleNoise = std::sqrt(model_.middleNoise);
        OwnedImage<double> const seen = significantLight(reference_, model_.referenceNoise);
        model_.noData = missingLight(model_.kernel, seen, referenceGood_, hiddenLight(seen, referenceGood_),
                                     toldHiddenShare, model_.variance);
    }

    StampModelControl control_;
    OwnedImage<double> science_;
    OwnedImage<double> reference_;
    StampFlags scienceGood_;
    StampFlags referenceGood_;
    StampFlags usable_;
    OwnedImage<double> scienceVariance_;
    OwnedImage<double> referenceVariance_;
    bool hasVariance_ = false;
    double leastNoise_ = 0.0;  // of the science image
    double leastReferenceNoise_ = 0.0;
    double modelError_ = 0.0;
    double firstScience_ = 0.0;  // variances of dark pixels before any fit
    double firstTemplate_ = 0.0;
    StampGround ground_;
    StampModel model_;
};

}  // namespace

StampModel fitStamp(StampImages const& images, StampModelControl const& control) {
    StampFitter best(images, control);
    if (!best.hasLight()) {
        return best.withoutLight();
    }
    std::vector<StampTry> tries = best.explained();
    auto const tryAgain = [&](StampModelControl const& other, std::vector<StampBlob> const& held) {
        StampFitter fitter(images, other);
        fitter.hold(held);
        std::vector<StampTry> found = fitter.explained();
        // None does whose flux ratio is not above 0.
        bool const isPossible = found.front().solution.kernel.sum() > 0.0;
        bool const isLeft = tries.front().solution.kernel.sum() > 0.0;
        bool const isMore = fitter.explainedBy(found.front()) > best.explainedBy(tries.front());
        if (isPossible && (!isLeft || isMore)) {
            best = std::move(fitter);
            tries = std::move(found);
        }
    };
    StampModelControl expected = control;
    expected.canFreeRatio = false;
    // A flux ratio that few pixels tell may lead away from the expected one, and what is then rejected keeps it there.
    bool const isFreed = best.isFreed(tries.front());
    if (isFreed) {
        tryAgain(expected, {});
    }
    // Faint sources may have outvoted the one that tells most.
    auto const held = best.brightestRejected(tries.front());
    if (!held.empty()) {
        tryAgain(control, held);
    }
    return best.finished(tries);
}

}  // namespace psfmatch
