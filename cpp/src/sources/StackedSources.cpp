#include "psfmatch/sources/StackedSources.h"

#include <cstdlib>

#include "psfmatch/image/badPixels.h"
#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/adaptiveMoments.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

using detail::nan;

double const sigmaToFwhm = 2.0 * std::sqrt(2.0 * std::log(2.0));
constexpr double ofWholePixels = 1.0 / 12.0;  // variance of places within a pixel, along each axis
constexpr Index rimWidth = 2;

struct Square {
    std::vector<double> values;
    std::vector<double> variances;
    std::vector<double> rim;
};

// Fills the square about a pixel; NaN where pixels are bad or beyond the border.
void read(MaskedImageView const& image, MaskPixel badBits, Index column, Index row, Index radius, Square& square) {
    std::size_t i = 0;
    for (Index y = row - radius; y <= row + radius; ++y) {
        for (Index x = column - radius; x <= column + radius; ++x, ++i) {
            bool const isGood = y >= 0 && y < image.image.rows() && x >= 0 && x < image.image.cols() &&
                                !isBad(image.image(y, x), image.variance(y, x), image.mask(y, x), badBits);
            square.values[i] = isGood ? static_cast<double>(image.image(y, x)) : nan;
            square.variances[i] = isGood ? static_cast<double>(image.variance(y, x)) : 0.0;
        }
    }
}

// Blanks in all squares what is bad in any; whether enough is left.
bool shareBad(std::vector<Square>& squares, StackControl const& control) {
    Index const side = 2 * control.radius + 1;
    Index nBad = 0;
    for (Index i = 0; i < side * side; ++i) {
        auto const k = static_cast<std::size_t>(i);
        bool const isAnyBad = std::any_of(squares.begin(), squares.end(),
                                          [k](Square const& square) { return std::isnan(square.values[k]); });
        if (!isAnyBad) {
            continue;
        }
        ++nBad;
        Index const distance = std::max(std::abs(i / side - control.radius), std::abs(i % side - control.radius));
        if (distance <= control.coreRadius) {
            return false;
        }
        for (Square& square : squares) {
            square.values[k] = nan;
        }
    }
    return static_cast<double>(nBad) <= control.maxBad * static_cast<double>(side * side);
}

// The median of the outermost rows and columns; NaN if all of them are bad.
double skyOf(Square& square, Index side) {
    square.rim.clear();
    for (Index y = 0; y < side; ++y) {
        bool const isWhole = y < rimWidth || y >= side - rimWidth;
        for (Index x = 0; x < side; x += !isWhole && x == rimWidth - 1 ? side - 2 * rimWidth + 1 : 1) {
            double const value = square.values[static_cast<std::size_t>(y * side + x)];
            if (!std::isnan(value)) {
                square.rim.push_back(value);
            }
        }
    }
    return square.rim.empty() ? nan : medianOf(square.rim);
}

// The moments under a weight that stays as wide as a pixel needs, M, and those of a Gaussian that would show them, C:
// 1 / C = 1 / M - 1 / W. For what is so narrow that no weight of its own width settles on the pixels.
double narrowVariance(OwnedImage<double> const& stack) {
    constexpr double weight = 1.5;  // square pixels
    Index const half = std::min<Index>(stack.rows() / 2, 4);
    double total = 0.0;
    double x = 0.0;
    double y = 0.0;
    double squares = 0.0;
    for (Index dy = -half; dy <= half; ++dy) {
        for (Index dx = -half; dx <= half; ++dx) {
            auto const u = static_cast<double>(dx);
            auto const v = static_cast<double>(dy);
            double const light =
                stack(stack.rows() / 2 + dy, stack.rows() / 2 + dx) * std::exp(-0.5 * (u * u + v * v) / weight);
            total += light;
            x += light * u;
            y += light * v;
            squares += light * (u * u + v * v);
        }
    }
    double const seen = 0.5 * (squares / total - (x * x + y * y) / (total * total));
    return total > 0.0 && seen > 0.0 && seen < weight ? 1.0 / (1.0 / seen - 1.0 / weight) : nan;
}

double fwhmOf(OwnedImage<double> const& stack, Execution const& execution) {
    Index const side = stack.rows();
    auto const middle = static_cast<double>(side / 2);
    SecondMoments const found = adaptiveMoments({stack.data(), 1, side * side, Eigen::OuterStride<>(side * side)}, side,
                                                side, {middle}, {middle}, {}, execution)[0];
    double const determinant = found.xx * found.yy - found.xy * found.xy;
    double const variance = (determinant > 0.0 ? std::sqrt(determinant) : narrowVariance(stack)) - ofWholePixels;
    return variance > 0.0 ? sigmaToFwhm * std::sqrt(variance) : nan;
}

}  // namespace

StackedSources stackSources(std::span<MaskedImageView const> images, std::span<MaskPixel const> badBits,
                            std::span<double const> x, std::span<double const> y, std::span<double const> weights,
                            StackControl const& control, Execution const& execution) {
    for (MaskedImageView const& image : images) {
        detail::requirePlanes(image);
        if (!haveOneShape(images[0].image, image.image)) {
            throw std::invalid_argument("images whose sources are stacked must have one shape");
        }
    }
    detail::requirePairs(x, y);
    detail::requirePairs(x, weights);
    if (images.empty() || badBits.size() != images.size() || control.radius < rimWidth || control.coreRadius < 0) {
        throw std::invalid_argument("a stack needs images with their bad bits, and a radius of " +
                                    std::to_string(rimWidth) + " pixels or more, not " +
                                    std::to_string(control.radius));
    }
    Index const side = 2 * control.radius + 1;
    auto const count = static_cast<std::size_t>(side * side);
    std::vector<Square> squares(images.size(), Square{std::vector<double>(count), std::vector<double>(count), {}});
    std::vector<double> skies(images.size());
    StackedSources found;
    for (std::size_t k = 0; k < images.size(); ++k) {
        found.stacks.push_back({OwnedImage<double>::Zero(side, side), 0.0, nan});
    }
    // One after the other: a sum is the same for any number of threads, and there are a few hundred at most.
    for (std::size_t i = 0; i < x.size(); ++i) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        bool const isInside =
            column >= 0 && column < images[0].image.cols() && row >= 0 && row < images[0].image.rows();
        if (!isInside || !(weights[i] > 0.0)) {
            continue;
        }
        for (std::size_t k = 0; k < images.size(); ++k) {
            read(images[k], badBits[k], column, row, control.radius, squares[k]);
        }
        if (!shareBad(squares, control)) {
            continue;
        }
        std::transform(squares.begin(), squares.end(), skies.begin(),
                       [&](Square& square) { return skyOf(square, side); });
        if (std::any_of(skies.begin(), skies.end(), [](double sky) { return std::isnan(sky); })) {
            continue;
        }
        ++found.nUsed;
        for (std::size_t k = 0; k < images.size(); ++k) {
            double variance = 0.0;
            for (std::size_t p = 0; p < count; ++p) {
                double const value = squares[k].values[p];
                found.stacks[k].image.data()[p] += std::isnan(value) ? 0.0 : weights[i] * (value - skies[k]);
                variance += squares[k].variances[p];
            }
            found.stacks[k].variance += weights[i] * weights[i] * variance / static_cast<double>(count);
        }
    }
    for (SourceStack& stack : found.stacks) {
        stack.fwhm = found.nUsed > 0 ? fwhmOf(stack.image, execution) : nan;
    }
    return found;
}

}  // namespace psfmatch
