// The normal matrix of the spatial system, summed over candidates. Element (i, j) of a candidate's matrix Q enters the
// block of coefficients i and j as Q_ij f_s g_t with the spatial functions of both at the candidate's centre. The
// blocks are symmetric in s and t where f = g, so that p (p + 1) / 2 weighted sums of the whole matrices Q hold all
// of it: long vectors instead of many small blocks.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "psfmatch/SpatialFunction.h"
#include "psfmatch/parallel.h"
#include "psfmatch/types.h"

namespace psfmatch::detail {

// Which unknowns belong to which coefficient: those of coefficient i (or of the background, i = nBasis) stand
// together.
struct SpatialLayout {
    Index nBasis = 0;
    Index p = 1;  // functions of a coefficient
    Index q = 0;  // functions of the background, 0 without
    bool constantFirstTerm = true;

    [[nodiscard]] Index nCoefficients() const { return nBasis + (q > 0 ? 1 : 0); }
    [[nodiscard]] Index size(Index i) const { return i == nBasis ? q : i == 0 && constantFirstTerm ? 1 : p; }
    [[nodiscard]] Index start(Index i) const { return i == 0 ? 0 : size(0) + (i - 1) * p; }
    [[nodiscard]] Index nUnknowns() const { return start(nBasis) + q; }
};

// One candidate's share.
struct SpatialTerm {
    Eigen::VectorXd kernelValues;           // (p), the first of them 1
    Eigen::VectorXd backgroundValues;       // (q)
    double const* matrix = nullptr;         // (nCoefficients, nCoefficients), symmetric
    double const* rightHandSide = nullptr;  // (nCoefficients)
};

// The right-hand side, one addition after the other: (nUnknowns)
void addRightHandSide(SpatialLayout const& layout, SpatialTerm const& term, Eigen::VectorXd& rightHandSide);

struct SpatialSums {
    explicit SpatialSums(SpatialLayout const& spatialLayout);

    SpatialLayout layout;
    std::vector<Eigen::MatrixXd> kernel;  // (nBasis, nBasis) for every s <= t, the lower triangles
    Eigen::MatrixXd crossed;              // (p * q, nBasis), of kernel and background
    Eigen::MatrixXd background;           // (q, q)
};

// Adds the candidates in their sequence, whatever the number of threads.
void addTerms(std::vector<SpatialTerm> const& terms, Execution const& execution, SpatialSums& sums);

// The whole matrix, both triangles: (nUnknowns, nUnknowns)
[[nodiscard]] Eigen::MatrixXd assemble(SpatialSums const& sums);

}  // namespace psfmatch::detail
