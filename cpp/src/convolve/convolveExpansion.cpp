#include "convolve/convolveExpansion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace psfmatch::detail {

namespace {

using FloatRowArray = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRow = Eigen::Array<float, 1, Eigen::Dynamic>;

// Taps of an image kernel may lose this fraction of the largest tap.
constexpr float kernelTolerance = 3e-9F;

// Taps of a squared kernel may lose this fraction of themselves, or of the floor: this fraction of the sum of all.
// The floor spares terms for taps that matter only under a pixel of 300 times the sky's variance.
constexpr float squareTolerance = 9e-4F;
constexpr float squareFloor = 3e-3F;

// Outer rings of taps are left out of a squared kernel that hold together no more than this fraction of the sum of all:
// a thousandth of the variance beside a pixel of 3000 times the sky's.
constexpr double spareFraction = 3e-7;

int totalDegree(int term) {
    int degree = 0;
    while ((degree + 1) * (degree + 2) / 2 <= term) {
        ++degree;
    }
    return degree;
}

constexpr int termIndex(int xDegree, int yDegree) {
    int const degree = xDegree + yDegree;
    return degree * (degree + 1) / 2 + yDegree;
}

// Row i: coefficients of T_0(t) .. T_n(t), n the highest degree, of the function i of one coordinate, from its values
// at the Chebyshev nodes (exact for polynomials).
Eigen::MatrixXd chebyshevCoefficients(SpatialForm const& form, Axis axis, double centre, double half) {
    int const n = form.axisDegree() + 1;
    Eigen::MatrixXd coefficients;
    for (int k = 0; k < n; ++k) {
        double const angle = std::numbers::pi * (k + 0.5) / n;
        Eigen::VectorXd const values = form.axisValues(axis, centre + half * std::cos(angle), centre);
        if (k == 0) {
            coefficients = Eigen::MatrixXd::Zero(values.size(), n);
        }
        for (int a = 0; a < n; ++a) {
            coefficients.col(a) += (a == 0 ? 1.0 : 2.0) / n * std::cos(a * angle) * values;
        }
    }
    return coefficients;
}

// The terms T_a(t) T_b(s) with b < yTerms[a].
TileKernel selected(FloatRowArray const& coefficients, std::vector<int> const& yTerms) {
    TileKernel kernel;
    kernel.tapStride = static_cast<int>(coefficients.cols());
    kernel.yTerms = yTerms;
    for (int a = 0; a < kernel.xTerms(); ++a) {
        for (int b = 0; b < yTerms[static_cast<std::size_t>(a)]; ++b) {
            float const* const row = coefficients.row(termIndex(a, b)).data();
            kernel.coefficients.insert(kernel.coefficients.end(), row, row + kernel.tapStride);
        }
    }
    return kernel;
}

// Drops the highest degrees, first in total, then in x, then in y, as long as no tap loses more than its tolerance.
TileKernel truncated(FloatRowArray const& coefficients, int order, FloatRow const& tolerance) {
    FloatRow lost = FloatRow::Zero(tolerance.size());
    std::vector<int> yTerms;  // for each degree in x
    for (int a = 0; a <= order; ++a) {
        yTerms.push_back(order + 1 - a);
    }
    // Keeps b < limit(a) alone, if the taps can spare the rest.
    auto const shorten = [&](auto const& limit) {
        FloatRow terms = lost;
        std::vector<int> fewer;
        for (int a = 0; a < static_cast<int>(yTerms.size()); ++a) {
            int const count = yTerms[static_cast<std::size_t>(a)];
            fewer.push_back(std::clamp(limit(a), 0, count));
            for (int b = fewer.back(); b < count; ++b) {
                terms += coefficients.row(termIndex(a, b)).abs();
            }
        }
        if (!(terms <= tolerance).all()) {
            return false;
        }
        lost = terms;
        yTerms = fewer;
        while (yTerms.back() == 0) {
            yTerms.pop_back();
        }
        return true;
    };
    for (int degree = order; degree > 0 && shorten([&](int a) { return degree - a; }); --degree) {
    }
    for (int xTerms = static_cast<int>(yTerms.size()) - 1;
         xTerms > 0 && shorten([&](int a) { return a < xTerms ? order + 1 : 0; }); --xTerms) {
    }
    for (int limit = yTerms.front() - 1; limit > 0 && shorten([&](int) { return limit; }); --limit) {
    }
    return selected(coefficients, yTerms);
}

FloatRowArray paddedFloats(RowMatrix const& expansion) {
    FloatRowArray floats = FloatRowArray::Zero(expansion.rows(), padded(static_cast<int>(expansion.cols())));
    floats.leftCols(expansion.cols()) = expansion.array().cast<float>();
    return floats;
}

int highestDegree(SpatialForm const& form) {
    int highest = 0;
    for (SpatialForm::Term const& term : form.terms()) {
        highest = std::max(highest, form.axisDegree(term.x) + form.axisDegree(term.y));
    }
    return highest;
}

}  // namespace

int yDegree(int term) {
    int const degree = totalDegree(term);
    return term - degree * (degree + 1) / 2;
}

int xDegree(int term) {
    return totalDegree(term) - yDegree(term);
}

int TileKernel::degree() const {
    int highest = 0;
    for (int a = 0; a < xTerms(); ++a) {
        highest = std::max(highest, a + yTerms[static_cast<std::size_t>(a)] - 1);
    }
    return highest;
}

void TileKernel::collapse(RowFunctions const& functions, float const* yFactors, float* taps, int stride) const {
    float const* rows = coefficients.data();
    for (int const nRows : yTerms) {
        functions.combine({rows, tapStride}, yFactors, nRows, tapStride, taps);
        rows += nRows * tapStride;
        taps += stride;
    }
}

KernelExpansion::KernelExpansion(LinearCombinationKernel const& kernel, Index x0, Index y0)
    : spatial_(kernel.spatial),
      degree_(highestDegree(kernel.spatial.form())),
      terms_(termImages(kernel)),
      x0_(static_cast<double>(x0)),
      y0_(static_cast<double>(y0)) {}

RowMatrix KernelExpansion::expand(Tile const& tile) const {
    double const xCentre = x0_ + static_cast<double>(tile.x0) + 0.5 * (tile.width - 1);
    double const yCentre = y0_ + static_cast<double>(tile.y0) + 0.5 * (tile.height - 1);
    SpatialForm const& form = spatial_.form();
    Eigen::MatrixXd const xPart = chebyshevCoefficients(form, Axis::x, xCentre, halfExtent(tile.width));
    Eigen::MatrixXd const yPart = chebyshevCoefficients(form, Axis::y, yCentre, halfExtent(tile.height));
    Eigen::MatrixXd transform = Eigen::MatrixXd::Zero(termIndex(0, degree_) + 1, form.size());
    for (Index s = 0; s < form.size(); ++s) {
        auto const [x, y] = form.terms()[static_cast<std::size_t>(s)];
        for (int a = 0; a <= form.axisDegree(x); ++a) {
            for (int b = 0; b <= form.axisDegree(y); ++b) {
                transform(termIndex(a, b), s) = xPart(x, a) * yPart(y, b);
            }
        }
    }
    return transform * terms_;
}

int KernelExpansion::spareRings(Tile const& tile, int height, int width) const {
    RowMatrix const expansion = expand(tile);
    // No Chebyshev polynomial exceeds 1 in the tile.
    Eigen::ArrayXd const largest = expansion.cwiseAbs().colwise().sum().array().square();
    double least = std::numeric_limits<double>::infinity();
    constexpr int nAcross = 5;
    Eigen::RowVectorXd taps(expansion.cols());
    for (int i = 0; i < nAcross * nAcross; ++i) {
        double const t = std::acos(2.0 * (i % nAcross) / (nAcross - 1) - 1.0);
        double const s = std::acos(2.0 * (i / nAcross) / (nAcross - 1) - 1.0);
        taps.setZero();
        for (int term = 0; term < expansion.rows(); ++term) {
            taps += std::cos(xDegree(term) * t) * std::cos(yDegree(term) * s) * expansion.row(term);
        }
        least = std::min(least, taps.squaredNorm());
    }
    int const most = (std::min(height, width) - 1) / 2;
    double lost = 0.0;
    for (int ring = 0; ring < most; ++ring) {
        for (int v = ring; v < height - ring; ++v) {
            bool const isSide = v == ring || v == height - 1 - ring;
            for (int u = ring; u < width - ring; u += isSide ? 1 : width - 1 - 2 * ring) {
                lost += largest[v * width + u];
            }
        }
        if (!(lost <= spareFraction * least)) {
            return ring;
        }
    }
    return most;
}

LinearCombinationKernel withoutRings(LinearCombinationKernel const& kernel, int nRings) {
    LinearCombinationKernel inner = kernel;
    KernelBasis& basis = inner.basis;
    basis.height -= 2 * nRings;
    basis.width -= 2 * nRings;
    basis.images.resize(kernel.basis.size(), basis.height * basis.width);
    for (Index v = 0; v < basis.height; ++v) {
        basis.images.middleCols(v * basis.width, basis.width) =
            kernel.basis.images.middleCols((v + nRings) * kernel.basis.width + nRings, basis.width);
    }
    return inner;
}

TileKernel KernelExpansion::kernel(RowMatrix const& expansion) const {
    FloatRowArray const floats = paddedFloats(expansion);
    return truncated(floats, degree_,
                     FloatRow::Constant(floats.cols(), kernelTolerance * floats.row(0).abs().maxCoeff()));
}

TileKernel KernelExpansion::squaredKernel(RowMatrix const& expansion) const {
    FloatRowArray const floats = paddedFloats(expansion);
    FloatRowArray square = FloatRowArray::Zero((2 * degree_ + 1) * (degree_ + 1), floats.cols());
    FloatRow product(floats.cols());
    for (int s = 0; s < floats.rows(); ++s) {
        for (int r = s; r < floats.rows(); ++r) {
            // T_a T_c = (T_{a + c} + T_{|a - c|}) / 2 on either axis.
            product = (r == s ? 0.25F : 0.5F) * floats.row(s) * floats.row(r);
            int const xSum = xDegree(s) + xDegree(r);
            int const ySum = yDegree(s) + yDegree(r);
            int const xDifference = std::abs(xDegree(s) - xDegree(r));
            int const yDifference = std::abs(yDegree(s) - yDegree(r));
            square.row(termIndex(xSum, ySum)) += product;
            square.row(termIndex(xDifference, ySum)) += product;
            square.row(termIndex(xSum, yDifference)) += product;
            square.row(termIndex(xDifference, yDifference)) += product;
        }
    }
    // What every tap holds at least, anywhere in the tile.
    FloatRow const lowest = 2.0F * square.row(0) - square.abs().colwise().sum();
    FloatRow const tolerance = squareTolerance * lowest.max(squareFloor * square.row(0).sum());
    return truncated(square, 2 * degree_, tolerance);
}

}  // namespace psfmatch::detail
