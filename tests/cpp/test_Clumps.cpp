#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <set>
#include <stdexcept>

#include "psfmatch/sources/Clumps.h"

using namespace psfmatch;

namespace {

// The pixels connected with one, by looking at its eight neighbours again and again.
std::set<Index> clumpOf(std::set<Index> const& chosen, Index width, Index place) {
    std::set<Index> clump{place};
    for (std::size_t before = 0; before != clump.size();) {
        before = clump.size();
        for (Index const one : chosen) {
            for (Index const other : clump) {
                if (std::abs(one / width - other / width) <= 1 && std::abs(one % width - other % width) <= 1) {
                    clump.insert(one);
                    break;
                }
            }
        }
    }
    return clump;
}

}  // namespace

TEST_CASE("sizes of clumps against loops") {
    std::mt19937 generator(5);
    std::bernoulli_distribution isThere(0.45);
    std::bernoulli_distribution isKept(0.8);
    for (Index const width : {1, 2, 7, 13}) {
        std::vector<Index> places;
        std::vector<std::uint8_t> isChosen;
        std::set<Index> chosen;
        for (Index place = 0; place < 11 * width; ++place) {
            if (isThere(generator)) {
                places.push_back(place);
                isChosen.push_back(isKept(generator) ? 1 : 0);
                if (isChosen.back() != 0) {
                    chosen.insert(place);
                }
            }
        }
        std::vector<Index> const sizes = clumpSizes(places, width, isChosen);
        REQUIRE(sizes.size() == places.size());
        for (std::size_t i = 0; i < places.size(); ++i) {
            Index const expected = isChosen[i] != 0 ? static_cast<Index>(clumpOf(chosen, width, places[i]).size()) : 0;
            CHECK(sizes[i] == expected);
        }
    }
    CHECK(clumpSizes({}, 5, {}).empty());
    CHECK_THROWS_WITH_AS(static_cast<void>(clumpSizes({1, 2}, 5, {1})), "there are 1 choices for 2 pixels",
                         std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(clumpSizes({1}, 0, {1})), std::invalid_argument);
}

TEST_CASE("the area of a disc, and nothing of its neighbour") {
    OwnedImage<float> image(40, 50);
    Index expected = 0;
    for (Index y = 0; y < 40; ++y) {
        for (Index x = 0; x < 50; ++x) {
            double const radius = std::hypot(static_cast<double>(x) - 20.0, static_cast<double>(y) - 15.0);
            image(y, x) = static_cast<float>(100.0 - 10.0 * radius);
            expected += radius <= 5.0 ? 1 : 0;
        }
    }
    image.block(30, 40, 4, 4).setConstant(90.0F);
    ConstImageView<float> const view(image.data(), 40, 50, Eigen::OuterStride<>(50));
    CHECK(areaAbout(view, 15 * 50 + 20, 50.0F) == expected);
    CHECK(areaAbout(view, 31 * 50 + 41, 50.0F) == 16);
    CHECK(areaAbout(view, 0, 50.0F) == 0);
    CHECK_THROWS_AS(static_cast<void>(areaAbout(view, 2000, 50.0F)), std::invalid_argument);
}
