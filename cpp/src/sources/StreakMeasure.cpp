#include "sources/StreakMeasure.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "sources/StreakProfile.h"

namespace psfmatch::detail {

namespace {

// Pixels to either side of a line that are looked at.
constexpr Index stripHalf = 48;
// Widths across (pixels) that light is summed over.
constexpr std::array<Index, 5> boxSides{3, 5, 9, 17, 33};
constexpr int mostPasses = 12;
// A line must show this on the pixels where it was found, before it is followed.
constexpr double firstSignificance = 4.0;
// Pixels by which the ends of a line that has been followed may still be off.
constexpr Index followSlack = 5;
// Light of a piece counts in full up to so many sigma, and its logarithm beyond: no star outweighs a line, and yet a
// bright line counts most where its middle is.
constexpr double fullSigmas = 3.0;
// For the ends of a line a piece counts within these limits, less what noise alone may make.
constexpr double leastPiece = -3.0;
constexpr double mostPiece = 5.0;
constexpr double noisePiece = 1.2;
// Of a piece, what is flagged beyond the last that shows light: the rest of a streak that ends within the next one.
constexpr double beyondEnds = 0.3;
// By how much of its own length, and pixels at least, a line is followed at a time.
constexpr double followShare = 0.5;
constexpr double followLeast = 64.0;
// Of a line, pieces that must be known.
constexpr Index fewestPieces = 4;
// Share of them that must show light, of so many sigma.
constexpr double shareLit = 0.6;
constexpr double litSigmas = 1.0;
// Light of the brightest quarter of the pieces in units of their median: spikes of stars fall off.
constexpr double mostUneven = 4.0;
// What changed lies in rows by chance, stars of a crowd or transients, and short rows pass for lines: of lines of fewer
// pieces than this (in a crowd: known ones), the share of the known pieces whose light departs from the median's by no
// more than half of it and a sigma downwards, or as much again and a sigma upwards. In a crowd, what is left of stars
// disturbs real ones, too.
constexpr double shareAlike = 0.8;
constexpr double crowdAlike = 0.65;
constexpr Index piecesOfRows = 20;
// Of the other image's light on the line, what a crowd makes by chance.
constexpr double crowdSigmas = 3.0;
// Slope against rows or columns, or pixels, by which a line departs from them that is nearly along one; and the
// steepest fall across, of its peak, that such a line may have on the rows or columns themselves: bleed trails and bad
// columns have edges.
constexpr double axisSlope = 0.045;
constexpr double axisPixels = 4.0;
// From so many pixels on it crosses so many rows or columns that it is nothing of the detector, not even where the
// template was turned.
constexpr double crossedPixels = 12.0;
// Counts of a star that may have bled, of those of the brightest pixel; pixels from a line and its ends where it lies.
constexpr float bledShare = 0.5F;
constexpr Index nearLine = 4;
constexpr double nearEnds = 16.0;
// What has bled is as bright as the pixels that are full, and this share of them at the least, or ends at the star;
// what goes on to either side of a star, fainter and askew, has nothing to do with it.
constexpr double bledLight = 0.25;
constexpr double steepestFall = 0.6;
// Of the peak, light on one side that a streak cannot have: steps and slopes of the sky.
constexpr double mostBeside = 0.4;

// Light in pieces along a line that was shifted across by `start` at its first and `end` at its last piece.
struct Fit {
    Index side = 3;
    Index start = 0;
    Index end = 0;
    double significance = 0.0;
};

Index acrossAt(Fit const& fit, Index piece, Index nPieces) {
    double const share = (static_cast<double>(piece) + 0.5) / static_cast<double>(nPieces);
    return static_cast<Index>(
        std::lround(static_cast<double>(fit.start) + share * static_cast<double>(fit.end - fit.start)));
}

// What each piece counts in boxes of one side at all shifts across by up to `slack` pixels; NaN where it is not known.
std::vector<double> countsOf(Strip const& strip, StripBoxes const& boxes, Index slack, Index side, double noise) {
    std::vector<double> counts;
    counts.reserve(static_cast<std::size_t>(strip.nPieces * (2 * slack + 1)));
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        for (Index across = -slack; across <= slack; ++across) {
            counts.push_back(boxes.isKnown(piece, across, side)
                                 ? fullSigmas * std::asinh(boxes.sum(piece, across, side) / (noise * fullSigmas))
                                 : std::numeric_limits<double>::quiet_NaN());
        }
    }
    return counts;
}

// Where light lies best along a line: all shifts of both ends by up to `slack` pixels, and all widths.
Fit bestFit(Strip const& strip, StripBoxes const& boxes, Index slack) {
    Fit best;
    std::vector<Index> shifts;  // from -slack on, of the pieces, for all starts and ends
    for (Index start = -slack; start <= slack; ++start) {
        for (Index end = -slack; end <= slack; ++end) {
            for (Index piece = 0; piece < strip.nPieces; ++piece) {
                shifts.push_back(acrossAt({0, start, end, 0.0}, piece, strip.nPieces) + slack);
            }
        }
    }
    for (Index const side : boxSides) {
        double const noise = boxes.noise(side);
        if (!(noise > 0.0)) {
            continue;
        }
        auto shift = shifts.begin();
        std::vector<double> const counts = countsOf(strip, boxes, slack, side, noise);
        for (Index start = -slack; start <= slack; ++start) {
            for (Index end = -slack; end <= slack; ++end) {
                Fit fit{side, start, end, 0.0};
                double sum = 0.0;
                Index count = 0;
                for (Index piece = 0; piece < strip.nPieces; ++piece) {
                    double const value = counts[static_cast<std::size_t>(piece * (2 * slack + 1) + *shift++)];
                    if (!std::isnan(value)) {
                        sum += value;
                        ++count;
                    }
                }
                fit.significance = sum / std::sqrt(static_cast<double>(std::max<Index>(count, 1)));
                // Equal ones: the middle.
                bool const isNearer = fit.significance == best.significance &&
                                      std::abs(start) + std::abs(end) < std::abs(best.start) + std::abs(best.end);
                if (fit.significance > best.significance || isNearer) {
                    best = fit;
                }
            }
        }
    }
    return best;
}

// Light of the pieces in sigma; NaN of those that are not known, such as stars that both images show.
std::vector<double> lightAlong(Strip const& strip, StripBoxes const& boxes, Fit const& fit) {
    double const noise = boxes.noise(fit.side);
    std::vector<double> light;
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        Index const across = acrossAt(fit, piece, strip.nPieces);
        light.push_back(boxes.isKnown(piece, across, fit.side) ? boxes.sum(piece, across, fit.side) / noise
                                                               : std::numeric_limits<double>::quiet_NaN());
    }
    return light;
}

struct Range {
    Index first = 0;
    Index end = 0;  // after the last
};

// The pieces that make a streak: the run that counts most.
Range litRange(std::vector<double> const& light) {
    Range best;
    double most = 0.0;
    double sum = 0.0;
    Index first = 0;
    for (std::size_t i = 0; i < light.size(); ++i) {
        if (sum <= 0.0) {
            sum = 0.0;
            first = static_cast<Index>(i);
        }
        sum += std::isfinite(light[i]) ? std::clamp(light[i], leastPiece, mostPiece) - noisePiece : 0.0;
        if (sum > most) {
            most = sum;
            best = {first, static_cast<Index>(i) + 1};
        }
    }
    return best;
}

// The course moved across at its ends.
Course moved(Course const& course, Fit const& fit) {
    auto const start = static_cast<double>(fit.start);
    auto const end = static_cast<double>(fit.end);
    return courseBetween(course.xAt(course.first, start), course.yAt(course.first, start), course.xAt(course.last, end),
                         course.yAt(course.last, end));
}

struct LightOn {
    double mean = 0.0;
    double error = 0.0;
};

// Mean light over a box on the line, of what one image shows alone, and its error by the scatter of boxes beside it.
LightOn lightOn(Course const& course, Index side, StripSource source, StreakImages const& images,
                StreakControl const& control, StreakField const& field) {
    Strip const strip = stripAlong(course, stripHalf, source, images, control, field);
    StripBoxes const boxes(strip);
    std::vector<float> light;
    for (Index piece = 0; piece < strip.nPieces; ++piece) {
        if (std::isfinite(strip.at(piece, 0))) {
            light.push_back(static_cast<float>(boxes.sum(piece, 0, side)));
        }
    }
    if (light.empty()) {
        return {};
    }
    double const error = boxes.noise(side) / std::sqrt(static_cast<double>(light.size()));
    return {middleMean(light), error};
}

// Whether one of the brightest stars has bled along a line: one lies at its end, or on it where it shines as what is
// full does or goes straight along rows or columns.
bool hasBled(Course const& course, double peak, bool isStraight, ConstImageView<float> const& image) {
    // Single bright pixels are no stars: of each, its brightest neighbours along rows and columns, the least of the
    // three.
    auto const most = [&](Index y0, Index y1, Index x0, Index x1) {
        float found = std::numeric_limits<float>::lowest();
        for (Index y = std::max<Index>(1, y0); y < std::min(image.rows() - 1, y1); ++y) {
            for (Index x = std::max<Index>(1, x0); x < std::min(image.cols() - 1, x1); ++x) {
                float const value = std::min({image(y, x), std::max(image(y, x - 1), image(y, x + 1)),
                                              std::max(image(y - 1, x), image(y + 1, x))});
                found = value > found && value <= std::numeric_limits<float>::max() ? value : found;
            }
        }
        return found;
    };
    auto const pixel = [](double place) { return static_cast<Index>(std::lround(place)); };
    float const brightest = most(0, image.rows(), 0, image.cols());
    bool const isAnywhere = isStraight || peak > bledLight * static_cast<double>(brightest);
    for (double along = course.first - nearEnds; along <= course.last + nearEnds; along += 1.0) {
        if (!isAnywhere && std::min(along - course.first, course.last - along) > nearEnds) {
            continue;
        }
        Index const x = pixel(course.xAt(along));
        Index const y = pixel(course.yAt(along));
        if (most(y - nearLine, y + nearLine + 1, x - nearLine, x + nearLine + 1) > bledShare * brightest) {
            return true;
        }
    }
    return false;
}

// Whether a line lies along rows or columns and has their edges, or comes from a star that may have bled along them.
bool isOfDetector(Course const& course, Index side, double peak, StreakImages const& images,
                  StreakControl const& control, StreakField const& field) {
    double const departure = std::min(std::abs(course.dx), std::abs(course.dy));
    double const crossed = departure * course.length();
    if (crossed > (departure > axisSlope ? axisPixels : crossedPixels)) {
        return false;
    }
    double const middle = 0.5 * (course.first + course.last);
    double const x = course.xAt(middle);
    double const y = course.yAt(middle);
    double const half = 0.5 * course.length();
    bool const isRow = std::abs(course.dx) > std::abs(course.dy);
    Course const straight = isRow ? courseBetween(x - half, std::round(y), x + half, std::round(y))
                                  : courseBetween(std::round(x), y - half, std::round(x), y + half);
    Strip const strip = stripAlong(within(straight, images.image.rows(), images.image.cols()), stripHalf,
                                   StripSource::difference, images, control, field);
    Across const across = acrossOf(strip, profileOf(strip), side, 0.0);
    return across.steepest > steepestFall * across.peak || hasBled(course, peak, crossed <= axisPixels, images.image);
}

bool isEven(std::vector<double> light) {
    std::erase_if(light, [](double value) { return !std::isfinite(value); });
    if (static_cast<Index>(light.size()) < fewestPieces) {
        return false;
    }
    auto const nLit = std::count_if(light.begin(), light.end(), [](double value) { return value > litSigmas; });
    if (static_cast<double>(nLit) < shareLit * static_cast<double>(light.size())) {
        return false;
    }
    std::sort(light.begin(), light.end());
    double const middle = light[light.size() / 2];
    double const bright = light[light.size() - 1 - light.size() / 8];
    return bright <= mostUneven * middle;
}

// Whether a short line shines like one thing and not like a row of several, the brightest of which make it significant.
bool isOfOnePiece(std::vector<double> light, double minSignificance, bool isCrowd) {
    auto const nPieces = static_cast<Index>(light.size());
    std::erase_if(light, [](double value) { return !std::isfinite(value); });
    auto const count = static_cast<Index>(light.size());
    if (count == 0 || (isCrowd ? count : nPieces) >= piecesOfRows) {
        return count > 0;
    }
    double const share = isCrowd ? crowdAlike : shareAlike;
    std::sort(light.begin(), light.end());
    double const middle =
        0.5 * (light[static_cast<std::size_t>((count - 1) / 2)] + light[static_cast<std::size_t>(count / 2)]);
    double sum = 0.0;
    Index nAlike = 0;
    for (double const value : light) {
        sum += std::min(value, middle);
        nAlike += value >= 0.5 * middle - 1.0 && value <= 2.0 * middle + 1.0 ? 1 : 0;
    }
    return sum >= minSignificance * std::sqrt(static_cast<double>(count)) &&
           static_cast<double>(nAlike) >= share * static_cast<double>(count);
}

}  // namespace

std::optional<Streak> measureStreak(Course const& found, double slack, StreakImages const& images,
                                    StreakControl const& control, StreakField const& field) {
    Index const height = images.image.rows();
    Index const width = images.image.cols();
    auto const stripOf = [&](Course const& course) {
        return stripAlong(course, stripHalf, StripSource::difference, images, control, field);
    };
    Course course = within(found, height, width);
    auto reach = static_cast<Index>(std::ceil(slack));
    // Ends that have not been found yet.
    bool isStartOpen = true;
    bool isEndOpen = true;
    for (int pass = 0; pass < mostPasses; ++pass) {
        if (!(course.length() >= 0.5 * control.minLength)) {
            return std::nullopt;
        }
        Strip const strip = stripOf(course);
        StripBoxes const boxes(strip);
        Fit const fit = bestFit(strip, boxes, reach);
        if (!(fit.significance >= firstSignificance)) {
            return std::nullopt;
        }
        Range const lit = litRange(lightAlong(strip, boxes, fit));
        Course const next = within(moved(course, fit), height, width);
        Course followed = next;
        double const further = std::max(followShare * course.length(), followLeast);
        if (lit.first > 0) {
            followed.first = next.first + static_cast<double>(lit.first) * strip.pieceLength;
            isStartOpen = false;
        } else if (isStartOpen) {
            followed.first = next.first - further;
        }
        if (lit.end < strip.nPieces) {
            followed.last = next.first + static_cast<double>(lit.end) * strip.pieceLength;
            isEndOpen = false;
        } else if (isEndOpen) {
            followed.last = next.last + further;
        }
        course = within(followed, height, width);
        isStartOpen = isStartOpen && course.first < next.first - 1.0;
        isEndOpen = isEndOpen && course.last > next.last + 1.0;
        reach = followSlack;
        bool const isSettled = fit.start == 0 && fit.end == 0 && lit.first == 0 && lit.end == strip.nPieces;
        if (!isStartOpen && !isEndOpen && isSettled) {
            break;
        }
    }
    if (!(course.length() >= control.minLength)) {
        return std::nullopt;
    }
    Strip const strip = stripOf(course);
    StripBoxes const boxes(strip);
    Fit const fit = bestFit(strip, boxes, 1);
    std::vector<double> const light = lightAlong(strip, boxes, fit);
    if (!(fit.significance >= control.minSignificance) || !isEven(light)) {
        return std::nullopt;
    }
    bool const isCrowd = field.excess.size() > 0;
    if (!isOfOnePiece(light, control.minSignificance, isCrowd)) {
        return std::nullopt;
    }
    std::vector<double> const profile = profileOf(strip);
    double const error = strip.noise / std::sqrt(static_cast<double>(strip.nPieces));
    Across const across =
        acrossOf(strip, profile, fit.side, std::max(control.lightSigmas * strip.pixelNoise, 2.0 * error));
    bool const isSlim = course.length() >= control.minElongation * across.fwhm &&
                        course.length() >= control.minSlimness * 2.0 * across.reach;
    bool const isBright = across.peak > 0.0 && across.peak >= control.minPeakSigmas * strip.pixelNoise;
    if (!isBright || !isSlim || across.beside > mostBeside * across.peak ||
        isOfDetector(course, fit.side, across.peak, images, control, field)) {
        return std::nullopt;
    }
    LightOn const own = lightOn(course, fit.side, StripSource::image, images, control, field);
    LightOn const other = lightOn(course, fit.side, StripSource::other, images, control, field);
    // A crowd's own light on the line is its scatter.
    double const crowd = isCrowd ? crowdSigmas * other.error : 0.0;
    if (!(own.mean > 0.0) || other.mean > control.maxOther * own.mean + crowd) {
        return std::nullopt;
    }
    return Streak{course.xAt(course.first),
                  course.yAt(course.first),
                  course.xAt(course.last),
                  course.yAt(course.last),
                  across.reach + 1.0,
                  across.fwhm,
                  across.peak,
                  fit.significance};
}

}  // namespace psfmatch::detail
