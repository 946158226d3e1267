// The kernel between two stamps of 30 to 150 pixels that show a few stars or one galaxy, from their pixels alone: the
// noise, a kernel by evidence, what has changed left out, and an account of the transient in the middle of an alert.
// The template is always the one that is convolved. What is not told: PSFs, saturation, more than one kernel.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/fit/StampEvidence.h"

namespace psfmatch {

using StampFlags = OwnedImage<std::uint8_t>;

struct StampImages {
    ConstImageView<float> science;
    ConstImageView<float> reference;  // the template
    StampFlags scienceGood;           // finite and usable
    StampFlags referenceGood;
    // Of pixels, where they are known by more than these images: empty, or of their shape.
    OwnedImage<double> scienceVariance;
    OwnedImage<double> referenceVariance;
};

// What the middle of an alert's stamp holds: nothing, a change of the source there, a new point, or what is left out.
enum class StampAccount : std::uint8_t { none, scaled, point, out };

struct StampModelControl {
    bool isAlert = false;         // the middle has an account of its own
    double ratio = 1.0;           // expected flux of the science image over that of the template
    double ratioError = 0.05;     // of it, relative
    bool canFreeRatio = true;     // the light of the images may say another
    double freeRatioError = 0.7;  // relative
    double freeCost = 5.0;        // nats
    Index freeLeastPixels = 15;   // lit ones outside the middle
    std::vector<double> deviations{0.0, 0.01, 0.03, 0.1, 0.3};
    double lookSigmas = 3.5;  // peaks that are judged, and rejected ones that are taken back
    double rejectSigmas = 5.0;
    double discRadius = 3.6;    // of what is rejected, pixels
    double middleRadius = 4.5;  // of what is left out in the middle
    Index maxRounds = 8;
    double blobCost = 10.0;  // nats for what is rejected
    double noneCost = 3.0;
    Index nLeftOut = 5;  // brightest sources without each of which it is tried again
    StampColumnsControl columns;
    std::vector<double> sharpWidths{-1.25, -1.05, -0.9, -0.75,
                                    -0.5,  0.3,   0.5};  // where the narrowest of the columns fits best
    StampPriors priors;
};

struct StampAttempt {
    StampAccount account = StampAccount::none;
    double score = 0.0;
    double middleFlux = 0.0;   // of the difference within 3.5 pixels of the middle
    double middleError = 0.0;  // of the kernel there, without the noise of the pixels
    double ratio = 0.0;
    Index nRejected = 0;
};

struct StampModel {
    OwnedImage<double> kernel;      // as a convolution kernel, of the sum `ratio`
    std::array<double, 3> plane{};  // at (x0, y0), per pixel along x, and along y; without the images' skies
    double ratio = 1.0;             // flux of the science image over that of the template
    double ratioError = 0.0;        // posterior sd
    bool isFree = false;            // whether the light has told it against the expectation
    StampChoice choice;
    double kernelWidth = 0.0;  // sigma of k0, pixels
    StampAccount account = StampAccount::none;
    std::vector<StampAttempt> attempts;          // the best of each account, best first
    std::vector<std::array<Index, 2>> rejected;  // x, y of blobs
    double scienceNoise = 0.0;                   // sd of a dark pixel
    double referenceNoise = 0.0;
    double photonVariance = 0.0;     // of the science image per count of light
    double modelError = 0.0;         // share of the light that no kernel explains
    double largestModelError = 0.0;  // that could have been found
    double middleNoise = 0.0;        // of the flux in the middle, pixels' noise alone
    double middleLight = 0.0;        // of the convolved template there
    double scienceSky = 0.0;
    double referenceSky = 0.0;
    bool scienceHasLight = false;
    bool referenceHasLight = false;
    OwnedImage<double> light;     // convolved template without its sky
    OwnedImage<double> variance;  // of the difference
    StampFlags noData;            // where light from beyond the template's pixels is missing
};

// NumericalError: fewer than 50 common good pixels, or a side below 10.
[[nodiscard]] StampModel fitStamp(StampImages const& images, StampModelControl const& control);

}  // namespace psfmatch
