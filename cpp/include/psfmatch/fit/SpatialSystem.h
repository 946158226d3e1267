// The spatial system of stamps: solved for any part of the stamps and any part of the basis from one set of sums (Alard
// 2000, A&AS 144, 363, eq. 6). Two things keep few stamps from fitting their own noise:
// - normal priors of zero mean on the kernel's shape and on its variation over the field, halved with every order
//   (Tikhonov; Becker et al. 2012, MNRAS 425, 1341). One way to vary is expected more than all others: that of a kernel
//   whose width changes;
// - the template's noise, which is convolved like light: its expected part of the normal matrix, w var_T K_i . K_j,
//   pulls the kernel to zero (errors in variables; Fuller 1987). It is wanted where nothing else tells the kernel and
//   not in the kernel sum: the system is solved twice, the second time pulled to the first solution (iterated
//   Tikhonov). Noise that neighbours share, as in a template that was resampled to smaller pixels, has no part where
//   the template has no power: taken for white there, it would multiply what is nothing but rounding.
#pragma once

#include <Eigen/Core>
#include <limits>
#include <vector>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/fit/SpatialSums.h"
#include "psfmatch/fit/StampEquations.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

// A model of kernel and background. Scales are standard deviations of the prior in units of the kernel's norm; 0: none.
struct SpatialModelOptions {
    std::vector<Index> images;    // of the basis; the first one's coefficient has no prior
    SpatialFunction kernel = {};  // of the coefficients of all images but the first
    SpatialFunction background = {};
    double shapeScale = 0.0;      // of the kernel's shape
    double variationScale = 0.0;  // of its variation over the field in any way
    double widthScale = 0.0;      // of that with its width, added in quadrature
    SpatialFunction scale = {};   // of the first image's coefficient: the kernel sum, where the others have none

    [[nodiscard]] SpatialFunction wholeKernel() const { return joined(kernel, scale); }
    [[nodiscard]] SpatialFunction whole() const { return joined(wholeKernel(), background); }
    [[nodiscard]] Index nParameters() const;  // free numbers
    friend bool operator==(SpatialModelOptions const&, SpatialModelOptions const&) = default;
};

struct SpatialSolution {
    Eigen::MatrixXd kernel;      // (n, p), over all images of the basis: 0 for those left out
    Eigen::VectorXd background;  // (q)
    SpatialFunction kernelFunction;
    SpatialFunction backgroundFunction;
    // The others only with covariance; matrices are empty without.
    double conditionNumber = std::numeric_limits<double>::quiet_NaN();
    double kernelSumError = std::numeric_limits<double>::quiet_NaN();  // in the middle of the frame
    Eigen::MatrixXd kernelCovariance;                                  // (n p, n p)
    Eigen::MatrixXd backgroundCovariance;                              // (q, q)
};

// What a solution says at the stamps.
struct StampValues {
    RowMatrix coefficients;       // (stamps, n)
    Eigen::VectorXd backgrounds;  // (stamps)
    Eigen::VectorXd chiSquares;   // (stamps), or empty
};

// Widening: the coefficients of a kernel's change with its width, of unit norm, or 0 where it cannot change so. Half
// its Laplacian is a Gaussian's derivative by its variance; the first image takes no part. (images), of (images, h w).
[[nodiscard]] Eigen::VectorXd wideningOf(Eigen::VectorXd const& coefficients, KernelBasis const& basis,
                                         Eigen::MatrixXd const& gram);  // (images, images): their scalar products

// Inverse covariance (n, n) of the coefficients of one spatial term, with 0 for the first image's: standard deviation
// `scale` of the norm in any direction (0: no prior), with `widthScale` along `widening` (or empty) added in
// quadrature.
[[nodiscard]] Eigen::MatrixXd precisionOf(Eigen::MatrixXd const& gram, double scale,
                                          Eigen::VectorXd const& widening = {}, double widthScale = 0.0);

// The noise's part of a normal matrix, of which it cannot be more than there is: a template whose pixels share their
// noise has less than white noise in some directions, and what is next to nothing there would be multiplied. Where it
// is no more than three times all in any direction it stays as it is, else no more than all.
// `noise` (n, n) is in units of `scale`, the sum of w var_T; `whole` (n, n) is the kernel's part of the matrix.
void boundNoise(Eigen::MatrixXd const& whole, double scale, Eigen::MatrixXd& noise);

class SpatialSystem {
public:
    // Sums the equations, of basis.size() images and a background, fold by fold; they are copied. `function`: of which
    // the functions of any model are some; kernelNorm: expected root of the sum of squares of the kernel, the unit of
    // the prior; noiseImages: the basis images smoothed by the correlation of the template's noise (correlatedImages),
    // null where that is white.
    SpatialSystem(StampEquations const& equations, Eigen::VectorXd const& x, Eigen::VectorXd const& y,  // pixels
                  std::vector<Index> const& folds,  // (stamps): number of each one's fold, from 0
                  SpatialFunction const& function, KernelBasis const& basis, double kernelNorm,
                  Execution const& execution = {}, SolverControl const& solver = {},
                  KernelBasis const* noiseImages = nullptr);

    [[nodiscard]] Index size() const { return moments_.rows(); }
    [[nodiscard]] SpatialFunction const& function() const { return function_; }
    [[nodiscard]] Index nFolds() const { return static_cast<Index>(folds_.size()); }

    // Of all stamps but those of which `without` (stamps, or empty) is not 0; the widening is that of all. What no
    // stamp tells, and no prior, is 0. Throws SolutionError for a system that is zero or not finite.
    [[nodiscard]] SpatialSolution solve(SpatialModelOptions const& options, bool withCovariance = false,
                                        std::vector<char> const& without = {}, Execution const& execution = {}) const;

    // Each stamp under the solution without its fold.
    [[nodiscard]] StampValues heldOut(SpatialModelOptions const& options, Execution const& execution = {}) const;

    // Values of a solution at the stamps, without chi-squares.
    [[nodiscard]] StampValues at(SpatialSolution const& solution) const;

    [[nodiscard]] Eigen::VectorXd chiSquares(Eigen::Ref<RowMatrix const> const& coefficients,  // (stamps, n)
                                             Eigen::VectorXd const& backgrounds,               // (stamps)
                                             Execution const& execution = {}) const;

    // By how much a solution's chi-square is below that of the background alone.
    [[nodiscard]] double lightGain(SpatialSolution const& solution, Execution const& execution = {}) const;

private:
    struct Fold {
        Index first = 0;  // stamps first <= k < end in their sequence here
        Index end = 0;
        SpatialSums sums;
    };
    // What the solutions of one model share.
    struct Prepared {
        SpatialLayout layout;
        SpatialFunction scale;
        SpatialFunction kernel;  // of all images
        SpatialFunction background;
        std::vector<Index> whole;                // places of the kernel's functions among those of the sums
        std::vector<Index> scalePlaces;          // of those of the first image among the kernel's
        std::vector<Index> kernelPlaces;         // of those of the others
        std::vector<int> roughness;              // of each of the latter
        Eigen::MatrixXd gram;                    // of the model's images
        Eigen::MatrixXd noiseGram;               // of them and the noise's
        std::vector<Eigen::MatrixXd> precision;  // of each roughness
    };
    struct Workspace;

    [[nodiscard]] Prepared prepare(SpatialModelOptions const& options) const;
    [[nodiscard]] SpatialSolution solvePrepared(Prepared const& model, SpatialSums const& sums, bool withCovariance,
                                                Execution const& execution, Workspace& workspace) const;
    // k: in the sequence here.
    void evaluate(SpatialSolution const& solution, Index first, Index count, StampValues& values) const;
    [[nodiscard]] double chiSquare(Index k, double const* coefficients, double background) const;

    SpatialFunction function_;
    KernelBasis basis_;
    double kernelNorm_;
    SolverControl solver_;
    Eigen::MatrixXd gram_;  // (n, n)
    Eigen::MatrixXd noiseGram_;
    std::vector<Index> order_;  // which stamp stands where: fold after fold
    RowMatrix packed_;          // (stamps, (n + 1) (n + 2) / 2): lower triangles of the matrices, in that sequence
    RowMatrix sides_;           // (stamps, n + 1)
    Eigen::VectorXd squares_;   // (stamps)
    Eigen::VectorXd noise_;     // (stamps)
    RowMatrix terms_;           // (stamps, terms)
    RowMatrix moments_;         // (stamps, moments)
    std::vector<Fold> folds_;
    SpatialSums totals_;
};

}  // namespace psfmatch
