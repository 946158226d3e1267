#include "sources/StreakProfile.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace psfmatch::detail {

namespace {

// Pixels from the middle to one side at which the profile falls through a value for good.
double reachOf(std::vector<double> const& profile, Index middle, Index sign, double value) {
    auto const at = [&](Index i) { return profile[static_cast<std::size_t>(i)]; };
    auto const size = static_cast<Index>(profile.size());
    Index i = middle;
    while (i > 1 && i < size - 2 && !(at(i) < value && at(i + sign) < value)) {
        i += sign;
    }
    double const before = at(i - sign);
    double const share = before > at(i) ? std::clamp((before - value) / (before - at(i)), 0.0, 1.0) : 1.0;
    return std::abs(static_cast<double>(i - sign - middle)) + share;
}

}  // namespace

std::vector<double> profileOf(Strip const& strip) {
    std::vector<double> profile;
    std::vector<float> values;
    for (Index across = -strip.half; across <= strip.half; ++across) {
        values.clear();
        for (Index piece = 0; piece < strip.nPieces; ++piece) {
            if (std::isfinite(strip.at(piece, across))) {
                values.push_back(strip.at(piece, across));
            }
        }
        profile.push_back(values.empty() ? 0.0 : middleMean(values));
    }
    return profile;
}

Across acrossOf(Strip const& strip, std::vector<double> const& profile, Index side, double floor) {
    Across result;
    Index const half = strip.half;
    for (Index i = half - side / 2; i <= half + side / 2; ++i) {
        if (i == half - side / 2 || profile[static_cast<std::size_t>(i)] > result.peak) {
            result.peak = profile[static_cast<std::size_t>(i)];
            result.middle = i;
        }
    }
    if (!(result.peak > 0.0)) {
        return result;
    }
    std::array<double, 2> beyond{};
    for (int const sign : {-1, 1}) {
        result.fwhm += reachOf(profile, result.middle, sign, 0.5 * result.peak);
        double const own = reachOf(profile, result.middle, sign, std::min(floor, 0.5 * result.peak));
        result.reach = std::max(result.reach, own + std::abs(static_cast<double>(result.middle - half)));
        auto const outside = result.middle + sign * static_cast<Index>(std::ceil(own) + 1.0);
        std::vector<float> values;
        for (Index i = outside; i >= 0 && i < static_cast<Index>(profile.size()); i += sign) {
            values.push_back(static_cast<float>(profile[static_cast<std::size_t>(i)]));
        }
        beyond[sign < 0 ? 0 : 1] = values.empty() ? 0.0 : middleMean(values);
    }
    result.beside = std::max(std::abs(beyond[0]), std::abs(beyond[1]));
    for (std::size_t i = 1; i < profile.size(); ++i) {
        result.steepest = std::max(result.steepest, std::abs(profile[i] - profile[i - 1]));
    }
    return result;
}

}  // namespace psfmatch::detail
