// How well one choice of priors explains a stamp: the evidence of a linear model with Gaussian priors, and its solution
// (MacKay 1992). The stamp's weighted products are summed once; every choice of width, deviation and flux ratio is a
// small matrix made of them. Pixels that are left out are taken off.
//
// The template's noise is convolved like light: half the sum of w sigma_T^2 |k|^2 is no misfit and is added to the
// evidence, and coefficients are solved twice, the second time pulled to the first (see docs/algorithm.md).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "psfmatch/fit/StampColumns.h"

namespace psfmatch {

// What a model is told before the fit. Widths, envelopes and lengths are indices into those of the priors.
struct StampChoice {
    Index width = 0;
    Index envelope = 0;
    Index length = 0;
    double deviation = 0.0;  // sd of the deviation at its middle, in units of the peak of k0; 0: none
    double ratio = 1.0;      // expected flux of the science image over that of the template
    double ratioError = 0.05;
};

struct StampPriors {
    std::vector<double> envelopes{1.2, 2.0, 3.5};  // pixels
    std::vector<double> lengths{0.6, 1.0, 1.6};    // over which the deviation is correlated, pixels
    double shift = 0.4;                            // pixels
    double moments = 0.5;                          // square pixels
    double plane = 1.0;                            // counts
};

// Columns of one account of what has changed, with their expected sizes.
struct StampExtra {
    std::vector<Index> pixels;
    RowMatrix values;       // (pixels, n)
    Eigen::VectorXd sizes;  // (n)
    [[nodiscard]] Index size() const { return sizes.size(); }
};

// Sums over the pixels of weight, and what is derived of them.
struct StampSums {
    Eigen::MatrixXd products;  // (columns, columns), lower triangle
    Eigen::VectorXd weights;   // (pixels): 1 / variance, 0 where left out
    double totalWeight = 0.0;
    double logWeights = 0.0;  // half the sum of their logarithms
    // Deviation turned to independent unknowns, by (envelope, length).
    std::map<std::pair<Index, Index>, Eigen::MatrixXd> turned;
    // Of the extra columns with all others and with themselves; made for those that are solved with first.
    Eigen::MatrixXd extraCross;
    Eigen::MatrixXd extraOwn;
    void forgetExtra() { extraCross.resize(0, 0); }
};

struct StampSolution {
    StampChoice choice;
    double evidence = 0.0;
    Eigen::VectorXd coefficients;  // of all columns but the science image; zero where a column is no part
    Eigen::VectorXd extra;
    Eigen::VectorXd kernel;  // (kernel pixels)
    // Inverse of the Hessian of the scaled unknowns, and what takes columns to them: for errors.
    std::vector<Index> active;
    Eigen::VectorXd scales;
    Eigen::MatrixXd factor;  // lower Cholesky factor
};

// Of a stamp: its columns and what the priors make of them.
struct StampProblem {
    StampColumns columns;
    StampPriors priors;
    std::vector<Eigen::MatrixXd> turns;  // by envelope, then length: deviation = turn * independent unknowns
    double templateVariance = 0.0;       // of a pixel

    [[nodiscard]] Eigen::MatrixXd const& turn(Index envelope, Index length) const {
        return turns[static_cast<std::size_t>(envelope) * priors.lengths.size() + static_cast<std::size_t>(length)];
    }
};

[[nodiscard]] StampProblem makeStampProblem(StampColumns columns, StampPriors const& priors, double templateVariance);

[[nodiscard]] StampSums stampSums(StampColumns const& columns, Eigen::VectorXd const& weights);

// The same from sums of other weights, up to 5 % of each weight: what all have in common is a factor, and only pixels
// that change by more are summed again. The weights become those that were summed.
[[nodiscard]] StampSums reweighted(StampSums const& sums, StampColumns const& columns, Eigen::VectorXd& weights);

// Takes pixels off, or brings them back with these weights.
void leaveOut(StampSums& sums, StampColumns const& columns, std::vector<Index> const& pixels);
void bringBack(StampSums& sums, StampColumns const& columns, std::vector<Index> const& pixels,
               Eigen::VectorXd const& weights);

// Extra columns must be those of the call before, unless the sums have changed or forgotten them since.
[[nodiscard]] StampSolution solveStamp(StampProblem const& problem, StampSums& sums, StampExtra const& extra,
                                       StampChoice const& choice);

// Science - model at every pixel; the extra columns are part of the model where asked for.
[[nodiscard]] Eigen::VectorXd stampResiduals(StampProblem const& problem, StampSolution const& solution,
                                             StampExtra const* extra);

// Rows of the scaled design at some pixels; with the factor they tell the model's error there.
[[nodiscard]] Eigen::MatrixXd designRows(StampProblem const& problem, StampSolution const& solution,
                                         StampExtra const& extra, std::vector<Index> const& pixels);

}  // namespace psfmatch
