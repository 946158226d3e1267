// What is left of the sources of a difference image: peaks found anew in template and science image, without a
// catalogue and at little cost, and the difference at each of them. A list of kernel candidates has lost whatever fits
// badly; a source that only one of the images shows counts too: a template that lacks stars is found by it.
#pragma once

#include <limits>
#include <tuple>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct PeaksControl {
    MaskPixel badBits = 0;         // planes whose pixels are no peaks
    MaskPixel saturated = 0;       // plane
    Index block = 16;              // pixels; one peak is taken from each block
    double peakSigmas = 15.0;      // of a pixel
    double leastSharpness = 0.15;  // neighbours' mean over the peak: below are cosmic rays and hot pixels
    Index maxSources = 500;
    Index maxBlocks = 2000;
    Index maxPixels = 4'000'000;  // that are searched
};

struct Peaks {
    std::vector<Index> x;
    std::vector<Index> y;
    double saturatedFraction = 0.0;  // share of the bright sources that saturate
};

// The highest good pixel of every block where it is a peak above the sky, bright ones first. Of images of more than
// maxPixels bands spread over them are searched.
[[nodiscard]] Peaks findPeaks(MaskedImageView const& input, PeaksControl const& control,
                              Execution const& execution = {});

struct SourceResidualsControl {
    MaskPixel badBits = 0;             // planes of the difference whose pixels do not count
    double coreRadius = 4.0;           // pixels
    Index halfWidth = 10;              // pixels, of stamps; their rim gives the local sky
    double leastGood = 0.6;            // share of the core's pixels
    double leastSignalToNoise = 30.0;  // of the light within the core
};

// One entry a source whose light is above the least signal-to-noise.
struct SourceResiduals {
    std::vector<Index> x;
    std::vector<Index> y;
    std::vector<double> light;              // within the core, counts: of the image where it is more
    std::vector<double> noise;              // of the sum over the core, counts
    std::vector<double> left;               // share of the light that is in the difference
    std::vector<double> chiSquares;         // per pixel
    std::vector<double> absolute;           // mean |difference|
    std::vector<double> scienceMean;        // mean |science| over the core's pixels, bad ones as zero
    std::vector<std::vector<float>> pulls;  // difference over noise of the core's good pixels
};

// The science image's peaks, and those of the template far from them; kernelSum: counts of the difference per count of
// the template. All three images have the same pixels.
[[nodiscard]] SourceResiduals sourceResiduals(MaskedImageView const& difference,
                                              ConstImageView<float> const& templateImage,
                                              ConstImageView<float> const& scienceImage, Peaks const& templatePeaks,
                                              Peaks const& sciencePeaks, double kernelSum,
                                              SourceResidualsControl const& control, Execution const& execution = {});

struct SourceFiguresControl {
    double remaining = 0.5;     // share of a source's light in the difference that makes it unsubtracted
    double badChiSquare = 4.0;  // per pixel of a source: twice its noise
    double worstDropped = 0.1;  // share of the sources, the worst: a few per cent of stars vary
    Index regions = 3;          // by as many, in which the residuals are compared
    Index leastInRegion = 5;
    // Of the bins of chi-squares, ascending.
    std::vector<double> signalToNoiseEdges = {30.0, 100.0, 300.0, 1000.0, std::numeric_limits<double>::infinity()};
};

// Figures of the sources that are not unsubtracted; NaN without any.
struct SourceFigures {
    static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    Index nSources = 0;
    Index nRemaining = 0;                 // unsubtracted
    double remainingFraction = unknown;   // their share
    double sourceRobust = unknown;        // width of the pulls
    double sourcePlain = unknown;         // standard deviation without the worst sources
    double worstRegion = unknown;         // largest, of regions with sources enough, of what two thirds of them exceed
    double badSourceFraction = unknown;   // share of the sources of a bad chi-square
    double fluxMean = unknown;            // median share of the light that is left
    double fluxMeanSize = unknown;        // its size
    double fluxScatter = unknown;         // its scatter beyond the noise
    double fluxError = unknown;           // error of the median
    double footprintRatioMean = unknown;  // |mean |difference| - skyAbsolute| / mean |science|, over sources
    double footprintRatioStdev = unknown;
    double saturatedFraction = 0.0;  // share of the bright sources that saturate, of the image where it is larger
    // Of each bin of signal-to-noise: its edges, how many sources, the median of their chi-squares.
    std::vector<std::tuple<double, double, Index, double>> chiSquareByFlux;
};

// skyAbsolute: mean |difference| of blank sky, counts; height and width: of the image.
[[nodiscard]] SourceFigures figuresOf(SourceResiduals const& sources, double skyAbsolute, Index height, Index width,
                                      SourceFiguresControl const& control);

}  // namespace psfmatch
