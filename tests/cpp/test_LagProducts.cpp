// Products of displaced images against sums over pixels, cells and pixels that are not numbers.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/image/LagProducts.h"

using namespace psfmatch;

TEST_CASE("products of all cells are those of the images, whatever the number of threads") {
    constexpr Index height = 23;
    constexpr Index width = 31;
    constexpr Index reach = 3;
    std::mt19937 generator(4);
    std::normal_distribution<float> normal;
    OwnedImage<float> first = OwnedImage<float>::NullaryExpr(height, width, [&] { return normal(generator); });
    OwnedImage<float> second = OwnedImage<float>::NullaryExpr(height, width, [&] { return normal(generator); });
    first(5, 7) = std::numeric_limits<float>::quiet_NaN();
    second(20, 0) = std::numeric_limits<float>::infinity();
    auto const view = [](OwnedImage<float> const& image) {
        return ConstImageView<float>(image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols()));
    };
    auto const found = lagProducts(view(first), view(second), reach, 3);
    auto const threaded = lagProducts(view(first), view(second), reach, 3, {7, {}});
    CHECK(found.size() == 9);
    OwnedImage<double> sum = OwnedImage<double>::Zero(7, 7);
    for (std::size_t cell = 0; cell < found.size(); ++cell) {
        CHECK((found[cell] == threaded[cell]).all());
        sum += found[cell];
    }
    for (Index dy = -reach; dy <= reach; ++dy) {
        for (Index dx = -reach; dx <= reach; ++dx) {
            double expected = 0.0;
            for (Index y = 0; y < height; ++y) {
                for (Index x = 0; x < width; ++x) {
                    bool const isInside = y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width;
                    if (isInside && std::isfinite(first(y, x)) && std::isfinite(second(y + dy, x + dx))) {
                        expected += static_cast<double>(first(y, x)) * static_cast<double>(second(y + dy, x + dx));
                    }
                }
            }
            CHECK(sum(dy + reach, dx + reach) == doctest::Approx(expected).epsilon(1e-12));
        }
    }
    OwnedImage<float> const other = OwnedImage<float>::Zero(height, width + 1);
    CHECK_THROWS_AS((void)lagProducts(view(first), view(other), 1, 1), std::invalid_argument);
    CHECK_THROWS_AS((void)lagProducts(view(first), view(second), -1, 1), std::invalid_argument);
    CHECK_THROWS_AS((void)lagProducts(view(first), view(second), 1, 0), std::invalid_argument);
}
