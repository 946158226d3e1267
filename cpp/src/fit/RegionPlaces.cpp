#include "psfmatch/fit/RegionPlaces.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "psfmatch/fit/RegionStamps.h"

namespace psfmatch {

namespace {

constexpr Index nFolds = 8;
constexpr Index fewRegions = 12;
constexpr double foldBlock = 128.0;  // pixels

// `count` numbers from 0 to `last`, equally far apart.
std::vector<double> evenly(Index last, Index count) {
    std::vector<double> places(static_cast<std::size_t>(count));
    double const step = static_cast<double>(last) / static_cast<double>(std::max<Index>(1, count - 1));
    for (std::size_t k = 0; k < places.size(); ++k) {
        places[k] = static_cast<double>(k) * step;
    }
    if (count > 1) {
        places.back() = static_cast<double>(last);
    }
    return places;
}

// Middles along one axis: as many tiles as have room, spread to both ends, on the nearest pixels (halves: the even).
std::vector<std::int64_t> middlesOf(Index length, TileControl const& control) {
    Index const half = control.halfWidth + control.margin;
    Index const room = length - 2 * half - 1;
    if (room < 0) {
        throw std::invalid_argument("an axis of " + std::to_string(length) + " pixels has no room for a tile of " +
                                    std::to_string(2 * half + 1));
    }
    std::vector<std::int64_t> middles;
    for (double const place : evenly(room, room / (2 * control.halfWidth + 1) + 1)) {
        middles.push_back(half + std::lrint(place));
    }
    return middles;
}

// Which of the tiles are taken: a tenth of `most` evenly, and those with most light.
std::vector<char> takenOf(std::vector<double> const& light, Index most) {
    auto const count = static_cast<Index>(light.size());
    std::vector<char> taken(light.size(), count <= most ? 1 : 0);
    if (count <= most) {
        return taken;
    }
    for (double const place : evenly(count - 1, most / 10)) {
        taken[static_cast<std::size_t>(place)] = 1;
    }
    std::vector<std::size_t> order(light.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return light[a] > light[b]; });
    Index left = most - std::count(taken.begin(), taken.end(), 1);
    for (auto k = order.begin(); left > 0; ++k) {
        left -= taken[*k] == 0 ? 1 : 0;
        taken[*k] = 1;
    }
    return taken;
}

}  // namespace

RegionPlaces tilePlaces(MaskedImageView const& image, MaskPixel badBits, TileControl const& control,
                        Execution const& execution) {
    std::vector<std::int64_t> const columns = middlesOf(image.image.cols(), control);
    std::vector<std::int64_t> const rows = middlesOf(image.image.rows(), control);
    std::vector<std::int64_t> x;
    std::vector<std::int64_t> y;
    for (std::int64_t const row : rows) {
        x.insert(x.end(), columns.begin(), columns.end());
        y.insert(y.end(), columns.size(), row);
    }
    Eigen::VectorXd const light = tileLight(image, badBits, x, y, control.halfWidth, execution);
    std::vector<std::size_t> known;
    std::vector<double> knownLight;
    for (std::size_t k = 0; k < x.size(); ++k) {
        if (std::isfinite(light[static_cast<Index>(k)])) {
            known.push_back(k);
            knownLight.push_back(light[static_cast<Index>(k)]);
        }
    }
    std::vector<char> const taken = takenOf(knownLight, control.maxTiles);
    RegionPlaces places(std::count(taken.begin(), taken.end(), 1), 2);
    Index next = 0;
    for (std::size_t k = 0; k < known.size(); ++k) {
        if (taken[k] != 0) {
            places.row(next++) << x[known[k]], y[known[k]];
        }
    }
    return places;
}

std::vector<Index> regionFolds(Eigen::VectorXd const& x, Eigen::VectorXd const& y) {
    if (x.size() != y.size()) {
        throw std::invalid_argument(std::to_string(x.size()) + " positions x and " + std::to_string(y.size()) + " y");
    }
    std::vector<Index> folds(static_cast<std::size_t>(x.size()));
    std::vector<Index> order(folds.size());
    std::iota(order.begin(), order.end(), Index{0});
    if (x.size() <= fewRegions) {
        return order;
    }
    std::array<Index, nFolds> counts{};
    for (Index const k : order) {
        auto const block = static_cast<Index>(std::floor(x[k] / foldBlock) + 3.0 * std::floor(y[k] / foldBlock));
        Index const fold = (block % nFolds + nFolds) % nFolds;
        folds[static_cast<std::size_t>(k)] = fold;
        ++counts[static_cast<std::size_t>(fold)];
    }
    auto const [fewest, most] = std::minmax_element(counts.begin(), counts.end());
    if (*fewest > 0 && 2 * *most <= x.size()) {
        return folds;
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return y[a] != y[b] ? y[a] < y[b] : x[a] < x[b]; });
    for (std::size_t k = 0; k < order.size(); ++k) {
        folds[static_cast<std::size_t>(order[k])] = static_cast<Index>(k) % nFolds;
    }
    return folds;
}

}  // namespace psfmatch
