#include "psfmatch/sources/Streaks.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "sources/LineSums.h"
#include "sources/StreakField.h"
#include "sources/StreakMeasure.h"

namespace psfmatch {

namespace {

constexpr Index smallestSide = 64;
// Pixels of the longer side from which bins are so large: a streak is as wide as a PSF at the least.
constexpr Index mediumSide = 400;
constexpr Index largeSide = 1500;
// Lines that are measured, of one image, before it is given up.
constexpr int mostMeasured = 100;
// Share of a line's bins that have been seen already, for it to be passed over.
constexpr double seenShare = 0.5;
// Bins beside a line that belong to it, too.
constexpr double besideLine = 1.5;

Index binFor(Index height, Index width) {
    Index const side = std::max(height, width);
    return side < mediumSide ? 2 : side < largeSide ? 4 : 8;
}

// Calls body(x first, x after last, y) for the pieces of rows within a distance of a line.
template <typename Body>
void forRows(Streak const& line, double halfWidth, Index height, Index width, Body const& body) {
    double const length = std::hypot(line.x1 - line.x0, line.y1 - line.y0);
    double const dx = length > 0.0 ? (line.x1 - line.x0) / length : 1.0;
    double const dy = length > 0.0 ? (line.y1 - line.y0) / length : 0.0;
    // x - x0 between the limits of a u <= limit, from both sides.
    auto const top = static_cast<Index>(std::floor(std::min(line.y0, line.y1) - halfWidth - 1.0));
    auto const bottom = static_cast<Index>(std::ceil(std::max(line.y0, line.y1) + halfWidth + 1.0));
    for (Index y = std::max<Index>(0, top); y <= std::min(height - 1, bottom); ++y) {
        double const v = static_cast<double>(y) - line.y0;
        double low = std::min(line.x0, line.x1) - halfWidth - 1.0;
        double high = std::max(line.x0, line.x1) + halfWidth + 1.0;
        auto const cut = [&](double slope, double offset, double least, double most) {
            // least <= slope (x - x0) + offset <= most
            if (std::abs(slope) < 1e-12) {
                if (offset < least || offset > most) {
                    high = low - 1.0;
                }
                return;
            }
            double const a = line.x0 + (least - offset) / slope;
            double const b = line.x0 + (most - offset) / slope;
            low = std::max(low, std::min(a, b));
            high = std::min(high, std::max(a, b));
        };
        cut(-dy, v * dx, -halfWidth, halfWidth);
        cut(dx, v * dy, -0.5, length + 0.5);
        Index const first = std::max<Index>(0, static_cast<Index>(std::ceil(low)));
        Index const end = std::min(width, static_cast<Index>(std::floor(high)) + 1);
        if (first < end) {
            body(first, end, y);
        }
    }
}

double lengthOf(Streak const& streak) {
    return std::hypot(streak.x1 - streak.x0, streak.y1 - streak.y0);
}

// Whether most of the middle line of one lies within another, wider by `slack` pixels.
bool isPartOf(Streak const& shorter, Streak const& longer, double slack) {
    constexpr int nPlaces = 32;
    double const length = std::max(lengthOf(longer), 1.0);
    double const dx = (longer.x1 - longer.x0) / length;
    double const dy = (longer.y1 - longer.y0) / length;
    double const reach = longer.halfWidth + slack;
    int nInside = 0;
    for (int place = 0; place < nPlaces; ++place) {
        double const share = (place + 0.5) / nPlaces;
        double const x = shorter.x0 + share * (shorter.x1 - shorter.x0) - longer.x0;
        double const y = shorter.y0 + share * (shorter.y1 - shorter.y0) - longer.y0;
        double const along = x * dx + y * dy;
        nInside += std::abs(y * dx - x * dy) <= reach && along >= -reach && along <= length + reach ? 1 : 0;
    }
    return 2 * nInside > nPlaces;
}

class Search {
public:
    Search(detail::StreakImages const& images, StreakControl const& control, detail::StreakField& field)
        : images_(&images),
          control_(&control),
          field_(&field),
          isSeen_(OwnedImage<std::uint8_t>::Zero(field.pulls.rows(), field.pulls.cols())) {}

    std::vector<Streak> run(Execution const& execution) {
        std::vector<Streak> streaks;
        bool hasFound = true;
        while (hasFound && nMeasured_ < mostMeasured) {
            hasFound = false;
            for (detail::Line const& line : detail::findLines(field_->pulls, control_->minLineSigmas, execution)) {
                if (nMeasured_ >= mostMeasured || isKnown(line)) {
                    continue;
                }
                ++nMeasured_;
                auto const streak = measure(line);
                mark(inBins(line), 0.5 * line.width + 0.5, false);
                if (streak && addTo(streaks, *streak)) {
                    mark(onBins(*streak), streak->halfWidth / static_cast<double>(field_->bin) + besideLine, true);
                    hasFound = true;
                }
                if (static_cast<int>(streaks.size()) > control_->maxStreaks) {
                    return {};
                }
            }
        }
        std::stable_sort(streaks.begin(), streaks.end(),
                         [](Streak const& a, Streak const& b) { return a.significance > b.significance; });
        return streaks;
    }

private:
    static Streak inBins(detail::Line const& line) { return {line.x0, line.y0, line.x1, line.y1}; }

    // Whether it is new, or longer than what was found of it before, which it replaces.
    [[nodiscard]] bool addTo(std::vector<Streak>& streaks, Streak const& streak) const {
        double const slack = besideLine * static_cast<double>(field_->bin);
        auto const same = std::find_if(streaks.begin(), streaks.end(), [&](Streak const& other) {
            bool const isLonger = lengthOf(streak) > lengthOf(other);
            return isPartOf(isLonger ? other : streak, isLonger ? streak : other, slack);
        });
        if (same == streaks.end()) {
            streaks.push_back(streak);
            return true;
        }
        bool const isLonger = lengthOf(streak) > lengthOf(*same);
        *same = isLonger ? streak : *same;
        return isLonger;
    }

    [[nodiscard]] Streak onBins(Streak streak) const {
        auto const bin = static_cast<double>(field_->bin);
        for (double* const place : {&streak.x0, &streak.y0, &streak.x1, &streak.y1}) {
            *place = (*place + 0.5) / bin - 0.5;
        }
        return streak;
    }

    [[nodiscard]] std::optional<Streak> measure(detail::Line const& line) const {
        auto const bin = static_cast<double>(field_->bin);
        auto const pixel = [bin](double place) { return (place + 0.5) * bin - 0.5; };
        return detail::measureStreak(
            detail::courseBetween(pixel(line.x0), pixel(line.y0), pixel(line.x1), pixel(line.y1)), 2.0 * bin, *images_,
            *control_, *field_);
    }

    [[nodiscard]] bool isKnown(detail::Line const& line) const {
        Index nSeen = 0;
        Index count = 0;
        forRows(inBins(line), 0.5, isSeen_.rows(), isSeen_.cols(), [&](Index first, Index end, Index y) {
            for (Index x = first; x < end; ++x) {
                nSeen += isSeen_(y, x);
                ++count;
            }
        });
        return static_cast<double>(nSeen) >= seenShare * static_cast<double>(count);
    }

    void mark(Streak const& line, double halfWidth, bool isStreak) {
        forRows(line, halfWidth, isSeen_.rows(), isSeen_.cols(), [&](Index first, Index end, Index y) {
            isSeen_.row(y).segment(first, end - first).setOnes();
            if (isStreak) {
                field_->pulls.row(y).segment(first, end - first).setZero();
            }
        });
    }

    detail::StreakImages const* images_;
    StreakControl const* control_;
    detail::StreakField* field_;
    OwnedImage<std::uint8_t> isSeen_;
    int nMeasured_ = 0;
};

}  // namespace

StreakPair findStreaks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                       ConstImageView<float> const& other, ConstImageView<MaskPixel> const& otherMask,
                       StreakControl const& control, Execution const& execution) {
    if (!haveOneShape(image, mask, other, otherMask)) {
        throw std::invalid_argument("images and masks must have one shape");
    }
    if (!(control.fluxRatio > 0.0) || !std::isfinite(control.fluxRatio)) {
        throw std::invalid_argument("fluxRatio is " + std::to_string(control.fluxRatio) +
                                    ", must be a positive number");
    }
    if (std::min(image.rows(), image.cols()) < smallestSide) {
        return {};
    }
    detail::StreakImages const images{image, mask, other, otherMask};
    Index const bin = binFor(image.rows(), image.cols());
    detail::StreakFields fields = detail::makeStreakFields(images, control, bin, execution);
    detail::StreakImages const turned{other, otherMask, image, mask};
    StreakControl reversed = control;
    std::swap(reversed.badBits, reversed.otherBadBits);
    reversed.fluxRatio = 1.0 / control.fluxRatio;
    StreakPair found;
    // Side by side, each with half of the threads.
    Execution const half = execution.nThreads > 1 ? Execution{execution.nThreads / 2} : execution;
    parallelFor(2, execution, [&](Index item, int) {
        if (item == 0) {
            found.image = Search(images, control, fields.image).run(half);
        } else {
            found.other = Search(turned, reversed, fields.other).run(half);
        }
    });
    return found;
}

Index flagStreaks(std::vector<Streak> const& streaks, MaskPixel bits, ImageView<MaskPixel> mask) {
    Index count = 0;
    for (Streak const& streak : streaks) {
        forRows(streak, streak.halfWidth, mask.rows(), mask.cols(), [&](Index first, Index end, Index y) {
            for (Index x = first; x < end; ++x) {
                count += (mask(y, x) & bits) == bits ? 0 : 1;
                mask(y, x) |= bits;
            }
        });
    }
    return count;
}

}  // namespace psfmatch
