#include "psfmatch/fit/RegionOutliers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "fit/RegionWindows.h"
#include "psfmatch/image/statistics.h"

namespace psfmatch {

namespace {

// Side (pixels) of the box whose brightest light tells what a model may get wrong: the wings suffer with the core.
constexpr Index near = 11;
// Borders of the classes of predicted signal, in standard deviations of a pixel.
constexpr std::array<float, 7> classBorders{1.0F, 3.0F, 10.0F, 30.0F, 100.0F, 300.0F, 1000.0F};
constexpr std::size_t nClasses = classBorders.size() + 1;
constexpr std::uint8_t unclassed = nClasses;
// Pixels of fewer regions do not tell what is usual: a star's own misfit would be its measure.
constexpr Index fewestRegions = 4;
constexpr Index fewestPixels = 40;
// Values from which a class is measured: enough for 1 %.
constexpr Index mostValues = 20000;
// Sigma: of pixels near the largest float, whose squares are none.
constexpr double largestSpread = 1e30;
// Signal-to-noise of a region's light above which its flux tells whether it varies.
constexpr double brightPower = 20.0;
// Square of the spread that noise and the held-out solution's own errors may make.
constexpr double noiseSpread = 1.3;
// Of the light: flat field, linearity and a varying kernel sum leave so much, where few regions tell what is usual.
constexpr double usualError = 0.01;
// Bright regions whose scatter tells what is usual without that, and the least that tell anything.
constexpr std::size_t manyBright = 12;
constexpr std::size_t fewestBright = 5;
constexpr double sigmaPerDeviation = 1.4826;

// Light by which pixels are classed, with their classes.
struct Classes {
    RegionValues const* light = nullptr;
    RegionBytes numbers;                              // (regions, pixels)
    std::vector<std::array<Index, nClasses>> counts;  // of each region's pixels
};

// What of a class is measured: evenly taken pixels, region after region.
struct ClassSample {
    Index nPixels = 0;
    Index nRegions = 0;
    std::vector<float> light;
    std::vector<float> pulls;  // smoothed residuals
};

struct ClassSpread {
    double middle = 0.0;  // of the light
    double spread = 0.0;  // of the smoothed residuals
};

void classify(Classes& classes, RegionResiduals const& residuals, Index k) {
    float const* const light = classes.light->row(k).data();
    std::uint8_t const* const usable = residuals.usable.row(k).data();
    std::uint8_t* const numbers = classes.numbers.row(k).data();
    Index const nPixels = residuals.shape.size();
    std::array<int, nClasses + 1> above{};  // of the border before a class
    for (Index x = 0; x < nPixels; ++x) {
        numbers[x] = 0;
        above[0] += usable[x];
    }
    for (std::size_t b = 0; b < classBorders.size() && above[b] > 0; ++b) {
        float const border = classBorders[b];
        int count = 0;
        for (Index x = 0; x < nPixels; ++x) {
            auto const isAbove = static_cast<std::uint8_t>(light[x] > border ? usable[x] : 0);
            numbers[x] = static_cast<std::uint8_t>(numbers[x] + isAbove);
            count += isAbove;
        }
        above[b + 1] = count;
    }
    for (Index x = 0; x < nPixels; ++x) {
        numbers[x] = usable[x] != 0 ? numbers[x] : unclassed;
    }
    for (std::size_t number = 0; number < nClasses; ++number) {
        classes.counts[static_cast<std::size_t>(k)][number] = above[number] - above[number + 1];
    }
}

std::array<ClassSample, nClasses> takeSamples(Classes const& classes, RegionValues const& smoothed) {
    std::array<ClassSample, nClasses> samples;
    std::array<Index, nClasses + 1> steps{};
    for (std::size_t number = 0; number < nClasses; ++number) {
        ClassSample& sample = samples[number];
        for (auto const& counts : classes.counts) {
            sample.nPixels += counts[number];
            sample.nRegions += counts[number] > 0 ? 1 : 0;
        }
        steps[number] = (sample.nPixels + mostValues - 1) / mostValues;
        sample.light.reserve(static_cast<std::size_t>(std::min(sample.nPixels, mostValues)));
        sample.pulls.reserve(sample.light.capacity());
    }
    std::array<Index, nClasses + 1> passOver{};
    passOver[unclassed] = smoothed.size();  // all of them
    for (Index k = 0; k < smoothed.rows(); ++k) {
        std::uint8_t const* const numbers = classes.numbers.row(k).data();
        for (Index x = 0; x < smoothed.cols(); ++x) {
            std::size_t const number = numbers[x];
            if (passOver[number]-- == 0) {
                samples[number].light.push_back((*classes.light)(k, x));
                samples[number].pulls.push_back(smoothed(k, x));
                passOver[number] = steps[number] - 1;
            }
        }
    }
    return samples;
}

float robustSpread(std::vector<float> const& values) {
    std::vector<float> deviations = values;
    float const middle = medianOf(std::span(deviations));
    std::transform(values.begin(), values.end(), deviations.begin(),
                   [middle](float value) { return std::abs(value - middle); });
    return medianOf(std::span(deviations));
}

bool isEnough(ClassSample const& sample) {
    return sample.nRegions >= fewestRegions && sample.nPixels >= fewestPixels;
}

// Whether the light of a class is asked for: where it, or the next that is not empty, has too few pixels.
bool needsMiddle(std::span<ClassSample const> samples, std::size_t number) {
    if (!isEnough(samples[number])) {
        return samples[number].nPixels > 0;
    }
    for (std::size_t next = number + 1; next < samples.size(); ++next) {
        if (samples[next].nPixels > 0) {
            return !isEnough(samples[next]);
        }
    }
    return false;
}

ClassSpread measure(std::span<ClassSample const> samples, std::size_t number) {
    ClassSpread result;
    ClassSample const& sample = samples[number];
    if (needsMiddle(samples, number)) {
        std::vector<float> light = sample.light;
        result.middle = static_cast<double>(medianOf(std::span(light)));
    }
    if (isEnough(sample)) {
        result.spread = sigmaPerDeviation * static_cast<double>(robustSpread(sample.pulls));
    }
    return result;
}

// How far smoothed residuals (sigma) usually scatter in each class, never less than 1. A class of few regions takes
// the spread of the class below, and what it has beyond noise in proportion to its light.
std::array<float, nClasses + 1> usualSpreads(std::span<ClassSample const> samples,
                                             std::span<ClassSpread const> spreads) {
    std::array<float, nClasses + 1> usual{};
    usual.fill(1.0F);
    double spread = 1.0;
    double middle = 1.0;
    for (std::size_t number = 0; number < nClasses; ++number) {
        if (samples[number].nPixels == 0) {
            continue;
        }
        ClassSpread const& own = spreads[number];
        double value = 0.0;
        if (isEnough(samples[number])) {
            value = spread = own.spread;
            middle = own.middle;
        } else {
            double const excess = std::sqrt(std::max(0.0, spread * spread - noiseSpread)) *
                                  std::max(1.0, own.middle / std::max(middle, 1.0));
            double const error = usualError * static_cast<double>(detail::smoothing) * own.middle;
            value = std::sqrt(1.0 + excess * excess + error * error);
        }
        usual[number] = static_cast<float>(std::min(std::max(1.0, value), largestSpread));
    }
    return usual;
}

// sum(signal^2) and sum(pull signal) of a region, where the predicted light stands out.
struct RegionLight {
    double power = 0.0;
    double product = 0.0;
};

RegionLight lightOf(RegionResiduals const& residuals, Index k) {
    RegionLight found;
    for (Index x = 0; x < residuals.shape.size(); ++x) {
        float const light = residuals.signal(k, x);
        double const signal = residuals.usable(k, x) != 0 && light > 1.0F ? static_cast<double>(light) : 0.0;
        found.power += signal * signal;
        found.product += signal * static_cast<double>(residuals.pull(k, x));
    }
    return found;
}

// Which regions have another flux than the model says, against the scatter of all others: the fraction of the
// predicted light that is left, sum(pull signal) / sum(signal^2), stands out from its median by `threshold` times its
// error and the robust spread of all. A variable star among few moves the model of the others.
std::vector<Index> variableRegions(std::span<RegionLight const> lights, double threshold) {
    std::vector<Index> bright;
    std::vector<double> left;
    for (std::size_t k = 0; k < lights.size(); ++k) {
        if (lights[k].power > brightPower * brightPower) {
            bright.push_back(static_cast<Index>(k));
            left.push_back(lights[k].product / lights[k].power);
        }
    }
    std::vector<Index> variable;
    if (bright.size() < fewestBright) {
        return variable;
    }
    std::vector<double> values = left;
    double const middle = medianOf(std::span(values));
    std::transform(left.begin(), left.end(), values.begin(), [middle](double v) { return std::abs(v - middle); });
    double const spread = sigmaPerDeviation * medianOf(std::span(values));
    double const usual = bright.size() < manyBright ? usualError : 0.0;
    for (std::size_t i = 0; i < bright.size(); ++i) {
        double const noise = 1.0 / lights[static_cast<std::size_t>(bright[i])].power;
        if (std::abs(left[i] - middle) > threshold * std::sqrt(noise + spread * spread + usual * usual)) {
            variable.push_back(bright[i]);
        }
    }
    return variable;
}

// Grown by a square on every side, within the region.
void grow(RegionShape const& shape, Index radius, std::uint8_t* flags, std::vector<std::uint8_t>& memory) {
    memory.assign(static_cast<std::size_t>(shape.size()), 0);
    for (Index y = 0; y < shape.height; ++y) {
        for (Index x = 0; x < shape.width; ++x) {
            if (flags[y * shape.stride + x] != 0) {
                Index const x0 = std::max<Index>(0, x - radius);
                Index const x1 = std::min(shape.width, x + radius + 1);
                std::fill(memory.begin() + y * shape.stride + x0, memory.begin() + y * shape.stride + x1,
                          std::uint8_t(1));
            }
        }
    }
    std::fill_n(flags, shape.size(), std::uint8_t(0));
    for (Index y = 0; y < shape.height; ++y) {
        std::uint8_t const* const row = memory.data() + y * shape.stride;
        if (std::none_of(row, row + shape.width, [](std::uint8_t f) { return f != 0; })) {
            continue;
        }
        for (Index v = std::max<Index>(0, y - radius); v < std::min(shape.height, y + radius + 1); ++v) {
            for (Index x = 0; x < shape.width; ++x) {
                flags[v * shape.stride + x] |= row[x];
            }
        }
    }
}

}  // namespace

RegionFlags findOutliers(RegionResiduals const& residuals, OutlierControl const& control, Execution const& execution) {
    if (!(control.threshold > 0.0) || control.growth < 0) {
        throw std::invalid_argument("outliers beyond " + std::to_string(control.threshold) + " spreads, grown by " +
                                    std::to_string(control.growth) +
                                    " pixels: the first must be positive, the second not negative");
    }
    RegionShape const& shape = residuals.shape;
    Index const n = residuals.size();
    RegionValues smoothed(n, shape.size());
    RegionValues nearLight(n, shape.size());
    std::array<Classes, 2> classes{Classes{&residuals.signal, RegionBytes(n, shape.size()), {}},
                                   Classes{&nearLight, RegionBytes(n, shape.size()), {}}};
    for (Classes& ours : classes) {
        ours.counts.resize(static_cast<std::size_t>(n));
    }
    struct Space {
        detail::WindowSpace windows;
        std::vector<float> count;
        std::vector<std::uint8_t> flags;
    };
    std::vector<Space> spaces(static_cast<std::size_t>(workerCount(std::max<Index>(n, 1), execution)));
    std::vector<RegionLight> lights(static_cast<std::size_t>(n));
    parallelForBrief(n, execution, [&](Index k, int worker) {
        Space& space = spaces[static_cast<std::size_t>(worker)];
        space.count.resize(static_cast<std::size_t>(shape.size()));
        for (Index x = 0; x < shape.size(); ++x) {
            bool const usable = residuals.usable(k, x) != 0;
            space.count[static_cast<std::size_t>(x)] = usable ? 1.0F : 0.0F;
            // Where nothing is known of a pixel, nothing is of its noise.
            nearLight(k, x) = usable ? residuals.signal(k, x) : 0.0F;
        }
        Eigen::Map<Eigen::Array<float, 1, Eigen::Dynamic>> count(space.count.data(), shape.size());
        detail::boxSum(shape, detail::smoothing, space.count.data(), space.windows);
        smoothed.row(k) = residuals.pull.row(k);
        detail::boxSum(shape, detail::smoothing, smoothed.row(k).data(), space.windows);
        smoothed.row(k) /= count.max(1.0F).sqrt();
        detail::boxMax(shape, near, nearLight.row(k).data(), space.windows);
        for (Classes& ours : classes) {
            classify(ours, residuals, k);
        }
        lights[static_cast<std::size_t>(k)] = lightOf(residuals, k);
    });
    // The wings of a star that does not fit are as bad as its core, which its faint pixels do not tell.
    std::array<std::array<ClassSample, nClasses>, 2> samples;
    parallelForBrief(2, execution, [&](Index item, int) {
        auto const light = static_cast<std::size_t>(item);
        samples[light] = takeSamples(classes[light], smoothed);
    });
    std::array<std::array<ClassSpread, nClasses>, 2> spreads{};
    parallelForBrief(2 * static_cast<Index>(nClasses), execution, [&](Index item, int) {
        std::size_t const light = static_cast<std::size_t>(item) / nClasses;
        std::size_t const number = static_cast<std::size_t>(item) % nClasses;
        spreads[light][number] = measure(samples[light], number);
    });
    std::array<std::array<float, nClasses + 1>, 2> usual{};
    for (std::size_t light = 0; light < usual.size(); ++light) {
        usual[light] = usualSpreads(samples[light], spreads[light]);
    }
    RegionFlags outliers{shape, RegionBytes(n, shape.size())};
    auto const threshold = static_cast<float>(control.threshold);
    parallelForBrief(n, execution, [&](Index k, int worker) {
        bool any = false;
        for (Index x = 0; x < shape.size(); ++x) {
            float const limit =
                threshold * std::max(usual[0][classes[0].numbers(k, x)], usual[1][classes[1].numbers(k, x)]);
            bool const isOut = residuals.usable(k, x) != 0 && std::abs(smoothed(k, x)) > limit;
            outliers.flags(k, x) = isOut ? 1 : 0;
            any = any || isOut;
        }
        if (any && control.growth > 0) {
            grow(shape, control.growth, outliers.flags.row(k).data(), spaces[static_cast<std::size_t>(worker)].flags);
        }
    });
    for (Index const k : variableRegions(lights, control.threshold)) {
        for (Index y = 0; y < shape.height; ++y) {
            outliers.flags.row(k).segment(y * shape.stride, shape.width).setOnes();
        }
    }
    return outliers;
}

}  // namespace psfmatch
