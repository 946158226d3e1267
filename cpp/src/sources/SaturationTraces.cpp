#include "psfmatch/sources/SaturationTraces.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/GrownFootprints.h"

namespace psfmatch {

namespace {

constexpr double medianError = 1.2533;  // of a median of n values of noise 1, times sqrt(n)
constexpr Index samplePixels = 60'000;  // that tell the noise of a pixel
constexpr Index fewPixels = 100;
constexpr Index sampleRuns = 16;         // along either axis, whose scatter is measured
constexpr Index largestBox = 1'000'000;  // pixels about a clump beyond which it is no star's, and has no rings
constexpr Index firstMargin = 6;         // pixels: few rings reach farther
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Clump {
    Box box;
    std::span<PixelRun const> runs;
};

// Difference in units of the noise of a pixel; NaN where it tells nothing.
class Pulls {
public:
    Pulls(MaskedImageView const& difference, MaskPixel badBits) : difference_(difference), badBits_(badBits) {}

    [[nodiscard]] Index height() const { return difference_.image.rows(); }
    [[nodiscard]] Index width() const { return difference_.image.cols(); }

    [[nodiscard]] float at(Index y, Index x) const {
        float const variance = difference_.variance(y, x);
        float const pull = (difference_.image(y, x) / std::sqrt(variance) - level_) / width_;
        return (difference_.mask(y, x) & badBits_) == 0 && variance > 0.0F && std::isfinite(pull) ? pull : nan;
    }

    // Whether enough pixels tell the noise.
    bool calibrate() {
        level_ = 0.0F;
        width_ = 1.0F;
        Index const total = height() * width();
        Index const step = std::max<Index>(1, total / samplePixels) | 1;
        std::vector<float> values;
        for (Index place = 0; place < total; place += step) {
            float const pull = at(place / width(), place % width());
            if (std::isfinite(pull)) {
                values.push_back(pull);
            }
        }
        if (static_cast<Index>(values.size()) < fewPixels) {
            return false;
        }
        std::vector<float> scratch;
        MedianAndSigma const found = medianAndSigma(std::span(values), scratch);
        level_ = static_cast<float>(found.median);
        width_ = static_cast<float>(found.sigma);
        return width_ > 0.0F && std::isfinite(width_);
    }

private:
    MaskedImageView difference_;
    MaskPixel badBits_;
    float level_ = 0.0F;  // median of difference / sqrt(variance)
    float width_ = 1.0F;  // its robust scatter
};

// Rows of an image, or its columns as if they were rows.
class Lanes {
public:
    Lanes(Pulls const& pulls, bool areColumns) : pulls_(&pulls), areColumns_(areColumns) {}

    [[nodiscard]] Index count() const { return areColumns_ ? pulls_->width() : pulls_->height(); }
    [[nodiscard]] Index length() const { return areColumns_ ? pulls_->height() : pulls_->width(); }
    [[nodiscard]] Index place(Index lane, Index along) const {
        return areColumns_ ? along * pulls_->width() + lane : lane * pulls_->width() + along;
    }
    // Appends what the pixels from `first` to before `end` have.
    void read(Index lane, Index first, Index end, std::vector<float>& values) const {
        for (Index i = first; i < end; ++i) {
            float const pull = areColumns_ ? pulls_->at(i, lane) : pulls_->at(lane, i);
            if (std::isfinite(pull)) {
                values.push_back(pull);
            }
        }
    }

    // Median of a run; NaN where fewer than a third of its pixels tell anything.
    [[nodiscard]] float median(Index lane, Index first, Index end, std::vector<float>& values) const {
        values.clear();
        read(lane, first, end, values);
        return 3 * static_cast<Index>(values.size()) < end - first ? nan : medianOf(std::span(values));
    }

    // Robust scatter of medians of runs all over the image, at least that of white noise.
    [[nodiscard]] double scatter(Index runLength) const {
        double const white = medianError / std::sqrt(static_cast<double>(runLength));
        std::vector<float> medians;
        std::vector<float> values;
        for (Index i = 0; i < sampleRuns; ++i) {
            for (Index j = 0; j < sampleRuns; ++j) {
                Index const lane = (2 * i + 1) * count() / (2 * sampleRuns);
                Index const first = (2 * j + 1) * length() / (2 * sampleRuns) - runLength / 2;
                if (first >= 0 && first + runLength <= length()) {
                    float const found = median(lane, first, first + runLength, values);
                    if (std::isfinite(found)) {
                        medians.push_back(found);
                    }
                }
            }
        }
        if (static_cast<Index>(medians.size()) < sampleRuns) {
            return white;
        }
        return std::max(white, medianAndSigma(std::span(medians), values).sigma);
    }

private:
    Pulls const* pulls_;
    bool areColumns_;
};

// Squared distance (pixels) of the pixels of a box to the clump, as far as `reach`; more beyond.
OwnedImage<Index> distances(Clump const& clump, Box const& box, Index reach) {
    Index const far = reach + 1;
    OwnedImage<Index> alongY = OwnedImage<Index>::Constant(box.height, box.width, far);
    for (PixelRun const& run : clump.runs) {
        alongY.row(run.y - box.y0).segment(run.x0 - box.x0, run.x1 - run.x0).setZero();
    }
    for (Index y = 1; y < box.height; ++y) {
        alongY.row(y) = alongY.row(y).min(alongY.row(y - 1) + 1);
    }
    for (Index y = box.height - 2; y >= 0; --y) {
        alongY.row(y) = alongY.row(y).min(alongY.row(y + 1) + 1);
    }
    OwnedImage<Index> squared = alongY.square();
    for (Index i = 1; i <= std::min(reach, box.width - 1); ++i) {
        Index const n = box.width - i;
        squared.leftCols(n) = squared.leftCols(n).min(alongY.rightCols(n).square() + i * i);
        squared.rightCols(n) = squared.rightCols(n).min(alongY.leftCols(n).square() + i * i);
    }
    return squared;
}

class Search {
public:
    Search(Pulls const& pulls, SaturationTracesControl const& control)
        : pulls_(&pulls),
          control_(&control),
          lanes_{Lanes(pulls, false), Lanes(pulls, true)},
          scatters_{lanes_[0].scatter(control.runLength), lanes_[1].scatter(control.runLength)} {}

    // Within rings that are affected.
    [[nodiscard]] std::vector<Index> rings(Clump const& clump) const {
        std::vector<Index> found;
        bool const isLarge = clump.box.width * clump.box.height > largestBox;
        for (Index margin = isLarge ? 0 : std::min(firstMargin, control_->maxGrowth); margin > 0;
             margin = std::min(2 * margin, control_->maxGrowth)) {
            Box const box = grown(clump.box, margin);
            OwnedImage<Index> const squared = distances(clump, box, margin);
            auto const [last, isOver] = lastRing(squared, box, margin);
            if (isOver || margin == control_->maxGrowth) {
                for (Index i = 0; i < squared.size(); ++i) {
                    if (squared(i) > 0 && squared(i) <= last * last) {
                        found.push_back((box.y0 + i / box.width) * pulls_->width() + box.x0 + i % box.width);
                    }
                }
                break;
            }
        }
        return found;
    }

    // Places on lines through the clump, along rows and along columns.
    [[nodiscard]] std::vector<Index> lines(Clump const& clump) const {
        std::vector<Index> found;
        Range const rows{clump.box.y0, clump.box.y0 + clump.box.height};
        Range const columns{clump.box.x0, clump.box.x0 + clump.box.width};
        for (Index const sign : {Index{-1}, Index{1}}) {
            follow(lanes_[0], scatters_[0], rows, columns, sign, found);
            follow(lanes_[1], scatters_[1], columns, rows, sign, found);
        }
        return found;
    }

private:
    struct Range {
        Index first;
        Index end;
    };

    [[nodiscard]] Box grown(Box const& box, Index margin) const {
        Index const x0 = std::max<Index>(0, box.x0 - margin);
        Index const y0 = std::max<Index>(0, box.y0 - margin);
        return {x0, y0, std::min(pulls_->width(), box.x0 + box.width + margin) - x0,
                std::min(pulls_->height(), box.y0 + box.height + margin) - y0};
    }

    // The outermost ring of a row of affected ones, and whether clean ones follow within the margin.
    [[nodiscard]] std::pair<Index, bool> lastRing(OwnedImage<Index> const& squared, Box const& box,
                                                  Index margin) const {
        std::vector<std::vector<float>> rings(static_cast<std::size_t>(margin));
        for (Index i = 0; i < squared.size(); ++i) {
            if (squared(i) > 0 && squared(i) <= margin * margin) {
                float const pull = pulls_->at(box.y0 + i / box.width, box.x0 + i % box.width);
                if (std::isfinite(pull)) {
                    auto const ring = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(squared(i)))));
                    rings[static_cast<std::size_t>(ring - 1)].push_back(pull);
                }
            }
        }
        Index last = 0;
        for (Index ring = 1; ring <= margin; ++ring) {
            std::vector<float>& values = rings[static_cast<std::size_t>(ring - 1)];
            if (static_cast<Index>(values.size()) < control_->leastRing) {
                return {last, true};
            }
            if (isAffected(values)) {
                last = ring;
            } else if (ring - last >= control_->nClean) {
                return {last, true};
            }
        }
        return {last, false};
    }

    [[nodiscard]] bool isAffected(std::vector<float>& values) const {
        double const root = std::sqrt(static_cast<double>(values.size()));
        double const error =
            std::max(scatters_[0], scatters_[1]) * std::sqrt(static_cast<double>(control_->runLength)) / root;
        std::vector<float> sizes(values.size());
        std::transform(values.begin(), values.end(), sizes.begin(), [](float value) { return std::abs(value); });
        if (std::abs(static_cast<double>(medianOf(std::span(values)))) >
            std::max(control_->ringLevel, control_->ringSigmas * error)) {
            return true;
        }
        double const width = sigmaPerMad * static_cast<double>(medianOf(std::span(sizes)));
        return width > std::max(control_->ringWidth, 1.0 + control_->ringSigmas * error);
    }

    // lanes: those of the clump; along: where it lies on them; sign: in which direction.
    void follow(Lanes const& all, double scatter, Range lanes, Range along, Index sign,
                std::vector<Index>& found) const {
        Index const first = std::max<Index>(0, lanes.first - control_->margin);
        Index const end = std::min(all.count(), lanes.end + control_->margin);
        double const least = std::max(control_->runLevel, control_->runSigmas * scatter);
        double const mean = std::max(control_->lineLevel, control_->lineSigmas * scatter / std::sqrt(2.0));
        std::vector<float> values;
        std::vector<float> levels;  // of the runs, without a line
        auto const runOf = [&](Index k) -> Range {
            Index const length = control_->runLength;
            return sign > 0 ? Range{along.end + k * length, std::min(all.length(), along.end + (k + 1) * length)}
                            : Range{std::max<Index>(0, along.first - (k + 1) * length), along.first - k * length};
        };
        auto const contrast = [&](Index lane, Index k) {
            Range const run = runOf(k);
            while (static_cast<Index>(levels.size()) <= k) {
                levels.push_back(bandLevel(all, lanes, runOf(static_cast<Index>(levels.size())), values));
            }
            return static_cast<double>(all.median(lane, run.first, run.end, values) -
                                       levels[static_cast<std::size_t>(k)]);
        };
        Index const room = sign > 0 ? all.length() - along.end : along.first;
        Index const nRuns = (room + control_->runLength / 2) / control_->runLength;  // the last at least half as long
        if (nRuns < 2) {
            return;
        }
        for (Index lane = first; lane < end; ++lane) {
            double const next = contrast(lane, 0);
            if (!(std::abs(next) > least)) {
                continue;
            }
            double const side = next > 0.0 ? 1.0 : -1.0;
            double const second = side * contrast(lane, 1);
            if (!(second > least && side * next + second > 2.0 * mean)) {
                continue;
            }
            Index last = 2;
            for (Index k = 2; k < nRuns && k - last <= 1; ++k) {
                last = side * contrast(lane, k) > least ? k + 1 : last;
            }
            Index const reach = last == nRuns ? room : last * control_->runLength;
            Index const middle = (along.first + along.end) / 2;
            Range const line = sign > 0 ? Range{middle, along.end + reach} : Range{along.first - reach, middle};
            for (Index i = line.first; i < line.end; ++i) {
                found.push_back(all.place(lane, i));
            }
        }
    }

    // Median over rows beside the clump's, at some distance; 0 where too few pixels tell.
    [[nodiscard]] float bandLevel(Lanes const& all, Range lanes, Range run, std::vector<float>& values) const {
        values.clear();
        for (Range const band : {Range{lanes.first - control_->bandFar, lanes.first - control_->bandNear},
                                 Range{lanes.end + control_->bandNear, lanes.end + control_->bandFar}}) {
            for (Index lane = std::max<Index>(0, band.first); lane < std::min(all.count(), band.end); ++lane) {
                all.read(lane, run.first, run.end, values);
            }
        }
        return static_cast<Index>(values.size()) < control_->runLength ? 0.0F : medianOf(std::span(values));
    }

    Pulls const* pulls_;
    SaturationTracesControl const* control_;
    Lanes lanes_[2];
    double scatters_[2];
};

std::vector<PixelRun> saturatedRuns(ConstImageView<MaskPixel> const& mask, MaskPixel bits) {
    std::vector<PixelRun> runs;
    for (Index y = 0; y < mask.rows(); ++y) {
        MaskPixel planes = 0;
        for (Index x = 0; x < mask.cols(); ++x) {
            planes |= mask(y, x);
        }
        for (Index x = (planes & bits) == 0 ? mask.cols() : 0; x < mask.cols(); ++x) {
            if ((mask(y, x) & bits) == 0) {
                continue;
            }
            Index const first = x;
            while (x < mask.cols() && (mask(y, x) & bits) != 0) {
                ++x;
            }
            runs.push_back(
                {static_cast<std::int32_t>(y), static_cast<std::int32_t>(first), static_cast<std::int32_t>(x), 0});
        }
    }
    return runs;
}

std::vector<Clump> clumpsOf(std::vector<PixelRun> const& runs) {
    std::vector<Clump> clumps;
    for (std::size_t i = 0; i < runs.size();) {
        std::size_t const first = i;
        Index x0 = runs[i].x0;
        Index x1 = runs[i].x1;
        for (; i < runs.size() && runs[i].footprint == runs[first].footprint; ++i) {
            x0 = std::min<Index>(x0, runs[i].x0);
            x1 = std::max<Index>(x1, runs[i].x1);
        }
        Index const y0 = runs[first].y;
        clumps.push_back({{x0, y0, x1 - x0, runs[i - 1].y + 1 - y0}, std::span(runs).subspan(first, i - first)});
    }
    return clumps;
}

std::vector<Index> unsaturated(std::vector<Index> places, ConstImageView<MaskPixel> const& mask, MaskPixel bits) {
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::erase_if(places, [&](Index place) { return (mask(place / mask.cols(), place % mask.cols()) & bits) != 0; });
    return places;
}

}  // namespace

SaturationTraces saturationTraces(MaskedImageView const& difference, SaturationTracesControl const& control,
                                  Execution const& execution) {
    if (!haveOneShape(difference.image, difference.variance, difference.mask)) {
        throw std::invalid_argument("image, variance and mask differ in shape");
    }
    if (control.maxGrowth < 0) {
        throw std::invalid_argument("maxGrowth is " + std::to_string(control.maxGrowth) + ", must be 0 or more pixels");
    }
    SaturationTraces traces;
    FootprintRuns const found = connectRuns(saturatedRuns(difference.mask, control.saturatedBits));
    std::vector<Clump> const clumps = clumpsOf(found.runs);
    traces.nStars = static_cast<Index>(clumps.size());
    Pulls pulls(difference, control.badBits | control.saturatedBits);
    if (clumps.empty() || !pulls.calibrate()) {
        return traces;
    }
    Search const search(pulls, control);
    std::vector<std::vector<Index>> rings(clumps.size()), lines(clumps.size());
    parallelForBrief(traces.nStars, execution, [&](Index i, int) {
        auto const k = static_cast<std::size_t>(i);
        rings[k] = search.rings(clumps[k]);
        lines[k] = search.lines(clumps[k]);
    });
    auto const gather = [&](std::vector<std::vector<Index>> const& parts, std::vector<Index>& places, Index& count) {
        for (std::vector<Index> const& part : parts) {
            count += part.empty() ? 0 : 1;
            places.insert(places.end(), part.begin(), part.end());
        }
        places = unsaturated(std::move(places), difference.mask, control.saturatedBits);
    };
    gather(rings, traces.ringPlaces, traces.nRings);
    gather(lines, traces.linePlaces, traces.nLined);
    return traces;
}

}  // namespace psfmatch
