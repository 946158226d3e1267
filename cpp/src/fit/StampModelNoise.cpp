#include "fit/StampModelNoise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace psfmatch {

namespace {

constexpr double faintShare = 0.4;
constexpr double lightSigma = 1.2;  // px
constexpr double lightThreshold = 3.0;
constexpr double missingShare = 0.03;
constexpr double missingSigmas = 0.5;

}  // namespace

double middleOf(std::vector<double> values) {
    if (values.empty()) {
        return 0.0;
    }
    auto const at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

double spreadOf(std::vector<double> values) {
    double const middle = middleOf(values);
    for (double& value : values) {
        value = std::abs(value - middle);
    }
    return 1.4826 * middleOf(std::move(values));
}

StampSky stampSky(OwnedImage<double> const& image, StampFlags const& good) {
    std::vector<double> values;
    for (Index i = 0; i < image.size(); ++i) {
        if (good(i) != 0) {
            values.push_back(image(i));
        }
    }
    StampSky sky{middleOf(values), spreadOf(values)};
    for (int pass = 0; pass < 10 && sky.noise > 0.0; ++pass) {
        std::vector<double> kept;
        for (double const value : values) {
            if (value > sky.level - 4.0 * sky.noise && value < sky.level + 2.5 * sky.noise) {
                kept.push_back(value);
            }
        }
        sky = {middleOf(kept), spreadOf(kept)};
    }
    struct Second {
        double mean;
        double difference;
    };
    std::vector<Second> seconds;
    auto const isWhole = [&](Index y, Index x) { return (good.block(y - 1, x - 1, 3, 3) != 0).all(); };
    for (Index y = 1; y + 1 < image.rows(); ++y) {
        for (Index x = 1; x + 1 < image.cols(); ++x) {
            if (isWhole(y, x)) {
                double const mean = image.block(y - 1, x - 1, 3, 3).mean();
                seconds.push_back({mean, image(y, x - 1) - 2.0 * image(y, x) + image(y, x + 1)});
                seconds.push_back({mean, image(y - 1, x) - 2.0 * image(y, x) + image(y + 1, x)});
            }
        }
    }
    if (seconds.size() >= 20) {
        auto const end =
            seconds.begin() + static_cast<std::ptrdiff_t>(faintShare * static_cast<double>(seconds.size()));
        std::nth_element(seconds.begin(), end, seconds.end(),
                         [](Second const& a, Second const& b) { return a.mean < b.mean; });
        std::vector<double> differences;
        for (auto at = seconds.begin(); at != end; ++at) {
            differences.push_back(at->difference);
        }
        sky.noise = spreadOf(differences) / std::sqrt(6.0);
    }
    return sky;
}

void fillStamp(OwnedImage<double>& image, StampFlags const& good) {
    StampFlags known = good;
    for (Index i = 0; i < image.size(); ++i) {
        if (known(i) == 0) {
            image(i) = 0.0;
        }
    }
    for (int ring = 0; ring < 12 && (known == 0).any(); ++ring) {
        StampFlags const before = known;
        for (Index y = 0; y < image.rows(); ++y) {
            for (Index x = 0; x < image.cols(); ++x) {
                if (before(y, x) != 0) {
                    continue;
                }
                double sum = 0.0;
                int count = 0;
                for (Index v = std::max<Index>(y - 1, 0); v <= std::min(y + 1, image.rows() - 1); ++v) {
                    for (Index u = std::max<Index>(x - 1, 0); u <= std::min(x + 1, image.cols() - 1); ++u) {
                        if (before(v, u) != 0) {
                            sum += image(v, u);
                            ++count;
                        }
                    }
                }
                if (count > 0) {
                    image(y, x) = sum / count;
                    known(y, x) = 1;
                }
            }
        }
    }
}

double smoothedNoise(double noise, double sigma) {
    return noise / (2.0 * std::sqrt(std::numbers::pi) * sigma);
}

OwnedImage<double> significantLight(OwnedImage<double> const& image, double noise) {
    OwnedImage<double> light = smoothedStamp(image, lightSigma);
    double const least = lightThreshold * smoothedNoise(noise, lightSigma);
    return (light > least).select(light, 0.0);
}

StampFlags hiddenLight(OwnedImage<double> const& light, StampFlags const& good) {
    Index const height = good.rows();
    Index const width = good.cols();
    StampFlags seen = good;
    StampFlags hidden = StampFlags::Zero(height, width);
    for (Index start = 0; start < good.size(); ++start) {
        if (seen(start) != 0) {
            continue;
        }
        std::vector<Index> hole{start};
        seen(start) = 1;
        bool isOpen = false;
        bool isLit = false;
        for (std::size_t at = 0; at < hole.size(); ++at) {
            Index const y = hole[at] / width;
            Index const x = hole[at] % width;
            isOpen |= y == 0 || x == 0 || y == height - 1 || x == width - 1;
            for (Index v = std::max<Index>(y - 1, 0); v <= std::min(y + 1, height - 1); ++v) {
                for (Index u = std::max<Index>(x - 1, 0); u <= std::min(x + 1, width - 1); ++u) {
                    isLit |= light(v, u) > 0.0;
                    if (seen(v, u) == 0) {
                        seen(v, u) = 1;
                        hole.push_back(v * width + u);
                    }
                }
            }
        }
        if (isLit && !isOpen) {
            for (Index const pixel : hole) {
                hidden(pixel) = 1;
            }
        }
    }
    return hidden;
}

StampFlags missingLight(OwnedImage<double> const& kernel, OwnedImage<double> const& light, StampFlags const& good,
                        StampFlags const& hidden, double hiddenShare, OwnedImage<double> const& variance) {
    Index const half = kernel.rows() / 2;
    OwnedImage<double> const sizes = kernel.abs();
    double const total = sizes.sum();
    double const least = missingShare * total;
    StampFlags flags = StampFlags::Zero(light.rows(), light.cols());
    for (Index y = 0; y < light.rows(); ++y) {
        for (Index x = 0; x < light.cols(); ++x) {
            bool const isInner = y >= half && x >= half && y + half < light.rows() && x + half < light.cols() &&
                                 (good.block(y - half, x - half, 2 * half + 1, 2 * half + 1) != 0).all();
            if (isInner) {
                continue;
            }
            double outside = 0.0;
            double missing = 0.0;
            double unknown = 0.0;
            double bad = 0.0;
            double beyond = 0.0;
            for (Index v = -half; v <= half; ++v) {
                for (Index u = -half; u <= half; ++u) {
                    Index const fromY = std::clamp<Index>(y - v, 0, light.rows() - 1);
                    Index const fromX = std::clamp<Index>(x - u, 0, light.cols() - 1);
                    if (fromY != y - v || fromX != x - u || good(fromY, fromX) == 0) {
                        double const size = sizes(v + half, u + half);
                        outside += size;
                        (fromY == y - v && fromX == x - u ? bad : beyond) += size;
                        missing += size * std::abs(light(fromY, fromX));
                        unknown += hidden(fromY, fromX) != 0 ? size : 0.0;
                    }
                }
            }
            bool const isMuch = missing > missingSigmas * std::sqrt(variance(y, x));
            flags(y, x) =
                bad > 0.5 * (total - beyond) || unknown > hiddenShare * total || (outside > least && isMuch) ? 1 : 0;
        }
    }
    return flags;
}

std::vector<StampPeak> peaksOf(OwnedImage<double> const& image, double threshold) {
    std::vector<StampPeak> peaks;
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            double const size = std::abs(image(y, x));
            if (!(size > threshold)) {
                continue;
            }
            Index const top = std::max<Index>(y - 2, 0);
            Index const left = std::max<Index>(x - 2, 0);
            auto const around =
                image.block(top, left, std::min(y + 3, image.rows()) - top, std::min(x + 3, image.cols()) - left);
            if (around.abs().maxCoeff() <= size) {
                peaks.push_back({y * image.cols() + x, image(y, x)});
            }
        }
    }
    std::sort(peaks.begin(), peaks.end(),
              [](StampPeak const& a, StampPeak const& b) { return std::abs(a.value) > std::abs(b.value); });
    return peaks;
}

std::vector<Index> discOf(Index x, Index y, double radius, Index height, Index width) {
    std::vector<Index> pixels;
    auto const reach = static_cast<Index>(radius);
    for (Index v = std::max<Index>(y - reach, 0); v <= std::min(y + reach, height - 1); ++v) {
        for (Index u = std::max<Index>(x - reach, 0); u <= std::min(x + reach, width - 1); ++u) {
            if (static_cast<double>((v - y) * (v - y) + (u - x) * (u - x)) <= radius * radius) {
                pixels.push_back(v * width + u);
            }
        }
    }
    return pixels;
}

}  // namespace psfmatch
