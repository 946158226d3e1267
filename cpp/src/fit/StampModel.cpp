#include "psfmatch/fit/StampModel.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <string>

#include "fit/StampAttempt.h"
#include "fit/StampModelNoise.h"
#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

constexpr Index leastSide = 10;
constexpr Index leastPixels = 50;
constexpr double nominalWidth = 1.5;      // px, of a kernel before there is one
constexpr double lightRadius = 3.5;       // px, where the flux of the middle is summed
constexpr double expectedModelError = 0.02;
constexpr double firstModelError = 0.01;
// Of |k| on saturated cores: of pixels that are fitted, and of those that are told.
constexpr double fittedHiddenShare = 1e-3;
constexpr double toldHiddenShare = 0.03;
constexpr double litShare = 0.3;           // of the noise of a pixel, light that tells of photons and the model's error
constexpr double litSigmas = 5.0;
constexpr double sourceSigmas = 20.0;
constexpr double hopeless = 60.0;  // nats below the best: such a try is not brought to its end
constexpr double leftOutRadius = 5.0;
constexpr std::array<double, 7> modelErrors{0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08};
constexpr std::array<double, 4> pointWidths{0.7, 0.9, 1.2, 1.6};  // px, sigma of a point in the template
constexpr double leastPoint = 0.6;  // px
constexpr double pointReach = 9.0;  // px
constexpr double wingFactor = 1.8;

double smoothedNoise(double noise) {
    return noise / (2.0 * std::sqrt(3.141592653589793) * 1.2);
}

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

    StampModel fit() {
        if (!model_.referenceHasLight) {
            return withoutLight();
        }
        prepare();
        StampAccount const first = control_.isAlert ? StampAccount::out : StampAccount::none;
        StampTry attempt = startTry(ground_, first, {}, middleBlobs(first));
        ascend(ground_, attempt, true);
        rejectBlobs(ground_, attempt);
        // A narrow kernel that deviates much may be one that sharpens.
        auto const& choice = attempt.solution.choice;
        if (choice.width == 0 || (choice.width <= 2 && choice.deviation >= 0.1)) {
            attempt = sharpened(std::move(attempt));
        }
        reweigh(attempt);
        ascend(ground_, attempt, false);
        rejectBlobs(ground_, attempt);
        if (control_.isAlert) {
            // The account that fits best tells the noise better than one without the brightest pixels.
            attempt = std::move(bestOf(attempt, false).front());
        }
        reweigh(attempt);
        return finished(bestOf(attempt, true));
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
        model_.scienceNoise = scienceSky.noise;
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
            model_.scienceNoise = typical(scienceVariance_, scienceGood_);
            model_.referenceNoise = typical(referenceVariance_, referenceGood_);
        }
        // An image without noise is not without limits.
        double const range = std::max(science_.abs().maxCoeff(), reference_.abs().maxCoeff());
        leastNoise_ = 1e-6 * range + 1e-30;
        model_.scienceNoise = std::max(model_.scienceNoise, leastNoise_);
        auto const hasLight = [&](OwnedImage<double> const& image, double noise) {
            return smoothedStamp(image, 1.2).maxCoeff() > litSigmas * smoothedNoise(std::max(noise, leastNoise_));
        };
        model_.scienceHasLight = hasLight(science_, model_.scienceNoise);
        model_.referenceHasLight = hasLight(reference_, model_.referenceNoise);
        if (!hasVariance_) {
            scienceVariance_ = OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(model_.scienceNoise));
            referenceVariance_ =
                OwnedImage<double>::Constant(science_.rows(), science_.cols(), square(model_.referenceNoise));
        }
    }

    static double square(double value) { return value * value; }

    // Kernels no larger than the stamp bears.
    void limitKernel(Index side) {
        auto& columns = control_.columns;
        columns.halfWidth = std::min(columns.halfWidth, (side - 1) / 4);
        columns.deviationRadius =
            std::min({columns.deviationRadius, std::floor(static_cast<double>(side) / 6.0), static_cast<double>(columns.halfWidth)});
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
            ground_.ratios.push_back({free, control_.freeRatioError, control_.freeCost});
        }
        StampPriors priors = control_.priors;
        priors.plane = 5.0 * model_.scienceNoise;
        ground_.problem = makeStampProblem(stampColumns(science_, reference_, control_.columns), priors,
                                           square(model_.referenceNoise));
        scienceLight_ = significantLight(science_, model_.scienceNoise);
        modelError_ = firstModelError;
        OwnedImage<double> const guess = (light * ratio).max(scienceLight_);
        Eigen::VectorXd const kernel = Eigen::VectorXd::Constant(1, 0.2 * ratio);
        setWeights(kernel, Eigen::Map<Eigen::VectorXd const>(guess.data(), guess.size()));
    }

    // Science over template, where either is lit, by the median of the light; 0 where too little lies outside the middle.
    [[nodiscard]] double freeRatio() const {
        OwnedImage<double> const after = smoothedStamp(science_, 2.0);
        OwnedImage<double> const before = smoothedStamp(reference_, 2.0);
        double const least = litSigmas * std::max(model_.referenceNoise, leastNoise_) / (4.0 * std::sqrt(3.14159));
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

    [[nodiscard]] Eigen::VectorXd lightOf(StampSolution const& solution) const {
        auto const& columns = ground_.problem.columns;
        StampSolution bare = solution;
        bare.coefficients.segment(columns.plane(), StampColumns::nPlane).setZero();
        return columns.values.col(columns.science()) - stampResiduals(ground_.problem, bare, nullptr);
    }

    [[nodiscard]] double varianceAt(Index i, double norm, double light, double photon, double modelError) const {
        double const seen = std::max({light, scienceLight_(i), 0.0});
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

    // The try with kernels that sharpen, where these explain the stamp better.
    StampTry sharpened(StampTry attempt) {
        StampGround sharp = ground_;
        sharp.control.columns.widths = control_.sharpWidths;
        sharp.problem = makeStampProblem(stampColumns(science_, reference_, sharp.control.columns),
                                         ground_.problem.priors, ground_.problem.templateVariance);
        sharp.sums = stampSums(sharp.problem.columns, sharp.weights);
        StampTry other = startTry(sharp, attempt.account, {}, middleBlobs(attempt.account));
        ascend(sharp, other, true);
        rejectBlobs(sharp, other);
        if (scoreOf(sharp, other) <= scoreOf(ground_, attempt)) {
            return attempt;
        }
        ground_ = std::move(sharp);
        return other;
    }

    // Noise and weights anew of what a try leaves, and the try with them.
    void reweigh(StampTry& attempt) {
        fitNoise(attempt);
        setWeights(attempt.solution.kernel, lightOf(attempt.solution));
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
        Eigen::VectorXd const light = lightOf(attempt.solution);
        double const norm = attempt.solution.kernel.squaredNorm();
        // Dark pixels, or the fainter half where there are none.
        double const half = middleOf(std::vector<double>(light.data(), light.data() + light.size()));
        double const faint = std::max(model_.scienceNoise, half);
        std::vector<Index> kept;  // with light: the others' variance is the same for all
        std::vector<double> dark;
        double brightest = 0.0;
        for (Index i = 0; i < light.size(); ++i) {
            if (attempt.sums.weights(i) > 0.0) {
                if (light(i) > litShare * model_.scienceNoise || scienceLight_(i) > 0.0) {
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
            model_.scienceNoise = std::max(std::sqrt(left - share), leastNoise_);
            scienceVariance_.setConstant(square(model_.scienceNoise));
        }
        double best = -std::numeric_limits<double>::infinity();
        double bestPhoton = 0.0;
        double const unit = brightest > 0.0 ? square(model_.scienceNoise) / brightest : 0.0;
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

    [[nodiscard]] std::vector<StampBlob> middleBlobs(StampAccount account) const {
        if (account != StampAccount::out) {
            return {};
        }
        return {{ground_.middleX, ground_.middleY, control_.middleRadius, true}};
    }

    [[nodiscard]] std::vector<Index> middleDisc() const {
        return discOf(ground_.middleX, ground_.middleY, lightRadius, ground_.height(), ground_.width());
    }

    // The best of the accounts, each from several starts.
    std::vector<StampTry> bestOf(StampTry const& base, bool isThorough) {
        std::vector<StampAccount> accounts{StampAccount::none};
        if (control_.isAlert) {
            accounts = {StampAccount::point, StampAccount::none, StampAccount::scaled, StampAccount::out};
        }
        Eigen::VectorXd const light = lightOf(base.solution);
        Eigen::VectorXd const residuals = stampResiduals(ground_.problem, base.solution, nullptr);
        std::vector<StampTry> best;
        std::vector<StampExtra> extras;
        bool isAnyRejected = false;
        double top = -std::numeric_limits<double>::infinity();
        for (StampAccount const account : accounts) {
            StampChoice choice = base.solution.choice;
            StampExtra extra = account == StampAccount::scaled  ? scaledExtra(light, residuals)
                               : account == StampAccount::point ? pointExtra(base, residuals, isThorough ? 1 : 2, choice)
                                                                : StampExtra{};
            extras.push_back(extra);
            bool const isEmpty = extra.size() == 0 && (account == StampAccount::scaled || account == StampAccount::point);
            StampTry attempt = isEmpty ? base : settled(base, account, extra, choice, nullptr, top - hopeless);
            if (isEmpty) {
                attempt.score = -std::numeric_limits<double>::infinity();
            }
            top = std::max(top, attempt.score);
            best.push_back(std::move(attempt));
        }
        auto const first = std::max_element(best.begin(), best.end(), [](auto const& a, auto const& b) { return a.score < b.score; });
        isAnyRejected = std::any_of(first->blobs.begin(), first->blobs.end(), [](auto const& blob) { return !blob.isMiddle; });
        if (isThorough && isAnyRejected) {
            for (StampBlob const& source : brightSources(light)) {
                for (std::size_t i = 0; i < accounts.size(); ++i) {
                    if (std::isfinite(best[i].score)) {
                        StampTry attempt = settled(base, accounts[i], extras[i], best[i].solution.choice, &source,
                                                   best[i].score - hopeless);
                        if (attempt.score > best[i].score) {
                            best[i] = std::move(attempt);
                        }
                    }
                }
            }
        }
        std::stable_sort(best.begin(), best.end(), [](auto const& a, auto const& b) { return a.score > b.score; });
        return best;
    }

    [[nodiscard]] StampTry settled(StampTry const& base, StampAccount account, StampExtra const& extra,
                                   StampChoice const& choice, StampBlob const* leftOut, double least) const {
        std::vector<StampBlob> blobs = middleBlobs(account);
        if (leftOut != nullptr) {
            blobs.push_back(*leftOut);
        } else {
            std::copy_if(base.blobs.begin(), base.blobs.end(), std::back_inserter(blobs),
                         [](auto const& blob) { return !blob.isMiddle; });
        }
        StampTry attempt = startTry(ground_, account, extra, blobs);
        attempt.solution.choice = choice;
        attempt.cost = base.cost;
        attempt.solution = solveStamp(ground_.problem, attempt.sums, attempt.extra, choice);
        if (leftOut != nullptr) {
            ascend(ground_, attempt, false);
        }
        rejectBlobs(ground_, attempt);
        if (scoreOf(ground_, attempt) < least) {
            attempt.score = scoreOf(ground_, attempt);
            return attempt;
        }
        std::size_t const before = attempt.blobs.size();
        ascend(ground_, attempt, false);
        if (before > 0) {
            rejectBlobs(ground_, attempt);
        }
        attempt.score = scoreOf(ground_, attempt);
        if (account == StampAccount::out) {
            double noise = 0.0;
            auto const disc = middleDisc();
            for (Index const pixel : disc) {
                noise += ground_.variance(pixel);
            }
            if (modelErrorAt(ground_, attempt, disc) > 3.0 * std::sqrt(noise)) {
                attempt.score -= 1e6;
            }
        }
        return attempt;
    }

    // What lies in the middle beyond the model, with five times its noise.
    [[nodiscard]] double expectedFlux(Eigen::VectorXd const& residuals) const {
        double flux = 0.0;
        double noise = 0.0;
        for (Index const pixel : discOf(ground_.middleX, ground_.middleY, control_.middleRadius, ground_.height(), ground_.width())) {
            flux += residuals(pixel);
            noise += ground_.variance(pixel);
        }
        return std::abs(flux) + 5.0 * std::sqrt(noise);
    }

    [[nodiscard]] StampExtra scaledExtra(Eigen::VectorXd const& light, Eigen::VectorXd const& residuals) const {
        StampExtra extra;
        extra.pixels = discOf(ground_.middleX, ground_.middleY, pointReach, ground_.height(), ground_.width());
        extra.values.resize(static_cast<Index>(extra.pixels.size()), 1);
        double total = 0.0;
        double noise = 0.0;
        for (Index i = 0; i < extra.values.rows(); ++i) {
            Index const pixel = extra.pixels[static_cast<std::size_t>(i)];
            double const r = ground_.fromMiddle(pixel % ground_.width(), pixel / ground_.width());
            extra.values(i, 0) = light(pixel) * std::exp(-std::pow(r / 5.0, 4));
            if (r <= lightRadius) {
                total += light(pixel);
                noise += ground_.variance(pixel);
            }
        }
        if (!(total > litSigmas * std::sqrt(noise))) {
            return {};
        }
        extra.sizes = Eigen::VectorXd::Constant(1, std::max(0.3, 2.0 * expectedFlux(residuals) / total));
        return extra;
    }

    // A new point has the template's PSF, convolved as everything is: never narrower than the kernel. Told with the
    // width of the kernel that goes with it.
    [[nodiscard]] StampExtra pointExtra(StampTry const& base, Eigen::VectorXd const& residuals, Index reach,
                                        StampChoice& choice) const {
        double const flux = expectedFlux(residuals);
        StampExtra best;
        double bestEvidence = -std::numeric_limits<double>::infinity();
        StampTry attempt = startTry(ground_, StampAccount::point, {}, {});
        for (StampBlob const& blob : base.blobs) {
            if (!blob.isMiddle) {
                leaveOut(attempt.sums, ground_.problem.columns,
                         discOf(blob.x, blob.y, blob.radius, ground_.height(), ground_.width()));
            }
        }
        auto const& widths = ground_.problem.columns.widths;
        Index const now = base.solution.choice.width;
        Index const last = std::min(now + reach, static_cast<Index>(widths.size()) - 1);
        for (Index at = std::max<Index>(now - reach, 0); at <= last; ++at) {
            StampChoice next = base.solution.choice;
            next.width = at;
            for (double const width : pointWidths) {
                double const kernelWidth = widths[static_cast<std::size_t>(at)];
                double const square = width * width + kernelWidth * std::abs(kernelWidth);
                StampExtra extra = pointAt(std::sqrt(std::max(square, leastPoint * leastPoint)), flux);
                attempt.sums.forgetExtra();
                double const evidence = solveStamp(ground_.problem, attempt.sums, extra, next).evidence;
                if (evidence > bestEvidence) {
                    bestEvidence = evidence;
                    best = std::move(extra);
                    choice = next;
                }
            }
        }
        return best;
    }

    // A Gaussian in the middle, its shift and its wings, with the sizes that they may have.
    [[nodiscard]] StampExtra pointAt(double width, double flux) const {
        StampExtra extra;
        extra.pixels = discOf(ground_.middleX, ground_.middleY, pointReach, ground_.height(), ground_.width());
        extra.values.resize(static_cast<Index>(extra.pixels.size()), 4);
        double const norm = 1.0 / (2.0 * 3.141592653589793 * width * width);
        double const wide = width * wingFactor;
        for (Index i = 0; i < extra.values.rows(); ++i) {
            Index const pixel = extra.pixels[static_cast<std::size_t>(i)];
            double const x = static_cast<double>(pixel % ground_.width() - ground_.middleX);
            double const y = static_cast<double>(pixel / ground_.width() - ground_.middleY);
            double const core = norm * std::exp(-0.5 * (x * x + y * y) / (width * width));
            double const wing = norm / square(wingFactor) * std::exp(-0.5 * (x * x + y * y) / (wide * wide));
            extra.values.row(i) << core, core * x / (width * width), core * y / (width * width), wing - core;
        }
        extra.sizes.resize(4);
        extra.sizes << 2.0 * flux, 0.5 * flux, 0.5 * flux, 0.2 * flux;
        return extra;
    }

    [[nodiscard]] std::vector<StampBlob> brightSources(Eigen::VectorXd const& light) const {
        OwnedImage<double> smooth(ground_.height(), ground_.width());
        for (Index i = 0; i < smooth.size(); ++i) {
            smooth(i) = std::max(light(i), scienceLight_(i));
        }
        smooth = smoothedStamp(smooth, 1.2);
        std::vector<StampBlob> sources;
        for (StampPeak const& peak : peaksOf(smooth, sourceSigmas * smoothedNoise(model_.scienceNoise))) {
            Index const x = peak.pixel % ground_.width();
            Index const y = peak.pixel / ground_.width();
            if (static_cast<Index>(sources.size()) < control_.nLeftOut &&
                !(control_.isAlert && ground_.fromMiddle(x, y) <= control_.middleRadius + 2.0)) {
                sources.push_back({x, y, leftOutRadius, false});
            }
        }
        return sources;
    }

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
            if (!std::isfinite(attempt.score) || attempt.score < -1e5 + best.score) {
                continue;
            }
            StampAttempt told{attempt.account, attempt.score, 0.0, 0.0, attempt.solution.kernel.sum(), 0};
            auto const disc = middleDisc();
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
        Eigen::VectorXd const light = lightOf(best.solution);
        finish(light);
        return model_;
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
        model_.modelError = modelError_;
        model_.largestModelError = modelErrors.back();
        model_.light = Eigen::Map<OwnedImage<double> const>(light.data(), science_.rows(), science_.cols());
        model_.variance.resize(science_.rows(), science_.cols());
        for (Index i = 0; i < light.size(); ++i) {
            model_.variance(i) = varianceAt(i, norm, light(i), model_.photonVariance, modelError_);
        }
        for (Index const pixel : middleDisc()) {
            model_.middleLight += light(pixel);
            model_.middleNoise += model_.variance(pixel);
        }
        model_.middleNoise = std::sqrt(model_.middleNoise);
        OwnedImage<double> const seen = significantLight(reference_, model_.referenceNoise);
        model_.noData = missingLight(model_.kernel, seen, referenceGood_, hiddenLight(seen, referenceGood_),
                                     toldHiddenShare, model_.variance);
    }

    // A template that shows nothing: its noise, smoothed, is taken away, and the sky.
    StampModel withoutLight() {
        auto const half = std::min<Index>(5, control_.columns.halfWidth);
        model_.kernel = gaussianKernel(nominalWidth, half);
        model_.kernelWidth = nominalWidth;
        double const most = 0.5 * model_.scienceNoise / std::max(model_.referenceNoise, 1e-300);
        model_.ratio = std::min(control_.ratio, most / std::sqrt(model_.kernel.square().sum()));
        model_.ratioError = model_.ratio;
        model_.kernel *= model_.ratio;
        model_.account = StampAccount::none;
        scienceLight_ = significantLight(science_, model_.scienceNoise);
        OwnedImage<double> const light = convolvedStamp(reference_, model_.kernel);
        // The plane of what is not lit; pixels beyond 3 sigma of it leave.
        Eigen::Vector3d terms = Eigen::Vector3d::Zero();
        for (int pass = 0; pass < 5; ++pass) {
            Eigen::Matrix3d normal = 1e-9 * Eigen::Matrix3d::Identity();
            Eigen::Vector3d right = Eigen::Vector3d::Zero();
            for (Index y = 0; y < science_.rows(); ++y) {
                for (Index x = 0; x < science_.cols(); ++x) {
                    Eigen::Vector3d const row{1.0, 2.0 * static_cast<double>(x) / static_cast<double>(science_.cols() - 1) - 1.0,
                                              2.0 * static_cast<double>(y) / static_cast<double>(science_.rows() - 1) - 1.0};
                    double const left = science_(y, x) - light(y, x);
                    if (scienceGood_(y, x) != 0 && scienceLight_(y, x) <= 0.0 &&
                        std::abs(left - row.dot(terms)) < 3.0 * model_.scienceNoise) {
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

    StampModelControl control_;
    OwnedImage<double> science_;
    OwnedImage<double> reference_;
    StampFlags scienceGood_;
    StampFlags referenceGood_;
    StampFlags usable_;
    OwnedImage<double> scienceVariance_;
    OwnedImage<double> referenceVariance_;
    OwnedImage<double> scienceLight_;
    bool hasVariance_ = false;
    double leastNoise_ = 0.0;
    double modelError_ = 0.0;
    StampGround ground_;
    StampModel model_;
};

}  // namespace

StampModel fitStamp(StampImages const& images, StampModelControl const& control) {
    return StampFitter(images, control).fit();
}

}  // namespace psfmatch
