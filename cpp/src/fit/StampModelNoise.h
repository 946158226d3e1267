// Sky, noise and light of single stamps, for StampModel.
#pragma once

#include <vector>

#include "psfmatch/fit/StampModel.h"

namespace psfmatch {

[[nodiscard]] double middleOf(std::vector<double> values);
[[nodiscard]] double spreadOf(std::vector<double> values);  // 1.4826 times the median distance from the median

struct StampSky {
    double level = 0.0;
    double noise = 0.0;  // of a pixel
};

// Level by clipping; noise from second differences along x and y about the faintest 40 % of the pixels (of their 3x3
// means), which neither stars nor a slope make larger.
[[nodiscard]] StampSky stampSky(OwnedImage<double> const& image, StampFlags const& good);

// Bad pixels get the mean of their good neighbours, ring by ring; what no ring reaches is zero.
void fillStamp(OwnedImage<double>& image, StampFlags const& good);

// Smoothed by a Gaussian of 1.2 pixels and cut off below 3 sigma of its noise: light, not noise.
[[nodiscard]] OwnedImage<double> significantLight(OwnedImage<double> const& image, double noise);

// Bad pixels amid light, such as saturated cores: holes that the border does not reach. What they hold is not told by
// their surroundings.
[[nodiscard]] StampFlags hiddenLight(OwnedImage<double> const& light, StampFlags const& good);

// Whether light from beyond the template's good pixels would matter: more than 3 % of |k| falls there, and it would be
// more than half a sigma, or half of it falls on bad pixels, or more than `hiddenShare` of it falls on what is hidden.
[[nodiscard]] StampFlags missingLight(OwnedImage<double> const& kernel, OwnedImage<double> const& light,
                                      StampFlags const& good, StampFlags const& hidden, double hiddenShare,
                                      OwnedImage<double> const& variance);

struct StampPeak {
    Index pixel = 0;
    double value = 0.0;
};

// Of white noise after a Gaussian.
[[nodiscard]] double smoothedNoise(double noise, double sigma);

// Local maxima of the size, in 5x5 pixels, above a threshold, largest first.
[[nodiscard]] std::vector<StampPeak> peaksOf(OwnedImage<double> const& image, double threshold);

// Pixels within a radius of (x, y) where `weights` is positive.
[[nodiscard]] std::vector<Index> discOf(Index x, Index y, double radius, Index height, Index width);

}  // namespace psfmatch
