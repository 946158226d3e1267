#include "psfmatch/fit/SpatialSums.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace psfmatch {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

Index triangleSize(Index rows) {
    return rows * (rows + 1) / 2;
}

// Products of some functions with some others, from the moments of an element.
class Products {
public:
    explicit Products(SpatialSums const& sums) : table_(*sums.products), n_(sums.nTerms) {}

    // Row by row, one after the other.
    double const* expand(double const* sums, std::vector<Index> const& rows, std::vector<Index> const& columns) {
        values_.resize(rows.size() * columns.size());
        double* value = values_.data();
        for (Index const s : rows) {
            std::array<Index, 4> const* const row = table_.data() + s * n_;
            for (Index const t : columns) {
                auto const& [a, b, c, d] = row[t];
                *value = 0.25 * ((sums[a] + sums[b]) + (sums[c] + sums[d]));
                // A square that is 0 at every stamp is one here, not what rounding leaves: nothing tells its unknown.
                if (s == t) {
                    double const scale = std::abs(sums[a]) + std::abs(sums[b]) + std::abs(sums[c]) + std::abs(sums[d]);
                    if (std::abs(*value) <= 1e-14 * scale) {
                        *value = 0.0;
                    }
                }
                ++value;
            }
        }
        return values_.data();
    }

private:
    SpatialSums::Products const& table_;
    Index n_;
    std::vector<double> values_;
};

}  // namespace

SpatialSums::SpatialSums(SpatialFunction const& function, Index imageCount, Index kernelTerms, Index backgroundTerms)
    : nTerms(std::max(kernelTerms, backgroundTerms)), nImages(imageCount) {
    SpatialForm const& form = function.form();
    auto table = std::make_shared<Products>();
    for (Index s = 0; s < nTerms; ++s) {
        for (Index t = 0; t < nTerms; ++t) {
            table->push_back(form.product(s, t));
        }
    }
    products = std::move(table);
    kernel = RowMatrix::Zero(triangleSize(imageCount), form.momentCount(kernelTerms, kernelTerms));
    if (backgroundTerms > 0) {
        background = RowMatrix::Zero(nImages + 1, form.momentCount(backgroundTerms, nTerms));
    }
    sides = RowMatrix::Zero(nImages + (backgroundTerms > 0 ? 1 : 0), nTerms);
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

RowMatrix termsAt(SpatialFunction const& function, VectorXd const& x, VectorXd const& y) {
    RowMatrix values(x.size(), function.size());
    for (Index k = 0; k < x.size(); ++k) {
        values.row(k) = function.evaluate(x[k], y[k]).transpose();
    }
    return values;
}

RowMatrix momentsAt(SpatialFunction const& function, VectorXd const& x, VectorXd const& y) {
    SpatialForm const& form = function.form();
    RowMatrix values(x.size(), form.momentCount(form.size(), form.size()));
    for (Index k = 0; k < x.size(); ++k) {
        values.row(k) = form.moments(x[k], y[k]).transpose();
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

void addSides(Eigen::Ref<RowMatrix const> const& rightHandSides, Eigen::Ref<RowMatrix const> const& terms,
              SpatialSums& sums) {
    sums.sides.noalias() += rightHandSides.transpose() * terms.leftCols(sums.sides.cols());
}

void assembleLower(SpatialSums const& sums, SpatialLayout const& layout, RowMatrix& matrix) {
    Index const n = layout.count();
    Index const backgroundStart = layout.start(n);
    matrix.resize(layout.nUnknowns(), layout.nUnknowns());
    Products products(sums);
    auto const write = [&](double const* moments, Index row, std::vector<Index> const& rows, Index column,
                           std::vector<Index> const& columns) {
        auto const nColumns = static_cast<Index>(columns.size());
        double const* values = products.expand(moments, rows, columns);
        for (Index s = 0; s < static_cast<Index>(rows.size()); ++s) {
            std::copy_n(values + s * nColumns, nColumns, &matrix(row + s, column));
        }
    };
    for (Index i = 0; i < n; ++i) {
        Index const image = layout.images[static_cast<std::size_t>(i)];
        for (Index j = 0; j <= i; ++j) {
            Index const other = layout.images[static_cast<std::size_t>(j)];
            double const* moments =
                sums.kernel.row(triangleSize(std::max(image, other)) + std::min(image, other)).data();
            write(moments, layout.start(i), layout.terms(i), layout.start(j), layout.terms(j));
        }
        if (layout.backgroundSize() > 0) {
            write(sums.background.row(image).data(), backgroundStart, layout.background, layout.start(i),
                  layout.terms(i));
        }
    }
    if (layout.backgroundSize() > 0) {
        write(sums.background.row(sums.nImages).data(), backgroundStart, layout.background, backgroundStart,
              layout.background);
    }
}

VectorXd assembleSide(SpatialSums const& sums, SpatialLayout const& layout) {
    VectorXd side(layout.nUnknowns());
    auto const write = [&](Index image, Index start, std::vector<Index> const& terms) {
        for (Index const term : terms) {
            side[start++] = sums.sides(image, term);
        }
    };
    for (Index i = 0; i < layout.count(); ++i) {
        write(layout.images[static_cast<std::size_t>(i)], layout.start(i), layout.terms(i));
    }
    if (layout.backgroundSize() > 0) {
        write(sums.nImages, layout.start(layout.count()), layout.background);
    }
    return side;
}

MatrixXd noiseProducts(SpatialSums const& sums, std::vector<Index> const& terms) {
    auto const p = static_cast<Index>(terms.size());
    return Eigen::Map<RowMatrix const>(Products(sums).expand(sums.noise.data(), terms, terms), p, p);
}

MatrixXd mirrored(RowMatrix const& lower) {
    return lower.selfadjointView<Eigen::Lower>();
}

}  // namespace psfmatch
