#include "psfmatch/image/CellGrid.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/background.h"

namespace psfmatch {

namespace {

std::vector<Index> edgesOf(Index size, CellGridControl const& control) {
    Index const count = std::min(control.mostCells, std::max<Index>(1, size / control.leastSide));
    std::vector<Index> edges;
    for (Index i = 0; i <= count; ++i) {
        double const place = static_cast<double>(i) * static_cast<double>(size) / static_cast<double>(count);
        edges.push_back(static_cast<Index>(std::nearbyint(place)));
    }
    return edges;
}

Eigen::ArrayXd centresOf(std::vector<Index> const& edges, Index origin) {
    Eigen::ArrayXd centres(static_cast<Index>(edges.size()) - 1);
    for (Index i = 0; i < centres.size(); ++i) {
        auto const at = static_cast<std::size_t>(i);
        centres[i] = 0.5 * static_cast<double>(edges[at] + edges[at + 1] - 1) + static_cast<double>(origin);
    }
    return centres;
}

// Index of the cell at or below a place, and how far the place is on the way to the next one.
std::pair<Index, double> placeIn(Eigen::ArrayXd const& centres, double at) {
    Index const last = centres.size() - 1;
    auto const above = std::upper_bound(centres.begin(), centres.end(), at) - centres.begin();
    Index const low = std::clamp<Index>(above - 1, 0, std::max<Index>(0, last - 1));
    double const step = last > 0 ? (at - centres[low]) / (centres[low + 1] - centres[low]) : 0.0;
    return {low, std::clamp(step, 0.0, 1.0)};
}

}  // namespace

double CellGrid::at(double atX, double atY) const {
    auto const [column, u] = placeIn(x, atX);
    auto const [row, v] = placeIn(y, atY);
    Index const right = std::min(column + 1, x.size() - 1);
    Index const upper = std::min(row + 1, y.size() - 1);
    return (1.0 - v) * ((1.0 - u) * values(row, column) + u * values(row, right)) +
           v * ((1.0 - u) * values(upper, column) + u * values(upper, right));
}

CellGrid measureCells(MaskedImageView const& input, ConstImageView<float> const& plane, CellGridControl const& control,
                      Execution const& execution) {
    SuperPixelControl pixels;
    pixels.edgesX = edgesOf(plane.cols(), control);
    pixels.edgesY = edgesOf(plane.rows(), control);
    auto const nCells = static_cast<double>((pixels.edgesX.size() - 1) * (pixels.edgesY.size() - 1));
    double const area = std::floor(static_cast<double>(plane.size()) / nCells / static_cast<double>(control.samples));
    pixels.stepX = std::max<Index>(1, static_cast<Index>(std::sqrt(area)));
    pixels.stepY = pixels.stepX;
    CellGrid grid;
    grid.values = superPixelStatistics({plane, input.variance, input.mask}, control.badBits, pixels, execution).values;
    grid.x = centresOf(pixels.edgesX, control.x0);
    grid.y = centresOf(pixels.edgesY, control.y0);
    std::vector<double> known;
    auto const isKnown = [&](double value) { return std::isfinite(value) && !(control.isVariance && value < 0.0); };
    std::copy_if(grid.values.data(), grid.values.data() + grid.values.size(), std::back_inserter(known), isKnown);
    std::vector<double> scratch;
    double const typical = known.empty() ? 0.0 : quantileOf<double>(known, 0.5, scratch);
    grid.values = grid.values.unaryExpr([&](double value) { return isKnown(value) ? value : typical; }).eval();
    return grid;
}

}  // namespace psfmatch
