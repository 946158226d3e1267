// A smooth surface through the super-pixels of a sky (background.h): a Chebyshev polynomial of given total order fitted
// to them, or curves through them along y and then along x - straight, natural cubic splines, or those of Akima (1970,
// J. ACM 17, 589) - which go straight on beyond the outer centres. Either is a sum of products of a function of y and
// one of x. Super-pixels without a value have that of their neighbours.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

struct SkyGrid {
    OwnedImage<double> values;     // (ny, nx) image units; NaN where no pixel was good
    OwnedImage<double> variances;  // (ny, nx) of these; empty without
    std::vector<Index> edgesX;     // (nx + 1): borders of the super-pixels, from 0 to the width of the image
    std::vector<Index> edgesY;     // (ny + 1)
};

enum class SkyCurve { constant, linear, naturalSpline, akimaSpline };

struct SkySurfaceControl {
    // Total order of the polynomial, below the number of super-pixels along each axis. Negative: curves.
    int order = -1;
    bool isWeighted = false;  // by the variances; where all are zero, all count alike
    SkyCurve alongX = SkyCurve::linear;
    SkyCurve alongY = SkyCurve::linear;
};

// surface(y, x) = sum over k of rows(y, k) columns(k, x), image units.
struct SkySurface {
    OwnedImage<float> rows;     // (height, n)
    OwnedImage<float> columns;  // (n, width)
};

// Throws std::invalid_argument for shapes that do not fit, or a grid too coarse for order or curve, or without a value.
[[nodiscard]] SkySurface skySurface(SkyGrid const& grid, SkySurfaceControl const& control);

// The same at positions x and y (n), pixels, in float64.
[[nodiscard]] std::vector<double> skyAt(SkyGrid const& grid, SkySurfaceControl const& control,
                                        std::span<double const> x, std::span<double const> y);

// Median of the surface's size, from every step-th pixel of every step-th row; NaN without pixels.
[[nodiscard]] double skyLevel(OwnedImage<float> const& rows, OwnedImage<float> const& columns, Index step);

}  // namespace psfmatch
