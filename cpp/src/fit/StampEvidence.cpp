#include "psfmatch/fit/StampEvidence.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <string>

#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

constexpr double kernelJitter = 1e-9;  // of the prior's diagonal
constexpr double sameWeight = 0.05;    // change of a weight that is none

// Deviations of zero sum that are smooth and fall off outwards: C - C 1 1' C / (1' C 1) for a covariance C.
Eigen::MatrixXd turnOf(StampColumns const& columns, double envelope, double length) {
    Index const n = columns.nDeviation();
    Eigen::MatrixXd covariance(n, n);
    for (Index i = 0; i < n; ++i) {
        auto const [xi, yi] = columns.places[static_cast<std::size_t>(i)];
        for (Index j = 0; j < n; ++j) {
            auto const [xj, yj] = columns.places[static_cast<std::size_t>(j)];
            double const apart = static_cast<double>((xi - xj) * (xi - xj) + (yi - yj) * (yi - yj));
            double const out = static_cast<double>(xi * xi + yi * yi + xj * xj + yj * yj);
            covariance(i, j) = std::exp(-0.5 * apart / (length * length) - 0.25 * out / (envelope * envelope));
        }
        covariance(i, i) *= 1.0 + kernelJitter;
    }
    Eigen::MatrixXd turn = covariance.llt().matrixL();
    Eigen::VectorXd const shares = covariance.rowwise().sum() / covariance.sum();
    Eigen::RowVectorXd const sums = turn.colwise().sum();
    turn -= shares * sums;
    return turn;
}

void addRows(StampSums& sums, StampColumns const& columns, std::vector<Index> const& pixels,
             Eigen::VectorXd const& weights, double sign) {
    Eigen::MatrixXd rows(columns.size(), static_cast<Index>(pixels.size()));
    Index n = 0;
    for (Index const pixel : pixels) {
        double const weight = weights(pixel);
        if (weight > 0.0) {
            rows.col(n++) = std::sqrt(weight) * columns.values.row(pixel).transpose();
            sums.totalWeight += sign * weight;
            sums.logWeights += sign * 0.5 * std::log(weight);
        }
    }
    if (n > 0) {
        sums.products.selfadjointView<Eigen::Lower>().rankUpdate(rows.leftCols(n), sign);
        sums.turned.clear();
        sums.forgetExtra();
    }
}

// The kernel that coefficients make; images of the deviation are single pixels.
Eigen::VectorXd kernelOf(StampColumns const& columns, Index first, Eigen::VectorXd const& coefficients,
                         Index nDeviation) {
    Eigen::VectorXd kernel = Eigen::VectorXd::Zero(columns.kernels.cols());
    for (Index k = first; k < first + StampColumns::perWidth; ++k) {
        kernel += coefficients(k) * columns.kernels.row(k).transpose();
    }
    for (Index i = 0; i < nDeviation; ++i) {
        kernel(columns.kernelPixel(i)) += coefficients(i);
    }
    return kernel;
}

Eigen::MatrixXd symmetric(Eigen::MatrixXd const& lower, std::vector<Index> const& active) {
    auto const n = static_cast<Index>(active.size());
    Eigen::MatrixXd result(n, n);
    for (Index j = 0; j < n; ++j) {
        for (Index i = 0; i < n; ++i) {
            Index const a = active[static_cast<std::size_t>(i)];
            Index const b = active[static_cast<std::size_t>(j)];
            result(i, j) = a >= b ? lower(a, b) : lower(b, a);
        }
    }
    return result;
}

}  // namespace

StampProblem makeStampProblem(StampColumns columns, StampPriors const& priors, double templateVariance) {
    StampProblem problem{std::move(columns), priors, {}, templateVariance};
    for (double const envelope : priors.envelopes) {
        for (double const length : priors.lengths) {
            problem.turns.push_back(turnOf(problem.columns, envelope, length));
        }
    }
    return problem;
}

StampSums stampSums(StampColumns const& columns, Eigen::VectorXd const& weights) {
    StampSums sums;
    sums.products = Eigen::MatrixXd::Zero(columns.size(), columns.size());
    sums.weights = weights;
    std::vector<Index> all;
    for (Index i = 0; i < weights.size(); ++i) {
        if (weights(i) > 0.0) {
            all.push_back(i);
        }
    }
    addRows(sums, columns, all, weights, 1.0);
    return sums;
}

StampSums reweighted(StampSums const& sums, StampColumns const& columns, Eigen::VectorXd& weights) {
    std::vector<double> ratios;
    for (Index i = 0; i < weights.size(); ++i) {
        if (weights(i) > 0.0 && sums.weights(i) > 0.0) {
            ratios.push_back(weights(i) / sums.weights(i));
        }
    }
    if (ratios.empty()) {
        return stampSums(columns, weights);
    }
    auto const middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    double const factor = *middle;
    std::vector<Index> more;
    std::vector<Index> less;
    Eigen::VectorXd changes = Eigen::VectorXd::Zero(weights.size());
    for (Index i = 0; i < weights.size(); ++i) {
        double const scaled = factor * sums.weights(i);
        double const change = weights(i) - scaled;
        if (std::abs(change) <= sameWeight * scaled) {
            weights(i) = scaled;
        } else {
            changes(i) = std::abs(change);
            (change > 0.0 ? more : less).push_back(i);
        }
    }
    StampSums result;
    result.products = factor * sums.products;
    addRows(result, columns, more, changes, 1.0);
    addRows(result, columns, less, changes, -1.0);
    result.weights = weights;
    result.totalWeight = weights.sum();
    result.logWeights = (weights.array() > 0.0).select(0.5 * weights.array().max(1e-300).log(), 0.0).sum();
    return result;
}

void leaveOut(StampSums& sums, StampColumns const& columns, std::vector<Index> const& pixels) {
    addRows(sums, columns, pixels, sums.weights, -1.0);
    for (Index const pixel : pixels) {
        sums.weights(pixel) = 0.0;
    }
}

void bringBack(StampSums& sums, StampColumns const& columns, std::vector<Index> const& pixels,
               Eigen::VectorXd const& weights) {
    std::vector<Index> missing;
    for (Index const pixel : pixels) {
        if (sums.weights(pixel) == 0.0 && weights(pixel) > 0.0) {
            missing.push_back(pixel);
            sums.weights(pixel) = weights(pixel);
        }
    }
    addRows(sums, columns, missing, weights, 1.0);
}

StampSolution solveStamp(StampProblem const& problem, StampSums& sums, StampExtra const& extra,
                         StampChoice const& choice) {
    StampColumns const& columns = problem.columns;
    Index const nDeviation = choice.deviation > 0.0 ? columns.nDeviation() : 0;
    StampSolution solution;
    solution.choice = choice;
    Index const first = columns.firstOf(choice.width);
    for (Index k = 0; k < StampColumns::perWidth; ++k) {
        solution.active.push_back(first + k);
    }
    for (Index k = 0; k < StampColumns::nPlane; ++k) {
        solution.active.push_back(columns.plane() + k);
    }
    auto const nBase = static_cast<Index>(solution.active.size());
    Index const nExtra = extra.size();
    Index const n = nDeviation + nBase + nExtra;
    // Expected sizes of the unknowns: the flux ratio scales all that belongs to the kernel.
    double const ratio = std::abs(choice.ratio);
    double const deviation = ratio * choice.deviation * columns.peaks[static_cast<std::size_t>(choice.width)];
    solution.scales.resize(n);
    solution.scales.head(nDeviation).setConstant(deviation);
    solution.scales.segment(nDeviation, nBase) << choice.ratioError * ratio, ratio * problem.priors.shift,
        ratio * problem.priors.shift, ratio * problem.priors.moments, ratio * problem.priors.moments,
        ratio * problem.priors.moments, problem.priors.plane, problem.priors.plane, problem.priors.plane;
    solution.scales.tail(nExtra) = extra.sizes;

    auto withScience = solution.active;
    withScience.push_back(columns.science());
    Eigen::MatrixXd const base = symmetric(sums.products, withScience);
    Eigen::MatrixXd hessian(n, n);
    Eigen::VectorXd right(n);
    hessian.block(nDeviation, nDeviation, nBase, nBase) = base.topLeftCorner(nBase, nBase);
    right.segment(nDeviation, nBase) = base.col(nBase).head(nBase) - choice.ratio * base.col(0).head(nBase);
    double const total =
        base(nBase, nBase) - 2.0 * choice.ratio * base(nBase, 0) + choice.ratio * choice.ratio * base(0, 0);
    Eigen::MatrixXd const* turn = nullptr;
    if (nDeviation > 0) {
        turn = &problem.turn(choice.envelope, choice.length);
        auto& turned = sums.turned[{choice.envelope, choice.length}];
        if (turned.size() == 0) {
            Eigen::MatrixXd const half =
                sums.products.topLeftCorner(nDeviation, nDeviation).selfadjointView<Eigen::Lower>() * *turn;
            turned = turn->transpose() * half;
        }
        hessian.topLeftCorner(nDeviation, nDeviation) = turned;
        Eigen::MatrixXd cross(nBase + 1, nDeviation);
        for (Index i = 0; i <= nBase; ++i) {
            cross.row(i) = sums.products.row(withScience[static_cast<std::size_t>(i)]).head(nDeviation);
        }
        Eigen::MatrixXd const turnedCross = cross * *turn;
        hessian.block(nDeviation, 0, nBase, nDeviation) = turnedCross.topRows(nBase);
        right.head(nDeviation) = (turnedCross.row(nBase) - choice.ratio * turnedCross.row(0)).transpose();
    }
    if (nExtra > 0) {
        if (sums.extraCross.size() == 0) {
            RowMatrix rows(static_cast<Index>(extra.pixels.size()), columns.size());
            RowMatrix weighted = extra.values;
            for (Index i = 0; i < rows.rows(); ++i) {
                Index const pixel = extra.pixels[static_cast<std::size_t>(i)];
                rows.row(i) = columns.values.row(pixel);
                weighted.row(i) *= sums.weights(pixel);
            }
            sums.extraCross = weighted.transpose() * rows;
            sums.extraOwn = weighted.transpose() * extra.values;
        }
        Eigen::MatrixXd const& cross = sums.extraCross;
        if (nDeviation > 0) {
            hessian.bottomLeftCorner(nExtra, nDeviation) = cross.leftCols(nDeviation) * *turn;
        }
        for (Index i = 0; i < nBase; ++i) {
            hessian.block(nDeviation + nBase, nDeviation + i, nExtra, 1) =
                cross.col(solution.active[static_cast<std::size_t>(i)]);
        }
        hessian.bottomRightCorner(nExtra, nExtra) = sums.extraOwn;
        right.tail(nExtra) = cross.col(columns.science()) - choice.ratio * cross.col(first);
    }
    // Scaled so that every prior is N(0, 1).
    hessian = (solution.scales.asDiagonal() * hessian * solution.scales.asDiagonal()).eval();
    hessian.diagonal().array() += 1.0;
    right.array() *= solution.scales.array();
    Eigen::LLT<Eigen::MatrixXd, Eigen::Lower> const factor(hessian);
    if (factor.info() != Eigen::Success) {
        throw SolutionError("the equations of a stamp of " + std::to_string(columns.height) + " x " +
                            std::to_string(columns.width) + " pixels have no solution");
    }
    solution.factor = factor.matrixL();
    Eigen::VectorXd unknowns = factor.solve(right);
    solution.evidence =
        -0.5 * (total - right.dot(unknowns)) - solution.factor.diagonal().array().log().sum() + sums.logWeights;

    auto const spread = [&](Eigen::VectorXd const& scaled) {
        solution.coefficients = Eigen::VectorXd::Zero(columns.science());
        if (nDeviation > 0) {
            solution.coefficients.head(nDeviation) = *turn * (deviation * scaled.head(nDeviation));
        }
        for (Index i = 0; i < nBase; ++i) {
            solution.coefficients(solution.active[static_cast<std::size_t>(i)]) =
                scaled(nDeviation + i) * solution.scales(nDeviation + i);
        }
        solution.coefficients(first) += choice.ratio;
        solution.kernel = kernelOf(columns, first, solution.coefficients, nDeviation);
        solution.extra = scaled.tail(nExtra).array() * extra.sizes.array();
    };
    spread(unknowns);
    double const noise = problem.templateVariance * sums.totalWeight;
    solution.evidence += 0.5 * noise * solution.kernel.squaredNorm();
    if (noise > 0.0) {
        Eigen::VectorXd pull = Eigen::VectorXd::Zero(n);
        pull.segment(nDeviation, StampColumns::perWidth) =
            columns.kernels.middleRows(first, StampColumns::perWidth) * solution.kernel;
        if (nDeviation > 0) {
            Eigen::VectorXd at(nDeviation);
            for (Index i = 0; i < nDeviation; ++i) {
                at(i) = solution.kernel(columns.kernelPixel(i));
            }
            pull.head(nDeviation) = turn->transpose() * at;
        }
        unknowns += factor.solve(Eigen::VectorXd(noise * pull.array() * solution.scales.array()));
        spread(unknowns);
    }
    return solution;
}

Eigen::VectorXd stampResiduals(StampProblem const& problem, StampSolution const& solution, StampExtra const* extra) {
    StampColumns const& columns = problem.columns;
    Eigen::VectorXd residuals = columns.values.col(columns.science());
    Index const first = solution.active.front();
    residuals -= columns.values.middleCols(first, StampColumns::perWidth) *
                 solution.coefficients.segment(first, StampColumns::perWidth);
    residuals -= columns.values.middleCols(columns.plane(), StampColumns::nPlane) *
                 solution.coefficients.segment(columns.plane(), StampColumns::nPlane);
    if (solution.choice.deviation > 0.0) {
        // Its columns are the template, moved by whole pixels.
        Eigen::Map<OwnedImage<double>> image(residuals.data(), columns.height, columns.width);
        for (Index i = 0; i < columns.nDeviation(); ++i) {
            auto const [x, y] = columns.places[static_cast<std::size_t>(i)];
            image -= solution.coefficients(i) *
                     columns.wide.block(columns.halfWidth - y, columns.halfWidth - x, columns.height, columns.width);
        }
    }
    if (extra != nullptr && extra->size() > 0) {
        Eigen::VectorXd const light = extra->values * solution.extra;
        for (Index i = 0; i < light.size(); ++i) {
            residuals(extra->pixels[static_cast<std::size_t>(i)]) -= light(i);
        }
    }
    return residuals;
}

Eigen::MatrixXd designRows(StampProblem const& problem, StampSolution const& solution, StampExtra const& extra,
                           std::vector<Index> const& pixels) {
    StampColumns const& columns = problem.columns;
    auto const m = static_cast<Index>(pixels.size());
    auto const nBase = static_cast<Index>(solution.active.size());
    Index const n = solution.scales.size();
    Index const nDeviation = n - nBase - extra.size();
    Eigen::MatrixXd rows = Eigen::MatrixXd::Zero(m, n);
    Eigen::MatrixXd deviation(m, nDeviation);
    for (Index i = 0; i < m; ++i) {
        auto const values = columns.values.row(pixels[static_cast<std::size_t>(i)]);
        deviation.row(i) = values.head(nDeviation);
        for (Index k = 0; k < nBase; ++k) {
            rows(i, nDeviation + k) = values(solution.active[static_cast<std::size_t>(k)]);
        }
    }
    if (nDeviation > 0) {
        rows.leftCols(nDeviation) = deviation * problem.turn(solution.choice.envelope, solution.choice.length);
    }
    if (extra.size() > 0) {
        std::map<Index, Index> where;
        for (std::size_t i = 0; i < extra.pixels.size(); ++i) {
            where[extra.pixels[i]] = static_cast<Index>(i);
        }
        for (Index i = 0; i < m; ++i) {
            auto const found = where.find(pixels[static_cast<std::size_t>(i)]);
            if (found != where.end()) {
                rows.row(i).tail(extra.size()) = extra.values.row(found->second);
            }
        }
    }
    return rows * solution.scales.asDiagonal();
}

}  // namespace psfmatch
