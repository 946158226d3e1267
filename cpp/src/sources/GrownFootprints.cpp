#include "psfmatch/sources/GrownFootprints.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "sources/sourcesFootprints.h"

namespace psfmatch {

namespace {

// Appends the disjoint runs that cover those of a list, ordered by row, after growth by reach[|dy|] pixels along each
// row.
void appendGrown(std::span<PixelRun const> runs, std::vector<std::int32_t> const& reach, Index height, Index width,
                 std::vector<PixelRun>& grown) {
    if (runs.empty()) {
        return;
    }
    auto const radius = static_cast<std::int32_t>(reach.size()) - 1;
    auto const last = static_cast<std::int32_t>(height) - 1;
    std::size_t first = 0;  // run of the first row that reaches the present one
    std::vector<std::pair<std::int32_t, std::int32_t>> parts;
    for (std::int32_t y = std::max(0, runs.front().y - radius); y <= std::min(last, runs.back().y + radius); ++y) {
        while (first < runs.size() && runs[first].y < y - radius) {
            ++first;
        }
        parts.clear();
        for (std::size_t i = first; i < runs.size() && runs[i].y <= y + radius; ++i) {
            std::int32_t const more = reach[static_cast<std::size_t>(std::abs(runs[i].y - y))];
            parts.emplace_back(std::max(0, runs[i].x0 - more),
                               std::min(static_cast<std::int32_t>(width), runs[i].x1 + more));
        }
        std::sort(parts.begin(), parts.end());
        for (std::size_t i = 0; i < parts.size(); ++i) {
            if (i > 0 && parts[i].first <= grown.back().x1) {
                grown.back().x1 = std::max(grown.back().x1, parts[i].second);
            } else {
                grown.push_back({y, parts[i].first, parts[i].second, runs.front().footprint});
            }
        }
    }
}

}  // namespace

FootprintRuns connectRuns(std::vector<PixelRun> runs) {
    FootprintRuns result;
    std::int32_t count = 0;
    std::vector<std::int32_t> const number = detail::connectedSets(runs, count);
    for (std::size_t i = 0; i < runs.size(); ++i) {
        runs[i].footprint = number[i];
    }
    std::stable_sort(runs.begin(), runs.end(),
                     [](PixelRun const& a, PixelRun const& b) { return a.footprint < b.footprint; });
    return {std::move(runs), count};
}

FootprintRuns growFootprints(FootprintRuns footprints, Index height, Index width, GrowthControl const& control) {
    if (control.radius < 0) {
        throw std::invalid_argument("footprints cannot grow by " + std::to_string(control.radius) + " pixels");
    }
    std::vector<std::int32_t> reach;
    for (Index dy = 0; dy <= control.radius; ++dy) {
        auto const disc = std::sqrt(static_cast<double>(control.radius * control.radius - dy * dy));
        reach.push_back(static_cast<std::int32_t>(control.isotropic ? disc : static_cast<double>(control.radius - dy)));
    }
    std::vector<PixelRun>& runs = footprints.runs;
    std::vector<PixelRun> grown;
    if (control.combined) {
        std::sort(runs.begin(), runs.end(),
                  [](PixelRun const& a, PixelRun const& b) { return std::pair(a.y, a.x0) < std::pair(b.y, b.x0); });
        appendGrown(runs, reach, height, width, grown);
        return connectRuns(std::move(grown));
    }
    for (std::size_t begin = 0; begin < runs.size();) {
        std::size_t end = begin;
        while (end < runs.size() && runs[end].footprint == runs[begin].footprint) {
            ++end;
        }
        appendGrown(std::span(runs).subspan(begin, end - begin), reach, height, width, grown);
        begin = end;
    }
    return {std::move(grown), footprints.count};
}

}  // namespace psfmatch
