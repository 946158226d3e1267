// The images that the kernel of one stamp is put together of. The kernel is a Gaussian k0 that may move (two
// derivatives), widen and turn elliptic (three second derivatives), and a deviation pixel by pixel about its middle:
// science = a k0 * template + ... + plane. Every column is the template convolved by one kernel image.
#pragma once

#include <Eigen/Core>
#include <array>
#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/kernel/KernelBasis.h"

namespace psfmatch {

struct StampColumnsControl {
    std::vector<double> widths{0.3, 0.5, 0.7, 0.9, 1.1,
                               1.4, 1.8, 2.3, 2.8};  // sigma of k0, pixels; below 0 it sharpens
    Index halfWidth = 10;                            // of kernels, pixels
    double deviationRadius = 5.0;                    // pixels
};

struct StampColumns {
    static constexpr Index perWidth = 6;  // k0, d/dx, d/dy, and half of d2/dx2, d2/dxdy, d2/dy2
    static constexpr Index nPlane = 3;    // 1, x, y, from -1 to 1 over the stamp
    Index height = 0;
    Index width = 0;
    Index halfWidth = 0;
    std::vector<double> widths;
    std::vector<double> peaks;                 // of k0 of each width
    std::vector<std::array<Index, 2>> places;  // of the deviation's pixels: x, y from the kernel's middle
    OwnedImage<double> wide;                   // the template, half a kernel larger on each side
    RowMatrix values;                          // (pixels, columns): deviation, widths, plane, science image
    RowMatrix kernels;                         // (deviation and widths, kernel pixels)

    [[nodiscard]] Index nDeviation() const { return static_cast<Index>(places.size()); }
    // Of the kernel's pixels, where the image of a deviation is 1.
    [[nodiscard]] Index kernelPixel(Index deviation) const {
        auto const [x, y] = places[static_cast<std::size_t>(deviation)];
        return (halfWidth + y) * (2 * halfWidth + 1) + halfWidth + x;
    }
    [[nodiscard]] Index firstOf(Index sigma) const { return nDeviation() + perWidth * sigma; }
    [[nodiscard]] Index plane() const { return firstOf(static_cast<Index>(widths.size())); }
    [[nodiscard]] Index science() const { return plane() + nPlane; }
    [[nodiscard]] Index size() const { return science() + 1; }
};

// The template goes on beyond its border as its outermost pixels. Both images without their skies, all finite.
[[nodiscard]] StampColumns stampColumns(OwnedImage<double> const& science, OwnedImage<double> const& reference,
                                        StampColumnsControl const& control = {});

// Image convolved by a kernel of odd sides (height, width), continued beyond its border as its outermost pixels.
[[nodiscard]] OwnedImage<double> convolvedStamp(OwnedImage<double> const& image, OwnedImage<double> const& kernel);

// Image smoothed by a Gaussian, whole pixels integrated; beyond the border lies nothing.
[[nodiscard]] OwnedImage<double> smoothedStamp(OwnedImage<double> const& image, double sigma);

}  // namespace psfmatch
