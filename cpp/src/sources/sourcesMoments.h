// Sums over the pixels of a source and the moments that follow.
#pragma once

#include <algorithm>

namespace psfmatch::detail {

// A pixel's own extent: second moments whose determinant is below its square belong to a line.
inline constexpr double pixelVariance = 1.0 / 12.0;

// Sums over the pixels of one source, from which all that is measured follows.
struct Sums {
    double x = 0.0;  // the following three are about an origin near the source
    double y = 0.0;
    double xx = 0.0;
    double yy = 0.0;
    double xy = 0.0;
    double flux = 0.0;
    float peak = 0.0F;
    int peakPixel = -1;
    int count = 0;

    void add(int pixel, double dx, double dy, float value) {
        double const weight = value;
        flux += weight;
        x += weight * dx;
        y += weight * dy;
        xx += weight * dx * dx;
        yy += weight * dy * dy;
        xy += weight * dx * dy;
        ++count;
        if (peakPixel < 0 || value > peak) {
            peak = value;
            peakPixel = pixel;
        }
    }
};

struct Moments {
    double x = 0.0;
    double y = 0.0;
    double xx = 0.0;
    double yy = 0.0;
    double xy = 0.0;
    bool singular = false;
};

inline Moments momentsOf(Sums const& sums) {
    Moments moments{sums.x / sums.flux, sums.y / sums.flux, 0.0, 0.0, 0.0, false};
    moments.xx = std::max(sums.xx / sums.flux - moments.x * moments.x, 0.0);
    moments.yy = std::max(sums.yy / sums.flux - moments.y * moments.y, 0.0);
    moments.xy = sums.xy / sums.flux - moments.x * moments.y;
    if (moments.xx * moments.yy - moments.xy * moments.xy < pixelVariance * pixelVariance) {
        moments.xx += pixelVariance;
        moments.yy += pixelVariance;
        moments.singular = true;
    }
    return moments;
}

}  // namespace psfmatch::detail
