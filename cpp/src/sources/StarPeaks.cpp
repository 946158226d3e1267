#include "psfmatch/sources/StarPeaks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

constexpr std::size_t placesPerItem = 4096;

}  // namespace

StarPeaks starPeaks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                    BrightPixels const& bright, StarPeaksControl const& control, Execution const& execution) {
    if (!haveOneShape(image, mask)) {
        throw std::invalid_argument("image and mask must have one shape");
    }
    Index const reach = control.distance;
    if (reach < 1) {
        throw std::invalid_argument("distance is " + std::to_string(reach) + ", must be 1 or more pixels");
    }
    Index const width = image.cols();
    // Ties go to the first.
    auto const isPeak = [&](Index y, Index x) {
        float const peak = image(y, x);
        for (Index j = y - reach; j <= y + reach; ++j) {
            for (Index i = x - reach; i <= x + reach; ++i) {
                bool const isBefore = j < y || (j == y && i < x);
                if (isBefore ? !(image(j, i) < peak) : !(image(j, i) <= peak)) {
                    return false;
                }
            }
        }
        for (Index j = y - 1; j <= y + 1; ++j) {
            for (Index i = x - 1; i <= x + 1; ++i) {
                if ((mask(j, i) & control.badBits) != 0) {
                    return false;
                }
            }
        }
        return true;
    };
    std::vector<StarPeaks> parts((bright.places.size() + placesPerItem - 1) / placesPerItem);
    parallelForBrief(static_cast<Index>(parts.size()), execution, [&](Index item, int) {
        auto const first = static_cast<std::size_t>(item) * placesPerItem;
        StarPeaks& part = parts[static_cast<std::size_t>(item)];
        for (std::size_t k = first; k < std::min(first + placesPerItem, bright.places.size()); ++k) {
            Index const y = bright.places[k] / width;
            Index const x = bright.places[k] % width;
            bool const isInside =
                y >= reach && x >= reach && y + reach < image.rows() && x + reach < width && bright.isFlagged[k] == 0;
            if (!isInside || !isPeak(y, x)) {
                continue;
            }
            double const counts = bright.counts[k];
            auto const fall = [&](float one, float other) {
                double const mean = 0.5 * (static_cast<double>(one) + static_cast<double>(other)) - bright.sky;
                return (counts - mean) / counts;
            };
            part.places.push_back(bright.places[k]);
            part.counts.push_back(counts);
            part.fallX.push_back(fall(image(y, x - reach), image(y, x + reach)));
            part.fallY.push_back(fall(image(y - reach, x), image(y + reach, x)));
        }
    });
    StarPeaks result;
    auto const append = [](auto& all, auto const& some) { all.insert(all.end(), some.begin(), some.end()); };
    for (StarPeaks const& part : parts) {
        append(result.places, part.places);
        append(result.counts, part.counts);
        append(result.fallX, part.fallX);
        append(result.fallY, part.fallY);
    }
    return result;
}

}  // namespace psfmatch
