// The surroundings of a line: its light in pieces along it, at all whole pixels across.
#pragma once

#include <cstddef>
#include <vector>

#include "sources/StreakField.h"

namespace psfmatch::detail {

// A line by a point on it, its direction (a unit vector), and where it begins and ends from the point, pixels.
struct Course {
    double x = 0.0;
    double y = 0.0;
    double dx = 1.0;
    double dy = 0.0;
    double first = 0.0;
    double last = 0.0;

    [[nodiscard]] double length() const { return last - first; }
    // Pixels to one side of the line, at a distance from the point along it.
    [[nodiscard]] double xAt(double along, double across = 0.0) const { return x + along * dx - across * dy; }
    [[nodiscard]] double yAt(double along, double across = 0.0) const { return y + along * dy + across * dx; }
};

[[nodiscard]] Course courseBetween(double x0, double y0, double x1, double y1);

// The same line, not beyond the borders of an image.
[[nodiscard]] Course within(Course course, Index height, Index width);

// What is looked at: the difference where bins are clean, or what either image shows, in units of the image searched.
enum class StripSource { difference, image, other };

struct Strip {
    Index nPieces = 0;
    Index half = 0;  // pixels to either side
    double pieceLength = 1.0;
    std::vector<float> values;  // (pieces, 2 half + 1) means of the middle half; NaN where too few pixels tell
    double noise = 0.0;         // scatter of a value, of those far from the line
    double pixelNoise = 0.0;    // that of a pixel

    [[nodiscard]] Index width() const { return 2 * half + 1; }
    [[nodiscard]] float at(Index piece, Index across) const {
        return values[static_cast<std::size_t>(piece * width() + across + half)];
    }
};

// Of pieces of a length of about a 24th of the line, 8 to 32 pixels, the sky to both sides of each taken off.
[[nodiscard]] Strip stripAlong(Course const& course, Index half, StripSource source, StreakImages const& images,
                               StreakControl const& control, StreakField const& field);

// Mean of the middle half of the values, whose order is lost; NaN of none.
[[nodiscard]] double middleMean(std::vector<float>& values);

// Sums over boxes across a strip, and their scatter far from the line.
class StripBoxes {
public:
    explicit StripBoxes(Strip const& strip);

    // Over `side` (odd) pixels about a place across, of a piece; 0 for what is not known.
    [[nodiscard]] double sum(Index piece, Index across, Index side) const;
    // Whether more than half of them are known.
    [[nodiscard]] bool isKnown(Index piece, Index across, Index side) const;
    // Whether all are.
    [[nodiscard]] bool isWhole(Index piece, Index across, Index side) const;
    [[nodiscard]] double noise(Index side) const;

private:
    struct Ends {
        std::size_t low;
        std::size_t high;
    };
    [[nodiscard]] Ends ends(Index piece, Index across, Index side) const;

    Strip const* strip_;
    std::vector<double> sums_;  // (pieces, 2 half + 2) running
    std::vector<int> counts_;   // of known values, likewise
};

}  // namespace psfmatch::detail
