#include "sources/StreakStrip.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/statistics.h"
#include "simd/prefetch.h"

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
// Rows by which memory is asked for before it is read, and pixels that are asked for at a time.
constexpr Index ahead = 3;
constexpr Index perLine = 14;

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

// Index of the pixel that a place lies in, as lround tells; -1 before the first.
Index pixelOf(double place) {
    auto const whole = static_cast<Index>(place);
    return place > -0.5 ? whole + (place - static_cast<double>(whole) >= 0.5 ? 1 : 0) : -1;
}

// What single pixels show; NaN where one tells nothing.
class Pixels {
public:
    Pixels(StripSource source, StreakImages const& images, StreakControl const& control, StreakField const& field)
        : source_(source),
          images_(images),
          badBits_(control.badBits),
          otherBadBits_(control.otherBadBits),
          fluxRatio_(static_cast<float>(control.fluxRatio)),
          field_(field),
          binShift_(std::countr_zero(static_cast<std::uint64_t>(field.bin))) {}

    // Infinite where the pixel tells nothing.
    [[nodiscard]] float at(double x, double y) const {
        Index const column = pixelOf(x);
        Index const row = pixelOf(y);
        constexpr float nothing = std::numeric_limits<float>::infinity();
        if (row < 0 || column < 0 || row >= images_.image.rows() || column >= images_.image.cols()) {
            return nothing;
        }
        float value = nan;
        switch (source_) {
            case StripSource::image:
                value = own(row, column);
                break;
            case StripSource::other:
                value = other(row, column);
                break;
            default:
                value = excess(row, column);
                break;
        }
        return std::abs(value) <= largest ? value : nothing;
    }

    // Asks for the memory that a place lies in.
    void prepare(double x, double y) const {
        Index const column = std::clamp<Index>(pixelOf(x), 0, images_.image.cols() - 1);
        Index const row = std::clamp<Index>(pixelOf(y), 0, images_.image.rows() - 1);
        auto const ask = [&](auto const& plane) { prefetchRow(plane.data() + row * plane.outerStride() + column, 1); };
        ask(images_.image);
        ask(images_.mask);
        ask(images_.other);
        ask(images_.otherMask);
    }

private:
    [[nodiscard]] float own(Index row, Index column) const {
        float const value = images_.image(row, column);
        return (images_.mask(row, column) & badBits_) == 0 && std::abs(value) <= largest ? value : nan;
    }
    [[nodiscard]] float other(Index row, Index column) const {
        float const value = images_.other(row, column) * fluxRatio_;
        return (images_.otherMask(row, column) & otherBadBits_) == 0 && std::abs(value) <= largest ? value : nan;
    }
    // What the image shows beyond the other one and what its bin is known to have too much.
    [[nodiscard]] float excess(Index row, Index column) const {
        Index const binRow = std::min(row >> binShift_, field_.isClean.rows() - 1);
        Index const binColumn = std::min(column >> binShift_, field_.isClean.cols() - 1);
        if (field_.isClean(binRow, binColumn) == 0) {
            return nan;
        }
        float const known = field_.excess.size() > 0 ? field_.excess(binRow, binColumn) : 0.0F;
        return own(row, column) - field_.scale * other(row, column) - known;
    }

    StripSource source_;
    StreakImages const& images_;
    MaskPixel badBits_;
    MaskPixel otherBadBits_;
    float fluxRatio_;
    StreakField const& field_;
    int binShift_;
};

// The pixels of one piece of a strip, a row for each step along it, whose columns are sorted all at once: Batcher's
// merge exchange (Knuth, The Art of Computer Programming, volume 3, 5.2.2, algorithm M) compares the same rows whatever
// they hold.
class Piece {
public:
    Piece(Index nSteps, Index width)
        : nSteps_(nSteps),
          width_(width),
          stride_((width + lanes - 1) / lanes * lanes),
          values_(static_cast<std::size_t>(nSteps * stride_), infinite),
          counts_(static_cast<std::size_t>(stride_)) {}

    // Infinite ones do not count.
    void set(Index step, Index column, float value) {
        values_[static_cast<std::size_t>(step * stride_ + column)] = value;
    }

    // Of columns of which a quarter is known the means of the middle half, NaN of the others.
    void middleMeans(float* means) {
        std::fill(counts_.begin(), counts_.end(), 0);
        for (Index step = 0; step < nSteps_; ++step) {
            float const* const values = values_.data() + step * stride_;
            for (Index i = 0; i < stride_; ++i) {
                counts_[static_cast<std::size_t>(i)] += values[i] < infinite ? 1 : 0;
            }
        }
        sort();
        for (Index column = 0; column < width_; ++column) {
            Index const count = counts_[static_cast<std::size_t>(column)];
            if (4 * count < nSteps_) {
                continue;
            }
            Index const cut = count / 4;
            double sum = 0.0;
            for (Index step = cut; step < count - cut; ++step) {
                sum += static_cast<double>(values_[static_cast<std::size_t>(step * stride_ + column)]);
            }
            means[column] = static_cast<float>(sum / static_cast<double>(count - 2 * cut));
        }
    }

private:
    static constexpr Index lanes = 16;
    using Row = Eigen::Array<float, lanes, 1>;
    // Above all values, which are finite.
    static constexpr float infinite = std::numeric_limits<float>::infinity();

    void exchange(Index upper, Index lower) {
        float* const small = values_.data() + upper * stride_;
        float* const large = values_.data() + lower * stride_;
        for (Index i = 0; i < stride_; i += lanes) {
            Row const one = Eigen::Map<Row const>(small + i);
            Row const other = Eigen::Map<Row const>(large + i);
            Eigen::Map<Row>(small + i) = one.min(other);
            Eigen::Map<Row>(large + i) = one.max(other);
        }
    }

    void sort() {
        auto const count = static_cast<std::size_t>(nSteps_);
        std::size_t const top = std::bit_ceil(count) / 2;
        for (std::size_t p = top; p > 0; p /= 2) {
            std::size_t r = 0;
            std::size_t d = p;
            for (std::size_t q = top;; q /= 2) {
                for (std::size_t i = 0; i + d < count; ++i) {
                    if ((i & p) == r) {
                        exchange(static_cast<Index>(i), static_cast<Index>(i + d));
                    }
                }
                if (q == p) {
                    break;
                }
                d = q - p;
                r = p;
            }
        }
    }

    Index nSteps_;
    Index width_;
    Index stride_;
    std::vector<float> values_;
    std::vector<int> counts_;
};

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
    auto const nSteps = std::max<Index>(1, static_cast<Index>(std::lround(strip.pieceLength)));
    Pixels const pixels(source, images, control, field);
    Piece values(nSteps, strip.width());
    std::vector<std::pair<double, double>> middles(static_cast<std::size_t>(nSteps));
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        for (Index step = 0; step < nSteps; ++step) {
            double const share = (static_cast<double>(step) + 0.5) / static_cast<double>(nSteps);
            double const along = course.first + (static_cast<double>(piece) + share) * strip.pieceLength;
            middles[static_cast<std::size_t>(step)] = {course.xAt(along), course.yAt(along)};
        }
        auto const add = [&](Index step, Index across) {
            auto const [x, y] = middles[static_cast<std::size_t>(step)];
            auto const side = static_cast<double>(across);
            values.set(step, across + half, pixels.at(x - side * course.dy, y + side * course.dx));
        };
        auto const prepare = [&](Index step, Index across) {
            auto const [x, y] = middles[static_cast<std::size_t>(step)];
            auto const side = static_cast<double>(across);
            pixels.prepare(x - side * course.dy, y + side * course.dx);
        };
        // Along the rows of the image: others would drive each other from the cache.
        if (std::abs(course.dx) > std::abs(course.dy)) {
            for (Index across = -half; across <= half; ++across) {
                for (Index step = 0; across + ahead <= half && step < nSteps; step += perLine) {
                    prepare(step, across + ahead);
                }
                for (Index step = 0; step < nSteps; ++step) {
                    add(step, across);
                }
            }
        } else {
            for (Index step = 0; step < nSteps; ++step) {
                for (Index across = -half; step + ahead < nSteps && across <= half; across += perLine) {
                    prepare(step + ahead, across);
                }
                for (Index across = -half; across <= half; ++across) {
                    add(step, across);
                }
            }
        }
        values.middleMeans(strip.values.data() + piece * strip.width());
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
