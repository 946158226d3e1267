#include "psfmatch/sources/PhotonNoise.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "image/LitPixels.h"
#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr Index noiseSamples = 4096;  // pixels that tell the typical variance, about
constexpr int rounds = 4;             // of the weights, which follow the solution

double typicalVariance(MaskedImageView const& difference, MaskPixel badBits) {
    Index const count = difference.image.size();
    Index const step = std::max<Index>(1, count / noiseSamples);
    std::vector<float> values;
    for (Index i = 0; i < count; i += step) {
        Index const y = i / difference.image.cols();
        Index const x = i % difference.image.cols();
        if (isGood(difference, badBits, y, x)) {
            values.push_back(difference.variance(y, x));
        }
    }
    std::vector<float> scratch;
    return values.empty() ? 0.0 : quantileOf<float>(values, 0.5, scratch);
}

// Pixels of about the same light.
struct Bin {
    std::vector<float> residuals;  // absolute values
    double light = 0.0;            // sums over the pixels
    double variance = 0.0;
};

// What a bin tells: variance beyond the plane's, against the mean light.
struct Excess {
    double light;
    double variance;
    double excess;
    double count;
};

std::vector<Excess> excessesOf(std::vector<Bin>& bins, Index leastPixels) {
    std::vector<Excess> found;
    std::vector<float> scratch;
    for (Bin& bin : bins) {
        auto const count = static_cast<double>(bin.residuals.size());
        if (static_cast<Index>(bin.residuals.size()) >= leastPixels) {
            double const width = sigmaPerMad * quantileOf<float>(bin.residuals, 0.5, scratch);
            double const variance = bin.variance / count;
            found.push_back({bin.light / count, variance, width * width - variance, count});
        }
    }
    return found;
}

// Least squares for p and c^2.
struct Terms {
    double linear = 0.0;
    double square = 0.0;
    double linearError = 0.0;
};

Terms fitTerms(std::vector<Excess> const& excesses) {
    Terms terms;
    double chiSquare = 0.0;
    for (int round = 0; round < rounds; ++round) {
        double ll = 0.0;
        double lq = 0.0;
        double qq = 0.0;
        double le = 0.0;
        double qe = 0.0;
        auto const weightOf = [&](Excess const& bin) {
            double const expected = bin.variance + terms.linear * bin.light + terms.square * bin.light * bin.light;
            return bin.count / std::pow(2.0 * widthError * expected, 2);
        };
        for (Excess const& bin : excesses) {
            double const weight = weightOf(bin);
            double const square = bin.light * bin.light;
            ll += weight * square;
            lq += weight * square * bin.light;
            qq += weight * square * square;
            le += weight * bin.light * bin.excess;
            qe += weight * square * bin.excess;
        }
        double const determinant = ll * qq - lq * lq;
        if (!(determinant > 0.0)) {
            return {};
        }
        Terms next{(le * qq - qe * lq) / determinant, (qe * ll - le * lq) / determinant, std::sqrt(qq / determinant)};
        if (next.square < 0.0) {
            next = {le / ll, 0.0, std::sqrt(qq / determinant)};
        } else if (next.linear < 0.0) {
            next = {0.0, qe / qq, std::sqrt(qq / determinant)};
        }
        next.linear = std::max(next.linear, 0.0);
        next.square = std::max(next.square, 0.0);
        terms = next;
        chiSquare = 0.0;
        for (Excess const& bin : excesses) {
            double const left = bin.excess - terms.linear * bin.light - terms.square * bin.light * bin.light;
            chiSquare += weightOf(bin) * left * left;
        }
    }
    double const perFreedom = chiSquare / static_cast<double>(std::max<std::size_t>(excesses.size(), 3) - 2);
    terms.linearError *= std::sqrt(std::max(1.0, perFreedom));
    return terms;
}

}  // namespace

PhotonNoise photonNoise(MaskedImageView const& difference, MaskedImageView const& image,
                        PhotonNoiseControl const& control, Execution const& execution) {
    requireOneShape(difference, image);
    if (!(control.binRatio > 1.0) || !(control.leastLight > 0.0)) {
        throw std::invalid_argument("bins of light must begin above zero and grow");
    }
    PhotonNoise result;
    double const noise = std::sqrt(typicalVariance(difference, control.badBits));
    if (!(noise > 0.0)) {
        return result;
    }
    CellGrid const sky = skyOf(image, control.imageBits, execution);
    double const sign = control.isMinuend ? -1.0 : 1.0;
    double const least = control.leastLight * noise;
    double const lowest = control.scale * sky.values.minCoeff() + least;  // no light below it
    double const perBin = 1.0 / std::log(control.binRatio);
    // Rows of bins one after the other, so that sums do not depend on threads.
    std::vector<Bin> bins;
    for (Index y = 0; y < difference.image.rows(); ++y) {
        for (Index x = 0; x < difference.image.cols(); ++x) {
            if (!isGood(difference, control.badBits, y, x) || !(std::abs(image.image(y, x)) <= largestPixel)) {
                continue;
            }
            float const residual = difference.image(y, x);
            double const raw = control.scale * image.image(y, x) + sign * residual;
            if (raw < lowest) {
                continue;
            }
            double const light = raw - control.scale * sky.at(static_cast<double>(x), static_cast<double>(y));
            if (light < least) {
                continue;
            }
            auto const index = static_cast<std::size_t>(perBin * std::log(light / least));
            if (index >= bins.size()) {
                bins.resize(index + 1);
            }
            bins[index].residuals.push_back(std::abs(residual));
            bins[index].light += light;
            bins[index].variance += difference.variance(y, x);
            ++result.nPixels;
        }
    }
    std::vector<Excess> const excesses = excessesOf(bins, control.leastPixels);
    if (static_cast<Index>(excesses.size()) < control.leastBins) {
        return result;
    }
    Terms const terms = fitTerms(excesses);
    if (terms.linearError > 0.0) {
        result.perCount = terms.linear;
        result.perCountError = terms.linearError;
        result.share = std::sqrt(terms.square);
    }
    return result;
}

OwnedImage<float> withPhotonNoise(MaskedImageView const& image, double perCount, double leastSigmas, MaskPixel badBits,
                                  Execution const& execution) {
    if (!(perCount >= 0.0 && std::isfinite(perCount))) {
        throw std::invalid_argument("variance per count of light must be a finite number, not negative");
    }
    CellGrid const sky = skyOf(image, badBits, execution);
    OwnedImage<float> variance(image.image.rows(), image.image.cols());
    parallelForBrief(image.image.rows(), execution, [&](Index y, int) {
        for (Index x = 0; x < image.image.cols(); ++x) {
            float const own = image.variance(y, x);
            double const light = image.image(y, x) - sky.at(static_cast<double>(x), static_cast<double>(y));
            bool const isBright = light > leastSigmas * std::sqrt(static_cast<double>(own)) && light <= largestPixel;
            variance(y, x) = isBright ? own + static_cast<float>(perCount * light) : own;
        }
    });
    return variance;
}

}  // namespace psfmatch
