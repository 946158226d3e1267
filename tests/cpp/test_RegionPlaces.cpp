#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>

#include "psfmatch/fit/RegionPlaces.h"
#include "psfmatch/fit/RegionStamps.h"
#include "simulate.h"

using namespace psfmatch;

namespace {

using Places = std::vector<std::pair<std::int64_t, std::int64_t>>;  // y, x

simulate::MaskedImage makeImage(Index rows, Index columns) {
    simulate::MaskedImage image{rows, columns};
    std::mt19937 random(3);
    std::normal_distribution<float> noise(0.0F, 2.0F);
    image.image = image.image.unaryExpr([&](float) { return noise(random); });
    image.variance.setConstant(4.0F);
    image.mask.setZero();
    return image;
}

Places found(simulate::MaskedImage const& image, TileControl const& control, int nThreads = 1) {
    Execution execution;
    execution.nThreads = nThreads;
    RegionPlaces const places = tilePlaces(image.views(), 2, control, execution);
    Places pairs;
    for (Index k = 0; k < places.rows(); ++k) {
        pairs.emplace_back(places(k, 1), places(k, 0));
    }
    return pairs;
}

// All tiles, and the light of each, by definition.
Places gridOf(Index rows, Index columns, TileControl const& control) {
    auto const middles = [&](Index length) {
        Index const half = control.halfWidth + control.margin;
        Index count = 1;
        while ((count + 1) * (2 * control.halfWidth + 1) + 2 * control.margin <= length) {
            ++count;
        }
        std::vector<std::int64_t> places;
        for (Index k = 0; k < count; ++k) {
            double const part = count > 1 ? static_cast<double>(k) / static_cast<double>(count - 1) : 0.0;
            places.push_back(half + std::lrint(part * static_cast<double>(length - 2 * half - 1)));
        }
        return places;
    };
    Places grid;
    for (auto const y : middles(rows)) {
        for (auto const x : middles(columns)) {
            grid.emplace_back(y, x);
        }
    }
    return grid;
}

}  // namespace

TEST_CASE("tiles lie side by side, row by row, and bad ones are left out") {
    auto image = makeImage(131, 90);
    TileControl const control{5, 3, 1000};
    Places expected = gridOf(131, 90, control);
    CHECK(expected.size() == 11 * 7);
    CHECK(found(image, control) == expected);
    image.mask.leftCols(45).setConstant(2);
    std::erase_if(expected, [](auto const& place) { return place.second < 45; });
    Places const right = found(image, control);
    CHECK(right.size() >= expected.size());
    CHECK(std::includes(right.begin(), right.end(), expected.begin(), expected.end()));
    CHECK(std::none_of(right.begin(), right.end(), [](auto const& place) { return place.second < 45 - 5; }));
    image.mask.setConstant(2);
    CHECK(found(image, control).empty());
}

TEST_CASE("of too many tiles some are spread evenly and the others have most light") {
    auto const image = makeImage(200, 180);
    for (Index const maxTiles : {7, 30, 55, 120}) {
        TileControl const control{5, 2, maxTiles};
        Places const grid = gridOf(200, 180, control);
        std::vector<std::int64_t> x;
        std::vector<std::int64_t> y;
        for (auto const& [row, column] : grid) {
            x.push_back(column);
            y.push_back(row);
        }
        Eigen::VectorXd const light = tileLight(image.views(), 2, x, y, 5, {});
        auto const last = static_cast<double>(grid.size() - 1);
        std::set<std::size_t> chosen;
        Index const nEven = maxTiles / 10;
        for (Index k = 0; k < nEven; ++k) {
            chosen.insert(
                nEven > 1 ? static_cast<std::size_t>(static_cast<double>(k) * (last / static_cast<double>(nEven - 1)))
                          : std::size_t{0});
        }
        while (chosen.size() < static_cast<std::size_t>(maxTiles)) {
            std::size_t best = grid.size();
            for (std::size_t k = 0; k < grid.size(); ++k) {
                if (!chosen.contains(k) &&
                    (best == grid.size() || light[static_cast<Index>(k)] > light[static_cast<Index>(best)])) {
                    best = k;
                }
            }
            chosen.insert(best);
        }
        Places expected;
        for (std::size_t const k : chosen) {
            expected.push_back(grid[k]);
        }
        CHECK(found(image, control) == expected);
        CHECK(found(image, control, 3) == expected);
    }
    CHECK_THROWS_WITH_AS((void)found(image, {80, 10, 5}), doctest::Contains("no room for a tile of 181"),
                         std::invalid_argument);
}

TEST_CASE("neighbours share a fold, and no fold is empty or holds most") {
    std::mt19937 random(1);
    std::uniform_real_distribution<double> place(-200.0, 2000.0);
    Eigen::VectorXd const x = Eigen::VectorXd::NullaryExpr(500, [&] { return place(random); });
    Eigen::VectorXd const y = Eigen::VectorXd::NullaryExpr(500, [&] { return place(random); });
    for (Index const few : {0, 1, 12}) {
        auto const alone = regionFolds(x.head(few), y.head(few));
        REQUIRE(alone.size() == static_cast<std::size_t>(few));
        for (Index k = 0; k < few; ++k) {
            CHECK(alone[static_cast<std::size_t>(k)] == k);
        }
    }
    auto const folds = regionFolds(x, y);
    for (Index k = 0; k < 500; ++k) {
        // Counted from a block far to the lower left, a multiple of eight blocks away.
        auto const column = static_cast<Index>((x[k] + 1024.0) / 128.0);
        auto const row = static_cast<Index>((y[k] + 1024.0) / 128.0);
        CHECK(folds[static_cast<std::size_t>(k)] == (column + 3 * row) % 8);
    }
    // All in one block: they take turns in the sequence of their places.
    Eigen::VectorXd const near = (x.array() + 200.0) / 20.0;
    Eigen::VectorXd const low = ((y.array() + 200.0) / 20.0).floor();
    auto const turns = regionFolds(near, low);
    for (Index k = 0; k < 500; ++k) {
        Index before = 0;
        for (Index i = 0; i < 500; ++i) {
            before += std::pair(low[i], near[i]) < std::pair(low[k], near[k]) ? 1 : 0;
        }
        CHECK(turns[static_cast<std::size_t>(k)] == before % 8);
    }
    CHECK_THROWS_WITH_AS((void)regionFolds(x, y.head(3)), doctest::Contains("500 positions x and 3 y"),
                         std::invalid_argument);
}
