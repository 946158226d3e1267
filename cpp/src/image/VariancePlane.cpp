#include "psfmatch/image/VariancePlane.h"

#include <cmath>
#include <stdexcept>

namespace psfmatch {

void multiplyPlane(ConstImageView<float> variance, float factor, ImageView<float> result, Execution const& execution) {
    if (!haveOneShape(variance, result)) {
        throw std::invalid_argument("a plane and its product must have one shape");
    }
    parallelForBrief(variance.rows(), execution, [&](Index y, int) { result.row(y) = factor * variance.row(y); });
}

void addPhotons(ConstImageView<float> image, float level, float least, float gain, ImageView<float> variance,
                Execution const& execution) {
    if (!haveOneShape(image, variance)) {
        throw std::invalid_argument("image and variance must have one shape");
    }
    if (!(gain > 0.0F && std::isfinite(gain))) {
        throw std::invalid_argument("a gain must be a positive number");
    }
    parallelForBrief(image.rows(), execution, [&](Index y, int) {
        for (Index x = 0; x < image.cols(); ++x) {
            float const light = image(y, x) - level;
            if (light > least) {
                variance(y, x) += light / gain;
            }
        }
    });
}

}  // namespace psfmatch
