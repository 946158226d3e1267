// Stacks of basis images from which matching kernels are made. Alard-Lupton basis: Gaussians times polynomials
// (Alard & Lupton 1998, ApJ 503, 325), renormalised so that only the first image has a sum. Delta functions: one
// image for every pixel of the kernel. Any other stack of odd-sided images serves as well.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct KernelBasis {
    RowMatrix images;  // (n, height * width), each image row by row
    Index height = 0;
    Index width = 0;

    [[nodiscard]] Index size() const { return images.rows(); }
};

// Throws std::invalid_argument unless the basis has an image, odd sides and finite pixels.
void validate(KernelBasis const& basis);

// Gaussians of the given sigmas (pixels), each times all monomials x^i y^j of total degree up to its degree, in
// the sequence 1; x, y; x^2, xy, y^2; ... with x and y running from -1 to 1 across the stamp. Side 2 halfWidth
// + 1. A degree of -1 leaves a Gaussian out, but the first. Not yet renormalised.
enum class Polynomials {
    monomials,
    hermite  // of x / sigma: the same kernels, their images orthogonal; monomials are nearly alike from degree 8 on
};
[[nodiscard]] KernelBasis makeAlardLuptonBasis(Index halfWidth, std::vector<double> const& sigmas,
                                               std::vector<int> const& degrees,
                                               Polynomials polynomials = Polynomials::monomials);

// Which images of an Alard-Lupton basis of the degrees `within` are those of lower degrees of the same Gaussians.
// Throws std::invalid_argument for another number of degrees, and for one that is higher, or leaves the first Gaussian
// out.
[[nodiscard]] std::vector<Index> alardLuptonImages(std::vector<int> const& degrees, std::vector<int> const& within);

// One image for every pixel of the kernel, row by row: image k is 1 at column k % width of row k / width, else 0.
[[nodiscard]] KernelBasis makeDeltaFunctionBasis(Index width, Index height);

// Which pixel of each image is the 1, if every image is one pixel of exactly 1 among zeros; else nothing.
[[nodiscard]] std::optional<std::vector<Index>> deltaPixels(KernelBasis const& basis);

// First image: sum 1. Every other: sum 0 (its multiple of the first taken off), sum of squares 1.
[[nodiscard]] KernelBasis renormalize(KernelBasis basis);

// Full convolutions (h1 + h2 - 1, w1 + w2 - 1) of the images of two stacks, one by one, or of all of the first with the
// only one of the second. Throws std::invalid_argument for other numbers of them.
[[nodiscard]] KernelBasis composed(KernelBasis const& first, KernelBasis const& second,
                                   Execution const& execution = {});

// A basis whose images are (a multiple of) the first image plus one product of a column and a row each. Every
// Alard-Lupton basis is of this form, and convolving with it costs a few one-dimensional passes per image.
struct SeparableBasis {
    RowMatrix rowFactors;              // (nRow, width): distinct factors along x
    RowMatrix columnFactors;           // (n, height): one factor along y per image
    std::vector<Index> rowOf;          // (n): which row factor belongs to image i
    Eigen::VectorXd firstImageWeight;  // (n): K_i = columnFactors_i x rowFactors_rowOf[i] + weight_i * K_0
};

// Finds that form from the pixels, or nothing if the images do not have it to 1e-12 of their norm.
[[nodiscard]] std::optional<SeparableBasis> separate(KernelBasis const& basis);

}  // namespace psfmatch
