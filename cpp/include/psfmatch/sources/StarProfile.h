// The light of a star: two elliptical Moffat functions (1969, A&A 3, 455) of one exponent, integrated over pixels,
//
//   P = (1 - share) M(W) + share M(ratio W),   M(W) = (1 - b) c / pi (1 + b c r^2)^(-1/b),   c = 4 (2^b - 1) / (b W^2),
//   r^2 = (dx^2 (1 - e1) + dy^2 (1 + e1) - 2 e2 dx dy) / (1 - e1^2 - e2^2)^(1/2),
//
// with b = 1/beta, 0 of a Gaussian. Each integrates to 1 over the plane, and W is its FWHM. Pixels are integrated by
// Gauss and Legendre's points: 3x3 (2x2 for wide stars) in the core, 2x2 about it, one beyond.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct StarShape {
    double inverseBeta = 0.3;  // below 1e-3 as 1e-3
    double share = 0.0;        // of the light that is in the second function; 0 leaves it out, with its derivatives
    double logRatio = 0.7;     // of its width to that of the first
    double logFwhm = 1.0;      // of the first, pixels
    double e1 = 0.0;
    double e2 = 0.0;
};

constexpr Index shapeSize = 6;

struct Star {
    double x = 0.0;  // pixels of the image
    double y = 0.0;
    double flux = 0.0;  // of the whole plane
    double sky = 0.0;   // level under the star, which is not drawn
};

// What of a star is not known, beside its flux and sky.
enum class StarFreedom : std::uint8_t { flux, place, shape };

// Samples of a star's profile over the pixels of a list, by which both the drawing and the fit go.
class StarProfile {
public:
    static constexpr Index columns = 3 + shapeSize;
    using Values = Eigen::Array<double, Eigen::Dynamic, columns>;

    // Distances dx, dy of pixels from the pixel in which the star lies, and the star's place in that pixel.
    // Throws std::invalid_argument unless the shape is finite, 0 <= inverseBeta < 1, |share| < 1 and e1^2 + e2^2 < 1.
    void evaluate(StarShape const& shape, Eigen::ArrayXd const& dx, Eigen::ArrayXd const& dy, double x, double y,
                  StarFreedom freedom);

    // (n, 9): P, its derivatives by x, y of the star, and by the six numbers of the shape; P alone of freedom `flux`,
    // the first three of `place`.
    [[nodiscard]] Values const& values() const { return values_; }

private:
    void sample(Eigen::ArrayXd const& dx, Eigen::ArrayXd const& dy, double x, double y, double fwhm);
    void addFunction(StarShape const& shape, double b, double width, double share, bool isSecond, StarFreedom freedom);

    Values values_;
    Values samples_;
    Eigen::ArrayXd u_, v_, weight_;  // of the samples
    Eigen::ArrayXi first_;           // number of each pixel's first sample
    Eigen::ArrayXd radius_, q_, inverse_, logs_, light_, slope_;
};

// Adds stars to an image, each within its radius (pixels) of its nearest pixel; what falls off the image is lost.
// Throws std::invalid_argument for lists of different sizes. A star that is not finite is left out.
void drawStars(ImageView<float> image, std::span<Star const> stars, std::span<StarShape const> shapes,
               std::span<double const> radii, Execution const& execution = {});

}  // namespace psfmatch
