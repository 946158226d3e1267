#include "StreakStrip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/statistics.h"

namespace psfmatch::detail {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float largest = std::numeric_limits<float>::max();
constexpr double piecesOfLine = 24.0;
constexpr double shortestPiece = 8.0;
constexpr double longestPiece = 32.0;
// Scatter of the mean of the middle half of Gaussian values in units of the mean's.
constexpr double middleMeanScatter = 1.1;
constexpr std::size_t fewestBoxes = 24;
constexpr std::size_t fewestSky = 4;

// Limits of along for origin + along * step within [-0.5, size - 0.5].
void limit(double origin, double step, Index size, double& first, double& last) {
    double const low = -0.5;
    double const high = static_cast<double>(size) - 0.5;
    if (std::abs(step) < 1e-12) {
        if (origin < low || origin > high) {
            last = first;
        }
        return;
    }
    double const a = (low - origin) / step;
    double const b = (high - origin) / step;
    first = std::max(first, std::min(a, b));
    last = std::max(first, std::min(last, std::max(a, b)));
}

// Value of one pixel; NaN where it tells nothing.
float valueAt(StripSource source, StreakImages const& images, StreakControl const& control, StreakField const& field,
              double x, double y) {
    auto const column = static_cast<Index>(std::lround(x));
    auto const row = static_cast<Index>(std::lround(y));
    if (row < 0 || column < 0 || row >= images.image.rows() || column >= images.image.cols()) {
        return nan;
    }
    float const own = images.image(row, column);
    float const other = images.other(row, column) * static_cast<float>(control.fluxRatio);
    bool const isOwnGood = (images.mask(row, column) & control.badBits) == 0 && std::abs(own) <= largest;
    bool const isOtherGood = (images.otherMask(row, column) & control.otherBadBits) == 0 && std::abs(other) <= largest;
    if (source == StripSource::image) {
        return isOwnGood ? own : nan;
    }
    if (source == StripSource::other) {
        return isOtherGood ? other : nan;
    }
    Index const binRow = std::min(row / field.bin, field.isClean.rows() - 1);
    Index const binColumn = std::min(column / field.bin, field.isClean.cols() - 1);
    float const excess = field.excess.size() > 0 ? field.excess(binRow, binColumn) : 0.0F;
    return isOwnGood && isOtherGood && field.isClean(binRow, binColumn) != 0 ? own - field.scale * other - excess : nan;
}

// Mean of the medians on both sides, in the outer half of the strip, or of what there is of it at the border of the
// image; NaN where a side is not known, for then a slope of the sky would be light.
double skyOf(Strip const& strip, Index piece) {
    double sum = 0.0;
    std::vector<float> known;
    for (Index const sign : {-1, 1}) {
        Index last = strip.half;
        while (last > 0 && !std::isfinite(strip.at(piece, sign * last))) {
            --last;
        }
        known.clear();
        for (Index across = std::min(strip.half / 2, 2 * last / 3) + 1; across <= last; ++across) {
            float const value = strip.at(piece, sign * across);
            if (std::isfinite(value)) {
                known.push_back(value);
            }
        }
        if (known.size() < fewestSky) {
            return std::numeric_limits<double>::quiet_NaN();
        }
        sum += static_cast<double>(medianOf(std::span(known)));
    }
    return 0.5 * sum;
}

}  // namespace

Course courseBetween(double x0, double y0, double x1, double y1) {
    double const length = std::hypot(x1 - x0, y1 - y0);
    if (!(length > 0.0)) {
        return {x0, y0, 1.0, 0.0, 0.0, 0.0};
    }
    return {0.5 * (x0 + x1), 0.5 * (y0 + y1), (x1 - x0) / length, (y1 - y0) / length, -0.5 * length, 0.5 * length};
}

Course within(Course course, Index height, Index width) {
    limit(course.x, course.dx, width, course.first, course.last);
    limit(course.y, course.dy, height, course.first, course.last);
    return course;
}

double middleMean(std::vector<float>& values) {
    if (values.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    std::sort(values.begin(), values.end());
    std::size_t const cut = values.size() / 4;
    double sum = 0.0;
    for (std::size_t i = cut; i < values.size() - cut; ++i) {
        sum += static_cast<double>(values[i]);
    }
    return sum / static_cast<double>(values.size() - 2 * cut);
}

Strip stripAlong(Course const& course, Index half, StripSource source, StreakImages const& images,
                 StreakControl const& control, StreakField const& field) {
    Strip strip;
    strip.half = half;
    double const wanted = std::clamp(course.length() / piecesOfLine, shortestPiece, longestPiece);
    strip.nPieces = std::max<Index>(1, static_cast<Index>(std::lround(course.length() / wanted)));
    strip.pieceLength = course.length() / static_cast<double>(strip.nPieces);
    strip.values.assign(static_cast<std::size_t>(strip.nPieces * strip.width()), nan);
    std::vector<float> pixels;
    auto const nSteps = std::max<Index>(1, static_cast<Index>(std::lround(strip.pieceLength)));
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        for (Index across = -half; across <= half; ++across) {
            pixels.clear();
            for (Index step = 0; step < nSteps; ++step) {
                double const share = (static_cast<double>(step) + 0.5) / static_cast<double>(nSteps);
                double const along = course.first + (static_cast<double>(piece) + share) * strip.pieceLength;
                auto const side = static_cast<double>(across);
                float const value =
                    valueAt(source, images, control, field, course.xAt(along, side), course.yAt(along, side));
                if (std::isfinite(value)) {
                    pixels.push_back(value);
                }
            }
            if (4 * static_cast<Index>(pixels.size()) >= nSteps) {
                strip.values[static_cast<std::size_t>(piece * strip.width() + across + half)] =
                    static_cast<float>(middleMean(pixels));
            }
        }
        auto const sky = static_cast<float>(skyOf(strip, piece));
        for (Index across = -half; across <= half; ++across) {
            strip.values[static_cast<std::size_t>(piece * strip.width() + across + half)] -= sky;
        }
    }
    std::vector<float> far;
    std::vector<float> scratch;
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        for (Index across = -half; across <= half; ++across) {
            float const value = strip.at(piece, across);
            if (std::abs(across) > half / 2 && std::isfinite(value)) {
                far.push_back(value);
            }
        }
    }
    strip.noise = medianAndSigma<float>(far, scratch).sigma;
    strip.pixelNoise = strip.noise * std::sqrt(static_cast<double>(nSteps)) / middleMeanScatter;
    return strip;
}

StripBoxes::StripBoxes(Strip const& strip) : strip_(&strip) {
    Index const stride = strip.width() + 1;
    sums_.assign(static_cast<std::size_t>(strip.nPieces * stride), 0.0);
    counts_.assign(sums_.size(), 0);
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        double* const sums = sums_.data() + piece * stride;
        for (Index i = 0; i < strip.width(); ++i) {
            float const value = strip.at(piece, i - strip.half);
            sums[i + 1] = sums[i] + (std::isfinite(value) ? static_cast<double>(value) : 0.0);
            int* const counts = counts_.data() + piece * stride;
            counts[i + 1] = counts[i] + (std::isfinite(value) ? 1 : 0);
        }
    }
}

StripBoxes::Ends StripBoxes::ends(Index piece, Index across, Index side) const {
    Index const first = piece * (strip_->width() + 1);
    Index const middle = across + strip_->half;
    return {static_cast<std::size_t>(first + std::clamp<Index>(middle - side / 2, 0, strip_->width())),
            static_cast<std::size_t>(first + std::clamp<Index>(middle + side / 2 + 1, 0, strip_->width()))};
}

double StripBoxes::sum(Index piece, Index across, Index side) const {
    auto const [low, high] = ends(piece, across, side);
    return sums_[high] - sums_[low];
}

bool StripBoxes::isKnown(Index piece, Index across, Index side) const {
    auto const [low, high] = ends(piece, across, side);
    return 2 * (counts_[high] - counts_[low]) > side;
}

bool StripBoxes::isWhole(Index piece, Index across, Index side) const {
    auto const [low, high] = ends(piece, across, side);
    return counts_[high] - counts_[low] == side;
}

double StripBoxes::noise(Index side) const {
    double const white = strip_->noise * std::sqrt(static_cast<double>(side));
    std::vector<double> boxes;
    std::vector<double> scratch;
    Index const nearest = strip_->half / 3 + side / 2;
    for (Index piece = 0; piece < strip_->nPieces; ++piece) {
        for (Index across = nearest; across + side / 2 <= strip_->half; ++across) {
            for (int const sign : {-1, 1}) {
                if (isWhole(piece, sign * across, side)) {
                    boxes.push_back(sum(piece, sign * across, side));
                }
            }
        }
    }
    return boxes.size() < fewestBoxes ? white : std::max(white, medianAndSigma<double>(boxes, scratch).sigma);
}

}  // namespace psfmatch::detail
