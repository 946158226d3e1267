#include "psfmatch/image/NeighbourNoise.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr double sigmaPerQuartiles = 0.7413;
constexpr Index margin = NeighbourNoise::maxLag;
constexpr double rising = 1.3;      // D^2(5) / D^2(3) from which the sky itself changes from pixel to pixel
constexpr double leastShare = 0.6;  // of D^2(1): where less is noise, as with sharp PSFs, nothing tells it
constexpr double leastPower = 1.0;
constexpr double mostPower = 4.0;

struct Square {
    Index y;  // first row
    Index x;
    float median;
};

bool isUsable(MaskedImageView const& input, MaskPixel badBits, Index y, Index x) {
    float const variance = input.variance(y, x);
    return (input.mask(y, x) & badBits) == 0 && std::isfinite(input.image(y, x)) && std::isfinite(variance) &&
           variance > 0.0F;
}

// Squares on a regular grid, with half of their pixels usable.
std::vector<Square> squaresOf(MaskedImageView const& input, MaskPixel badBits, NeighbourNoiseControl const& control,
                              Execution const& execution) {
    Index const side = control.side;
    Index const nRows = (input.image.rows() - 2 * margin) / side;
    Index const nColumns = (input.image.cols() - 2 * margin) / side;
    if (nRows <= 0 || nColumns <= 0) {
        return {};
    }
    double const perPixel =
        static_cast<double>(nRows * nColumns * side * side) / static_cast<double>(control.maxPixels);
    auto const step = std::max<Index>(1, static_cast<Index>(std::ceil(std::sqrt(perPixel))));
    Index const nItems = (nRows + step - 1) / step;
    std::vector<std::vector<Square>> rows(static_cast<std::size_t>(nItems));
    parallelForBrief(nItems, execution, [&](Index item, int) {
        std::vector<float> values;
        std::vector<float> scratch;
        Index const top = margin + item * step * side;
        for (Index column = 0; column < nColumns; column += step) {
            Index const left = margin + column * side;
            values.clear();
            for (Index y = top; y < top + side; ++y) {
                for (Index x = left; x < left + side; ++x) {
                    if (isUsable(input, badBits, y, x)) {
                        values.push_back(input.image(y, x));
                    }
                }
            }
            if (2 * static_cast<Index>(values.size()) >= side * side) {
                auto const median = static_cast<float>(quantileOf<float>(values, 0.5, scratch));
                rows[static_cast<std::size_t>(item)].push_back({top, left, median});
            }
        }
    });
    std::vector<Square> found;
    for (auto const& row : rows) {
        found.insert(found.end(), row.begin(), row.end());
    }
    return found;
}

// Appends the second difference of a pixel and the two at (dy, dx) on either side of it, over its noise.
void append(MaskedImageView const& input, MaskPixel badBits, Index y, Index x, Index dy, Index dx,
            std::vector<float>& pulls) {
    if (!isUsable(input, badBits, y - dy, x - dx) || !isUsable(input, badBits, y + dy, x + dx)) {
        return;
    }
    double const neighbours = 0.5 * (static_cast<double>(input.image(y - dy, x - dx)) + input.image(y + dy, x + dx));
    double const variance = input.variance(y, x) + 0.25 * (static_cast<double>(input.variance(y - dy, x - dx)) +
                                                           input.variance(y + dy, x + dx));
    pulls.push_back(static_cast<float>((input.image(y, x) - neighbours) / std::sqrt(variance)));
}

// (D^2(3) - D^2(2)) / (D^2(2) - D^2(1)) of a power b.
double riseOf(double power) {
    return (std::pow(3.0, power) - std::pow(2.0, power)) / (std::pow(2.0, power) - 1.0);
}

// The power of a ratio between those of the least and the most power.
double powerOf(double ratio) {
    double low = leastPower;
    double high = mostPower;
    while (high - low > 1e-6) {
        double const middle = 0.5 * (low + high);
        (riseOf(middle) < ratio ? low : high) = middle;
    }
    return low;
}

}  // namespace

double noiseVariance(NeighbourNoise const& noise) {
    double const one = noise.squares[0];
    double const three = noise.squares[2];
    if (!(noise.squares[4] > rising * three)) {
        return three;  // neighbours of resampled images share noise; pixels three apart do not
    }
    double const first = noise.squares[1] - one;
    double const ratio = (three - noise.squares[1]) / first;
    if (!(first > 0.0 && riseOf(leastPower) < ratio && ratio < riseOf(mostPower))) {
        return one;
    }
    double const found = one - first / (std::pow(2.0, powerOf(ratio)) - 1.0);
    return found > leastShare * one ? found : one;
}

NeighbourNoise neighbourNoise(MaskedImageView const& input, MaskPixel badBits, NeighbourNoiseControl const& control,
                              Execution const& execution) {
    if (!haveOneShape(input.image, input.mask) || !haveOneShape(input.image, input.variance)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
    if (control.side < 1 || control.maxPixels < 1 || !(control.faintest > 0.0 && control.faintest <= 1.0)) {
        throw std::invalid_argument("squares of side " + std::to_string(control.side) + ", " +
                                    std::to_string(control.maxPixels) + " pixels, faintest " +
                                    std::to_string(control.faintest) + ": all must be positive, the last at most 1");
    }
    std::vector<Square> squares = squaresOf(input, badBits, control, execution);
    std::vector<float> medians;
    for (Square const& square : squares) {
        medians.push_back(square.median);
    }
    NeighbourNoise result;
    if (medians.empty()) {
        return result;
    }
    std::vector<float> scratch;
    auto const limit = static_cast<float>(quantileOf<float>(medians, control.faintest, scratch));
    std::erase_if(squares, [&](Square const& square) { return square.median > limit; });
    result.nPixels = static_cast<Index>(squares.size()) * control.side * control.side;
    parallelForBrief(NeighbourNoise::maxLag, execution, [&](Index item, int) {
        Index const lag = item + 1;
        std::vector<float> pulls;
        pulls.reserve(static_cast<std::size_t>(2 * result.nPixels));
        for (Square const& square : squares) {
            for (Index y = square.y; y < square.y + control.side; ++y) {
                for (Index x = square.x; x < square.x + control.side; ++x) {
                    if (isUsable(input, badBits, y, x)) {
                        append(input, badBits, y, x, 0, lag, pulls);
                        append(input, badBits, y, x, lag, 0, pulls);
                    }
                }
            }
        }
        if (static_cast<Index>(pulls.size()) >= control.minPixels) {
            std::vector<float> room;
            double const low = quantileOf<float>(pulls, 0.25, room);
            double const width = sigmaPerQuartiles * (quantileOf<float>(pulls, 0.75, room) - low);
            result.squares[static_cast<std::size_t>(item)] = width * width;
        }
    });
    return result;
}

}  // namespace psfmatch
