#include "sources/LineSums.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <tuple>
#include <utility>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch::detail {

namespace {

// Rows of the shortest lines that are judged.
constexpr Index fewestRows = 8;
constexpr std::array<int, 2> widths{1, 3};
constexpr std::size_t sampleSize = 512;

// Sums of one length: of strip b, displacement s along x from its first to its last row, first column x.
struct Sums {
    Index nRows = 1;  // of a strip
    Index nStrips = 0;
    Index width = 0;
    std::vector<float> values;  // (strips, displacements, columns)

    [[nodiscard]] float const* row(Index strip, Index slope) const {
        return values.data() + (strip * nRows + slope) * width;
    }
    [[nodiscard]] float* row(Index strip, Index slope) { return values.data() + (strip * nRows + slope) * width; }
};

// Lines of twice the length, columns counted round the image: what leaves it on one side enters on the other.
void makeDoubled(Sums const& half, Sums& whole) {
    whole.nRows = 2 * half.nRows;
    whole.nStrips = (half.nStrips + 1) / 2;
    whole.width = half.width;
    whole.values.resize(static_cast<std::size_t>(whole.nStrips * whole.nRows * whole.width));
    for (Index strip = 0; strip < whole.nStrips; ++strip) {
        bool const hasSecond = 2 * strip + 1 < half.nStrips;
        for (Index slope = 0; slope < whole.nRows; ++slope) {
            float const* const first = half.row(2 * strip, slope / 2);
            float* const sum = whole.row(strip, slope);
            if (!hasSecond) {
                std::copy_n(first, whole.width, sum);
                continue;
            }
            float const* const second = half.row(2 * strip + 1, slope / 2);
            Index const shift = (slope - slope / 2) % whole.width;
            Index const before = whole.width - shift;
            for (Index x = 0; x < before; ++x) {
                sum[x] = first[x] + second[x + shift];
            }
            for (Index x = before; x < whole.width; ++x) {
                sum[x] = first[x] + second[x - before];
            }
        }
    }
}

// Sums over three adjacent lines, from each column on, round the image.
void addNeighbours(float const* sums, Index width, std::vector<float>& wide) {
    wide.resize(static_cast<std::size_t>(width));
    float* const to = wide.data();
    for (Index x = 0; x + 2 < width; ++x) {
        to[x] = sums[x] + sums[x + 1] + sums[x + 2];
    }
    for (Index x = std::max<Index>(0, width - 2); x < width; ++x) {
        to[x] = sums[x] + sums[(x + 1) % width] + sums[(x + 2) % width];
    }
}

// A row of sums over one line or three.
float const* rowOf(Sums const& sums, Index row, int nLines, std::vector<float>& wide) {
    float const* const single = sums.values.data() + row * sums.width;
    if (nLines == 1) {
        return single;
    }
    addNeighbours(single, sums.width, wide);
    return wide.data();
}

// Scatter of sums over adjacent lines in units of that of independent pulls of one, never less than 1.
double excessScatter(Sums const& sums, int nLines, std::vector<float>& wide) {
    std::vector<float> sample;
    std::vector<float> scratch;
    Index const nAll = sums.nStrips * sums.nRows;
    auto const perRow = std::max<Index>(1, std::min<Index>(sums.width, 64));
    auto const rows = std::min<Index>(nAll, static_cast<Index>(sampleSize) / perRow);
    for (Index i = 0; i < rows; ++i) {
        Index const row = i * nAll / rows;
        float const* const values = rowOf(sums, row, nLines, wide);
        for (Index k = 0; k < perRow; ++k) {
            sample.push_back(values[k * sums.width / perRow]);
        }
    }
    double const sigma = medianAndSigma<float>(sample, scratch).sigma;
    return std::max(1.0, sigma / std::sqrt(static_cast<double>(sums.nRows * nLines)));
}

struct Orientation {
    bool isTransposed;
    bool isMirrored;
};

// The part of a line that lies within the image, of those that its course round it is made of: the brightest.
Line partOf(OwnedImage<float> const& pulls, Index first, Index nRows, Index nUsed, Index slope, double column) {
    auto const width = static_cast<double>(pulls.cols());
    double const step = nRows > 1 ? static_cast<double>(slope) / static_cast<double>(nRows - 1) : 0.0;
    Line best;
    double bestSum = 0.0;
    Line part;
    double sum = 0.0;
    auto round = static_cast<Index>(-1);
    auto const close = [&] {
        if (round >= 0 && (bestSum == 0.0 || sum > bestSum)) {
            best = part;
            bestSum = sum;
        }
    };
    for (Index y = 0; y < nUsed; ++y) {
        double const x = column + step * static_cast<double>(y);
        auto const turn = static_cast<Index>(std::floor((x + 0.5) / width));
        double const inside = x - static_cast<double>(turn) * width;
        if (turn != round) {
            close();
            part.x0 = inside;
            part.y0 = static_cast<double>(first + y);
            sum = 0.0;
            round = turn;
        }
        part.x1 = inside;
        part.y1 = static_cast<double>(first + y);
        sum += static_cast<double>(
            pulls(first + y, std::clamp<Index>(static_cast<Index>(std::lround(inside)), 0, pulls.cols() - 1)));
    }
    close();
    return best;
}

std::vector<Line> bestLines(OwnedImage<float> const& pulls, double least) {
    Sums sums{1, pulls.rows(), pulls.cols(), {pulls.data(), pulls.data() + pulls.size()}};
    std::vector<Line> lines;
    std::vector<float> wide;
    Sums half;  // memory that all lengths share
    while (sums.nStrips > 1) {
        std::swap(half, sums);
        makeDoubled(half, sums);
        if (sums.nRows < fewestRows) {
            continue;
        }
        std::array<double, widths.size()> excess{};
        for (std::size_t w = 0; w < widths.size(); ++w) {
            excess[w] = excessScatter(sums, widths[w], wide);
        }
        for (Index strip = 0; strip < sums.nStrips; ++strip) {
            Index const first = strip * sums.nRows;
            Index const nUsed = std::min(sums.nRows, pulls.rows() - first);
            float score = static_cast<float>(least);
            std::tuple<Index, Index, int> best{-1, 0, 0};
            for (std::size_t w = 0; w < widths.size(); ++w) {
                auto const scale =
                    static_cast<float>(1.0 / (excess[w] * std::sqrt(static_cast<double>(nUsed * widths[w]))));
                for (Index slope = 0; slope < sums.nRows; ++slope) {
                    float const* const row = rowOf(sums, strip * sums.nRows + slope, widths[w], wide);
                    float const most = Eigen::Map<Eigen::ArrayXf const>(row, sums.width).maxCoeff();
                    if (most * scale > score) {
                        score = most * scale;
                        best = {slope, std::max_element(row, row + sums.width) - row, widths[w]};
                    }
                }
            }
            auto const [slope, column, nLines] = best;
            if (slope >= 0) {
                double const middle = static_cast<double>(column) + 0.5 * (nLines - 1);
                Line line = partOf(pulls, first, sums.nRows, nUsed, slope, middle);
                line.width = nLines;
                line.score = score;
                lines.push_back(line);
            }
        }
    }
    return lines;
}

}  // namespace

std::vector<Line> findLines(OwnedImage<float> const& pulls, double least, Execution const& execution) {
    constexpr std::array<Orientation, 4> orientations{{{false, false}, {false, true}, {true, false}, {true, true}}};
    std::array<std::vector<Line>, 4> found;
    parallelFor(static_cast<Index>(orientations.size()), execution, [&](Index item, int) {
        auto const number = static_cast<std::size_t>(item);
        auto const [isTransposed, isMirrored] = orientations[number];
        OwnedImage<float> turned = isTransposed ? OwnedImage<float>(pulls.transpose()) : pulls;
        if (isMirrored) {
            turned = OwnedImage<float>(turned.rowwise().reverse());
        }
        found[number] = bestLines(turned, least);
        for (Line& line : found[number]) {
            if (isMirrored) {
                line.x0 = static_cast<double>(turned.cols() - 1) - line.x0;
                line.x1 = static_cast<double>(turned.cols() - 1) - line.x1;
            }
            if (isTransposed) {
                std::swap(line.x0, line.y0);
                std::swap(line.x1, line.y1);
            }
        }
    });
    std::vector<Line> lines;
    for (auto const& some : found) {
        lines.insert(lines.end(), some.begin(), some.end());
    }
    std::stable_sort(lines.begin(), lines.end(), [](Line const& a, Line const& b) { return a.score > b.score; });
    return lines;
}

}  // namespace psfmatch::detail
