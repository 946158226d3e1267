#include "fit/StampAccounts.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "fit/StampMiddle.h"

namespace psfmatch {

namespace {

constexpr double sourceSigmas = 20.0;
constexpr double leftOutRadius = 5.0;  // px
constexpr double hopeless = 60.0;      // nats below the best: such a try is not brought to its end
constexpr double mostError = 3.0;      // of the kernel in the middle, in units of the noise there
constexpr double lightSigma = 1.2;     // px, of the filter that finds sources
constexpr double nowhere = -std::numeric_limits<double>::infinity();

}  // namespace

std::vector<StampBlob> brightSources(StampGround const& ground, Eigen::VectorXd const& light) {
    OwnedImage<double> smooth(ground.height(), ground.width());
    for (Index i = 0; i < smooth.size(); ++i) {
        smooth(i) = std::max(light(i), ground.scienceLight(i));
    }
    smooth = smoothedStamp(smooth, lightSigma);
    std::vector<StampBlob> sources;
    for (StampPeak const& peak : peaksOf(smooth, sourceSigmas * smoothedNoise(ground.scienceNoise, lightSigma))) {
        Index const x = peak.pixel % ground.width();
        Index const y = peak.pixel / ground.width();
        if (static_cast<Index>(sources.size()) < ground.control.nLeftOut &&
            !(ground.control.isAlert && ground.fromMiddle(x, y) <= ground.control.middleRadius + 2.0)) {
            sources.push_back({x, y, leftOutRadius, false});
        }
    }
    return sources;
}

namespace {

// An account from its choice on, with what the base or nothing but one source leaves out; not brought to its end below
// the least score.
StampTry settled(StampGround const& ground, StampTry const& base, StampAccount account, StampExtra const& extra,
                 StampChoice const& choice, StampBlob const* leftOut, bool isThorough, double least) {
    std::vector<StampBlob> blobs = middleBlobs(ground, account);
    if (leftOut != nullptr) {
        blobs.push_back(*leftOut);
    } else {
        std::copy_if(base.blobs.begin(), base.blobs.end(), std::back_inserter(blobs),
                     [](auto const& blob) { return !blob.isMiddle; });
    }
    StampTry attempt = startTry(ground, account, extra, blobs);
    attempt.solution.choice = choice;
    attempt.cost = base.cost;
    if (leftOut != nullptr) {
        ascend(ground, attempt, StampStart::choice);
    }
    rejectBlobs(ground, attempt);
    attempt.score = scoreOf(ground, attempt);
    if (attempt.score < least || !isThorough) {
        return attempt;
    }
    std::size_t const before = attempt.blobs.size();
    ascend(ground, attempt, StampStart::solved);
    if (before > 0) {
        rejectBlobs(ground, attempt);
    }
    attempt.score = scoreOf(ground, attempt);
    if (account == StampAccount::out) {
        double noise = 0.0;
        auto const disc = middleDisc(ground);
        for (Index const pixel : disc) {
            noise += ground.variance(pixel);
        }
        if (modelErrorAt(ground, attempt, disc) > mostError * std::sqrt(noise)) {
            attempt.score = nowhere;
        }
    }
    return attempt;
}

}  // namespace

std::vector<Index> middleDisc(StampGround const& ground) {
    return discOf(ground.middleX, ground.middleY, middleLightRadius, ground.height(), ground.width());
}

std::vector<StampBlob> middleBlobs(StampGround const& ground, StampAccount account) {
    if (account != StampAccount::out) {
        return {};
    }
    return {{ground.middleX, ground.middleY, ground.control.middleRadius, true}};
}

std::vector<StampTry> bestAccounts(StampGround const& ground, StampTry const& base, bool isThorough) {
    std::vector<StampAccount> accounts{StampAccount::none};
    if (ground.control.isAlert) {
        accounts = {StampAccount::point, StampAccount::none, StampAccount::scaled, StampAccount::out};
    }
    Eigen::VectorXd const light = lightOf(ground, base.solution);
    Eigen::VectorXd const residuals = stampResiduals(ground.problem, base.solution, nullptr);
    std::vector<StampTry> best;
    std::vector<StampExtra> extras;
    double top = nowhere;
    for (StampAccount const account : accounts) {
        StampChoice choice = base.solution.choice;
        StampExtra extra = account == StampAccount::scaled ? scaledExtra(ground, light, residuals)
                           : account == StampAccount::point
                               ? pointExtra(ground, base, residuals, isThorough ? 1 : 2, choice)
                               : StampExtra{};
        extras.push_back(extra);
        bool const isEmpty = extra.size() == 0 && (account == StampAccount::scaled || account == StampAccount::point);
        StampTry attempt =
            isEmpty ? base : settled(ground, base, account, extra, choice, nullptr, isThorough, top - hopeless);
        if (isEmpty) {
            attempt.score = nowhere;
        }
        top = std::max(top, attempt.score);
        best.push_back(std::move(attempt));
    }
    auto const first =
        std::max_element(best.begin(), best.end(), [](auto const& a, auto const& b) { return a.score < b.score; });
    bool const isAnyRejected =
        std::any_of(first->blobs.begin(), first->blobs.end(), [](auto const& blob) { return !blob.isMiddle; });
    if (isThorough && isAnyRejected) {
        for (StampBlob const& source : brightSources(ground, light)) {
            for (std::size_t i = 0; i < accounts.size(); ++i) {
                if (std::isfinite(best[i].score)) {
                    StampTry attempt = settled(ground, base, accounts[i], extras[i], best[i].solution.choice, &source,
                                               true, best[i].score - hopeless);
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

}  // namespace psfmatch
