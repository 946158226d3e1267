#include "psfmatch/fit/StampModel.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "fit/StampAccounts.h"
#include "fit/StampFitter.h"
#include "fit/StampModelNoise.h"

namespace psfmatch {

namespace {

constexpr double toldHiddenShare = 0.03;

}  // namespace

StampModel StampFitter::finished(std::vector<StampTry> const& tries) {
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

StampModel StampFitter::withoutLight() {
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

void StampFitter::setPlane(Eigen::Vector3d const& terms) {
    auto const scale = [](Index n) { return n > 1 ? 2.0 / static_cast<double>(n - 1) : 0.0; };
    model_.plane = {terms(0) - (science_.cols() > 1 ? terms(1) : 0.0) - (science_.rows() > 1 ? terms(2) : 0.0),
                    terms(1) * scale(science_.cols()), terms(2) * scale(science_.rows())};
    // On the images with their skies.
    model_.plane[0] += model_.scienceSky - model_.ratio * model_.referenceSky;
}

void StampFitter::finish(Eigen::VectorXd const& light) {
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
