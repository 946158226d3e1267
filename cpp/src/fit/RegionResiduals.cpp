#include "psfmatch/fit/RegionResiduals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>

#include "fit/KernelCandidateFitStamp.h"
#include "fit/RegionVariance.h"
#include "psfmatch/image/statistics.h"
#include "simd/rowFunctions.h"

namespace psfmatch {

namespace {

// Of a pixel's variance, in units of its region's mean.
constexpr float leastVariance = 0.3F;
// Sigma: beyond it nothing is told apart, and sums of squares stay within float64.
constexpr float largestPull = 1e30F;
// Normal deviations in units of the median absolute one.
constexpr double sigmaPerDeviation = 1.4826;
// A region's sky may lie so many spreads above the others': in a crowd the median is light.
constexpr double crowdSpreads = 3.0;

struct alignas(cacheLine) JudgeSpace {
    std::vector<float> kernel;
    std::vector<float> smoothedKernel;  // by the correlation of the template's noise
    std::vector<float> coefficients;
    std::vector<float> model;
    std::vector<float> modelVariance;
    std::vector<float> sorted;
    detail::VarianceSpace variance;
};

// The science image's variance as a linear function of the expected light, fitted to the usable pixels of a region:
// from the model's mean it has `meanVariance`, and rises by `slope`.
struct ExpectedVariance {
    double meanModel = 0.0;
    double meanVariance = 0.0;
    double slope = 0.0;
};

ExpectedVariance expectVariance(RegionStamps const& stamps, Index k, float const* model) {
    ExpectedVariance expected;
    double count = 0.0;
    for (Index x = 0; x < stamps.shape.size(); ++x) {
        double const weight = stamps.usable(k, x) != 0 ? 1.0 : 0.0;
        count += weight;
        expected.meanModel += weight * static_cast<double>(model[x]);
        expected.meanVariance += weight * static_cast<double>(stamps.scienceVariance(k, x));
    }
    if (!(count > 0.0)) {
        return {};
    }
    expected.meanModel /= count;
    expected.meanVariance /= count;
    double product = 0.0;
    double square = 0.0;
    for (Index x = 0; x < stamps.shape.size(); ++x) {
        double const deviation = stamps.usable(k, x) != 0 ? static_cast<double>(model[x]) - expected.meanModel : 0.0;
        product += deviation * (static_cast<double>(stamps.scienceVariance(k, x)) - expected.meanVariance);
        square += deviation * deviation;
    }
    expected.slope = square > 0.0 ? std::max(product / square, 0.0) : 0.0;
    return expected;
}

// Standard deviation of the pixels that count, 1 of others.
Eigen::Array<float, 1, Eigen::Dynamic> sigmaOf(RegionResiduals const& residuals, Index k) {
    Eigen::Array<float, 1, Eigen::Dynamic> sigma(residuals.variance.cols());
    float const* const variance = residuals.variance.row(k).data();
    std::uint8_t const* const usable = residuals.usable.row(k).data();
    for (Index x = 0; x < sigma.size(); ++x) {
        sigma[x] = usable[x] != 0 ? variance[x] : 1.0F;
    }
    return sigma.sqrt();
}

// Variances and pulls of region k; its signals are the model's light for the time being.
void weigh(RegionStamps const& stamps, Index k, JudgeSpace const& space, ExpectedVariance const& expected, float level,
           RegionResiduals& result) {
    auto const slope = static_cast<float>(expected.slope);
    auto const meanModel = static_cast<float>(expected.meanModel);
    auto const meanVariance = static_cast<float>(expected.meanVariance);
    float const least = leastVariance * meanVariance;
    float const* const model = space.model.data();
    float const* const modelVariance = space.modelVariance.data();
    float const* const science = stamps.science.row(k).data();
    std::uint8_t const* const counts = stamps.usable.row(k).data();
    float* const variance = result.variance.row(k).data();
    float* const pull = result.pull.row(k).data();
    float* const signal = result.signal.row(k).data();
    std::uint8_t* const usable = result.usable.row(k).data();
    for (Index x = 0; x < stamps.shape.size(); ++x) {
        float const rise = counts[x] != 0 ? slope * (model[x] - meanModel) : 0.0F;
        float const whole = meanVariance + rise;
        variance[x] = (whole < least ? least : whole) + modelVariance[x];
        usable[x] = counts[x] != 0 && variance[x] > 0.0F ? 1 : 0;
        pull[x] = usable[x] != 0 ? science[x] - model[x] - level : 0.0F;
        signal[x] = model[x];
    }
    auto pulls = result.pull.row(k);
    pulls = (pulls / sigmaOf(result, k)).max(-largestPull).min(largestPull);
}

// Kernel and model of region k where coefficients cancel: summed in float64.
void convolveExactly(detail::RowFunctions const& functions, RegionFit const& fit, Index k,
                     Eigen::RowVectorXd const& coefficients, JudgeSpace& space) {
    RegionStamps const& stamps = *fit.stamps;
    RegionShape const& shape = stamps.shape;
    Eigen::RowVectorXd const sum = coefficients * fit.exactBasis->basis.images;
    std::fill(space.kernel.begin(), space.kernel.end(), 0.0F);
    Eigen::Map<Eigen::RowVectorXf>(space.kernel.data(), sum.size()) = sum.cast<float>();
    OwnedImage<double> const kernel =
        Eigen::Map<OwnedImage<double> const>(sum.data(), stamps.kernelHeight, stamps.kernelWidth);
    OwnedImage<float> const stamp = Eigen::Map<OwnedImage<float> const, 0, Eigen::OuterStride<>>(
        stamps.templateImage.row(k).data(), shape.height + stamps.kernelHeight - 1,
        shape.width + stamps.kernelWidth - 1, Eigen::OuterStride<>(stamps.templateStride));
    Eigen::VectorXd const model = detail::correlated(functions, stamp, kernel);
    std::fill(space.model.begin(), space.model.end(), 0.0F);
    for (Index y = 0; y < shape.height; ++y) {
        Eigen::Map<Eigen::VectorXf>(space.model.data() + y * shape.stride, shape.width) =
            model.segment(y * shape.width, shape.width).cast<float>();
    }
}

double robustSpread(std::vector<double> values, double middle) {
    for (double& value : values) {
        value = std::abs(value - middle);
    }
    return sigmaPerDeviation * medianOf(std::span(values));
}

void requireLike(RegionResiduals const& residuals, RegionBytes const& other) {
    if (other.rows() != residuals.usable.rows() || other.cols() != residuals.usable.cols()) {
        throw std::invalid_argument("residuals of " + std::to_string(residuals.size()) + " regions of " +
                                    std::to_string(residuals.shape.width) + "x" +
                                    std::to_string(residuals.shape.height) + " pixels and others");
    }
}

}  // namespace

RegionResiduals judge(RegionFit const& fit, RowMatrix const& coefficients, Eigen::VectorXd const& backgrounds,
                      Execution const& execution) {
    RegionStamps const& stamps = *fit.stamps;
    RegionShape const& shape = stamps.shape;
    Index const nRegions = stamps.size();
    if (coefficients.rows() != nRegions || backgrounds.size() != nRegions) {
        throw std::invalid_argument(std::to_string(coefficients.rows()) + " rows of coefficients and " +
                                    std::to_string(backgrounds.size()) + " backgrounds for " +
                                    std::to_string(nRegions) + " regions");
    }
    if (coefficients.cols() != fit.nImages) {
        throw std::invalid_argument(std::to_string(coefficients.cols()) + " coefficients for " +
                                    std::to_string(fit.nImages) + " basis images");
    }
    detail::RowFunctions const functions = detail::chooseRowFunctions(fit.instructionSet);
    auto const nPixels = static_cast<std::size_t>(shape.size());
    auto const imageStride = static_cast<int>(fit.images.cols());
    RegionResiduals result{shape, RegionValues(nRegions, shape.size()), RegionValues(nRegions, shape.size()),
                           RegionValues(nRegions, shape.size()), RegionBytes(nRegions, shape.size())};
    std::vector<double> skies(static_cast<std::size_t>(nRegions));
    std::vector<JudgeSpace> spaces(static_cast<std::size_t>(workerCount(nRegions, execution)));
    parallelForBrief(nRegions, execution, [&](Index k, int worker) {
        JudgeSpace& space = spaces[static_cast<std::size_t>(worker)];
        auto const n = static_cast<int>(fit.nImages);
        space.model.resize(nPixels);
        space.coefficients.resize(static_cast<std::size_t>(n));
        Eigen::Map<Eigen::RowVectorXf>(space.coefficients.data(), n) = coefficients.row(k).cast<float>();
        space.kernel.resize(static_cast<std::size_t>(imageStride));
        if (fit.exactBasis == nullptr) {
            functions.combine({fit.images.data(), imageStride}, space.coefficients.data(), n, imageStride,
                              space.kernel.data());
            functions.combine({fit.columns.row(k * n).data(), static_cast<int>(shape.size())},
                              space.coefficients.data(), n, static_cast<int>(shape.size()), space.model.data());
        } else {
            convolveExactly(functions, fit, k, coefficients.row(k), space);
        }
        space.modelVariance.resize(nPixels);
        float const* smoothed = space.kernel.data();
        if (fit.noiseImages.size() > 0) {
            Eigen::RowVectorXf const sum = (coefficients.row(k) * fit.noiseImages).cast<float>();
            space.smoothedKernel.assign(sum.data(), sum.data() + sum.size());
            smoothed = space.smoothedKernel.data();
        }
        detail::convolveVariance(functions, stamps, k, space.kernel.data(), smoothed, space.variance,
                                 space.modelVariance.data());
        if (fit.noiseImages.size() > 0) {
            // No noise is less than none.
            auto const whole = Eigen::Map<Eigen::ArrayXf>(space.modelVariance.data(), shape.size());
            Eigen::Map<Eigen::ArrayXf>(space.modelVariance.data(), shape.size()) = whole.max(0.0F);
        }
        // Of the model with its sky.
        double const ownSky = stamps.templateSky * coefficients.row(k).dot(fit.imageSums);
        double const level = backgrounds[k] + ownSky - stamps.scienceSky;
        ExpectedVariance const expected = expectVariance(stamps, k, space.model.data());
        space.sorted.clear();
        for (Index y = 0; y < shape.height; ++y) {
            float const* const row = space.model.data() + y * shape.stride;
            space.sorted.insert(space.sorted.end(), row, row + shape.width);
        }
        weigh(stamps, k, space, expected, static_cast<float>(level), result);
        bool const isFinite = std::all_of(space.sorted.begin(), space.sorted.end(), [](float value) {
            return std::abs(value) <= std::numeric_limits<float>::max();
        });
        if (!isFinite) {
            // Near the largest float nothing is known of a region.
            result.pull.row(k).setZero();
            result.signal.row(k).setZero();
            result.variance.row(k).setOnes();
            result.usable.row(k).setZero();
            std::fill(space.sorted.begin(), space.sorted.end(), 0.0F);
        }
        skies[static_cast<std::size_t>(k)] = ownSky + static_cast<double>(medianOf(std::span(space.sorted)));
    });
    if (nRegions == 0) {
        return result;
    }
    std::vector<double> sorted = skies;
    double const middle = medianOf(std::span(sorted));
    double const highest = middle + crowdSpreads * robustSpread(skies, middle);
    parallelForBrief(nRegions, execution, [&](Index k, int) {
        double const ownSky = stamps.templateSky * coefficients.row(k).dot(fit.imageSums);
        double const sky = std::min(skies[static_cast<std::size_t>(k)], highest) - ownSky;
        auto signal = result.signal.row(k);
        signal = (signal - static_cast<float>(sky)) / sigmaOf(result, k);
        signal = signal.max(-largestPull).min(largestPull);
    });
    return result;
}

BrightScatter brightScatter(RegionResiduals const& residuals, RegionStamps const& stamps, double kernelNorm,
                            double brightSignal, double largest) {
    requireLike(residuals, stamps.usable);
    double const most = largest * largest;
    auto const signal = static_cast<float>(brightSignal);
    BrightScatter result;
    double common = 0.0;
    double own = 0.0;
    double count = 0.0;
    for (Index k = 0; k < residuals.size(); ++k) {
        double const before = count;
        for (Index x = 0; x < residuals.shape.size(); ++x) {
            if (residuals.usable(k, x) == 0 || !(residuals.signal(k, x) > signal)) {
                continue;
            }
            auto const pull = static_cast<double>(residuals.pull(k, x));
            double const usual = static_cast<double>(stamps.scienceVariance(k, x)) +
                                 kernelNorm * kernelNorm * static_cast<double>(stamps.varianceHere(k, x));
            own += std::min(pull * pull, most);
            common += std::min(pull * pull * static_cast<double>(residuals.variance(k, x)) / usual, most);
            count += 1.0;
        }
        result.nRegions += count > before ? 1 : 0;
    }
    // Without any: NaN.
    result.scatter = std::sqrt(common / count);
    result.pull = std::sqrt(own / count);
    return result;
}

RegionSummary summarize(RegionResiduals const& residuals, RegionFlags const* rejected) {
    if (rejected != nullptr) {
        requireLike(residuals, rejected->flags);
    }
    Index const n = residuals.size();
    RegionSummary summary{Eigen::VectorXd(n), Eigen::VectorXd(n), Eigen::VectorXd(n), Eigen::VectorXd(n), {},
                          Eigen::VectorXd(n)};
    for (Index k = 0; k < n; ++k) {
        double sum = 0.0;
        double squares = 0.0;
        std::int64_t nKept = 0;
        std::int64_t nUsable = 0;
        float signal = -std::numeric_limits<float>::infinity();
        for (Index x = 0; x < residuals.shape.size(); ++x) {
            if (residuals.usable(k, x) == 0) {
                continue;
            }
            ++nUsable;
            signal = std::max(signal, residuals.signal(k, x));
            if (rejected == nullptr || rejected->flags(k, x) == 0) {
                auto const pull = static_cast<double>(residuals.pull(k, x));
                sum += pull;
                squares += pull * pull;
                ++nKept;
            }
        }
        double const nan = std::numeric_limits<double>::quiet_NaN();
        auto const count = static_cast<double>(nKept);
        summary.signal[k] = static_cast<double>(signal);
        summary.mean[k] = nKept > 0 ? sum / count : nan;
        summary.chiSquare[k] = nKept > 0 ? squares / count : nan;
        summary.rms[k] =
            nKept > 0 ? std::sqrt(std::max(summary.chiSquare[k] - summary.mean[k] * summary.mean[k], 0.0)) : nan;
        summary.nPixels.push_back(nKept);
        summary.keptFraction[k] = nUsable > 0 ? count / static_cast<double>(nUsable) : 0.0;
    }
    return summary;
}

}  // namespace psfmatch
