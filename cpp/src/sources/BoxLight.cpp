#include "psfmatch/sources/BoxLight.h"

#include "psfmatch/image/badPixels.h"
#include "psfmatch/image/statistics.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

std::vector<BoxLight> boxLight(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                               std::span<double const> y, BoxLightControl const& control, Execution const& execution) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    if (control.halfBox < 0 || control.skyRing < 1 || control.minPixels < 1) {
        throw std::invalid_argument("a box of half width " + std::to_string(control.halfBox) + " pixels with " +
                                    std::to_string(control.skyRing) + " beside it");
    }
    std::vector<BoxLight> found(x.size());
    Index const side = 2 * (control.halfBox + control.skyRing) + 1;
    std::vector<double> const ring(static_cast<std::size_t>(side * side));
    detail::forEachStar(x.size(), execution, ring, [&](std::size_t i, std::vector<double>& beside) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        Index const reach = control.halfBox + control.skyRing;
        beside.clear();
        double sum = 0.0;
        double variance = 0.0;
        Index count = 0;
        for (Index py = std::max<Index>(0, row - reach); py <= std::min(image.image.rows() - 1, row + reach); ++py) {
            for (Index px = std::max<Index>(0, column - reach); px <= std::min(image.image.cols() - 1, column + reach);
                 ++px) {
                if (isBad(image.image(py, px), image.variance(py, px), image.mask(py, px), badBits)) {
                    continue;
                }
                if (std::max(std::abs(py - row), std::abs(px - column)) > control.halfBox) {
                    beside.push_back(image.image(py, px));
                } else {
                    sum += image.image(py, px);
                    variance += image.variance(py, px);
                    ++count;
                }
            }
        }
        if (count >= control.minPixels && static_cast<Index>(beside.size()) >= control.minPixels) {
            found[i] = {sum - static_cast<double>(count) * medianOf(beside), std::sqrt(variance)};
        }
    });
    return found;
}

}  // namespace psfmatch
