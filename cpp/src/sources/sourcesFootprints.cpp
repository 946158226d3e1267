#include "sources/sourcesFootprints.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

namespace psfmatch::detail {

std::vector<std::int32_t> connectedSets(std::vector<PixelRun> const& runs, std::int32_t& count) {
    std::vector<std::int32_t> root(runs.size());
    std::iota(root.begin(), root.end(), 0);
    auto const find = [&root](std::int32_t i) {
        while (root[static_cast<std::size_t>(i)] != i) {
            std::int32_t& up = root[static_cast<std::size_t>(i)];
            up = root[static_cast<std::size_t>(up)];
            i = up;
        }
        return i;
    };
    std::size_t above = 0;  // first run of the row before that may touch
    for (std::size_t i = 0; i < runs.size(); ++i) {
        PixelRun const& run = runs[i];
        // By a side or a corner: x1 is one beyond the last pixel.
        while (above < i && (runs[above].y < run.y - 1 || (runs[above].y == run.y - 1 && runs[above].x1 < run.x0))) {
            ++above;
        }
        for (std::size_t j = above; j < i && runs[j].y == run.y - 1 && runs[j].x0 <= run.x1; ++j) {
            std::int32_t const one = find(static_cast<std::int32_t>(i));
            std::int32_t const other = find(static_cast<std::int32_t>(j));
            root[static_cast<std::size_t>(std::max(one, other))] = std::min(one, other);
        }
    }
    count = 0;
    std::vector<std::int32_t> number(runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) {
        std::int32_t const first = find(static_cast<std::int32_t>(i));
        number[i] = first == static_cast<std::int32_t>(i) ? count++ : number[static_cast<std::size_t>(first)];
    }
    return number;
}

void appendStrip(std::vector<Detected>& tiles, Detected& all) {
    struct Place {
        std::size_t run = 0;
        std::ptrdiff_t value = 0;
    };
    std::vector<Place> places(tiles.size());
    while (true) {
        std::int32_t y = std::numeric_limits<std::int32_t>::max();
        for (std::size_t t = 0; t < tiles.size(); ++t) {
            if (places[t].run < tiles[t].runs.size()) {
                y = std::min(y, tiles[t].runs[places[t].run].y);
            }
        }
        if (y == std::numeric_limits<std::int32_t>::max()) {
            break;
        }
        for (std::size_t t = 0; t < tiles.size(); ++t) {
            auto& [run, value] = places[t];
            for (; run < tiles[t].runs.size() && tiles[t].runs[run].y == y; ++run) {
                PixelRun const& own = tiles[t].runs[run];
                if (!all.runs.empty() && all.runs.back().y == y && all.runs.back().x1 == own.x0) {
                    all.runs.back().x1 = own.x1;
                } else {
                    all.runs.push_back(own);
                }
                auto const end = value + (own.x1 - own.x0);
                all.values.insert(all.values.end(), tiles[t].values.begin() + value, tiles[t].values.begin() + end);
                if (!tiles[t].thresholds.empty()) {
                    all.thresholds.insert(all.thresholds.end(), tiles[t].thresholds.begin() + value,
                                          tiles[t].thresholds.begin() + end);
                }
                value = end;
            }
        }
    }
    tiles.clear();
}

Footprints sortByFootprint(Detected found, Index minPixels) {
    std::int32_t nSets = 0;
    std::vector<std::int32_t> const number = connectedSets(found.runs, nSets);
    std::vector<Index> nPixels(static_cast<std::size_t>(nSets), 0);
    std::vector<std::size_t> nRuns(static_cast<std::size_t>(nSets), 0);
    for (std::size_t i = 0; i < found.runs.size(); ++i) {
        nPixels[static_cast<std::size_t>(number[i])] += found.runs[i].x1 - found.runs[i].x0;
        ++nRuns[static_cast<std::size_t>(number[i])];
    }
    Footprints result{{}, {0}, {0}};
    std::vector<std::int32_t> kept(static_cast<std::size_t>(nSets), -1);
    for (std::size_t set = 0; set < kept.size(); ++set) {
        if (nPixels[set] >= minPixels) {
            kept[set] = static_cast<std::int32_t>(result.firstRun.size()) - 1;
            result.firstRun.push_back(result.firstRun.back() + nRuns[set]);
            result.firstValue.push_back(result.firstValue.back() + static_cast<std::size_t>(nPixels[set]));
        }
    }
    std::vector<std::size_t> nextRun(result.firstRun);
    std::vector<std::size_t> nextValue(result.firstValue);
    result.pixels.runs.resize(result.firstRun.back());
    result.pixels.values.resize(result.firstValue.back());
    result.pixels.thresholds.resize(found.thresholds.empty() ? 0 : result.firstValue.back());
    std::size_t value = 0;
    for (std::size_t i = 0; i < found.runs.size(); ++i) {
        PixelRun run = found.runs[i];
        auto const length = static_cast<std::size_t>(run.x1 - run.x0);
        run.footprint = kept[static_cast<std::size_t>(number[i])];
        if (run.footprint >= 0) {
            auto const footprint = static_cast<std::size_t>(run.footprint);
            result.pixels.runs[nextRun[footprint]++] = run;
            std::copy_n(found.values.data() + value, length, result.pixels.values.data() + nextValue[footprint]);
            if (!found.thresholds.empty()) {
                std::copy_n(found.thresholds.data() + value, length,
                            result.pixels.thresholds.data() + nextValue[footprint]);
            }
            nextValue[footprint] += length;
        }
        value += length;
    }
    return result;
}

}  // namespace psfmatch::detail
