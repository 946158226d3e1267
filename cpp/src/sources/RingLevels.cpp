#include "psfmatch/sources/RingLevels.h"

#include "psfmatch/image/statistics.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

constexpr int clippings = 2;
constexpr double clipSigmas = 3.0;
constexpr double madToSigma = 1.4826;

struct Offset {
    Index dy, dx;
};

std::vector<Offset> offsetsOf(RingControl const& control) {
    std::vector<Offset> offsets;
    auto const reach = static_cast<Index>(control.outer);
    for (Index dy = -reach; dy <= reach; ++dy) {
        for (Index dx = -reach; dx <= reach; ++dx) {
            double const distance = std::hypot(static_cast<double>(dy), static_cast<double>(dx));
            if (distance >= control.inner && distance <= control.outer) {
                offsets.push_back({dy, dx});
            }
        }
    }
    return offsets;
}

struct Space {
    std::vector<double> values, scratch;
};

void clip(Space& space) {
    space.scratch = space.values;
    double const middle = medianOf(space.scratch);
    for (std::size_t i = 0; i < space.values.size(); ++i) {
        space.scratch[i] = std::abs(space.values[i] - middle);
    }
    double const most = clipSigmas * madToSigma * medianOf(space.scratch);
    if (most > 0.0) {
        std::erase_if(space.values, [&](double value) { return std::abs(value - middle) > most; });
    }
}

}  // namespace

std::vector<RingLevel> ringLevels(ConstImageView<float> const& image, ConstImageView<float> const& weight,
                                  std::span<double const> x, std::span<double const> y, RingControl const& control,
                                  Execution const& execution) {
    if (!haveOneShape(image, weight)) {
        throw std::invalid_argument("image and weight must have one shape");
    }
    detail::requirePairs(x, y);
    if (!(control.inner >= 0.0 && control.inner <= control.outer && control.outer < 1e4) || control.minPixels < 1) {
        throw std::invalid_argument("a ring from " + std::to_string(control.inner) + " to " +
                                    std::to_string(control.outer) + " pixels of at least " +
                                    std::to_string(control.minPixels));
    }
    std::vector<Offset> const offsets = offsetsOf(control);
    std::vector<RingLevel> found(x.size());
    std::vector<double> const room(offsets.size());
    detail::forEachStar(x.size(), execution, Space{room, room}, [&](std::size_t i, Space& space) {
        Index const column = detail::nearestPixel(x[i]);
        Index const row = detail::nearestPixel(y[i]);
        space.values.clear();
        for (auto const [dy, dx] : offsets) {
            Index const py = row + dy;
            Index const px = column + dx;
            bool const isInside = py >= 0 && py < image.rows() && px >= 0 && px < image.cols();
            if (isInside && weight(py, px) > 0.0F && std::isfinite(image(py, px))) {
                space.values.push_back(image(py, px));
            }
        }
        if (static_cast<Index>(space.values.size()) < control.minPixels) {
            return;
        }
        for (int clipping = 0; clipping < clippings; ++clipping) {
            clip(space);
        }
        auto const number = static_cast<double>(space.values.size());
        double sum = 0.0;
        for (double const value : space.values) {
            sum += value;
        }
        double const level = sum / number;
        double squares = 0.0;
        for (double const value : space.values) {
            squares += (value - level) * (value - level);
        }
        found[i] = {level, std::sqrt(squares) / number};
    });
    return found;
}

}  // namespace psfmatch
