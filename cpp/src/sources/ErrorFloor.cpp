#include "psfmatch/sources/ErrorFloor.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "image/LitPixels.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/sources/SourceResiduals.h"

namespace psfmatch {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double reach = 2.5;         // of the profile, standard deviations
constexpr Index latticeHalf = 4;      // places on either side of a source's peak, along both axes
constexpr double latticeStep = 0.85;  // standard deviations from one to the next

std::vector<double> tapsOf(double sigma) {
    if (!(sigma > 0.0 && std::isfinite(sigma))) {
        throw std::invalid_argument("a profile must have a positive width");
    }
    auto const half = static_cast<Index>(std::ceil(reach * sigma));
    std::vector<double> taps;
    double sum = 0.0;
    for (Index i = -half; i <= half; ++i) {
        double const t = static_cast<double>(i) / sigma;
        taps.push_back(std::exp(-0.5 * t * t));
        sum += taps.back();
    }
    for (double& tap : taps) {
        tap /= sum;
    }
    return taps;
}

double sumOfSquares(std::vector<double> const& taps) {
    double sum = 0.0;
    for (double const tap : taps) {
        sum += tap * tap;
    }
    return sum;
}

std::vector<double> squaresOf(std::vector<double> const& taps) {
    std::vector<double> squares;
    for (double const tap : taps) {
        squares.push_back(tap * tap);
    }
    return squares;
}

void requireInside(BlankSky const& sky, Index height, Index width) {
    auto const isOutside = [](std::vector<Index> const& starts, Index side, Index most) {
        return std::ranges::any_of(starts, [&](Index start) { return start < 0 || start + side > most; });
    };
    if (isOutside(sky.tops, sky.height, height) || isOutside(sky.lefts, sky.width, width)) {
        throw std::invalid_argument("the windows of blank sky lie outside the difference");
    }
}

// Light above the sky, counts of the difference. Saturated pixels have light too, at least that which they show.
double lightOf(float value, double sky, PointProfile const& profile) {
    return std::abs(value) <= largestPixel ? profile.scale * (value - sky) : 0.0;
}

// The fainter of the fluxes of both images, of which one and that of the difference are known.
double fainterOf(double light, double change, bool isMinuend) {
    return std::min(light, isMinuend ? light - change : light + change);
}

struct Sample {
    double flux = 0.0;
    double variance = 0.0;
    double light = 0.0;
};

// Fluxes on a lattice of places about a source.
class Sampler {
public:
    Sampler(MaskedImageView const& difference, MaskedImageView const& image, CellGrid const& sky,
            PointProfile const& profile, ErrorFloorControl const& control)
        : difference_(difference),
          image_(image),
          sky_(sky),
          profile_(profile),
          control_(control),
          taps_(tapsOf(profile.sigma)),
          squares_(squaresOf(taps_)),
          area_(std::pow(sumOfSquares(taps_), 2)),
          half_(static_cast<Index>(taps_.size()) / 2),
          step_(std::max<Index>(1, std::lround(latticeStep * profile.sigma))) {}

    // Independent values per place of the lattice.
    [[nodiscard]] double freedom() const { return std::min(1.0, static_cast<double>(step_ * step_) * area_); }

    // Share of the variance of F that is left where a plane was taken off cells of so many pixels a side: its level
    // takes one part in so many profiles as the cell holds, its slopes hardly anything but in the corners.
    [[nodiscard]] double leftByPlanes(Index side) const {
        return std::max(0.5, 1.0 - 1.0 / (area_ * static_cast<double>(side * side)));
    }

    [[nodiscard]] std::vector<Sample> samplesAbout(Index y, Index x) const {
        constexpr Index count = 2 * latticeHalf + 1;
        Index const margin = latticeHalf * step_ + half_;
        Index const top = std::max<Index>(0, y - margin);
        Index const bottom = std::min(difference_.image.rows(), y + margin + 1);
        // Sums along the rows at the columns of the lattice: of difference, light, variance, and weights.
        Index const nRows = bottom - top;
        double const level = sky_.at(static_cast<double>(x), static_cast<double>(y));
        std::vector<Sums> sums(static_cast<std::size_t>(nRows * count));
        for (Index row = top; row < bottom; ++row) {
            for (Index i = 0; i < count; ++i) {
                sums[static_cast<std::size_t>((row - top) * count + i)] =
                    alongRow(row, x + (i - latticeHalf) * step_, level);
            }
        }
        std::vector<Sample> samples;
        for (Index j = 0; j < count; ++j) {
            Index const middle = y + (j - latticeHalf) * step_;
            if (middle < 0 || middle >= difference_.image.rows()) {
                continue;
            }
            for (Index i = 0; i < count; ++i) {
                Index const column = x + (i - latticeHalf) * step_;
                if (column < 0 || column >= difference_.image.cols()) {
                    continue;
                }
                Sums total;
                for (Index row = std::max(top, middle - half_); row < std::min(bottom, middle + half_ + 1); ++row) {
                    Sums const& own = sums[static_cast<std::size_t>((row - top) * count + i)];
                    auto const tap = static_cast<std::size_t>(row - middle + half_);
                    total.flux += taps_[tap] * own.flux;
                    total.light += taps_[tap] * own.light;
                    total.variance += squares_[tap] * own.variance;
                    total.good += squares_[tap] * own.good;
                }
                if (total.good >= control_.leastGood * area_ && total.variance > 0.0) {
                    double const flux = total.flux / total.good;
                    double const light = fainterOf(total.light / area_, flux, profile_.isMinuend);
                    samples.push_back({flux, total.variance / (total.good * total.good), light});
                }
            }
        }
        return samples;
    }

private:
    struct Sums {
        double flux = 0.0;
        double light = 0.0;
        double variance = 0.0;
        double good = 0.0;
    };

    [[nodiscard]] Sums alongRow(Index row, Index middle, double level) const {
        Sums sums;
        Index const first = std::max<Index>(0, middle - half_);
        Index const last = std::min(difference_.image.cols(), middle + half_ + 1);
        for (Index column = first; column < last; ++column) {
            auto const tap = static_cast<std::size_t>(column - middle + half_);
            sums.light += taps_[tap] * lightOf(image_.image(row, column), level, profile_);
            if (isGood(difference_, profile_.badBits, row, column)) {
                sums.flux += taps_[tap] * difference_.image(row, column);
                sums.variance += squares_[tap] * difference_.variance(row, column);
                sums.good += squares_[tap];
            }
        }
        return sums;
    }

    MaskedImageView difference_;
    MaskedImageView image_;
    CellGrid const& sky_;
    PointProfile profile_;
    ErrorFloorControl control_;
    std::vector<double> taps_;
    std::vector<double> squares_;
    double area_;  // sum g^2
    Index half_;
    Index step_;
};

// Pulls of the flux at places of blank sky so far apart that they share few pixels.
std::vector<double> skyPulls(MaskedImageView const& difference, BlankSky const& sky, PointProfile const& profile,
                             ErrorFloorControl const& control, Execution const& execution) {
    std::vector<double> const taps = tapsOf(profile.sigma);
    double const area = std::pow(sumOfSquares(taps), 2);
    Index const half = static_cast<Index>(taps.size()) / 2;
    Index const step = std::max<Index>(2, std::lround(5.0 * profile.sigma));
    auto const nColumns = static_cast<Index>(sky.lefts.size());
    std::vector<std::vector<double>> ofWindows(static_cast<std::size_t>(sky.nWindows()));
    parallelForBrief(sky.nWindows(), execution, [&](Index window, int) {
        std::vector<double>& pulls = ofWindows[static_cast<std::size_t>(window)];
        Index const top = sky.tops[static_cast<std::size_t>(window / nColumns)];
        Index const left = sky.lefts[static_cast<std::size_t>(window % nColumns)];
        for (Index y = half; y + half < sky.height; y += step) {
            for (Index x = half; x + half < sky.width; x += step) {
                double flux = 0.0;
                double variance = 0.0;
                double good = 0.0;
                for (Index dy = -half; dy <= half; ++dy) {
                    Index const first = window * sky.windowSize() + (y + dy) * sky.width + x;
                    for (Index dx = -half; dx <= half; ++dx) {
                        if (sky.isBlank[first + dx] != 0) {
                            double const tap =
                                taps[static_cast<std::size_t>(dy + half)] * taps[static_cast<std::size_t>(dx + half)];
                            flux += tap * sky.values[first + dx];
                            variance += tap * tap * difference.variance(top + y + dy, left + x + dx);
                            good += tap * tap;
                        }
                    }
                }
                if (good >= control.leastGood * area && variance > 0.0 && std::isfinite(variance)) {
                    pulls.push_back(flux / std::sqrt(variance));
                }
            }
        }
    });
    std::vector<double> all;
    for (std::vector<double> const& pulls : ofWindows) {
        all.insert(all.end(), pulls.begin(), pulls.end());
    }
    return all;
}

// Width about zero.
double widthOf(std::vector<double> values) {
    for (double& value : values) {
        value = std::abs(value);
    }
    std::vector<double> scratch;
    return sigmaPerMad * quantileOf<double>(values, 0.5, scratch);
}

// Correlation of the planes along one axis with the taps; nothing lies beyond the border.
void alongColumns(OwnedImage<float> const& input, std::vector<float> const& taps, OwnedImage<float>& result,
                  Execution const& execution) {
    Index const half = static_cast<Index>(taps.size()) / 2;
    parallelForBrief(input.rows(), execution, [&](Index y, int) {
        result.row(y).setZero();
        for (Index row = std::max<Index>(0, y - half); row < std::min(input.rows(), y + half + 1); ++row) {
            result.row(y) += taps[static_cast<std::size_t>(row - y + half)] * input.row(row);
        }
    });
}

// The sums of g times rows of values at every pixel; `fill` writes a row.
template <typename Fill>
OwnedImage<float> smoothed(Index height, Index width, std::vector<double> const& taps, Execution const& execution,
                           Fill const& fill) {
    std::vector<float> const weights(taps.begin(), taps.end());
    Index const half = static_cast<Index>(taps.size()) / 2;
    OwnedImage<float> rows(height, width);
    parallelForBrief(height, execution, [&](Index y, int) {
        Eigen::ArrayXf padded = Eigen::ArrayXf::Zero(width + 2 * half);
        fill(y, padded.data() + half);
        rows.row(y).setZero();
        for (std::size_t i = 0; i < weights.size(); ++i) {
            rows.row(y) += weights[i] * padded.segment(static_cast<Index>(i), width).transpose();
        }
    });
    OwnedImage<float> result(height, width);
    alongColumns(rows, weights, result, execution);
    return result;
}

}  // namespace

ErrorFloor errorFloor(MaskedImageView const& difference, MaskedImageView const& image, BlankSky const& sky,
                      PointProfile const& profile, ErrorFloorControl const& control, Execution const& execution) {
    requireOneShape(difference, image);
    requireInside(sky, difference.image.rows(), difference.image.cols());
    ErrorFloor result;
    CellGrid const level = skyOf(image, profile.imageBits, execution);
    Sampler const sampler(difference, image, level, profile, control);
    PeaksControl peaksControl;
    peaksControl.badBits = profile.imageBits;
    peaksControl.peakSigmas = control.peakSigmas;
    peaksControl.maxSources = control.mostSources;
    Peaks const peaks = findPeaks(image, peaksControl, execution);
    std::vector<std::vector<Sample>> found(peaks.x.size());
    parallelForBrief(static_cast<Index>(found.size()), execution, [&](Index i, int) {
        auto const at = static_cast<std::size_t>(i);
        found[at] = sampler.samplesAbout(peaks.y[at], peaks.x[at]);
    });
    std::vector<double> const blank = skyPulls(difference, sky, profile, control, execution);
    double noise2 = 1.0;  // of F, in units of what is predicted
    if (static_cast<Index>(blank.size()) >= control.leastSky) {
        result.skyPull = widthOf(blank) / std::sqrt(sampler.leftByPlanes(sky.cellSide));
        double const error = widthError * result.skyPull / std::sqrt(static_cast<double>(blank.size()));
        if (result.skyPull - 1.0 > control.significance * error) {
            noise2 = result.skyPull * result.skyPull;
        }
    }
    std::vector<double> pulls;
    std::vector<double> shares2;  // of e^2, for which a place's |F| would be what half of all exceed
    double nIndependent = 0.0;
    for (std::vector<Sample> const& samples : found) {
        Index count = 0;
        for (Sample const& sample : samples) {
            double const variance = noise2 * sample.variance;
            if (sample.light > control.leastSignalToNoise * std::sqrt(variance)) {
                double const width2 = std::pow(sigmaPerMad * sample.flux, 2);
                pulls.push_back(sample.flux / std::sqrt(variance));
                shares2.push_back((width2 - variance) / (sample.light * sample.light));
                ++count;
            }
        }
        result.nSources += count > 0 ? 1 : 0;
        nIndependent += count > 0 ? std::max(1.0, static_cast<double>(count) * sampler.freedom()) : 0.0;
    }
    result.nPlaces = static_cast<Index>(pulls.size());
    if (pulls.empty()) {
        return result;
    }
    result.pull = widthOf(pulls);
    result.pullError = widthError / std::sqrt(nIndependent);
    if (result.nSources >= control.leastSources && result.pull > 1.0 + control.significance * result.pullError) {
        // |F| exceeds 0.674 sqrt(sigma^2 + e^2 L^2) where e^2 is below the value of its place: half do at the median.
        std::vector<double> scratch;
        result.share = std::sqrt(std::max(0.0, quantileOf<double>(shares2, 0.5, scratch)));
    }
    return result;
}

OwnedImage<float> errorFloorPlane(MaskedImageView const& difference, MaskedImageView const& image, double share,
                                  PointProfile const& profile, Execution const& execution) {
    requireOneShape(difference, image);
    Index const height = image.image.rows();
    Index const width = image.image.cols();
    CellGrid const sky = skyOf(image, profile.imageBits, execution);
    std::vector<double> const taps = tapsOf(profile.sigma);
    auto const perArea = static_cast<float>(1.0 / std::pow(sumOfSquares(taps), 2));
    OwnedImage<float> const change = smoothed(height, width, taps, execution, [&](Index y, float* row) {
        for (Index x = 0; x < width; ++x) {
            row[x] = isGood(difference, profile.badBits, y, x) ? difference.image(y, x) : 0.0F;
        }
    });
    OwnedImage<float> light = smoothed(height, width, taps, execution, [&](Index y, float* row) {
        for (Index x = 0; x < width; ++x) {
            double const level = sky.at(static_cast<double>(x), static_cast<double>(y));
            row[x] = static_cast<float>(lightOf(image.image(y, x), level, profile));
        }
    });
    auto const part = static_cast<float>(share);
    float const sign = profile.isMinuend ? 1.0F : -1.0F;
    parallelForBrief(height, execution, [&](Index y, int) {
        light.row(y) = part * (perArea * light.row(y).min(light.row(y) - sign * change.row(y)).max(0.0F));
    });
    return light;
}

}  // namespace psfmatch
