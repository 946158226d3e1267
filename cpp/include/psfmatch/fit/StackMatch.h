// The kernel between two stacks of the same sources (StackedSources.h), where no source alone tells it: a flux ratio, a
// width and a shift. In Fourier space second = ratio g(k) exp(-i k d) first, and both have white noise, so that
//
//   chi^2 = sum over modes W |S - G T|^2 / (noise_S^2 + |G|^2 noise_T^2)
//
// is the likelihood of the kernel whatever the light is: noise of the first image does not lower the ratio, as it does
// in a regression on that image (errors in variables; Deming 1943). W, the share of light in the power of a mode,
// leaves out modes that hold noise alone. g is a Gaussian, exp(-(k a)^(5/3)) as between two seeing discs, or
// exp(-(k a)^(3/2)), which has wider wings, whichever explains the stacks best.
#pragma once

#include <limits>

#include "psfmatch/base/types.h"

namespace psfmatch {

struct StackPair {
    ConstImageView<double> first;  // (h, h), odd; image units, the light in the middle, the sky taken off
    ConstImageView<double> second;
    double firstVariance = 1.0;  // of the noise of a pixel
    double secondVariance = 1.0;
    double firstFwhm = 3.0;  // pixels
    double secondFwhm = 3.0;
    bool isShiftKnown = false;  // or to be found
    double dx = 0.0;            // pixels, from the first image to the second
    double dy = 0.0;
};

struct StackMatchControl {
    double flatShare = 0.75;     // of the half width, within which the light is not faded out
    double longestWave = 6.0;    // in units of the wider FWHM; longer ones may be the sky's: they count less
    double leastVariance = 0.2;  // square pixels, of a kernel that is drawn off its middle pixel
    double kernelReach = 4.0;    // half width of the kernel in units of its sigma, and two pixels
    int maxIterations = 60;
};

struct StackMatch {
    double ratio = std::numeric_limits<double>::quiet_NaN();  // of the second image's light to the first's
    double ratioError = std::numeric_limits<double>::quiet_NaN();
    double variance = 0.0;  // square pixels, of the Gaussian of like width; not negative
    double varianceError = std::numeric_limits<double>::quiet_NaN();
    double dx = 0.0;  // pixels, from the first image to the second
    double dy = 0.0;
    double shiftError = std::numeric_limits<double>::quiet_NaN();  // along each axis
    double chiSquare = std::numeric_limits<double>::quiet_NaN();   // per weighted mode
    double firstSnr = 0.0;                                         // of all light together
    double secondSnr = 0.0;
    double power = 1.0;  // of the shape exp(-(a k^2)^power / 2): 1 is a Gaussian, 5/6 that between two seeing discs
    OwnedImage<double> kernel;  // as a convolution, its sum the ratio
};

// NaN as the ratio, and no kernel, where a stack shows no light. Throws std::invalid_argument for stacks that are not
// square, of one odd side of 5 pixels or more, and for variances or widths that are not positive.
[[nodiscard]] StackMatch matchStacks(StackPair const& pair, StackMatchControl const& control = {});

}  // namespace psfmatch
