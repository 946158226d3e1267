#include "psfmatch/sources/SourceResiduals.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <stdexcept>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr float largest = std::numeric_limits<float>::max();
constexpr double tiny = 1e-30;

struct Offset {
    Index dy;
    Index dx;
};

// Pixels of a stamp, row after row, whose distance from the middle passes a test.
template <typename Test>
std::vector<Offset> offsetsOf(Index half, Test const& test) {
    std::vector<Offset> offsets;
    for (Index dy = -half; dy <= half; ++dy) {
        for (Index dx = -half; dx <= half; ++dx) {
            if (test(std::hypot(static_cast<double>(dx), static_cast<double>(dy)))) {
                offsets.push_back({dy, dx});
            }
        }
    }
    return offsets;
}

struct Place {
    Index y;
    Index x;
};

// Places of the science image's peaks, and of the template's far from those, whose stamps lie in the image.
std::vector<Place> placesOf(Peaks const& templatePeaks, Peaks const& sciencePeaks, Index height, Index width,
                            SourceResidualsControl const& control) {
    std::vector<Place> places;
    auto const add = [&](Index y, Index x) {
        if (std::min(x, y) >= control.halfWidth && x < width - control.halfWidth && y < height - control.halfWidth) {
            places.push_back({y, x});
        }
    };
    for (std::size_t i = 0; i < sciencePeaks.x.size(); ++i) {
        add(sciencePeaks.y[i], sciencePeaks.x[i]);
    }
    for (std::size_t i = 0; i < templatePeaks.x.size(); ++i) {
        bool isNew = true;
        for (std::size_t j = 0; isNew && j < sciencePeaks.x.size(); ++j) {
            auto const dx = static_cast<double>(templatePeaks.x[i] - sciencePeaks.x[j]);
            auto const dy = static_cast<double>(templatePeaks.y[i] - sciencePeaks.y[j]);
            isNew = dx * dx + dy * dy > control.coreRadius * control.coreRadius;
        }
        if (isNew) {
            add(templatePeaks.y[i], templatePeaks.x[i]);
        }
    }
    return places;
}

struct Measured {
    bool isCounted = false;
    double light = 0.0;
    double noise = 0.0;
    double left = 0.0;
    double chiSquare = 0.0;
    double absolute = 0.0;
    double scienceMean = 0.0;
    std::vector<float> pulls;
};

class Measurer {
public:
    Measurer(MaskedImageView const& difference, ConstImageView<float> const& templateImage,
             ConstImageView<float> const& scienceImage, double kernelSum, SourceResidualsControl const& control)
        : difference_(difference),
          template_(templateImage),
          science_(scienceImage),
          kernelSum_(kernelSum),
          control_(control),
          core_(offsetsOf(control.halfWidth, [&](double radius) { return radius <= control.coreRadius; })),
          rim_(offsetsOf(control.halfWidth,
                         [&](double radius) { return radius > static_cast<double>(control.halfWidth) - 1.0; })) {}

    [[nodiscard]] Measured measure(Place const& place) const {
        Measured found;
        std::vector<Offset> good;
        double variance = 0.0;
        double sum = 0.0;
        for (Offset const& offset : core_) {
            Index const y = place.y + offset.dy;
            Index const x = place.x + offset.dx;
            float const value = difference_.image(y, x);
            float const pixelVariance = difference_.variance(y, x);
            if ((difference_.mask(y, x) & control_.badBits) == 0 && std::abs(value) <= largest &&
                pixelVariance > 0.0F && pixelVariance <= largest) {
                good.push_back(offset);
                double const pull = value / std::sqrt(static_cast<double>(pixelVariance));
                found.pulls.push_back(static_cast<float>(pull));
                found.chiSquare += pull * pull;
                found.absolute += std::abs(value);
                sum += value;
                variance += pixelVariance;
                float const science = science_(y, x);
                found.scienceMean += std::abs(science) <= largest ? std::abs(science) : 0.0F;
            }
        }
        auto const nCore = static_cast<double>(core_.size());
        auto const nGood = static_cast<double>(good.size());
        if (!(nGood / nCore >= control_.leastGood) || good.empty()) {
            return found;
        }
        double const ofScience = lightOf(science_, place, good);
        double const ofTemplate = kernelSum_ * lightOf(template_, place, good);
        found.light = ofTemplate > ofScience || std::isnan(ofTemplate) ? ofTemplate : ofScience;
        found.noise = std::sqrt(variance);
        found.isCounted = found.light > control_.leastSignalToNoise * found.noise;
        found.left = sum / std::max(found.light, tiny);
        found.chiSquare /= nGood;
        found.absolute /= nGood;
        found.scienceMean /= nCore;
        return found;
    }

private:
    // Counts of some pixels above the median of the rim.
    [[nodiscard]] double lightOf(ConstImageView<float> const& image, Place const& place,
                                 std::vector<Offset> const& pixels) const {
        std::vector<float> around;
        std::vector<float> scratch;
        for (Offset const& offset : rim_) {
            float const value = image(place.y + offset.dy, place.x + offset.dx);
            around.push_back(std::isnan(value) ? std::numeric_limits<float>::infinity() : value);
        }
        double const level = quantileOf<float>(around, 0.5, scratch);
        double light = 0.0;
        for (Offset const& offset : pixels) {
            float const value = image(place.y + offset.dy, place.x + offset.dx);
            light += std::isfinite(level) && std::abs(value) <= largest ? static_cast<double>(value) - level : 0.0;
        }
        return light;
    }

    MaskedImageView difference_;
    ConstImageView<float> template_;
    ConstImageView<float> science_;
    double kernelSum_;
    SourceResidualsControl control_;
    std::vector<Offset> core_;
    std::vector<Offset> rim_;
};

double medianOf(std::vector<double> const& values) {
    std::vector<double> scratch;
    return quantileOf<double>(values, 0.5, scratch);
}

double sigmaOf(std::vector<double> values) {
    std::vector<double> scratch;
    return medianAndSigma<double>(values, scratch).sigma;
}

// Standard deviation of the pulls of some sources.
double deviationOf(std::vector<std::vector<float> const*> const& pulls) {
    double count = 0.0;
    double sum = 0.0;
    double squares = 0.0;
    for (auto const* own : pulls) {
        for (double const pull : *own) {
            count += 1.0;
            sum += pull;
            squares += pull * pull;
        }
    }
    return std::sqrt(std::max(squares / count - sum / count * (sum / count), 0.0));
}

}  // namespace

SourceResiduals sourceResiduals(MaskedImageView const& difference, ConstImageView<float> const& templateImage,
                                ConstImageView<float> const& scienceImage, Peaks const& templatePeaks,
                                Peaks const& sciencePeaks, double kernelSum, SourceResidualsControl const& control,
                                Execution const& execution) {
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    if (!haveOneShape(difference.image, difference.variance, difference.mask, templateImage, scienceImage)) {
        throw std::invalid_argument("difference, template and science image must have one shape");
    }
    std::vector<Place> const places = placesOf(templatePeaks, sciencePeaks, height, width, control);
    Measurer const measurer(difference, templateImage, scienceImage, kernelSum, control);
    std::vector<Measured> measured(places.size());
    parallelFor(static_cast<Index>(places.size()), execution, [&](Index i, int) {
        measured[static_cast<std::size_t>(i)] = measurer.measure(places[static_cast<std::size_t>(i)]);
    });
    SourceResiduals result;
    for (std::size_t i = 0; i < places.size(); ++i) {
        Measured& own = measured[i];
        if (own.isCounted) {
            result.x.push_back(places[i].x);
            result.y.push_back(places[i].y);
            result.light.push_back(own.light);
            result.noise.push_back(own.noise);
            result.left.push_back(own.left);
            result.chiSquares.push_back(own.chiSquare);
            result.absolute.push_back(own.absolute);
            result.scienceMean.push_back(own.scienceMean);
            result.pulls.push_back(std::move(own.pulls));
        }
    }
    return result;
}

SourceFigures figuresOf(SourceResiduals const& sources, double skyAbsolute, Index height, Index width,
                        SourceFiguresControl const& control) {
    std::vector<std::size_t> there;
    for (std::size_t i = 0; i < sources.light.size(); ++i) {
        if (std::abs(sources.left[i]) <= control.remaining) {
            there.push_back(i);
        }
    }
    SourceFigures result;
    result.nSources = static_cast<Index>(sources.light.size());
    result.nRemaining = result.nSources - static_cast<Index>(there.size());
    if (result.nSources > 0) {
        result.remainingFraction = static_cast<double>(result.nRemaining) / static_cast<double>(result.nSources);
    }
    if (there.empty()) {
        return result;
    }
    auto const n = static_cast<double>(there.size());
    std::vector<double> left;
    std::vector<double> relativeNoise;
    std::vector<double> ratios;
    std::vector<float> pulls;
    std::vector<std::vector<double>> byRegion(static_cast<std::size_t>(control.regions * control.regions));
    std::size_t const nEdges = control.signalToNoiseEdges.size();
    std::vector<std::vector<double>> byFlux(nEdges > 1 ? nEdges - 1 : 0);
    double nBad = 0.0;
    for (std::size_t const i : there) {
        double const chiSquare = sources.chiSquares[i];
        left.push_back(sources.left[i]);
        relativeNoise.push_back(sources.noise[i] / sources.light[i]);
        ratios.push_back(std::abs(sources.absolute[i] - skyAbsolute) / std::max(sources.scienceMean[i], tiny));
        pulls.insert(pulls.end(), sources.pulls[i].begin(), sources.pulls[i].end());
        Index const region =
            control.regions * sources.y[i] / height * control.regions + control.regions * sources.x[i] / width;
        byRegion[static_cast<std::size_t>(region)].push_back(chiSquare);
        nBad += chiSquare > control.badChiSquare ? 1.0 : 0.0;
        double const signalToNoise = sources.light[i] / sources.noise[i];
        for (std::size_t bin = 0; bin < byFlux.size(); ++bin) {
            if (signalToNoise >= control.signalToNoiseEdges[bin] &&
                signalToNoise < control.signalToNoiseEdges[bin + 1]) {
                byFlux[bin].push_back(chiSquare);
            }
        }
    }
    std::vector<float> scratch;
    result.sourceRobust = medianAndSigma<float>(pulls, scratch).sigma;
    std::stable_sort(there.begin(), there.end(),
                     [&](std::size_t a, std::size_t b) { return sources.chiSquares[a] < sources.chiSquares[b]; });
    there.resize(static_cast<std::size_t>(std::max(1.0, std::ceil((1.0 - control.worstDropped) * n))));
    std::vector<std::vector<float> const*> kept;
    for (std::size_t const i : there) {
        kept.push_back(&sources.pulls[i]);
    }
    result.sourcePlain = deviationOf(kept);
    std::vector<double> scratchOfDoubles;
    for (std::vector<double> const& own : byRegion) {
        if (static_cast<Index>(own.size()) >= control.leastInRegion) {
            double const third = quantileOf<double>(own, 1.0 / 3.0, scratchOfDoubles);
            result.worstRegion = std::isnan(result.worstRegion) ? third : std::max(result.worstRegion, third);
        }
    }
    result.badSourceFraction = nBad / n;
    double const scatter = sigmaOf(left);
    double const expected = medianOf(relativeNoise);
    result.fluxMean = medianOf(left);
    result.fluxMeanSize = std::abs(result.fluxMean);
    result.fluxScatter = std::sqrt(std::max(scatter * scatter - expected * expected, 0.0));
    result.fluxError = 1.2533 * scatter / std::sqrt(n);  // of a median of Gaussian values
    result.footprintRatioMean = std::accumulate(ratios.begin(), ratios.end(), 0.0) / n;
    double squares = 0.0;
    for (double const ratio : ratios) {
        squares += (ratio - result.footprintRatioMean) * (ratio - result.footprintRatioMean);
    }
    result.footprintRatioStdev = std::sqrt(squares / n);
    for (std::size_t bin = 0; bin < byFlux.size(); ++bin) {
        result.chiSquareByFlux.emplace_back(control.signalToNoiseEdges[bin], control.signalToNoiseEdges[bin + 1],
                                            static_cast<Index>(byFlux[bin].size()), medianOf(byFlux[bin]));
    }
    return result;
}

}  // namespace psfmatch
