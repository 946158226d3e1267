// The noise of an image whose sky is a crowd: what stars and their wings add to the scatter of its pixels they add
// hardly to what a pixel differs from its neighbours. How such differences grow with the distance tells the two apart.
#pragma once

#include <array>
#include <limits>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct NeighbourNoiseControl {
    Index maxPixels = 300'000;  // about how many are looked at
    Index side = 8;             // of the squares, in pixels, of which the faintest are looked at
    double faintest = 0.4;      // share of them, by their medians
    Index minPixels = 200;      // without which nothing is told
};

// Squares of the robust widths of second differences, p(x) - (p(x - l) + p(x + l)) / 2 and the same along y, at lags l
// from 1, in units of their noise by the variances: 1 where pixels are independent and the variances right. NaN where
// too few pixels tell.
struct NeighbourNoise {
    static constexpr Index maxLag = 5;
    std::array<double, maxLag> squares = {
        std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(),
        std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(),
        std::numeric_limits<double>::quiet_NaN()};
    Index nPixels = 0;  // in the faintest squares
};

// The variance of the noise in units of the plane's; NaN: too few pixels tell. What stars add to D^2(l), the square at
// lag l, grows with the distance: D^2(l) = v + a l^b, from the first three lags, has the noise v. b is 1 of a slope
// whose sign changes at random, and 4 of a smooth hump; correlated noise does not rise like that.
[[nodiscard]] double noiseVariance(NeighbourNoise const& noise);

// A pixel takes part where no bad plane is set, the image is finite, and the variance finite and positive.
[[nodiscard]] NeighbourNoise neighbourNoise(MaskedImageView const& input, MaskPixel badBits,
                                            NeighbourNoiseControl const& control = {}, Execution const& execution = {});

}  // namespace psfmatch
