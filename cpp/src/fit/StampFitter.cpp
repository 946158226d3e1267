#include "fit/StampFitter.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "fit/StampAccounts.h"
#include "fit/StampModelNoise.h"
#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

constexpr Index leastSide = 10;
constexpr Index leastPixels = 50;
constexpr double firstModelError = 0.01;
// Of |k| on saturated cores: of pixels that are fitted, and of those that are told.
constexpr double fittedHiddenShare = 1e-3;
constexpr double alikeNats = 5.0;       // between kinds of kernels, before their noise is known
constexpr double negativeShare = 0.05;  // of a kernel's absolute sum
constexpr double otherUnits = 3.0;      // decades beside the expected ratio that only other units make

}  // namespace

OwnedImage<double> gaussianKernel(double sigma, Index half) {
    OwnedImage<double> image = OwnedImage<double>::Zero(2 * half + 1, 2 * half + 1);
    image(half, half) = 1.0;
    image = smoothedStamp(image, sigma);
    return image / image.sum();
}

StampFitter::StampFitter(StampImages const& images, StampModelControl const& control)
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
        throw NumericalError("a stamp of " + std::to_string(science_.cols()) + " x " + std::to_string(science_.rows()) +
                             " pixels, " + std::to_string(nGood) + " of them good in both images, holds no kernel; " +
                             std::to_string(leastSide) + " on each side and " + std::to_string(leastPixels) +
                             " are needed");
    }
    measureSkies(images);
    limitKernel(side);
}

std::vector<StampTry> StampFitter::explained() {
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

double StampFitter::explainedBy(StampTry const& attempt) const {
    double const noise = firstScience_ + attempt.solution.kernel.squaredNorm() * firstTemplate_;
    auto const nUsable = static_cast<double>((ground_.weights.array() > 0.0).count());
    return attempt.score + 0.5 * nUsable * std::log(std::max(noise, square(leastNoise_)));
}

bool StampFitter::isFreed(StampTry const& attempt) const {
    return attempt.cost > 0.0 && ground_.ratios.size() > 1;
}

std::vector<StampBlob> StampFitter::brightestRejected(StampTry const& attempt) const {
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

void StampFitter::limitKernel(Index side) {
    auto& columns = control_.columns;
    columns.halfWidth = std::min(columns.halfWidth, (side - 1) / 4);
    columns.deviationRadius = std::min(
        {columns.deviationRadius, std::floor(static_cast<double>(side) / 6.0), static_cast<double>(columns.halfWidth)});
    std::erase_if(columns.widths,
                  [&](double width) { return width > 0.45 * static_cast<double>(columns.halfWidth) + 0.3; });
    ground_.control = control_;
    ground_.middleX = science_.cols() / 2;
    ground_.middleY = science_.rows() / 2;
}

void StampFitter::prepare() {
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
    ground_.problem =
        makeStampProblem(stampColumns(science_, reference_, control_.columns), priors, square(model_.referenceNoise));
    ground_.scienceLight = significantLight(science_, ground_.scienceNoise);
    modelError_ = firstModelError;
    OwnedImage<double> const guess = (light * ratio).max(ground_.scienceLight);
    firstScience_ = square(ground_.scienceNoise);
    firstTemplate_ = square(model_.referenceNoise);
    Eigen::VectorXd const kernel = Eigen::VectorXd::Constant(1, 0.2 * ratio);
    setWeights(kernel, Eigen::Map<Eigen::VectorXd const>(guess.data(), guess.size()));
}

bool StampFitter::mayBeSharp(StampTry const& attempt) {
    auto const& [choice, kernel] = std::tie(attempt.solution.choice, attempt.solution.kernel);
    double const negative = -kernel.cwiseMin(0.0).sum() / kernel.cwiseAbs().sum();
    return choice.width == 0 || (choice.width <= 2 && (choice.deviation >= 0.1 || negative > negativeShare));
}

StampTry StampFitter::sharpened(StampTry const& attempt) {
    ground_.control.columns.widths = control_.sharpWidths;
    ground_.problem = makeStampProblem(stampColumns(science_, reference_, ground_.control.columns),
                                       ground_.problem.priors, ground_.problem.templateVariance);
    ground_.sums = stampSums(ground_.problem.columns, ground_.weights);
    StampTry other = startTry(ground_, attempt.account, {}, attempt.blobs);
    ascend(ground_, other, StampStart::allWidths);
    return other;
}

std::vector<StampTry> StampFitter::settled(StampTry attempt) {
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

}  // namespace psfmatch
