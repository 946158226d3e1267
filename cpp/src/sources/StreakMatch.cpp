#include "sources/StreakMatch.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch::detail {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr Index nNeighbours = 9;
constexpr Index nUnknowns = nNeighbours + 1;  // and a constant
constexpr int nFits = 3;
// Bins that are off by more than so many sigma count less from there on: what one image shows alone.
constexpr float fullSigmas = 2.0F;
constexpr double fewestBins = 50.0 * static_cast<double>(nUnknowns);

using Unknowns = Eigen::Matrix<double, nUnknowns, 1>;
using Square = Eigen::Matrix<double, nUnknowns, nUnknowns>;
using Rows = Eigen::Matrix<float, nUnknowns, Eigen::Dynamic, Eigen::RowMajor>;

// Median of what is known of an image.
float levelOf(OwnedImage<float> const& image) {
    std::vector<float> known;
    std::vector<float> scratch;
    std::copy_if(image.data(), image.data() + image.size(), std::back_inserter(known),
                 [](float value) { return std::isfinite(value); });
    return static_cast<float>(quantileOf<float>(known, 0.5, scratch));
}

// Of one row of inner bins, what may explain it, and a one.
void explaining(OwnedImage<float> const& other, Index y, Rows& rows) {
    Index const count = other.cols() - 2;
    rows.resize(nUnknowns, count);
    for (Index i = 0; i < nNeighbours; ++i) {
        rows.row(i) = other.row(y + i / 3 - 1).segment(i % 3, count);
    }
    rows.row(nNeighbours).setOnes();
}

struct Equations {
    Square normal = Square::Zero();
    Unknowns right = Unknowns::Zero();
    double count = 0.0;
};

// Weighted sums of one row; bins that are not known have a weight of zero.
Equations equationsOf(OwnedImage<float> const& image, OwnedImage<float> const& other, OwnedImage<float> const& left,
                      float sigma, Index y, Rows& rows) {
    explaining(other, y, rows);
    Equations sums;
    for (Index x = 0; x < rows.cols(); ++x) {
        float const value = image(y, x + 1);
        float weight = std::isfinite(value) && std::isfinite(rows.col(x).sum()) ? 1.0F : 0.0F;
        float const off = sigma > 0.0F ? std::abs(left(y, x + 1)) : 0.0F;
        weight *= off > fullSigmas * sigma ? fullSigmas * sigma / off : 1.0F;
        if (!(weight > 0.0F)) {
            continue;
        }
        Unknowns const column = rows.col(x).cast<double>();
        Unknowns const weighted = static_cast<double>(weight) * column;
        sums.normal.selfadjointView<Eigen::Lower>().rankUpdate(column, static_cast<double>(weight));
        sums.right += static_cast<double>(value) * weighted;
        sums.count += 1.0;
    }
    return sums;
}

}  // namespace

std::optional<MatchedDifference> matchedDifference(OwnedImage<float> const& image, OwnedImage<float> const& other,
                                                   Execution const& execution) {
    Index const height = image.rows();
    Index const width = image.cols();
    if (height < 3 || width < 3) {
        return std::nullopt;
    }
    OwnedImage<float> const own = image - levelOf(image);
    OwnedImage<float> const theirs = other - levelOf(other);
    MatchedDifference found{OwnedImage<float>::Constant(height, width, nan)};
    OwnedImage<float>& left = found.left;
    std::vector<Rows> spaces(static_cast<std::size_t>(workerCount(height - 2, execution)));
    std::vector<Equations> parts(static_cast<std::size_t>(height - 2));
    std::vector<float> known;
    std::vector<float> scratch;
    float sigma = 0.0F;
    for (int pass = 0; pass < nFits; ++pass) {
        parallelFor(height - 2, execution, [&](Index row, int worker) {
            parts[static_cast<std::size_t>(row)] =
                equationsOf(own, theirs, left, sigma, row + 1, spaces[static_cast<std::size_t>(worker)]);
        });
        Equations sums;
        for (Equations const& part : parts) {
            sums.normal += part.normal;
            sums.right += part.right;
            sums.count += part.count;
        }
        Eigen::LDLT<Square> const solver(sums.normal.selfadjointView<Eigen::Lower>());
        Unknowns const solution = solver.solve(sums.right);
        found.scale = static_cast<float>(solution.head<nNeighbours>().sum());
        if (sums.count < fewestBins || solver.info() != Eigen::Success || !(found.scale > 0.0F) ||
            !std::isfinite(found.scale)) {
            return std::nullopt;
        }
        Eigen::Matrix<float, 1, nUnknowns> const shares = solution.cast<float>().transpose();
        parallelFor(height - 2, execution, [&](Index row, int worker) {
            Rows& rows = spaces[static_cast<std::size_t>(worker)];
            explaining(theirs, row + 1, rows);
            left.row(row + 1).segment(1, width - 2) = own.row(row + 1).segment(1, width - 2) - (shares * rows).array();
        });
        known.clear();
        std::copy_if(left.data(), left.data() + left.size(), std::back_inserter(known),
                     [](float value) { return std::isfinite(value); });
        sigma = static_cast<float>(medianAndSigma<float>(known, scratch).sigma);
    }
    return found;
}

}  // namespace psfmatch::detail
