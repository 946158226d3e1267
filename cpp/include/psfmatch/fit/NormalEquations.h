// Normal equations of one stamp: science ~ sum_i a_i (K_i (x) template) + b, weighted by 1 / variance
// (Alard & Lupton 1998, eq. 3-6). (x) is correlation; only pixels whose kernel footprint lies inside the stamp
// enter, a region of (height - kernelHeight + 1) x (width - kernelWidth + 1) pixels.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/base/types.h"
#include "psfmatch/kernel/KernelBasis.h"

namespace psfmatch {

// A basis together with what makes convolving with it quick, found once and used for every stamp: its
// one-dimensional factors, or the pixels of its delta functions.
struct PreparedBasis {
    KernelBasis basis;
    std::optional<SeparableBasis> separable;
    std::optional<std::vector<Index>> deltas = {};
};

[[nodiscard]] PreparedBasis prepare(KernelBasis basis);

// The stamp convolved by every basis image, one image a row: (n, fitted pixels), on demand with a last row of ones
// for the background. Throws std::invalid_argument if the stamp is smaller than the kernel. `columns` is resized;
// `scratch` keeps its memory between calls.
void convolveStamp(PreparedBasis const& basis, ConstImageView<float> const& stamp, RowMatrix& scratch,
                   RowMatrix& columns, InstructionSet instructionSet = InstructionSet::automatic,
                   bool withBackground = false);

struct NormalEquations {
    Eigen::MatrixXd matrix;         // (m, m), 1/variance weighted, m = number of columns
    Eigen::VectorXd rightHandSide;  // (m)
};

// Sums over pixels of w c_i c_j: (m, m)
[[nodiscard]] Eigen::MatrixXd weightedProducts(RowMatrix const& columns,        // (m, pixels)
                                               Eigen::VectorXd const& weights,  // (pixels), not negative
                                               InstructionSet instructionSet = InstructionSet::automatic);

// Sums over pixels of w c_i c_j and w c_i d. Pixels of weight zero do not count, whatever finite value they have.
// `memory`, where given, is kept from call to call.
[[nodiscard]] NormalEquations makeNormalEquations(RowMatrix const& columns,        // (m, pixels)
                                                  Eigen::VectorXd const& weights,  // (pixels), 1/variance
                                                  Eigen::VectorXd const& data,     // (pixels)
                                                  InstructionSet instructionSet = InstructionSet::automatic,
                                                  std::vector<double>* memory = nullptr);

}  // namespace psfmatch
