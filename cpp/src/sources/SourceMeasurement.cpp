#include "psfmatch/sources/SourceMeasurement.h"

#include <algorithm>
#include <numbers>
#include <tuple>
#include <utility>

#include "psfmatch/image/badPixels.h"
#include "sources/sourcesCutouts.h"

namespace psfmatch {

namespace {

using detail::nan;

struct Moments {
    double xx;
    double yy;
    double xy;

    [[nodiscard]] double determinant() const { return xx * yy - xy * xy; }
    [[nodiscard]] Moments inverse() const { return {yy / determinant(), xx / determinant(), -xy / determinant()}; }
};

// Pixels about a source and a profile on them. Where they are bad they count for no flux; moments fill them.
class SourceStamp {
public:
    explicit SourceStamp(Index radius)
        : radius_(radius),
          side_(static_cast<std::size_t>(2 * radius + 1)),
          values_(side_ * side_),
          variances_(side_ * side_),
          good_(side_ * side_),
          profile_(side_ * side_),
          rows_(side_ * side_),
          dx_(side_),
          dy_(side_) {}

    void read(MaskedImageView const& image, MaskPixel badBits, double x, double y) {
        Index const column = std::clamp<Index>(detail::nearestPixel(x), 0, image.image.cols() - 1);
        Index const row = std::clamp<Index>(detail::nearestPixel(y), 0, image.image.rows() - 1);
        std::size_t i = 0;
        for (Index py = row - radius_; py <= row + radius_; ++py) {
            for (Index px = column - radius_; px <= column + radius_; ++px, ++i) {
                bool const isGood = py >= 0 && py < image.image.rows() && px >= 0 && px < image.image.cols() &&
                                    !isBad(image.image(py, px), image.variance(py, px), image.mask(py, px), badBits);
                good_[i] = isGood ? 1.0 : 0.0;
                values_[i] = isGood ? image.image(py, px) : 0.0;
                variances_[i] = isGood ? image.variance(py, px) : 0.0;
            }
        }
        for (std::size_t k = 0; k < side_; ++k) {
            dx_[k] = static_cast<double>(column - radius_ + static_cast<Index>(k)) - x;
            dy_[k] = static_cast<double>(row - radius_ + static_cast<Index>(k)) - y;
        }
    }

    // A Gaussian times a factor becomes the profile.
    void setGaussian(Moments const& covariance, double factor) {
        Moments const inverse = covariance.inverse();
        std::size_t i = 0;
        for (double const dy : dy_) {
            for (double const dx : dx_) {
                profile_[i++] =
                    factor * std::exp(-0.5 * (inverse.xx * dx * dx + inverse.yy * dy * dy) - inverse.xy * (dx * dy));
            }
        }
    }

    // A centred image of the PSF, resampled at the source by Lanczos weights of order 3, becomes the profile.
    void setPsf(double const* image) {
        std::vector<double> const alongX = lanczos(dx_);
        std::vector<double> const alongY = lanczos(dy_);
        for (std::size_t row = 0; row < side_; ++row) {
            for (std::size_t k = 0; k < side_; ++k) {
                double sum = 0.0;
                for (std::size_t j = 0; j < side_; ++j) {
                    sum += alongY[row * side_ + j] * image[j * side_ + k];
                }
                rows_[k] = sum;
            }
            for (std::size_t column = 0; column < side_; ++column) {
                double sum = 0.0;
                for (std::size_t k = 0; k < side_; ++k) {
                    sum += rows_[k] * alongX[column * side_ + k];
                }
                profile_[row * side_ + column] = sum;
            }
        }
    }

    [[nodiscard]] Moments moments(MeasurementControl const& control) {
        Moments weight{control.sigma * control.sigma, control.sigma * control.sigma, 0.0};
        Moments found = weight;
        bool isSound = false;
        bool const isWhole = std::all_of(good_.begin(), good_.end(), [](double good) { return good > 0.0; });
        int nPasses = control.nPasses;
        for (int pass = 0; pass < nPasses; ++pass) {
            setGaussian(weight, 1.0);
            if (!isWhole) {
                fillBad();
            }
            double all = 0.0;
            double lost = 0.0;
            double total = 0.0;
            double x = 0.0;
            double y = 0.0;
            double xx = 0.0;
            double yy = 0.0;
            double xy = 0.0;
            std::size_t i = 0;
            for (double const dy : dy_) {
                double sum = 0.0;
                double sumX = 0.0;
                for (double const dx : dx_) {
                    all += profile_[i];
                    lost += profile_[i] * (1.0 - good_[i]);
                    double const value = profile_[i] * values_[i];
                    sum += value;
                    sumX += value * dx;
                    xx += value * dx * dx;
                    ++i;
                }
                total += sum;
                x += sumX;
                y += sum * dy;
                yy += sum * dy * dy;
                xy += sumX * dy;
            }
            if (lost > control.fewLost * all) {
                nPasses = control.nPassesFilled;
            }
            x /= total;
            y /= total;
            Moments const seen = Moments{xx / total - x * x, yy / total - y * y, xy / total - x * y}.inverse();
            Moments const through = weight.inverse();
            found = Moments{seen.xx - through.xx, seen.yy - through.yy, seen.xy - through.xy}.inverse();
            // Written so that NaN is no good.
            isSound = total > 0.0 && found.xx > 0.0 && found.yy > 0.0 && found.determinant() > 0.0 &&
                      lost / all < control.maxLost && found.xx + found.yy < 2.0 * control.maxSigma * control.maxSigma;
            // The weight stays near the PSF's width where there is nothing to follow.
            if (isSound) {
                weight = found;
            }
        }
        return isSound ? found : Moments{nan, nan, nan};
    }

    // Bad pixels get the values of the profile, fitted to the good ones by its amplitude.
    void fillBad() {
        double norm = 0.0;
        double sum = 0.0;
        for (std::size_t i = 0; i < profile_.size(); ++i) {
            norm += profile_[i] * profile_[i] * good_[i];
            sum += profile_[i] * values_[i] * good_[i];
        }
        double const amplitude = norm > 0.0 ? sum / norm : 0.0;
        for (std::size_t i = 0; i < profile_.size(); ++i) {
            values_[i] = good_[i] > 0.0 ? values_[i] : amplitude * profile_[i];
        }
    }

    // Flux of the profile, whose sum is 1, and its error; NaN where too much is bad.
    [[nodiscard]] std::pair<double, double> flux(double maxLost) const {
        double whole = 0.0;
        double norm = 0.0;
        double sum = 0.0;
        double variance = 0.0;
        for (std::size_t i = 0; i < profile_.size(); ++i) {
            double const square = profile_[i] * profile_[i];
            whole += square;
            norm += square * good_[i];
            sum += profile_[i] * values_[i] * good_[i];
            variance += square * variances_[i];
        }
        if (!(norm > (1.0 - maxLost) * whole)) {
            return {nan, nan};
        }
        return {sum / norm, std::sqrt(variance) / norm};
    }

private:
    // Row i holds the weights of a centred profile at distance[i] from its middle.
    [[nodiscard]] std::vector<double> lanczos(std::vector<double> const& distance) const {
        std::vector<double> weights(side_ * side_, 0.0);
        auto const sinc = [](double u) {
            return u == 0.0 ? 1.0 : std::sin(std::numbers::pi * u) / (std::numbers::pi * u);
        };
        for (std::size_t i = 0; i < side_; ++i) {
            double total = 0.0;
            for (std::size_t k = 0; k < side_; ++k) {
                double const u = distance[i] - static_cast<double>(static_cast<Index>(k) - radius_);
                double const weight = std::abs(u) < 3.0 ? sinc(u) * sinc(u / 3.0) : 0.0;
                weights[i * side_ + k] = weight;
                total += weight;
            }
            for (std::size_t k = 0; k < side_; ++k) {
                // Beyond the image of the PSF there is nothing.
                weights[i * side_ + k] = std::abs(total) > 0.5 ? weights[i * side_ + k] / total : 0.0;
            }
        }
        return weights;
    }

    Index radius_;
    std::size_t side_;
    std::vector<double> values_;
    std::vector<double> variances_;
    std::vector<double> good_;  // 1 or 0
    std::vector<double> profile_;
    std::vector<double> rows_;
    std::vector<double> dx_;  // of the columns from the source
    std::vector<double> dy_;
};

// Factor that gives a Gaussian the sum 1.
double normOf(Moments const& covariance) {
    return 0.5 / (std::numbers::pi * std::sqrt(covariance.determinant()));
}

void requirePsf(PsfImages const& psf, std::size_t nSources, Index radius) {
    if (psf.pixels.empty()) {
        return;
    }
    Index const side = 2 * radius + 1;
    auto const nImages = static_cast<Index>(psf.pixels.size()) / (side * side);
    bool const isPossible =
        psf.side == side && psf.pixels.size() % static_cast<std::size_t>(side * side) == 0 &&
        psf.number.size() == nSources &&
        std::all_of(psf.number.begin(), psf.number.end(), [&](Index i) { return i >= 0 && i < nImages; });
    if (!isPossible) {
        throw std::invalid_argument(std::to_string(psf.pixels.size()) + " pixels of PSFs of side " +
                                    std::to_string(psf.side) + " do not serve " + std::to_string(nSources) +
                                    " sources and a radius of " + std::to_string(radius));
    }
}

}  // namespace

std::vector<MeasuredSource> measureSources(MaskedImageView const& image, MaskPixel badBits, std::span<double const> x,
                                           std::span<double const> y, PsfImages const& psf,
                                           MeasurementControl const& control, Execution const& execution) {
    detail::requirePlanes(image);
    detail::requirePairs(x, y);
    if (!(control.sigma > 0.0) || control.radius < 1 || control.nPasses < 1) {
        throw std::invalid_argument("sources of sigma " + std::to_string(control.sigma) + " pixels cannot be measured");
    }
    requirePsf(psf, x.size(), control.radius);
    std::vector<MeasuredSource> measured(x.size());
    detail::forEachStar(x.size(), execution, [&](std::size_t i) {
        if (!std::isfinite(x[i]) || !std::isfinite(y[i])) {
            return;
        }
        SourceStamp stamp(control.radius);
        stamp.read(image, badBits, x[i], y[i]);
        MeasuredSource& found = measured[i];
        Moments const own = stamp.moments(control);
        found.ixx = own.xx;
        found.iyy = own.yy;
        found.ixy = own.xy;
        if (std::isfinite(own.xx)) {
            stamp.setGaussian(own, normOf(own));
            std::tie(found.gaussianFlux, found.gaussianFluxErr) = stamp.flux(control.maxLost);
        }
        if (psf.pixels.empty()) {
            Moments const round{control.sigma * control.sigma, control.sigma * control.sigma, 0.0};
            stamp.setGaussian(round, normOf(round));
        } else {
            stamp.setPsf(psf.pixels.data() + psf.number[i] * psf.side * psf.side);
        }
        std::tie(found.psfFlux, found.psfFluxErr) = stamp.flux(control.maxLost);
    });
    return measured;
}

std::vector<MaskPixel> bitsNear(ConstImageView<MaskPixel> const& mask, std::span<double const> x,
                                std::span<double const> y, Index radius) {
    detail::requirePairs(x, y);
    if (radius < 0) {
        throw std::invalid_argument("a square of half width " + std::to_string(radius));
    }
    std::vector<MaskPixel> found(x.size(), 0);
    for (std::size_t i = 0; i < x.size(); ++i) {
        if (!std::isfinite(x[i]) || !std::isfinite(y[i])) {
            continue;
        }
        Index const column = std::clamp<Index>(detail::nearestPixel(x[i]), 0, mask.cols() - 1);
        Index const row = std::clamp<Index>(detail::nearestPixel(y[i]), 0, mask.rows() - 1);
        for (Index py = std::max<Index>(0, row - radius); py <= std::min(mask.rows() - 1, row + radius); ++py) {
            for (Index px = std::max<Index>(0, column - radius); px <= std::min(mask.cols() - 1, column + radius);
                 ++px) {
                found[i] |= mask(py, px);
            }
        }
    }
    return found;
}

}  // namespace psfmatch
