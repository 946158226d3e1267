#include "psfmatch/sources/SharpPixels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/sources/Clumps.h"
#include "sources/SharpPixelsJudge.h"

namespace psfmatch {

using detail::SharpPixelsJudge;
using detail::SharpState;
using detail::SkyTiles;

namespace {

constexpr std::size_t manyStars = 10;
constexpr std::size_t fewStars = 6;
constexpr std::size_t certainStars = 3;
constexpr double sharperStars = 0.75;  // quantile of the contrasts of many stars
constexpr int nRounds = 3;
constexpr std::size_t longLine = 12;  // pixels of a column or row that make a line
constexpr Index lineGap = 4;          // between two of them, at the most
constexpr double lineShare = 0.6;     // of the pixels from end to end, at the least

// What pixels of this image may exceed their neighbours by, given the contrasts of its stars. Some of them are defects
// that lie in the light of stars, and most may be galaxies: `least` is that of the sharpest that are certainly stars.
double contrastOf(std::vector<float> const& stars, double least, SharpPixelsControl const& control) {
    if (stars.size() < fewStars) {
        return control.unknownContrast;
    }
    if (stars.size() < manyStars) {
        double const sharpest = *std::max_element(stars.begin(), stars.end());
        return std::clamp(control.margin * sharpest, control.fewContrast, control.unknownContrast);
    }
    std::vector<float> scratch;
    double const found = std::max(quantileOf<float>(stars, sharperStars, scratch), least);
    double const allowed = std::max(control.leastContrast, control.margin * found);
    return found > control.sharpestContrast ? std::max(allowed, control.undersampledLimit) : allowed;
}

// The third-largest, for one or two may be chance; 0 of fewer.
double sharpestOf(std::vector<float> certain) {
    if (certain.size() < certainStars) {
        return 0.0;
    }
    std::nth_element(certain.begin(), certain.begin() + (certainStars - 1), certain.end(), std::greater<>());
    return certain[certainStars - 1];
}

// Pixels of one sign, ascending along the rows of an image of this width, or along its columns: those in long lines,
// and what lies between them. `key` has the place along the line first: line * length + position.
void findLines(std::vector<Index> keys, Index length, std::vector<Index>& members) {
    std::sort(keys.begin(), keys.end());
    std::size_t first = 0;
    for (std::size_t i = 1; i <= keys.size(); ++i) {
        bool const goesOn =
            i < keys.size() && keys[i] / length == keys[i - 1] / length && keys[i] - keys[i - 1] <= lineGap;
        if (goesOn) {
            continue;
        }
        std::size_t const count = i - first;
        auto const extent = static_cast<double>(keys[i - 1] - keys[first] + 1);
        if (count >= longLine && static_cast<double>(count) >= lineShare * extent) {
            for (Index key = keys[first]; key <= keys[i - 1]; ++key) {
                members.push_back(key);
            }
        }
        first = i;
    }
}

}  // namespace

SharpPixels sharpPixels(MaskedImageView const& input, SharpPixelsControl const& control, Execution const& execution) {
    if (!haveOneShape(input.image, input.variance, input.mask)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
    SharpPixels result;
    result.contrast = control.unknownContrast;
    SkyTiles const tiles = detail::skyTiles(input, control.badBits, execution);
    if (tiles.isEmpty) {
        return result;
    }
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    detail::SharpCandidates const candidates = detail::sharpCandidates(input, control, tiles, execution);
    SharpPixelsJudge judge(input, control, tiles);
    // Hot pixels and cosmic rays may outnumber stars: those found are left out of what tells the contrast.
    judge.mark(candidates, result.contrast);
    double least = 0.0;
    bool wasAny = true;
    for (int round = 0; round < nRounds; ++round) {
        // Without a pixel left out, neither before nor now, the stars tell the same once more.
        bool const isAny = !judge.marked().empty();
        if (!isAny && !wasAny) {
            break;
        }
        wasAny = isAny;
        detail::StarContrasts const stars = judge.starContrasts(candidates.peaks);
        least = round == 0 ? sharpestOf(stars.certain) : least;
        double const contrast = std::min(contrastOf(stars.all, least, control), control.mostContrast);
        result.nStars = static_cast<Index>(stars.all.size());
        if (contrast == result.contrast || (round > 0 && contrast > result.contrast)) {
            break;
        }
        result.contrast = contrast;
        judge.clear();
        judge.mark(candidates, contrast);
    }
    judge.markSkirts();
    judge.markHoles(candidates.holes, result.contrast);

    std::vector<std::pair<Index, SharpKind>> found;
    std::vector<Index> bright;
    for (SharpState const state : {SharpState::dark, SharpState::bright}) {
        std::vector<Index> rows;
        std::vector<Index> columns;
        for (Index const place : judge.marked()) {
            if (judge.state(place) == state) {
                rows.push_back(place);
                columns.push_back(place % width * height + place / width);
            }
        }
        if (state == SharpState::bright) {
            bright = rows;
        } else {
            for (Index const place : rows) {
                found.emplace_back(place, SharpKind::dark);
            }
        }
        std::vector<Index> inRows;
        std::vector<Index> inColumns;
        findLines(std::move(rows), width, inRows);
        findLines(std::move(columns), height, inColumns);
        for (Index const place : inRows) {
            found.emplace_back(place, SharpKind::line);
        }
        for (Index const key : inColumns) {
            found.emplace_back(key % height * width + key / height, SharpKind::line);
        }
    }
    for (Index const place : detail::faintLines(input, control, tiles, result.contrast, execution)) {
        found.emplace_back(place, SharpKind::line);
    }
    std::sort(bright.begin(), bright.end());
    std::vector<Index> const sizes = clumpSizes(bright, width, std::vector<std::uint8_t>(bright.size(), 1));
    for (std::size_t i = 0; i < bright.size(); ++i) {
        found.emplace_back(bright[i], sizes[i] > 1 ? SharpKind::trail : SharpKind::bright);
    }
    // Of several kinds the largest number stays: a line.
    std::sort(found.begin(), found.end(), [](auto const& one, auto const& other) {
        return one.first != other.first ? one.first < other.first : one.second > other.second;
    });
    for (auto const& [place, kind] : found) {
        bool const isNew = result.places.empty() || result.places.back() != place;
        if (isNew && detail::isUsable(input, control.badBits, place / width, place % width)) {
            result.places.push_back(place);
            result.kinds.push_back(kind);
        }
    }
    return result;
}

}  // namespace psfmatch
