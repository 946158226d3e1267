// Alard's sums over the stamps of a field (Alard 2000, A&AS 144, 363, eq. 6). Element (i, j) of a stamp's matrix Q
// enters the block of the coefficients i and j as Q_ij f_s f_t with the spatial functions at the stamp's centre. Their
// products are sums of a few moments (SpatialForm), of which Q_ij is summed with each. Every model whose functions are
// among those of the sums, and whose images are, is served by one set of them.
#pragma once

#include <Eigen/Core>
#include <array>
#include <memory>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

struct SpatialSums {
    // Of no stamp. Of the first `kernelTerms` functions for the kernel, the first `backgroundTerms` for the background,
    // 0: without one.
    SpatialSums(SpatialFunction const& function, Index imageCount, Index kernelTerms, Index backgroundTerms);

    SpatialSums& operator+=(SpatialSums const& other);
    SpatialSums& operator-=(SpatialSums const& other);

    using Products = std::vector<std::array<Index, 4>>;
    std::shared_ptr<Products const> products;  // (terms, terms): which moments make up each
    Index nTerms;
    Index nImages;
    RowMatrix kernel;       // (nImages (nImages + 1) / 2, moments): lower triangle of the images, row by row
    RowMatrix background;   // (nImages + 1, moments): the row of the background, empty without
    RowMatrix sides;        // (nImages [+ 1], terms): of the right-hand sides
    Eigen::VectorXd noise;  // (moments): of the sums of w var_T; 0 where nobody adds them
};

// Which unknowns belong to which coefficient: those of images[i] stand together, the background's are the last. Places
// of a coefficient's functions are those among the functions of the sums.
struct SpatialLayout {
    std::vector<Index> images;
    std::vector<Index> scale{0};      // of the first image's coefficient
    std::vector<Index> kernel{0};     // of each other
    std::vector<Index> background{};  // empty without

    [[nodiscard]] Index count() const { return static_cast<Index>(images.size()); }
    [[nodiscard]] std::vector<Index> const& terms(Index i) const { return i == 0 ? scale : kernel; }
    [[nodiscard]] Index size(Index i) const { return static_cast<Index>(terms(i).size()); }
    [[nodiscard]] Index start(Index i) const {
        return i == 0 ? 0 : size(0) + (i - 1) * static_cast<Index>(kernel.size());
    }
    [[nodiscard]] Index backgroundSize() const { return static_cast<Index>(background.size()); }
    [[nodiscard]] Index nUnknowns() const { return start(count()) + backgroundSize(); }
};

// Values of all functions: (positions, terms).
[[nodiscard]] RowMatrix termsAt(SpatialFunction const& function, Eigen::VectorXd const& x, Eigen::VectorXd const& y);

// Values of all moments: (positions, moments).
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

// Adds right-hand sides: (stamps, nImages [+ 1]), with the values of all functions.
void addSides(Eigen::Ref<RowMatrix const> const& rightHandSides, Eigen::Ref<RowMatrix const> const& terms,
              SpatialSums& sums);

// The normal matrix of a model, of which the lower triangle is written: (nUnknowns, nUnknowns).
void assembleLower(SpatialSums const& sums, SpatialLayout const& layout, RowMatrix& matrix);

// Its right-hand side: (nUnknowns).
[[nodiscard]] Eigen::VectorXd assembleSide(SpatialSums const& sums, SpatialLayout const& layout);

// sum f_s f_t w var_T of some functions: (terms, terms).
[[nodiscard]] Eigen::MatrixXd noiseProducts(SpatialSums const& sums, std::vector<Index> const& terms);

// Both triangles, of the lower one.
[[nodiscard]] Eigen::MatrixXd mirrored(RowMatrix const& lower);

}  // namespace psfmatch
