#include "psfmatch/image/SkySurface.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/image/statistics.h"

namespace psfmatch {

namespace {

// Weight in a fit of a super-pixel without a good pixel, in units of the mean: a polynomial runs wild where nothing
// holds it.
constexpr double holeWeight = 1e-3;
// Directions whose eigenvalue is below this part of the largest are left out of a fit.
constexpr double leastEigenvalue = 1e-12;

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Centres of super-pixels, pixels.
std::vector<double> centresOf(std::vector<Index> const& edges) {
    std::vector<double> centres;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
        centres.push_back(0.5 * static_cast<double>(edges[i] + edges[i + 1]) - 0.5);
    }
    return centres;
}

std::size_t leastPoints(SkyCurve curve) {
    switch (curve) {
        case SkyCurve::constant:
            return 1;
        case SkyCurve::linear:
            return 2;
        case SkyCurve::naturalSpline:
            return 3;
        case SkyCurve::akimaSpline:
            return 5;
    }
    throw std::invalid_argument("unknown curve");
}

void requireGrid(SkyGrid const& grid, SkySurfaceControl const& control) {
    auto const fits = [](std::vector<Index> const& edges, Index count) {
        return static_cast<Index>(edges.size()) == count + 1 &&
               std::adjacent_find(edges.begin(), edges.end(), std::greater_equal<>()) == edges.end();
    };
    bool const hasVariances = grid.variances.size() > 0;
    if (!fits(grid.edgesX, grid.values.cols()) || !fits(grid.edgesY, grid.values.rows()) ||
        (hasVariances &&
         (grid.variances.rows() != grid.values.rows() || grid.variances.cols() != grid.values.cols()))) {
        throw std::invalid_argument("edges or variances of other super-pixels than the " +
                                    std::to_string(grid.values.cols()) + "x" + std::to_string(grid.values.rows()) +
                                    " values");
    }
    if (control.isWeighted && control.order >= 0 && !hasVariances) {
        throw std::invalid_argument("a fit weighted by variances needs them");
    }
    if (!grid.values.isFinite().any()) {
        throw std::invalid_argument("no super-pixel has a value");
    }
    bool const isFineEnough = control.order >= 0 ? std::min(grid.values.rows(), grid.values.cols()) > control.order
                                                 : grid.edgesX.size() > leastPoints(control.alongX) &&
                                                       grid.edgesY.size() > leastPoints(control.alongY);
    if (!isFineEnough) {
        throw std::invalid_argument("a grid of " + std::to_string(grid.values.cols()) + "x" +
                                    std::to_string(grid.values.rows()) + " super-pixels is too coarse");
    }
}

// Gives super-pixels without a value the mean of their neighbours that have one, from without inwards.
Matrix filled(OwnedImage<double> const& given) {
    Matrix values = given.matrix();
    while (!values.allFinite()) {
        Matrix const before = values;
        for (Index y = 0; y < values.rows(); ++y) {
            for (Index x = 0; x < values.cols(); ++x) {
                if (std::isfinite(before(y, x))) {
                    continue;
                }
                double sum = 0.0;
                double count = 0.0;
                for (Index j = std::max<Index>(y - 1, 0); j <= std::min(y + 1, values.rows() - 1); ++j) {
                    for (Index i = std::max<Index>(x - 1, 0); i <= std::min(x + 1, values.cols() - 1); ++i) {
                        sum += std::isfinite(before(j, i)) ? before(j, i) : 0.0;
                        count += std::isfinite(before(j, i)) ? 1.0 : 0.0;
                    }
                }
                values(y, x) = count > 0.0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
            }
        }
    }
    return values;
}

// Chebyshev polynomials T_0 .. T_order: (positions, order + 1), of coordinates whose centres of pixels make -1 .. 1.
Matrix chebyshev(std::span<double const> positions, Index size, int order) {
    Matrix values(static_cast<Index>(positions.size()), order + 1);
    for (Index i = 0; i < values.rows(); ++i) {
        double const x = (2.0 * positions[static_cast<std::size_t>(i)] + 1.0) / static_cast<double>(size) - 1.0;
        values(i, 0) = 1.0;
        for (int k = 1; k <= order; ++k) {
            values(i, k) = k == 1 ? x : 2.0 * x * values(i, k - 1) - values(i, k - 2);
        }
    }
    return values;
}

Matrix fitWeights(SkyGrid const& grid, bool isWeighted) {
    auto const good = grid.values.isFinite();
    Matrix weights = good.cast<double>().matrix();
    if (isWeighted) {
        // Those without scatter count as the best of the others.
        double least = std::numeric_limits<double>::infinity();
        for (Index i = 0; i < grid.values.size(); ++i) {
            double const variance = grid.variances(i);
            least = std::isfinite(grid.values(i)) && variance > 0.0 ? std::min(least, variance) : least;
        }
        if (std::isfinite(least)) {
            weights = good.select(grid.variances.max(least).inverse() * least, 0.0).matrix();
        }
    }
    double const mean = weights.sum() / static_cast<double>(good.count());
    return good.select(weights.array(), holeWeight * mean).matrix();
}

// Coefficients (order + 1, order + 1) of T_j(y) T_i(x); 0 where i + j > order.
Matrix fitPolynomial(SkyGrid const& grid, SkySurfaceControl const& control) {
    int const order = control.order;
    Matrix const alongX = chebyshev(centresOf(grid.edgesX), grid.edgesX.back(), order);
    Matrix const alongY = chebyshev(centresOf(grid.edgesY), grid.edgesY.back(), order);
    Matrix const weights = fitWeights(grid, control.isWeighted);
    Index const n = order + 1;
    // The sums over the grid factor into products along x and along y.
    auto const pairsOf = [n](Matrix const& values) {
        Matrix pairs(values.rows(), n * n);
        for (Index i = 0; i < n; ++i) {
            pairs.middleCols(i * n, n) = values.array().colwise() * values.col(i).array();
        }
        return pairs;
    };
    Matrix const sums = pairsOf(alongY).transpose() * weights * pairsOf(alongX);
    Matrix const sides = alongY.transpose() * weights.cwiseProduct(filled(grid.values)) * alongX;
    struct Term {
        Index y;
        Index x;
    };
    std::vector<Term> terms;
    for (Index y = 0; y < n; ++y) {
        for (Index x = 0; x < n - y; ++x) {
            terms.push_back({y, x});
        }
    }
    auto const count = static_cast<Index>(terms.size());
    auto const term = [&terms](Index i) { return terms[static_cast<std::size_t>(i)]; };
    Eigen::MatrixXd matrix(count, count);
    Eigen::VectorXd side(count);
    for (Index i = 0; i < count; ++i) {
        side[i] = sides(term(i).y, term(i).x);
        for (Index j = 0; j < count; ++j) {
            matrix(i, j) = sums(term(i).y * n + term(j).y, term(i).x * n + term(j).x);
        }
    }
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(matrix);
    double const least = leastEigenvalue * solver.eigenvalues().cwiseAbs().maxCoeff();
    Eigen::VectorXd const inverse =
        (solver.eigenvalues().array() > least).select(solver.eigenvalues().cwiseInverse(), 0.0);
    Eigen::VectorXd const solution =
        solver.eigenvectors() * inverse.cwiseProduct(solver.eigenvectors().transpose() * side);
    Matrix coefficients = Matrix::Zero(n, n);
    for (Index i = 0; i < count; ++i) {
        coefficients(term(i).y, term(i).x) = solution[i];
    }
    return coefficients;
}

// Second derivatives are continuous, and zero at both ends: a tridiagonal system.
void naturalSlopes(std::vector<double> const& step, std::vector<double> const& secants, std::vector<double>& slopes) {
    std::size_t const n = slopes.size();
    std::vector<double> above(n);  // of the eliminated system, whose diagonal is 1
    for (std::size_t i = 0; i < n; ++i) {
        double const left = i > 0 ? 1.0 / step[i - 1] : 0.0;
        double const right = i + 1 < n ? 1.0 / step[i] : 0.0;
        double const side = 3.0 * ((i > 0 ? secants[i - 1] * left : 0.0) + (i + 1 < n ? secants[i] * right : 0.0));
        double const pivot = 2.0 * (left + right) - (i > 0 ? left * above[i - 1] : 0.0);
        above[i] = right / pivot;
        slopes[i] = (side - (i > 0 ? left * slopes[i - 1] : 0.0)) / pivot;
    }
    for (std::size_t i = n - 1; i > 0; --i) {
        slopes[i - 1] -= above[i - 1] * slopes[i];
    }
}

// Two more secants at each end, by parabolas.
void akimaSlopes(std::vector<double> const& secants, std::vector<double>& slopes) {
    std::size_t const n = slopes.size();
    auto const secant = [&](std::size_t i) {  // from two before the first
        std::size_t const last = secants.size() - 1;
        double const before = 2.0 * secants[0] - secants[1];
        double const after = 2.0 * secants[last] - secants[last - 1];
        if (i < 2) {
            return i == 1 ? before : 2.0 * before - secants[0];
        }
        return i - 2 <= last ? secants[i - 2] : (i - 2 == last + 1 ? after : 2.0 * after - secants[last]);
    };
    for (std::size_t i = 0; i < n; ++i) {
        double const before = std::abs(secant(i + 1) - secant(i));
        double const after = std::abs(secant(i + 3) - secant(i + 2));
        double const weight = before + after > 0.0 ? after / (before + after) : 0.5;
        slopes[i] = weight * secant(i + 1) + (1.0 - weight) * secant(i + 2);
    }
}

// Slopes at the knots of a curve through values; the workspace is used again.
class Slopes {
public:
    Slopes(std::vector<double> const& knots, SkyCurve curve) : curve_(curve), slopes_(knots.size(), 0.0) {
        for (std::size_t i = 0; i + 1 < knots.size(); ++i) {
            step_.push_back(knots[i + 1] - knots[i]);
        }
        secants_.resize(step_.size());
    }

    template <typename Values, typename Result>
    void write(Values const& values, Result result) {
        if (curve_ == SkyCurve::naturalSpline || curve_ == SkyCurve::akimaSpline) {
            for (std::size_t i = 0; i < step_.size(); ++i) {
                auto const k = static_cast<Index>(i);
                secants_[i] = (values[k + 1] - values[k]) / step_[i];
            }
            if (curve_ == SkyCurve::naturalSpline) {
                naturalSlopes(step_, secants_, slopes_);
            } else {
                akimaSlopes(secants_, slopes_);
            }
        }
        for (std::size_t i = 0; i < slopes_.size(); ++i) {
            result[static_cast<Index>(i)] = slopes_[i];
        }
    }

private:
    SkyCurve curve_;
    std::vector<double> step_;
    std::vector<double> secants_;
    std::vector<double> slopes_;
};

// Weights of the values and slopes at two knots, of which `left` is the first: piecewise cubic or linear.
struct CurveWeights {
    Index left = 0;
    Index right = 0;
    double leftValue = 1.0;
    double rightValue = 0.0;
    double leftSlope = 0.0;
    double rightSlope = 0.0;
};

CurveWeights weightsAt(double x, std::vector<double> const& knots, SkyCurve curve) {
    CurveWeights weights;
    auto const n = static_cast<Index>(knots.size());
    if (n == 1) {
        return weights;
    }
    weights.left = std::clamp<Index>(std::upper_bound(knots.begin(), knots.end(), x) - knots.begin() - 1, 0, n - 2);
    weights.right = weights.left + 1;
    double const start = knots[static_cast<std::size_t>(weights.left)];
    double const step = knots[static_cast<std::size_t>(weights.right)] - start;
    if (curve == SkyCurve::linear) {
        weights.rightValue = (x - start) / step;
        weights.leftValue = 1.0 - weights.rightValue;
        return weights;
    }
    double const t = (std::clamp(x, knots.front(), knots.back()) - start) / step;
    weights.leftValue = (1.0 + 2.0 * t) * (1.0 - t) * (1.0 - t);
    weights.rightValue = t * t * (3.0 - 2.0 * t);
    // Straight on beyond the ends.
    weights.leftSlope = step * t * (1.0 - t) * (1.0 - t) + std::min(x - knots.front(), 0.0);
    weights.rightSlope = step * t * t * (t - 1.0) + std::max(x - knots.back(), 0.0);
    return weights;
}

// Functions of y (positions, n) and of x (positions, n): the surface is the sum of their products.
struct Factors {
    Matrix alongY;
    Matrix alongX;
};

Factors curveFactors(SkyGrid const& grid, SkySurfaceControl const& control, std::span<double const> x,
                     std::span<double const> y) {
    Matrix const values = filled(grid.values);
    Index const nx = values.cols();
    std::vector<double> const knotsX = centresOf(grid.edgesX);
    std::vector<double> const knotsY = centresOf(grid.edgesY);
    Matrix slopesY(values.rows(), nx);
    Slopes slopes(knotsY, control.alongY);
    for (Index i = 0; i < nx; ++i) {
        slopes.write(values.col(i), slopesY.col(i));
    }
    // Values of the curves along y, then the slopes along x of the curves through them.
    Factors factors{Matrix(static_cast<Index>(y.size()), 2 * nx), Matrix::Zero(static_cast<Index>(x.size()), 2 * nx)};
    slopes = Slopes(knotsX, control.alongX);
    for (Index j = 0; j < factors.alongY.rows(); ++j) {
        CurveWeights const own = weightsAt(y[static_cast<std::size_t>(j)], knotsY, control.alongY);
        auto row = factors.alongY.row(j);
        row.head(nx) = own.leftValue * values.row(own.left) + own.rightValue * values.row(own.right) +
                       own.leftSlope * slopesY.row(own.left) + own.rightSlope * slopesY.row(own.right);
        slopes.write(row.head(nx), row.tail(nx));
    }
    for (Index i = 0; i < factors.alongX.rows(); ++i) {
        CurveWeights const own = weightsAt(x[static_cast<std::size_t>(i)], knotsX, control.alongX);
        auto row = factors.alongX.row(i);
        row[own.left] += own.leftValue;
        row[own.right] += own.rightValue;
        row[nx + own.left] += own.leftSlope;
        row[nx + own.right] += own.rightSlope;
    }
    return factors;
}

Factors factorsAt(SkyGrid const& grid, SkySurfaceControl const& control, std::span<double const> x,
                  std::span<double const> y) {
    requireGrid(grid, control);
    if (control.order < 0) {
        return curveFactors(grid, control, x, y);
    }
    return {chebyshev(y, grid.edgesY.back(), control.order) * fitPolynomial(grid, control),
            chebyshev(x, grid.edgesX.back(), control.order)};
}

std::vector<double> pixels(Index count) {
    std::vector<double> positions(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < positions.size(); ++i) {
        positions[i] = static_cast<double>(i);
    }
    return positions;
}

}  // namespace

SkySurface skySurface(SkyGrid const& grid, SkySurfaceControl const& control) {
    requireGrid(grid, control);  // before its edges are read
    Factors const factors = factorsAt(grid, control, pixels(grid.edgesX.back()), pixels(grid.edgesY.back()));
    return {factors.alongY.cast<float>().array(), factors.alongX.transpose().cast<float>().array()};
}

std::vector<double> skyAt(SkyGrid const& grid, SkySurfaceControl const& control, std::span<double const> x,
                          std::span<double const> y) {
    if (x.size() != y.size()) {
        throw std::invalid_argument(std::to_string(x.size()) + " values of x and " + std::to_string(y.size()) +
                                    " of y make no positions");
    }
    Factors const factors = factorsAt(grid, control, x, y);
    std::vector<double> sky(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        auto const k = static_cast<Index>(i);
        sky[i] = factors.alongY.row(k).dot(factors.alongX.row(k));
    }
    return sky;
}

double skyLevel(OwnedImage<float> const& rows, OwnedImage<float> const& columns, Index step) {
    if (step < 1 || rows.cols() != columns.rows()) {
        throw std::invalid_argument("factors of " + std::to_string(rows.cols()) + " and " +
                                    std::to_string(columns.rows()) + " functions, or a step that is not positive");
    }
    std::vector<float> sizes;
    for (Index y = 0; y < rows.rows(); y += step) {
        for (Index x = 0; x < columns.cols(); x += step) {
            sizes.push_back(std::abs(rows.row(y).matrix().dot(columns.col(x).matrix())));
        }
    }
    return sizes.empty() ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(medianOf(std::span(sizes)));
}

}  // namespace psfmatch
