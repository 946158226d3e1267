#include "sources/SharpPixelsJudge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

namespace psfmatch::detail {

namespace {

constexpr double mostFall = 0.8;   // from a star's peak to its brighter neighbour; hot pixels fall by 1
constexpr double plainFall = 0.4;  // less is no cosmic ray
constexpr double roundness = 0.6;  // of stars: smaller over larger fall
constexpr double litShare = 0.04;  // of the peak's light, beside the sharpest stars that can be told at the least
constexpr double sideSignificance = 5.0;
constexpr double cornerSignificance = 2.0;
constexpr double fallingOff = 0.4;  // light two pixels from a sharp star's peak over that beside it, at the most
constexpr double leastFall = 0.02;  // noise on flat tops
constexpr double nearShare = 0.8;   // of the contrast, for what touches a sharp pixel
constexpr double ringing = 0.03;    // of the brightest light so near, which resampling leaves about it
constexpr Index reach = 3;
constexpr double holeRinging = 0.01;  // the same where all neighbours are lit
constexpr double withoutOne = 1.4;    // times the contrast where one of four neighbours is missing
constexpr double skirt = 0.2;  // of a cosmic ray's charge, which has diffused to the pixels beside it, at the most
constexpr double outerContrast = 1.5;  // of such a pixel and the next
constexpr int nPasses = 3;

}  // namespace

bool SharpPixelsJudge::Limit::isExceeded(Light const& light, Light const& other) const {
    double const excess = light.value - contrast * std::max(other.value, 0.0);
    // Most exceed nothing.
    return excess > counts &&
           excess > significance * std::sqrt(light.variance + contrast * contrast * other.variance) + counts;
}

SharpPixelsJudge::Place SharpPixelsJudge::placeOf(Index place, double sign) const {
    Index const y = place / width_;
    Index const x = place % width_;
    std::size_t const tile = tiles_.tileOf(y, x);
    double const sigma = tiles_.sigmas[tile];
    return {y, x, tiles_.levels[tile], sigma * sigma, sign};
}

SharpPixelsJudge::Light SharpPixelsJudge::lightAt(Place const& at, Index dy, Index dx) const {
    Index const y = at.y + dy;
    Index const x = at.x + dx;
    Light light;
    if (y < 0 || x < 0 || y >= height_ || x >= width_ || !isUsable(input_, control_.badBits, y, x) ||
        state(y, x) != SharpState::none) {
        return light;
    }
    light.isUsable = true;
    light.value = at.sign * (input_.image(y, x) - at.level);
    double const told = tiles_.perVariance * input_.variance(y, x);
    light.variance = std::isfinite(told) ? std::max(told, at.variance) : at.variance;
    return light;
}

double SharpPixelsJudge::brightestAbout(Place const& at) const {
    double brightest = 0.0;
    for (Index dy = -reach; dy <= reach; ++dy) {
        for (Index dx = -reach; dx <= reach; ++dx) {
            if (dy != 0 || dx != 0) {
                brightest = std::max(brightest, at.sign * lightAt(at, dy, dx).value);
            }
        }
    }
    return brightest;
}

bool SharpPixelsJudge::isSharp(Index place, double sign, double contrast, bool isNear) const {
    Place const at = placeOf(place, sign);
    Light const own = lightAt(at, 0, 0);
    double const brightness = isNear ? control_.nearSignificance : control_.brightness;
    if (!own.isUsable || !(own.value > brightness * std::sqrt(own.variance))) {
        return false;
    }
    Limit limit{isNear ? nearShare * contrast : contrast, isNear ? control_.nearSignificance : control_.significance,
                0.0};
    if (!isSharperThanBeside(at, own, limit, isNear)) {
        return false;
    }
    limit.counts = ringing * brightestAbout(at);
    return isSharperThanBeside(at, own, limit, isNear);
}

bool SharpPixelsJudge::isSharperThanBeside(Place const& at, Light const& own, Limit const& limit, bool isNear) const {
    // Two pixels of one star, centred between them, are brighter than what lies beside them by the square.
    Limit const wide{limit.contrast * limit.contrast, limit.significance, limit.counts};
    int nWhole = 0;  // axes with both neighbours
    int nAlone = 0;  // axes with one
    bool isAloneSharp = true;
    Light sum{0.0, 0.0, true};  // of the neighbours
    for (auto const& [dy, dx] : {std::pair<Index, Index>{0, 1}, {1, 0}}) {
        Light const before = lightAt(at, -dy, -dx);
        Light const after = lightAt(at, dy, dx);
        sum.value += before.value + after.value;
        sum.variance += before.variance + after.variance;
        if (before.isUsable != after.isUsable) {
            ++nAlone;
            isAloneSharp &= wide.isExceeded(own, before.isUsable ? before : after);
        }
        if (!before.isUsable || !after.isUsable) {
            continue;
        }
        ++nWhole;
        if (limit.isExceeded(own, before.value > after.value ? before : after)) {
            return true;
        }
        for (Index const side : {-1, 1}) {
            Light const& partner = side < 0 ? before : after;
            Light const& flank = side < 0 ? after : before;
            Light const second = lightAt(at, 2 * side * dy, 2 * side * dx);
            if (second.isUsable && wide.isExceeded(partner.value < own.value ? partner : own,
                                                   flank.value > second.value ? flank : second)) {
                return true;
            }
        }
    }
    if (nWhole > 0) {
        // Fainter ones that stand alone: sums of stars, too, exceed the mean by no more than one star does, and that
        // of three neighbours, the brightest of which is not there, by little more.
        int const count = 2 * nWhole + nAlone;
        Light const mean{sum.value / count, sum.variance / (count * count), true};
        Limit const mild{count == 4 ? limit.contrast : withoutOne * limit.contrast, limit.significance, limit.counts};
        return count >= 3 && mild.isExceeded(own, mean);
    }
    return isAloneSharp && (nAlone > 0 || isNear);
}

void SharpPixelsJudge::set(Index place, double sign) {
    Index const y = place / width_;
    Index const x = place % width_;
    std::vector<SharpState>& tile = states_[tiles_.tileOf(y, x)];
    if (tile.empty()) {
        tile.assign(static_cast<std::size_t>(tileSide * tileSide), SharpState::none);
    }
    tile[placeInTile(y, x)] = sign < 0.0 ? SharpState::dark : SharpState::bright;
    marked_.push_back(place);
}

bool SharpPixelsJudge::markOfSign(std::vector<Index> const& places, double sign, double contrast) {
    std::vector<Index> found;
    std::copy_if(places.begin(), places.end(), std::back_inserter(found),
                 [&](Index place) { return isSharp(place, sign, contrast, false); });
    bool const isAny = !found.empty();
    while (!found.empty()) {
        for (Index const place : found) {
            set(place, sign);
        }
        found = nearby(found);
        std::erase_if(found, [&](Index place) { return !isSharp(place, sign, contrast, true); });
    }
    return isAny;
}

std::vector<Index> SharpPixelsJudge::nearby(std::vector<Index> const& places) const {
    std::vector<Index> near;
    for (Index const place : places) {
        Index const y = place / width_;
        Index const x = place % width_;
        for (Index j = std::max<Index>(0, y - 1); j <= std::min(height_ - 1, y + 1); ++j) {
            for (Index i = std::max<Index>(0, x - 1); i <= std::min(width_ - 1, x + 1); ++i) {
                near.push_back(j * width_ + i);
            }
        }
    }
    std::sort(near.begin(), near.end());
    near.erase(std::unique(near.begin(), near.end()), near.end());
    return near;
}

std::vector<Index> SharpPixelsJudge::besideMarked(std::vector<Index> const& places) const {
    std::vector<Index> found;
    if (marked_.empty()) {
        return found;
    }
    std::copy_if(places.begin(), places.end(), std::back_inserter(found), [&](Index place) {
        Index const y = place / width_;
        Index const x = place % width_;
        return state(y, x - 1) != SharpState::none || state(y, x + 1) != SharpState::none ||
               state(y - 1, x) != SharpState::none || state(y + 1, x) != SharpState::none;
    });
    return found;
}

void SharpPixelsJudge::mark(SharpCandidates const& candidates, double contrast) {
    auto const isBright = [&](Index place) {
        return !(placeOf(place, 1.0).level > input_.image(place / width_, place % width_));
    };
    std::array<std::vector<Index>, 2> suspects;  // dark and bright ones
    std::partition_copy(candidates.suspects.begin(), candidates.suspects.end(), std::back_inserter(suspects[1]),
                        std::back_inserter(suspects[0]), isBright);
    auto const markThose = [&](std::size_t sign) {
        // Plain ones lose a neighbour to what is marked.
        std::vector<Index> beside = besideMarked(candidates.plain);
        std::erase_if(beside, [&](Index place) { return isBright(place) != (sign == 1); });
        std::vector<Index> places;
        std::merge(suspects[sign].begin(), suspects[sign].end(), beside.begin(), beside.end(),
                   std::back_inserter(places));
        return markOfSign(places, sign == 0 ? -1.0 : 1.0, contrast);
    };
    // What a brighter one nearby has hidden is seen without it.
    bool isAny = true;
    for (int pass = 0; pass < nPasses && isAny; ++pass) {
        bool const isDark = markThose(0);
        isAny = markThose(1) || isDark;
    }
}

void SharpPixelsJudge::markSkirts() {
    std::vector<Index> found;
    std::array<std::pair<Index, Index>, 4> const sides{{{0, -1}, {0, 1}, {-1, 0}, {1, 0}}};
    auto const isBright = [&](Index y, Index x) {
        return y >= 0 && x >= 0 && y < height_ && x < width_ && state(y, x) == SharpState::bright;
    };
    for (Index const place : marked_) {
        Place const at = placeOf(place, 1.0);
        bool const isTrail = std::any_of(sides.begin(), sides.end(), [&](auto const& side) {
            return isBright(at.y + side.first, at.x + side.second);
        });
        if (!isTrail || !isBright(at.y, at.x)) {
            continue;
        }
        double const ray = input_.image(at.y, at.x) - at.level;
        for (auto const& [dy, dx] : sides) {
            Light const light = lightAt(at, dy, dx);
            if (light.isUsable && light.value < skirt * ray &&
                Limit{outerContrast, control_.nearSignificance, 0.0}.isExceeded(light, lightAt(at, 2 * dy, 2 * dx))) {
                found.push_back((at.y + dy) * width_ + at.x + dx);
            }
        }
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    for (Index const place : found) {
        set(place, 1.0);
    }
}

void SharpPixelsJudge::markHoles(std::vector<Index> const& places, double contrast) {
    std::vector<Index> found;
    for (Index const place : places) {
        Place const at = placeOf(place, 1.0);
        Light own = lightAt(at, 0, 0);
        std::array<Light, 4> const around{lightAt(at, 0, -1), lightAt(at, 0, 1), lightAt(at, -1, 0), lightAt(at, 1, 0)};
        if (!own.isUsable ||
            !std::all_of(around.begin(), around.end(), [](Light const& one) { return one.isUsable; })) {
            continue;
        }
        Light least = *std::min_element(around.begin(), around.end(),
                                        [](Light const& one, Light const& other) { return one.value < other.value; });
        // What is expected there is as noisy as its neighbours are.
        own.variance = least.variance;
        least.value /= contrast;
        least.variance /= contrast * contrast;
        if (Limit{1.0, holeSignificance, 0.0}.isExceeded(least, own) &&
            Limit{1.0, holeSignificance, holeRinging * brightestAbout(at)}.isExceeded(least, own)) {
            found.push_back(place);
        }
    }
    for (Index const place : found) {
        set(place, -1.0);
    }
}

void SharpPixelsJudge::clear() {
    std::fill(states_.begin(), states_.end(), std::vector<SharpState>{});
    marked_.clear();
}

bool SharpPixelsJudge::isLitAbout(Place const& at, Light const& own) const {
    double near = 0.0;
    double far = 0.0;
    for (Index dy = -1; dy <= 1; ++dy) {
        for (Index dx = -1; dx <= 1; ++dx) {
            Light const light = lightAt(at, dy, dx);
            bool const isDiagonal = dy != 0 && dx != 0;
            double const share = isDiagonal ? 0.0 : litShare;
            double const significance = isDiagonal ? cornerSignificance : sideSignificance;
            if (!(light.value > share * own.value && light.value > significance * std::sqrt(light.variance))) {
                return false;
            }
            bool const isBeside = (dy == 0) != (dx == 0);
            near += isBeside ? light.value : 0.0;
            far += isBeside ? lightAt(at, 2 * dy, 2 * dx).value : 0.0;
        }
    }
    // A hot pixel in the light of a broad star falls to that, which falls off slowly.
    return far < fallingOff * near;
}

StarContrasts SharpPixelsJudge::starContrasts(std::vector<Index> const& peaks) const {
    StarContrasts contrasts;
    for (Index const place : peaks) {
        Place const at = placeOf(place, 1.0);
        Light const own = lightAt(at, 0, 0);
        if (!own.isUsable || !(own.value > peakBrightness * std::sqrt(own.variance))) {
            continue;
        }
        bool isPeak = true;
        for (Index dy = -1; dy <= 1 && isPeak; ++dy) {
            for (Index dx = -1; dx <= 1; ++dx) {
                Light const other = lightAt(at, dy, dx);
                isPeak &= other.isUsable && other.value <= own.value;
            }
        }
        if (!isPeak) {
            continue;
        }
        // Cosmic rays are long: the mean falls of stars are alike along both axes, and along both diagonals.
        auto const isRound = [&](Index dy, Index dx) {
            auto const fallAlong = [&](Index j, Index i) {
                return own.value - 0.5 * (lightAt(at, -j, -i).value + lightAt(at, j, i).value);
            };
            double const one = fallAlong(dy, dx);
            double const other = fallAlong(dx, -dy);
            return std::min(one, other) > roundness * std::max(one, other);
        };
        auto const fallBeside = [&](Index dy, Index dx) {
            return 1.0 - std::max(lightAt(at, -dy, -dx).value, lightAt(at, dy, dx).value) / own.value;
        };
        double const larger = std::max(fallBeside(0, 1), fallBeside(1, 0));
        if (!(larger > leastFall && larger < mostFall)) {
            continue;
        }
        auto const contrast = static_cast<float>(1.0 / (1.0 - larger));
        bool const isStar = isRound(0, 1) && isRound(1, 1);
        if (isStar || larger < plainFall) {
            contrasts.all.push_back(contrast);
        }
        if (isStar && isLitAbout(at, own)) {
            contrasts.certain.push_back(contrast);
        }
    }
    return contrasts;
}

}  // namespace psfmatch::detail
