#include "psfmatch/fit/SpatialSums.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace psfmatch {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

Index termCount(int order) {
    return static_cast<Index>(order + 1) * (order + 2) / 2;
}

Index triangleSize(Index rows) {
    return rows * (rows + 1) / 2;
}

// Product of the functions s and t: a quarter of the sum of four moments, which may be the same.
class ProductTable {
public:
    ProductTable(SpatialModel model, Index nTerms)
        : n_(nTerms), moments_(static_cast<std::size_t>(nTerms * nTerms)), values_(moments_.size()) {
        std::vector<std::array<int, 2>> degrees;
        for (int degree = 0; static_cast<Index>(degrees.size()) < nTerms; ++degree) {
            for (int y = 0; y <= degree; ++y) {
                degrees.push_back({degree - y, y});
            }
        }
        auto const numberOf = [](int x, int y) { return static_cast<Index>(x + y) * (x + y + 1) / 2 + y; };
        bool const isPolynomial = model == SpatialModel::polynomial;
        for (Index s = 0; s < n_; ++s) {
            for (Index t = 0; t < n_; ++t) {
                auto const& [xs, ys] = degrees[static_cast<std::size_t>(s)];
                auto const& [xt, yt] = degrees[static_cast<std::size_t>(t)];
                int const xHigh = xs + xt;
                int const yHigh = ys + yt;
                int const xLow = isPolynomial ? xHigh : std::abs(xs - xt);
                int const yLow = isPolynomial ? yHigh : std::abs(ys - yt);
                moments_[static_cast<std::size_t>(s * n_ + t)] = {numberOf(xHigh, yHigh), numberOf(xLow, yHigh),
                                                                  numberOf(xHigh, yLow), numberOf(xLow, yLow)};
            }
        }
    }

    // All products for s < rows and t < columns, in rows of nTerms.
    double const* expand(double const* sums, Index rows, Index columns) {
        for (Index s = 0; s < rows; ++s) {
            for (Index t = 0; t < columns; ++t) {
                auto const at = static_cast<std::size_t>(s * n_ + t);
                auto const& [a, b, c, d] = moments_[at];
                values_[at] = 0.25 * ((sums[a] + sums[b]) + (sums[c] + sums[d]));
            }
            // A square that is 0 at every stamp is one here, not what rounding leaves: nothing tells its unknown.
            if (s < columns) {
                auto const at = static_cast<std::size_t>(s * n_ + s);
                auto const& [a, b, c, d] = moments_[at];
                double const scale = std::abs(sums[a]) + std::abs(sums[b]) + std::abs(sums[c]) + std::abs(sums[d]);
                if (std::abs(values_[at]) <= 1e-14 * scale) {
                    values_[at] = 0.0;
                }
            }
        }
        return values_.data();
    }

private:
    Index n_;
    std::vector<std::array<Index, 4>> moments_;
    std::vector<double> values_;
};

}  // namespace

SpatialSums::SpatialSums(SpatialModel spatialModel, Index imageCount, int highestKernelOrder,
                         int highestBackgroundOrder)
    : model(spatialModel),
      nImages(imageCount),
      kernelOrder(highestKernelOrder),
      backgroundOrder(highestBackgroundOrder),
      kernel(RowMatrix::Zero(triangleSize(imageCount), termCount(2 * highestKernelOrder))) {
    int const highest = std::max(kernelOrder, backgroundOrder);
    if (backgroundOrder >= 0) {
        background = RowMatrix::Zero(nImages + 1, termCount(backgroundOrder + highest));
    }
    sides = RowMatrix::Zero(nImages + (backgroundOrder >= 0 ? 1 : 0), termCount(highest));
    noise = VectorXd::Zero(kernel.cols());
}

SpatialSums& SpatialSums::operator+=(SpatialSums const& other) {
    kernel += other.kernel;
    background += other.background;
    sides += other.sides;
    noise += other.noise;
    return *this;
}

SpatialSums& SpatialSums::operator-=(SpatialSums const& other) {
    kernel -= other.kernel;
    background -= other.background;
    sides -= other.sides;
    noise -= other.noise;
    return *this;
}

RowMatrix momentsAt(SpatialFunction const& function, VectorXd const& x, VectorXd const& y) {
    SpatialFunction const moments{function.model, 2 * function.order, function.frame};
    RowMatrix values(x.size(), moments.size());
    for (Index k = 0; k < x.size(); ++k) {
        values.row(k) = moments.evaluate(x[k], y[k]).transpose();
    }
    return values;
}

double* packTriangle(double const* matrix, Index size, Index firstRow, Index endRow, double* packed) {
    for (Index i = firstRow; i < endRow; ++i) {
        packed = std::copy_n(matrix + i * size, i + 1, packed);
    }
    return packed;
}

void addElements(Eigen::Ref<RowMatrix const> const& elements, Eigen::Ref<RowMatrix const> const& moments, Index first,
                 SpatialSums& sums) {
    Index const nKernel = sums.kernel.rows();
    Index const inKernel = std::clamp<Index>(nKernel - first, 0, elements.cols());
    Index const rest = elements.cols() - inKernel;
    if (inKernel > 0) {
        sums.kernel.middleRows(first, inKernel).noalias() +=
            elements.leftCols(inKernel).transpose() * moments.leftCols(sums.kernel.cols());
    }
    if (rest > 0) {
        sums.background.middleRows(first + inKernel - nKernel, rest).noalias() +=
            elements.rightCols(rest).transpose() * moments.leftCols(sums.background.cols());
    }
}

void addMatrices(std::vector<double const*> const& matrices, Eigen::Ref<RowMatrix const> const& moments,
                 Execution const& execution, SpatialSums& sums) {
    // Some rows of so many stamps are packed at a time. Fixed, so that the sequence of additions is.
    constexpr Index blockSize = 64;
    constexpr Index elementsPerItem = 2048;
    Index const size = sums.sides.rows();
    auto const nStamps = static_cast<Index>(matrices.size());
    std::vector<Index> firstRows{0};
    for (Index row = 0; row < size; ++row) {
        if (triangleSize(row + 1) - triangleSize(firstRows.back()) >= elementsPerItem || row + 1 == size) {
            firstRows.push_back(row + 1);
        }
    }
    parallelForBrief(static_cast<Index>(firstRows.size()) - 1, execution, [&](Index item, int) {
        Index const begin = firstRows[static_cast<std::size_t>(item)];
        Index const end = firstRows[static_cast<std::size_t>(item) + 1];
        RowMatrix packed(std::min(blockSize, nStamps), triangleSize(end) - triangleSize(begin));
        for (Index first = 0; first < nStamps; first += blockSize) {
            Index const count = std::min(blockSize, nStamps - first);
            for (Index k = 0; k < count; ++k) {
                packTriangle(matrices[static_cast<std::size_t>(first + k)], size, begin, end, packed.row(k).data());
            }
            addElements(packed.topRows(count), moments.middleRows(first, count), triangleSize(begin), sums);
        }
    });
}

void addSides(Eigen::Ref<RowMatrix const> const& rightHandSides, Eigen::Ref<RowMatrix const> const& moments,
              SpatialSums& sums) {
    sums.sides.noalias() += rightHandSides.transpose() * moments.leftCols(sums.sides.cols());
}

void assembleLower(SpatialSums const& sums, SpatialLayout const& layout, RowMatrix& matrix) {
    Index const n = layout.count();
    Index const nTerms = std::max(layout.p, layout.q);
    Index const backgroundStart = layout.start(n);
    matrix.resize(layout.nUnknowns(), layout.nUnknowns());
    ProductTable table(sums.model, nTerms);
    auto const write = [&](double const* moments, Index row, Index rows, Index column, Index columns) {
        double const* products = table.expand(moments, rows, columns);
        for (Index s = 0; s < rows; ++s) {
            std::copy_n(products + s * nTerms, columns, &matrix(row + s, column));
        }
    };
    for (Index i = 0; i < n; ++i) {
        Index const image = layout.images[static_cast<std::size_t>(i)];
        for (Index j = 0; j <= i; ++j) {
            Index const other = layout.images[static_cast<std::size_t>(j)];
            double const* moments =
                sums.kernel.row(triangleSize(std::max(image, other)) + std::min(image, other)).data();
            write(moments, layout.start(i), layout.size(i), layout.start(j), layout.size(j));
        }
        if (layout.q > 0) {
            write(sums.background.row(image).data(), backgroundStart, layout.q, layout.start(i), layout.size(i));
        }
    }
    if (layout.q > 0) {
        write(sums.background.row(sums.nImages).data(), backgroundStart, layout.q, backgroundStart, layout.q);
    }
}

VectorXd assembleSide(SpatialSums const& sums, SpatialLayout const& layout) {
    VectorXd side(layout.nUnknowns());
    for (Index i = 0; i < layout.count(); ++i) {
        side.segment(layout.start(i), layout.size(i)) =
            sums.sides.row(layout.images[static_cast<std::size_t>(i)]).head(layout.size(i)).transpose();
    }
    if (layout.q > 0) {
        side.tail(layout.q) = sums.sides.row(sums.nImages).head(layout.q).transpose();
    }
    return side;
}

MatrixXd noiseProducts(SpatialSums const& sums, Index p) {
    ProductTable table(sums.model, p);
    return Eigen::Map<RowMatrix const>(table.expand(sums.noise.data(), p, p), p, p);
}

MatrixXd mirrored(RowMatrix const& lower) {
    return lower.selfadjointView<Eigen::Lower>();
}

}  // namespace psfmatch
