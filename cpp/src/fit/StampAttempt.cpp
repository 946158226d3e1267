#include "fit/StampAttempt.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace psfmatch {

namespace {

constexpr double peakSigma = 1.2;    // px, of the filter that finds what has changed
constexpr double middleGuard = 1.0;  // px beyond the middle's disc where an account has no rejections
constexpr Index peaksPerRound = 6;
constexpr std::size_t mostBlobs = 14;
constexpr double leastLight = 0.35;   // of the template's, that is left to fit
constexpr double rejectedLoss = 0.1;  // nats for each pixel that is left out beyond a usual one
constexpr int mostSweeps = 3;
constexpr Index spreadStep = 3;  // of pixels whose spread is measured

struct Judged {
    double pull = 0.0;
    bool isAny = false;
};

Eigen::VectorXd filterAt(StampGround const& ground, std::vector<Index> const& pixels, Index x, Index y) {
    Eigen::VectorXd filter(static_cast<Index>(pixels.size()));
    for (Index i = 0; i < filter.size(); ++i) {
        Index const pixel = pixels[static_cast<std::size_t>(i)];
        double const dx = static_cast<double>(pixel % ground.width() - x);
        double const dy = static_cast<double>(pixel / ground.width() - y);
        filter(i) = std::exp(-0.5 * (dx * dx + dy * dy) / (peakSigma * peakSigma));
    }
    return filter;
}

// The light at a place that the solution does not explain, over its error, for pixels that are part of the solution
// by one without them, exactly: with S = W - W X H^-1 X' W residuals without them are S^-1 W r, of covariance S^-1.
Judged judgedAt(StampGround const& ground, StampTry const& attempt, Eigen::VectorXd const& residuals, Index x, Index y,
                double radius, bool isPart) {
    std::vector<Index> pixels;
    for (Index const pixel : discOf(x, y, radius, ground.height(), ground.width())) {
        if (ground.weights(pixel) > 0.0 && (attempt.sums.weights(pixel) > 0.0) == isPart) {
            pixels.push_back(pixel);
        }
    }
    auto const m = static_cast<Index>(pixels.size());
    if (m < 5) {
        return {};
    }
    Eigen::VectorXd weighted = filterAt(ground, pixels, x, y);
    Eigen::VectorXd light(m);
    Eigen::VectorXd weights(m);
    for (Index i = 0; i < m; ++i) {
        Index const pixel = pixels[static_cast<std::size_t>(i)];
        weights(i) = ground.weights(pixel);
        light(i) = residuals(pixel);
    }
    weighted.array() *= weights.array();
    Eigen::MatrixXd design = designRows(ground.problem, attempt.solution, attempt.extra, pixels).transpose();
    attempt.solution.factor.triangularView<Eigen::Lower>().solveInPlace(design);
    if (!isPart) {
        double const noise = (weighted.array().square() / weights.array()).sum();
        double const error = (design * weighted).squaredNorm();
        return {weighted.dot(light) / std::sqrt(noise + error), true};
    }
    Eigen::MatrixXd const scaled = design * weights.asDiagonal();
    Eigen::MatrixXd shares = -(scaled.transpose() * scaled);
    shares.diagonal() += weights;
    Eigen::LLT<Eigen::MatrixXd> const factor(shares);
    if (factor.info() != Eigen::Success) {
        return {};
    }
    Eigen::VectorXd const solved = factor.solve(weighted);
    double const variance = solved.dot(weighted);
    return {solved.dot(Eigen::VectorXd(weights.array() * light.array())) / std::sqrt(std::max(variance, 1e-300)), true};
}

// Whether enough of the template's light is left to tell a kernel when a blob goes, too.
bool leavesLight(StampGround const& ground, StampTry const& attempt, std::vector<StampBlob> const& added,
                 StampBlob const& next) {
    Eigen::VectorXd left = (attempt.sums.weights.array() > 0.0).select(ground.lit.array(), 0.0);
    double const now = (ground.weights.array() > 0.0).select(ground.lit.array(), 0.0).sum();
    auto const take = [&](StampBlob const& blob) {
        double taken = 0.0;
        for (Index const pixel : discOf(blob.x, blob.y, blob.radius, ground.height(), ground.width())) {
            taken += left(pixel);
            left(pixel) = 0.0;
        }
        return taken;
    };
    for (StampBlob const& blob : added) {
        take(blob);
    }
    // What is new in the science image takes nothing away.
    return take(next) <= 0.0 || left.sum() >= leastLight * now;
}

// Residuals over their noise, smoothed, in units of the result's own noise; never in less than the images' noise.
OwnedImage<double> smoothedPulls(StampGround const& ground, Eigen::VectorXd const& residuals,
                                 Eigen::VectorXd const& weights, double* spread) {
    OwnedImage<double> pulls(ground.height(), ground.width());
    OwnedImage<double> used(ground.height(), ground.width());
    for (Index i = 0; i < pulls.size(); ++i) {
        used(i) = weights(i) > 0.0 ? 1.0 : 0.0;
        pulls(i) = weights(i) > 0.0 ? residuals(i) * std::sqrt(weights(i)) : 0.0;
    }
    // The square of a Gaussian is one narrower by the root of two, of the sum 1 / (4 pi s^2).
    OwnedImage<double> const share =
        smoothedStamp(used, peakSigma / std::sqrt(2.0)) / (12.566370614 * peakSigma * peakSigma);
    OwnedImage<double> smooth = smoothedStamp(pulls, peakSigma);
    std::vector<double> list;
    for (Index i = 0; i < smooth.size(); ++i) {
        smooth(i) = used(i) > 0.0 ? smooth(i) / std::sqrt(std::max(share(i), 1e-6)) : 0.0;
        if (used(i) > 0.0 && i % spreadStep == 0) {
            list.push_back(smooth(i));
        }
    }
    *spread = std::max(1.0, spreadOf(std::move(list)));
    return smooth / *spread;
}

}  // namespace

double StampGround::fromMiddle(Index x, Index y) const {
    return std::hypot(static_cast<double>(x - middleX), static_cast<double>(y - middleY));
}

StampTry startTry(StampGround const& ground, StampAccount account, StampExtra extra,
                  std::vector<StampBlob> const& leftOut) {
    StampTry attempt;
    attempt.account = account;
    attempt.extra = std::move(extra);
    attempt.sums = ground.sums;
    attempt.blobs = leftOut;
    for (StampBlob const& blob : leftOut) {
        leaveOut(attempt.sums, ground.problem.columns,
                 discOf(blob.x, blob.y, blob.radius, ground.height(), ground.width()));
    }
    return attempt;
}

void ascend(StampGround const& ground, StampTry& attempt, StampStart start) {
    bool const isFirst = start == StampStart::allWidths;
    auto const& priors = ground.problem.priors;
    auto const& columns = ground.problem.columns;
    StampSolution best;
    double bestValue = 0.0;
    bool hasBest = false;
    auto const isBetter = [&](StampChoice const& choice, double cost) {
        StampSolution found = solveStamp(ground.problem, attempt.sums, attempt.extra, choice);
        if (hasBest && found.evidence - cost <= bestValue + 1e-6) {
            return false;
        }
        bestValue = found.evidence - cost;
        attempt.cost = cost;
        best = std::move(found);
        hasBest = true;
        return true;
    };
    auto const nWidths = static_cast<Index>(columns.widths.size());
    if (isFirst) {
        for (StampRatio const& ratio : ground.ratios) {
            for (Index width = 0; width < nWidths; ++width) {
                // Narrow kernels may be those that sharpen: by their deviation, if at all.
                isBetter({width, 1, 1, 0.0, ratio.value, ratio.error}, ratio.cost);
                if (width % 2 == 0) {
                    isBetter({width, 1, 1, ground.control.deviations.back(), ratio.value, ratio.error}, ratio.cost);
                }
            }
        }
    } else if (start == StampStart::choice) {
        isBetter(attempt.solution.choice, attempt.cost);
    } else {
        best = std::move(attempt.solution);
        bestValue = best.evidence - attempt.cost;
        hasBest = true;
    }
    for (int sweep = 0; sweep < mostSweeps; ++sweep) {
        bool isChanged = false;
        auto const consider = [&](StampChoice const& choice, double cost) {
            bool const better = isBetter(choice, cost);
            isChanged |= better;
            return better;
        };
        StampChoice at = best.choice;
        double const cost = attempt.cost;
        auto const now = std::find(ground.control.deviations.begin(), ground.control.deviations.end(), at.deviation) -
                         ground.control.deviations.begin();
        for (auto i = 0; i < static_cast<std::ptrdiff_t>(ground.control.deviations.size()); ++i) {
            if (i != now && (isFirst || std::abs(i - now) <= 1)) {
                StampChoice next = at;
                next.deviation = ground.control.deviations[static_cast<std::size_t>(i)];
                consider(next, cost);
            }
        }
        if (best.choice.deviation > 0.0) {
            at = best.choice;
            for (Index i = 0; i < static_cast<Index>(priors.envelopes.size()); ++i) {
                StampChoice next = at;
                next.envelope = i;
                if (std::abs(i - at.envelope) == 1) {
                    consider(next, cost);
                }
            }
            at = best.choice;
            for (Index i = 0; i < static_cast<Index>(priors.lengths.size()); ++i) {
                StampChoice next = at;
                next.length = i;
                if (std::abs(i - at.length) == 1) {
                    consider(next, cost);
                }
            }
        }
        for (Index const step : {-1, 1}) {
            at = best.choice;
            while (at.width + step >= 0 && at.width + step < nWidths) {
                at.width += step;
                if (!consider(at, cost)) {
                    break;
                }
            }
        }
        if (ground.ratios.size() > 1) {
            at = best.choice;
            for (StampRatio const& ratio : ground.ratios) {
                if (ratio.value != at.ratio || ratio.error != at.ratioError) {
                    StampChoice next = at;
                    next.ratio = ratio.value;
                    next.ratioError = ratio.error;
                    consider(next, ratio.cost);
                }
            }
        }
        if (!isChanged) {
            break;
        }
    }
    attempt.solution = std::move(best);
}

void rejectBlobs(StampGround const& ground, StampTry& attempt) {
    auto const& control = ground.control;
    bool const isGuarded = control.isAlert && attempt.account != StampAccount::none;
    bool isChanged = true;
    for (Index round = 0; round < control.maxRounds && isChanged; ++round) {
        attempt.solution = solveStamp(ground.problem, attempt.sums, attempt.extra, attempt.solution.choice);
        Eigen::VectorXd const residuals = stampResiduals(ground.problem, attempt.solution, &attempt.extra);
        double spread = 1.0;
        auto const smooth = smoothedPulls(ground, residuals, attempt.sums.weights, &spread);
        std::vector<StampBlob> added;
        Index nJudged = 0;
        for (StampPeak const& peak : peaksOf(smooth, control.lookSigmas)) {
            Index const x = peak.pixel % ground.width();
            Index const y = peak.pixel / ground.width();
            bool const isMiddle = control.isAlert && ground.fromMiddle(x, y) <= control.middleRadius + middleGuard;
            bool const isHeld = std::any_of(ground.held.begin(), ground.held.end(), [&](StampBlob const& blob) {
                return std::hypot(static_cast<double>(x - blob.x), static_cast<double>(y - blob.y)) <= blob.radius;
            });
            if (attempt.blobs.size() + added.size() >= mostBlobs || nJudged >= peaksPerRound || isHeld ||
                (isGuarded && isMiddle)) {
                continue;
            }
            ++nJudged;
            auto const judged = judgedAt(ground, attempt, residuals, x, y, control.discRadius, true);
            if (judged.isAny && std::abs(judged.pull) > control.rejectSigmas * spread &&
                leavesLight(ground, attempt, added, {x, y, control.discRadius, isMiddle})) {
                added.push_back({x, y, control.discRadius, isMiddle});
            }
        }
        std::vector<StampBlob> kept;
        bool isAnyBack = false;
        for (StampBlob const& blob : attempt.blobs) {
            bool const isFixed = isGuarded && blob.isMiddle;
            auto const judged =
                isFixed ? Judged{} : judgedAt(ground, attempt, residuals, blob.x, blob.y, blob.radius, false);
            if (judged.isAny && std::abs(judged.pull) < control.lookSigmas * spread) {
                isAnyBack = true;
                continue;
            }
            kept.push_back(blob);
        }
        isChanged = isAnyBack || !added.empty();
        if (!isChanged) {
            break;
        }
        if (isAnyBack) {
            std::vector<Index> all;
            for (StampBlob const& blob : attempt.blobs) {
                auto const pixels = discOf(blob.x, blob.y, blob.radius, ground.height(), ground.width());
                all.insert(all.end(), pixels.begin(), pixels.end());
            }
            bringBack(attempt.sums, ground.problem.columns, all, ground.weights);
        }
        kept.insert(kept.end(), added.begin(), added.end());
        attempt.blobs = kept;
        for (StampBlob const& blob : attempt.blobs) {
            leaveOut(attempt.sums, ground.problem.columns,
                     discOf(blob.x, blob.y, blob.radius, ground.height(), ground.width()));
        }
    }
    if (isChanged) {
        attempt.solution = solveStamp(ground.problem, attempt.sums, attempt.extra, attempt.solution.choice);
    }
}

double scoreOf(StampGround const& ground, StampTry const& attempt) {
    Eigen::VectorXd const residuals = stampResiduals(ground.problem, attempt.solution, &attempt.extra);
    double score = attempt.solution.evidence - attempt.cost;
    for (Index i = 0; i < residuals.size(); ++i) {
        if (ground.weights(i) > 0.0 && attempt.sums.weights(i) == 0.0) {
            double const variance = ground.variance(i);
            score -= 0.5 * (1.0 + std::log(variance)) + rejectedLoss +
                     0.25 * std::log1p(residuals(i) * residuals(i) / variance);
        }
    }
    for (StampBlob const& blob : attempt.blobs) {
        score -= blob.isMiddle ? 0.0 : ground.control.blobCost;
    }
    return score - (ground.control.isAlert && attempt.account == StampAccount::none ? ground.control.noneCost : 0.0);
}

Eigen::VectorXd lightOf(StampGround const& ground, StampSolution const& solution) {
    auto const& columns = ground.problem.columns;
    StampSolution bare = solution;
    bare.coefficients.segment(columns.plane(), StampColumns::nPlane).setZero();
    return columns.values.col(columns.science()) - stampResiduals(ground.problem, bare, nullptr);
}

double modelErrorAt(StampGround const& ground, StampTry const& attempt, std::vector<Index> const& pixels) {
    Eigen::VectorXd sum =
        designRows(ground.problem, attempt.solution, attempt.extra, pixels).colwise().sum().transpose();
    // The difference keeps the light that the account has.
    sum.tail(attempt.extra.size()).setZero();
    attempt.solution.factor.triangularView<Eigen::Lower>().solveInPlace(sum);
    return sum.norm();
}

}  // namespace psfmatch
