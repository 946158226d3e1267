#include "psfmatch/image/BorderLevels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/LeastSquares.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/statistics.h"

namespace psfmatch {

namespace {

constexpr double medianError = 1.2533;  // of a median of n values of noise 1, times sqrt(n)
constexpr Index leastSide = 256;        // pixels
constexpr Index pieceSide = 64;         // of cells along a border, pixels
constexpr std::array<Index, 10> steps{2, 4, 8, 12, 16, 24, 32, 48, 64, 96};  // ends of cells, from the border
constexpr Index samplePixels = 60'000;
constexpr Index sampleStep = 8;  // of the pixels of a row, and of a column, that are counted
constexpr Index fewPixels = 30;
constexpr double leastShare = 0.25;  // of a cell's pixels that must be good
constexpr double unevenness = 0.05;  // of a pixel's noise, by which medians of cells differ beside their errors
constexpr double clipping = 3.0;     // errors from which a cell loses weight
constexpr int nPasses = 3;
constexpr std::size_t nSides = 4;
constexpr Index nPlane = 3;  // terms of what the sky does far from the border
constexpr double pieceLevel = 0.25;
constexpr double outerCells = 12.0;  // pixels from the border
constexpr double innerCells = 48.0;
constexpr double farLengths = 7.0;  // beyond, a level is below a thousandth

struct Cell {
    double x = 0.0;  // of its middle, from the area's first pixel
    double y = 0.0;
    double value = 0.0;
    double error = 0.0;
};

struct Fit {
    Eigen::VectorXd solution;
    Eigen::VectorXd errors;
    double misfit = std::numeric_limits<double>::infinity();
};

using Chosen = std::array<bool, nSides>;

bool isGood(MaskedImageView const& difference, MaskPixel badBits, Index y, Index x) {
    return (difference.mask(y, x) & badBits) == 0 && std::isfinite(difference.image(y, x));
}

// Rows and columns of which at least half as much is good as of the best.
Box goodArea(MaskedImageView const& difference, MaskPixel badBits) {
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    std::vector<Index> inRows(static_cast<std::size_t>(height), 0);
    std::vector<Index> inColumns(static_cast<std::size_t>(width), 0);
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; x += y % sampleStep == 0 ? 1 : sampleStep) {
            Index const one = isGood(difference, badBits, y, x) ? 1 : 0;
            inRows[static_cast<std::size_t>(y)] += x % sampleStep == 0 ? one : 0;
            inColumns[static_cast<std::size_t>(x)] += y % sampleStep == 0 ? one : 0;
        }
    }
    auto const range = [](std::vector<Index> const& counts) {
        Index const best = *std::max_element(counts.begin(), counts.end());
        auto const isFull = [best](Index count) { return best > 0 && 2 * count >= best; };
        auto const first = std::find_if(counts.begin(), counts.end(), isFull);
        auto const last = std::find_if(counts.rbegin(), counts.rend(), isFull);
        return std::pair(first - counts.begin(), counts.rend() - last);
    };
    auto const [x0, x1] = range(inColumns);
    auto const [y0, y1] = range(inRows);
    return {x0, y0, std::max<Index>(0, x1 - x0), std::max<Index>(0, y1 - y0)};
}

double noiseOf(MaskedImageView const& difference, MaskPixel badBits) {
    Index const width = difference.image.cols();
    Index const total = difference.image.size();
    Index const step = std::max<Index>(1, total / samplePixels) | 1;
    std::vector<float> values;
    for (Index place = 0; place < total; place += step) {
        if (isGood(difference, badBits, place / width, place % width)) {
            values.push_back(difference.image(place / width, place % width));
        }
    }
    std::vector<float> scratch;
    return medianAndSigma(std::span(values), scratch).sigma;
}

// Borders of cells along an axis: fine at both ends, pieces between.
std::vector<Index> edgesOf(Index size) {
    std::vector<Index> edges{0};
    edges.insert(edges.end(), steps.begin(), steps.end());
    Index const first = steps.back();
    Index const inner = size - 2 * first;
    Index const n = std::max<Index>(1, (inner + pieceSide / 2) / pieceSide);
    for (Index i = 1; i < n; ++i) {
        edges.push_back(first + i * inner / n);
    }
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        edges.push_back(size - *step);
    }
    edges.push_back(size);
    return edges;
}

std::vector<Cell> cellsOf(MaskedImageView const& difference, MaskPixel badBits, Box const& area, double noise,
                          Execution const& execution) {
    std::vector<Index> const edgesX = edgesOf(area.width);
    std::vector<Index> const edgesY = edgesOf(area.height);
    auto const nx = static_cast<Index>(edgesX.size()) - 1;
    auto const ny = static_cast<Index>(edgesY.size()) - 1;
    auto const nSteps = static_cast<Index>(steps.size());
    std::vector<std::vector<Cell>> rows(static_cast<std::size_t>(ny));
    parallelForBrief(ny, execution, [&](Index j, int) {
        std::vector<float> values;
        Index const y0 = edgesY[static_cast<std::size_t>(j)];
        Index const y1 = edgesY[static_cast<std::size_t>(j + 1)];
        bool const isOuter = j < nSteps || j >= ny - nSteps;
        for (Index i = 0; i < nx; ++i) {
            if (!isOuter && i >= nSteps && i < nx - nSteps) {
                continue;
            }
            Index const x0 = edgesX[static_cast<std::size_t>(i)];
            Index const x1 = edgesX[static_cast<std::size_t>(i + 1)];
            values.clear();
            for (Index y = area.y0 + y0; y < area.y0 + y1; ++y) {
                for (Index x = area.x0 + x0; x < area.x0 + x1; ++x) {
                    if (isGood(difference, badBits, y, x)) {
                        values.push_back(difference.image(y, x));
                    }
                }
            }
            auto const n = static_cast<double>(values.size());
            if (n < static_cast<double>(fewPixels) || n < leastShare * static_cast<double>((x1 - x0) * (y1 - y0))) {
                continue;
            }
            double const error = noise * std::hypot(medianError / std::sqrt(n), unevenness);
            rows[static_cast<std::size_t>(j)].push_back({0.5 * static_cast<double>(x0 + x1 - 1),
                                                         0.5 * static_cast<double>(y0 + y1 - 1),
                                                         static_cast<double>(medianOf(std::span(values))), error});
        }
    });
    std::vector<Cell> cells;
    for (std::vector<Cell> const& row : rows) {
        cells.insert(cells.end(), row.begin(), row.end());
    }
    return cells;
}

// Distance to a side, and place along it from -1 to 1.
std::pair<double, double> placeOf(std::size_t side, double x, double y, Box const& area) {
    auto const width = static_cast<double>(area.width);
    auto const height = static_cast<double>(area.height);
    double const u = (2.0 * x + 1.0) / width - 1.0;
    double const v = (2.0 * y + 1.0) / height - 1.0;
    switch (static_cast<Side>(side)) {
        case Side::left:
            return {x, v};
        case Side::right:
            return {width - 1.0 - x, v};
        case Side::bottom:
            return {y, u};
        case Side::top:
            return {height - 1.0 - y, u};
    }
    throw std::invalid_argument("unknown side");
}

// Sides whose outer cells differ from the inner ones by half the least level, or more: most images have none.
Chosen worthFitting(std::vector<Cell> const& cells, Box const& area, double least) {
    Chosen isChosen{};
    for (std::size_t side = 0; side < nSides; ++side) {
        std::array<double, 2> sums{};
        std::array<double, 2> weights{};
        for (Cell const& cell : cells) {
            double const distance = placeOf(side, cell.x, cell.y, area).first;
            if (distance < outerCells || (distance > innerCells && distance < static_cast<double>(steps.back()))) {
                std::size_t const which = distance < outerCells ? 0 : 1;
                double const weight = 1.0 / (cell.error * cell.error);
                sums[which] += weight * cell.value;
                weights[which] += weight;
            }
        }
        bool const isTold = weights[0] > 0.0 && weights[1] > 0.0;
        isChosen[side] = isTold && std::abs(sums[0] / weights[0] - sums[1] / weights[1]) > 0.5 * least;
    }
    return isChosen;
}

Index termsOf(Chosen const& isChosen) {
    return nPlane + 2 * std::count(isChosen.begin(), isChosen.end(), true);
}

Fit fitted(std::vector<Cell> const& cells, Box const& area, Chosen const& isChosen, double length) {
    auto const n = static_cast<Index>(cells.size());
    Eigen::MatrixXd terms(n, termsOf(isChosen));
    Eigen::VectorXd values(n);
    Eigen::VectorXd errors(n);
    for (Index i = 0; i < n; ++i) {
        Cell const& cell = cells[static_cast<std::size_t>(i)];
        terms(i, 0) = 1.0;
        terms(i, 1) = placeOf(static_cast<std::size_t>(Side::bottom), cell.x, cell.y, area).second;
        terms(i, 2) = placeOf(static_cast<std::size_t>(Side::left), cell.x, cell.y, area).second;
        Index k = nPlane;
        for (std::size_t side = 0; side < nSides; ++side) {
            if (isChosen[side]) {
                auto const [distance, along] = placeOf(side, cell.x, cell.y, area);
                terms(i, k) = std::exp(-distance / length);
                terms(i, k + 1) = terms(i, k) * along;
                k += 2;
            }
        }
        values[i] = cell.value;
        errors[i] = cell.error;
    }
    Fit fit;
    Eigen::VectorXd weighted = errors;
    for (int pass = 0; pass < nPasses; ++pass) {
        LeastSquares const found = leastSquares(terms, values, weighted);
        Eigen::ArrayXd const pulls = ((values - terms * found.solution).array() / errors.array()).abs();
        // As Huber has it: beyond, a cell counts by its pull and no longer by its square.
        weighted = (errors.array() * (pulls / clipping).max(1.0).sqrt()).matrix();
        fit.misfit = pulls.min(clipping).square().mean();
        fit.solution = found.solution;
        fit.errors = found.covariance.diagonal().cwiseSqrt() * std::sqrt(std::max(1.0, fit.misfit));
    }
    return fit;
}

// Share of the pieces along a side whose own level is a quarter of the fitted one, or more.
double evenness(std::vector<Cell> const& cells, Box const& area, Chosen const& isChosen, Fit const& fit, double length,
                std::size_t side) {
    double const size = static_cast<double>(side < 2 ? area.height : area.width);
    auto const nPieces = static_cast<std::size_t>(std::max(4.0, size / static_cast<double>(pieceSide)));
    std::vector<double> sums(nPieces, 0.0);
    std::vector<double> weights(nPieces, 0.0);
    std::vector<double> levels(nPieces, 0.0);
    for (Cell const& cell : cells) {
        double rest = cell.value - fit.solution[0] -
                      fit.solution[1] * placeOf(static_cast<std::size_t>(Side::bottom), cell.x, cell.y, area).second -
                      fit.solution[2] * placeOf(static_cast<std::size_t>(Side::left), cell.x, cell.y, area).second;
        double profile = 0.0;
        double place = 0.0;
        double level = 0.0;
        Index k = nPlane;
        for (std::size_t other = 0; other < nSides; ++other) {
            if (!isChosen[other]) {
                continue;
            }
            auto const [distance, along] = placeOf(other, cell.x, cell.y, area);
            double const decay = std::exp(-distance / length);
            double const own = fit.solution[k] + fit.solution[k + 1] * along;
            if (other == side) {
                profile = decay;
                place = along;
                level = own;
            } else {
                rest -= decay * own;
            }
            k += 2;
        }
        auto const piece =
            std::min(nPieces - 1, static_cast<std::size_t>(0.5 * (place + 1.0) * static_cast<double>(nPieces)));
        double const weight = profile / (cell.error * cell.error);
        sums[piece] += weight * rest;
        weights[piece] += weight * profile;
        levels[piece] += weight * profile * level;
    }
    std::size_t nEven = 0;
    std::size_t nTold = 0;
    for (std::size_t i = 0; i < nPieces; ++i) {
        if (weights[i] > 0.0) {
            double const level = levels[i] / weights[i];
            nTold += 1;
            nEven += sums[i] / weights[i] * (level > 0.0 ? 1.0 : -1.0) > pieceLevel * std::abs(level) ? 1 : 0;
        }
    }
    return nTold < 4 ? 0.0 : static_cast<double>(nEven) / static_cast<double>(nTold);
}

Fit bestFit(std::vector<Cell> const& cells, Box const& area, Chosen const& isChosen, BorderLevelsControl const& control,
            double& length) {
    Fit best;
    for (double const each : control.lengths) {
        Fit fit = fitted(cells, area, isChosen, each);
        if (fit.misfit < best.misfit) {
            best = std::move(fit);
            length = each;
        }
    }
    return best;
}

}  // namespace

bool BorderLevels::isAny() const {
    return std::any_of(sides.begin(), sides.end(),
                       [](BorderLevel const& side) { return side.middle != 0.0 || side.slope != 0.0; });
}

BorderLevels borderLevels(MaskedImageView const& difference, BorderLevelsControl const& control,
                          Execution const& execution) {
    if (!haveOneShape(difference.image, difference.mask)) {
        throw std::invalid_argument("image and mask differ in shape");
    }
    BorderLevels levels;
    if (std::min(difference.image.rows(), difference.image.cols()) < leastSide) {
        return levels;
    }
    levels.area = goodArea(difference, control.badBits);
    levels.noise = noiseOf(difference, control.badBits);
    if (std::min(levels.area.width, levels.area.height) < leastSide || !(levels.noise > 0.0)) {
        return levels;
    }
    std::vector<Cell> const cells = cellsOf(difference, control.badBits, levels.area, levels.noise, execution);
    Chosen isChosen = worthFitting(cells, levels.area, control.leastLevel * levels.noise);
    // Sides that are not told are left out one by one, the faintest first.
    while (termsOf(isChosen) > nPlane && static_cast<Index>(cells.size()) > 3 * termsOf(isChosen)) {
        Fit const fit = bestFit(cells, levels.area, isChosen, control, levels.length);
        std::size_t worst = nSides;
        double least = std::numeric_limits<double>::infinity();
        Index k = nPlane;
        for (std::size_t side = 0; side < nSides; ++side) {
            if (!isChosen[side]) {
                continue;
            }
            double const level = std::abs(fit.solution[k]);
            double const needed = std::max(control.leastLevel * levels.noise, control.leastSigmas * fit.errors[k]);
            bool const isTold = level >= needed && std::abs(fit.solution[k + 1]) <= level &&
                                evenness(cells, levels.area, isChosen, fit, levels.length, side) >= control.alongShare;
            if (!isTold && level / needed < least) {
                least = level / needed;
                worst = side;
            }
            levels.sides[side] = {fit.solution[k], fit.solution[k + 1]};
            k += 2;
        }
        if (worst == nSides) {
            return levels;
        }
        isChosen[worst] = false;
        levels.sides = {};
    }
    levels.sides = {};
    return levels;
}

void subtractBorderLevels(BorderLevels const& levels, ImageView<float> image, Execution const& execution) {
    if (!levels.isAny()) {
        return;
    }
    Box const& area = levels.area;
    auto const decays = [&](Index size, Index first, Index length, bool isFar) {
        Eigen::ArrayXd values(size);
        for (Index i = 0; i < size; ++i) {
            Index const from = std::clamp<Index>(i - first, 0, length - 1);
            auto const distance = static_cast<double>(isFar ? length - 1 - from : from);
            values[i] = distance > farLengths * levels.length ? 0.0 : std::exp(-distance / levels.length);
        }
        return values;
    };
    auto const along = [](Index size, Index first, Index length) {
        Eigen::ArrayXd const places = Eigen::ArrayXd::LinSpaced(size, 0.0, static_cast<double>(size - 1));
        return Eigen::ArrayXd((2.0 * (places - static_cast<double>(first)) + 1.0) / static_cast<double>(length) - 1.0);
    };
    Index const width = image.cols();
    Index const height = image.rows();
    Eigen::ArrayXd const left = decays(width, area.x0, area.width, false);
    Eigen::ArrayXd const right = decays(width, area.x0, area.width, true);
    Eigen::ArrayXd const bottom = decays(height, area.y0, area.height, false);
    Eigen::ArrayXd const top = decays(height, area.y0, area.height, true);
    Eigen::ArrayXd const u = along(width, area.x0, area.width);
    Eigen::ArrayXd const v = along(height, area.y0, area.height);
    auto const& sides = levels.sides;
    parallelForBrief(height, execution, [&](Index y, int) {
        auto const at = [&](std::size_t side, double place) { return sides[side].middle + sides[side].slope * place; };
        double const fromBottom = bottom[y];
        double const fromTop = top[y];
        double const atLeft = at(0, v[y]);
        double const atRight = at(1, v[y]);
        for (Index x = 0; x < width; ++x) {
            double const level =
                left[x] * atLeft + right[x] * atRight + fromBottom * at(2, u[x]) + fromTop * at(3, u[x]);
            image(y, x) = static_cast<float>(static_cast<double>(image(y, x)) - level);
        }
    });
}

}  // namespace psfmatch
