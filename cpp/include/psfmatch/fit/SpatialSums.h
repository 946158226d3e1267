// Alard's sums over the stamps of a field (Alard 2000, A&AS 144, 363, eq. 6). Element (i, j) of a stamp's matrix Q
// enters the block of the coefficients i and j as Q_ij f_s f_t with the spatial functions at the stamp's centre.
// Products of two monomials are a monomial, those of two Chebyshev polynomials T_a T_b = (T_(a+b) + T_|a-b|) / 2: the
// moments of Q_ij up to twice the order hold all products, 15 numbers for 21 pairs at order 2. Moments up to lower
// orders are the first of them and elements of fewer images a part of all, so that one set of sums serves every model.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

struct SpatialSums {
    // Of no stamp. backgroundOrder -1: without a background.
    SpatialSums(SpatialModel spatialModel, Index imageCount, int highestKernelOrder, int highestBackgroundOrder);

    SpatialSums& operator+=(SpatialSums const& other);
    SpatialSums& operator-=(SpatialSums const& other);

    SpatialModel model;
    Index nImages;
    int kernelOrder;
    int backgroundOrder;
    RowMatrix kernel;       // (nImages (nImages + 1) / 2, moments): lower triangle of the images, row by row
    RowMatrix background;   // (nImages + 1, moments): the row of the background, empty without
    RowMatrix sides;        // (nImages [+ 1], terms): of the right-hand sides
    Eigen::VectorXd noise;  // (moments): of the sums of w var_T; 0 where nobody adds them
};

// Which unknowns belong to which coefficient: those of images[i] stand together, the background's are the last.
struct SpatialLayout {
    std::vector<Index> images;
    Index p = 1;  // functions of a coefficient
    Index q = 0;  // functions of the background, 0 without
    bool constantFirstTerm = true;

    [[nodiscard]] Index count() const { return static_cast<Index>(images.size()); }
    [[nodiscard]] Index size(Index i) const { return i == 0 && constantFirstTerm ? 1 : p; }
    [[nodiscard]] Index start(Index i) const { return i == 0 ? 0 : size(0) + (i - 1) * p; }
    [[nodiscard]] Index nUnknowns() const { return start(count()) + q; }
};

// Values of all moments, the terms of `function` first: (positions, terms of twice its order).
[[nodiscard]] RowMatrix momentsAt(SpatialFunction const& function, Eigen::VectorXd const& x, Eigen::VectorXd const& y);

// Writes rows firstRow <= i < endRow of the lower triangle of `matrix` (size, size), one after the other; returns the
// end of what is written.
double* packTriangle(double const* matrix, Index size, Index firstRow, Index endRow, double* packed);

// Adds the elements of packed triangles from number `first` on: `elements` (stamps, some), `moments` (stamps, all).
void addElements(Eigen::Ref<RowMatrix const> const& elements, Eigen::Ref<RowMatrix const> const& moments, Index first,
                 SpatialSums& sums);

// Adds whole matrices (nImages [+ 1] squared, symmetric) of stamps, with one row of `moments` for each, in their
// sequence whatever the number of threads.
void addMatrices(std::vector<double const*> const& matrices, Eigen::Ref<RowMatrix const> const& moments,
                 Execution const& execution, SpatialSums& sums);

// Adds right-hand sides: (stamps, nImages [+ 1]).
void addSides(Eigen::Ref<RowMatrix const> const& rightHandSides, Eigen::Ref<RowMatrix const> const& moments,
              SpatialSums& sums);

// The normal matrix of a model, of which the lower triangle is written: (nUnknowns, nUnknowns).
void assembleLower(SpatialSums const& sums, SpatialLayout const& layout, RowMatrix& matrix);

// Its right-hand side: (nUnknowns).
[[nodiscard]] Eigen::VectorXd assembleSide(SpatialSums const& sums, SpatialLayout const& layout);

// sum f_s f_t w var_T: (p, p).
[[nodiscard]] Eigen::MatrixXd noiseProducts(SpatialSums const& sums, Index p);

// Both triangles, of the lower one.
[[nodiscard]] Eigen::MatrixXd mirrored(RowMatrix const& lower);

}  // namespace psfmatch
