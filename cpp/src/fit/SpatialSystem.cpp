#include "psfmatch/fit/SpatialSystem.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"

namespace psfmatch {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

// Of the scaled normal matrix, in units of its diagonal: far below all noise, above the rounding.
constexpr double ridge = 1e-10;

// Each order of the variation over the field is expected to be this much smaller than the one before.
constexpr double orderDecay = 0.5;

// Stamps that are evaluated as one item of work.
constexpr Index stampsPerItem = 64;

void requireEquations(StampEquations const& equations, VectorXd const& x, VectorXd const& y,
                      std::vector<Index> const& folds, KernelBasis const& basis) {
    Index const n = equations.size();
    Index const m = equations.nUnknowns();
    if (n == 0) {
        throw SolutionError("the spatial system has no stamp");
    }
    if (basis.size() < 1 || m != basis.size() + 1) {
        throw std::invalid_argument("stamps with equations of " + std::to_string(m) + " unknowns, a basis of " +
                                    std::to_string(basis.size()) + " images: there must be one more, the background");
    }
    if (equations.matrices.rows() != n || equations.matrices.cols() != m * m || equations.squares.size() != n ||
        equations.noise.size() != n || x.size() != n || y.size() != n || static_cast<Index>(folds.size()) != n) {
        throw std::invalid_argument(std::to_string(n) + " stamps, " + std::to_string(x.size()) + " x, " +
                                    std::to_string(y.size()) + " y and " + std::to_string(folds.size()) +
                                    " folds, or matrices of another size");
    }
    auto const [least, most] = std::minmax_element(folds.begin(), folds.end());
    if (*least < 0 || *most >= n) {
        throw std::invalid_argument("folds are numbered from 0, below the number of stamps, " + std::to_string(n) +
                                    ", not " + std::to_string(*least) + " to " + std::to_string(*most));
    }
}

void requireImages(SpatialModelOptions const& options, Index nImages) {
    std::vector<bool> seen(static_cast<std::size_t>(nImages));
    for (Index const image : options.images) {
        if (image < 0 || image >= nImages || seen[static_cast<std::size_t>(image)]) {
            throw std::invalid_argument("image " + std::to_string(image) + " of a model is not one of " +
                                        std::to_string(nImages) + " images, or twice in it");
        }
        seen[static_cast<std::size_t>(image)] = true;
    }
    if (options.images.empty()) {
        throw std::invalid_argument("a model needs at least one image");
    }
}

std::vector<Index> placesOf(SpatialFunction const& function, SpatialFunction const& whole) {
    if (auto places = function.placesIn(whole)) {
        return *places;
    }
    throw std::invalid_argument("a model has spatial functions of " + function.form().told() +
                                ", which are not all among those of the system, of " + whole.form().told());
}

KernelBasis subset(KernelBasis const& basis, std::vector<Index> const& images) {
    return {basis.images(images, Eigen::all), basis.height, basis.width};
}

SpatialSums minus(SpatialSums sums, SpatialSums const& others) {
    sums -= others;
    return sums;
}

// What the solver says, with what was to be solved.
template <typename Work>
SpatialSolution withCounts(Index nUnknowns, Index nStamps, SpatialFunction const& kernel, Work const& work) {
    try {
        return work();
    } catch (SolutionError const& error) {
        throw SolutionError("the spatial kernel of " + kernel.form().told() + ", " + std::to_string(nUnknowns) +
                            " unknowns with the background, could not be solved from " + std::to_string(nStamps) +
                            " stamps: " + error.what());
    }
}

}  // namespace

Index SpatialModelOptions::nParameters() const {
    return scale.size() + (static_cast<Index>(images.size()) - 1) * kernel.size() + background.size();
}

// Memory that the solutions of a worker use one after the other.
struct SpatialSystem::Workspace {
    RowMatrix matrix;
    SymmetricFactor factor;
};

SpatialSystem::SpatialSystem(StampEquations const& equations, VectorXd const& x, VectorXd const& y,
                             std::vector<Index> const& folds, SpatialFunction const& function, KernelBasis const& basis,
                             double kernelNorm, Execution const& execution, SolverControl const& solver,
                             KernelBasis const* noiseImages)
    : function_(function),
      basis_(basis),
      kernelNorm_(kernelNorm),
      solver_(solver),
      totals_(function, basis.size(), function.size(), function.size()) {
    requireEquations(equations, x, y, folds, basis);
    Index const nStamps = equations.size();
    Index const m = equations.nUnknowns();
    gram_ = basis.images * basis.images.transpose();
    noiseGram_ = gram_;
    if (noiseImages != nullptr) {
        if (!haveOneShape(noiseImages->images, basis.images)) {
            throw std::invalid_argument(std::to_string(noiseImages->size()) + " images of the noise for a basis of " +
                                        std::to_string(basis.size()) + ", or of another size");
        }
        MatrixXd const products = basis.images * noiseImages->images.transpose();
        noiseGram_ = 0.5 * (products + products.transpose());
    }
    order_.resize(folds.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](Index a, Index b) {
        return folds[static_cast<std::size_t>(a)] < folds[static_cast<std::size_t>(b)];
    });
    terms_ = termsAt(function, x(order_), y(order_));
    moments_ = momentsAt(function, x(order_), y(order_));
    sides_ = equations.rightHandSides(order_, Eigen::all);
    squares_ = equations.squares(order_);
    noise_ = equations.noise(order_);
    packed_.resize(nStamps, m * (m + 1) / 2);
    Index const nFolds = folds[static_cast<std::size_t>(order_.back())] + 1;
    folds_.reserve(static_cast<std::size_t>(nFolds));
    SpatialSums const none = totals_;
    for (Index fold = 0, first = 0; fold < nFolds; ++fold) {
        Index end = first;
        while (end < nStamps && folds[static_cast<std::size_t>(order_[static_cast<std::size_t>(end)])] == fold) {
            ++end;
        }
        folds_.push_back({first, end, none});
        first = end;
    }
    parallelForBrief(nFolds, execution, [&](Index item, int) {
        Fold& fold = folds_[static_cast<std::size_t>(item)];
        for (Index k = fold.first; k < fold.end; ++k) {
            packTriangle(equations.matrices.row(order_[static_cast<std::size_t>(k)]).data(), m, 0, m,
                         packed_.row(k).data());
        }
        Index const count = fold.end - fold.first;
        auto const moments = moments_.middleRows(fold.first, count);
        addElements(packed_.middleRows(fold.first, count), moments, 0, fold.sums);
        addSides(sides_.middleRows(fold.first, count), terms_.middleRows(fold.first, count), fold.sums);
        fold.sums.noise = moments.transpose() * noise_.segment(fold.first, count);
    });
    for (Fold const& fold : folds_) {
        totals_ += fold.sums;
    }
    double const noise = noise_.sum();
    if (noise > 0.0 && equations.matrices.allFinite()) {
        Eigen::RowVectorXd const sum = equations.matrices.colwise().sum();
        MatrixXd const whole = Eigen::Map<RowMatrix const>(sum.data(), m, m).topLeftCorner(m - 1, m - 1);
        boundNoise(whole, noise, noiseGram_);
    }
}

SpatialSystem::Prepared SpatialSystem::prepare(SpatialModelOptions const& options) const {
    requireImages(options, basis_.size());
    Prepared model;
    model.layout = {options.images, placesOf(options.scale, function_), placesOf(options.kernel, function_),
                    placesOf(options.background, function_)};
    model.scale = options.scale;
    model.kernel = options.wholeKernel();
    model.background = options.background;
    model.whole = placesOf(model.kernel, function_);
    model.scalePlaces = placesOf(options.scale, model.kernel);
    model.kernelPlaces = placesOf(options.kernel, model.kernel);
    int roughest = 0;
    for (Index term = 0; term < options.kernel.size(); ++term) {
        model.roughness.push_back(options.kernel.form().roughness(term));
        roughest = std::max(roughest, model.roughness.back());
    }
    model.gram = gram_(options.images, options.images);
    model.noiseGram = noiseGram_(options.images, options.images);
    model.precision.push_back(precisionOf(model.gram, options.shapeScale * kernelNorm_));
    VectorXd widening;
    if (roughest > 0 && options.variationScale > 0.0 && options.widthScale > 0.0) {
        // Of the kernel that all stamps, folds or not, have in the mean.
        SpatialModelOptions constant = options;
        constant.kernel = {};
        constant.background = {};
        constant.scale = {};
        Workspace workspace;
        Prepared const simple = prepare(constant);
        SpatialSolution const mean = withCounts(simple.layout.nUnknowns(), size(), {},
                                                [&] { return solvePrepared(simple, totals_, false, {}, workspace); });
        widening = wideningOf(mean.kernel(options.images, 0), subset(basis_, options.images), model.gram);
    }
    double unit = kernelNorm_;
    for (int degree = 1; degree <= roughest; ++degree) {
        model.precision.push_back(
            precisionOf(model.gram, options.variationScale * unit, widening, options.widthScale * unit));
        unit *= orderDecay;
    }
    return model;
}

SpatialSolution SpatialSystem::solvePrepared(Prepared const& model, SpatialSums const& sums, bool withCovariance,
                                             Execution const& execution, Workspace& workspace) const {
    SpatialLayout const& layout = model.layout;
    Index const n = layout.count();
    Index const p = model.kernel.size();
    auto const& placesOfImage = [&](Index i) -> auto const& { return i == 0 ? model.scalePlaces : model.kernelPlaces; };
    RowMatrix& matrix = workspace.matrix;
    SymmetricFactor& factor = workspace.factor;
    assembleLower(sums, layout, matrix);
    MatrixXd const unpenalised = withCovariance ? mirrored(matrix) : MatrixXd();
    // The first image has no prior.
    for (Index i = 1; i < n; ++i) {
        for (Index j = 1; j <= i; ++j) {
            for (Index term = 0; term < layout.size(i); ++term) {
                auto const degree = static_cast<std::size_t>(model.roughness[static_cast<std::size_t>(term)]);
                matrix(layout.start(i) + term, layout.start(j) + term) += model.precision[degree](i, j);
            }
        }
    }
    matrix.diagonal() *= 1.0 + ridge;
    if (withCovariance || !factorizeLower(matrix, factor, solver_)) {
        factor = factorize(mirrored(matrix), solver_);
    }
    VectorXd const side = assembleSide(sums, layout);
    VectorXd values = solveVector(factor, side);

    SpatialSolution solution;
    solution.kernel = MatrixXd::Zero(basis_.size(), p);
    auto const spread = [&](VectorXd const& all) {
        RowMatrix kernel = RowMatrix::Zero(n, p);
        for (Index i = 0; i < n; ++i) {
            kernel(i, placesOfImage(i)) = all.segment(layout.start(i), layout.size(i)).transpose();
        }
        return kernel;
    };
    // The template's noise of the first solution goes back to the right-hand side.
    RowMatrix const noise = model.noiseGram * spread(values) * noiseProducts(sums, model.whole);
    VectorXd residual = side - matrix.selfadjointView<Eigen::Lower>() * values;
    for (Index i = 0; i < n; ++i) {
        residual.segment(layout.start(i), layout.size(i)) += noise(i, placesOfImage(i)).transpose();
    }
    values += solveVector(factor, residual);
    if (!values.allFinite()) {
        throw SolutionError("normal equations of " + std::to_string(values.size()) +
                            " unknowns hold NaN or infinity: bad pixels entered the fit");
    }
    solution.kernel(layout.images, Eigen::all) = spread(values);
    solution.background = values.tail(layout.backgroundSize());
    solution.kernelFunction = model.kernel;
    solution.backgroundFunction = model.background;
    if (withCovariance) {
        MatrixXd const covariance = sandwich(factor, unpenalised, execution);
        std::vector<Index> places;
        for (Index i = 0; i < n; ++i) {
            for (Index const place : placesOfImage(i)) {
                places.push_back(layout.images[static_cast<std::size_t>(i)] * p + place);
            }
        }
        auto const nKernel = static_cast<Index>(places.size());
        solution.kernelCovariance = MatrixXd::Zero(basis_.size() * p, basis_.size() * p);
        solution.kernelCovariance(places, places) = covariance.topLeftCorner(nKernel, nKernel);
        solution.backgroundCovariance = covariance.bottomRightCorner(layout.backgroundSize(), layout.backgroundSize());
        solution.conditionNumber = factor.conditionNumber;
        Frame const frame = model.scale.frame();
        VectorXd const middle = model.scale.evaluate(frame.xCentre, frame.yCentre);
        Index const r = middle.size();
        solution.kernelSumError = std::sqrt(std::max(0.0, middle.dot(covariance.topLeftCorner(r, r) * middle)));
    }
    return solution;
}

SpatialSolution SpatialSystem::solve(SpatialModelOptions const& options, bool withCovariance,
                                     std::vector<char> const& without, Execution const& execution) const {
    if (!without.empty() && static_cast<Index>(without.size()) != size()) {
        throw std::invalid_argument(std::to_string(without.size()) + " flags for " + std::to_string(size()) +
                                    " stamps");
    }
    std::vector<Index> left;
    std::vector<Index> kept;
    for (Index k = 0; k < size(); ++k) {
        bool const isLeft = !without.empty() && without[static_cast<std::size_t>(order_[static_cast<std::size_t>(k)])];
        (isLeft ? left : kept).push_back(k);
    }
    Prepared const model = prepare(options);
    return withCounts(model.layout.nUnknowns(), static_cast<Index>(kept.size()), options.kernel, [&] {
        Workspace workspace;
        if (left.empty()) {
            return solvePrepared(model, totals_, withCovariance, execution, workspace);
        }
        // The fewer ones are summed.
        bool const isSumOfKept = kept.size() < left.size();
        std::vector<Index> const& some = isSumOfKept ? kept : left;
        SpatialSums sums(function_, basis_.size(), function_.size(), function_.size());
        if (!some.empty()) {
            RowMatrix const moments = moments_(some, Eigen::all);
            addElements(packed_(some, Eigen::all), moments, 0, sums);
            addSides(sides_(some, Eigen::all), terms_(some, Eigen::all), sums);
            sums.noise = moments.transpose() * noise_(some);
        }
        return solvePrepared(model, isSumOfKept ? sums : minus(totals_, sums), withCovariance, execution, workspace);
    });
}

StampValues SpatialSystem::heldOut(SpatialModelOptions const& options, Execution const& execution) const {
    Prepared const model = prepare(options);
    StampValues values{RowMatrix(size(), basis_.size()), VectorXd(size()), VectorXd(size())};
    std::vector<Workspace> workspaces(static_cast<std::size_t>(workerCount(nFolds(), execution)));
    parallelForBrief(nFolds(), execution, [&](Index item, int worker) {
        Fold const& fold = folds_[static_cast<std::size_t>(item)];
        Index const count = fold.end - fold.first;
        if (count == 0) {
            return;
        }
        SpatialSolution const solution = withCounts(model.layout.nUnknowns(), size() - count, options.kernel, [&] {
            return solvePrepared(model, minus(totals_, fold.sums), false, {},
                                 workspaces[static_cast<std::size_t>(worker)]);
        });
        evaluate(solution, fold.first, count, values);
        for (Index k = fold.first; k < fold.end; ++k) {
            Index const stamp = order_[static_cast<std::size_t>(k)];
            values.chiSquares[stamp] = chiSquare(k, values.coefficients.row(stamp).data(), values.backgrounds[stamp]);
        }
    });
    return values;
}

StampValues SpatialSystem::at(SpatialSolution const& solution) const {
    if (solution.kernel.rows() != basis_.size() || solution.kernel.cols() != solution.kernelFunction.size() ||
        solution.background.size() != solution.backgroundFunction.size()) {
        throw std::invalid_argument("a solution of " + std::to_string(solution.kernel.rows()) + " images with " +
                                    std::to_string(solution.kernel.cols()) + " and " +
                                    std::to_string(solution.background.size()) + " terms for a system of " +
                                    std::to_string(basis_.size()) + " images, of functions of " +
                                    solution.kernelFunction.form().told());
    }
    StampValues values{RowMatrix(size(), basis_.size()), VectorXd(size()), {}};
    evaluate(solution, 0, size(), values);
    return values;
}

VectorXd SpatialSystem::chiSquares(Eigen::Ref<RowMatrix const> const& coefficients, VectorXd const& backgrounds,
                                   Execution const& execution) const {
    if (coefficients.rows() != size() || coefficients.cols() != basis_.size() || backgrounds.size() != size()) {
        throw std::invalid_argument("coefficients (" + std::to_string(coefficients.rows()) + ", " +
                                    std::to_string(coefficients.cols()) + ") and " +
                                    std::to_string(backgrounds.size()) + " backgrounds of " + std::to_string(size()) +
                                    " stamps with " + std::to_string(basis_.size()) + " images");
    }
    VectorXd values(size());
    parallelForBrief((size() + stampsPerItem - 1) / stampsPerItem, execution, [&](Index item, int) {
        for (Index k = item * stampsPerItem; k < std::min(size(), (item + 1) * stampsPerItem); ++k) {
            Index const stamp = order_[static_cast<std::size_t>(k)];
            values[stamp] = chiSquare(k, coefficients.row(stamp).data(), backgrounds[stamp]);
        }
    });
    return values;
}

double SpatialSystem::lightGain(SpatialSolution const& solution, Execution const& execution) const {
    StampValues const values = at(solution);
    SpatialLayout const layout{{}, {0}, {0}, placesOf(solution.backgroundFunction, function_)};
    RowMatrix matrix;
    assembleLower(totals_, layout, matrix);
    VectorXd const background = solveSymmetric(mirrored(matrix), assembleSide(totals_, layout)).coefficients;
    // Of which the kernel is zero.
    VectorXd alone(size());
    alone(order_) = terms_(Eigen::all, layout.background) * background;
    return (chiSquares(RowMatrix::Zero(size(), basis_.size()), alone, execution) -
            chiSquares(values.coefficients, values.backgrounds, execution))
        .sum();
}

void SpatialSystem::evaluate(SpatialSolution const& solution, Index first, Index count, StampValues& values) const {
    auto const terms = terms_.middleRows(first, count);
    RowMatrix const ofKernel = terms(Eigen::all, placesOf(solution.kernelFunction, function_));
    RowMatrix const ofBackground = terms(Eigen::all, placesOf(solution.backgroundFunction, function_));
    RowMatrix const coefficients = ofKernel * solution.kernel.transpose();
    VectorXd const backgrounds = ofBackground * solution.background;
    for (Index k = 0; k < count; ++k) {
        Index const stamp = order_[static_cast<std::size_t>(first + k)];
        values.coefficients.row(stamp) = coefficients.row(k);
        values.backgrounds[stamp] = backgrounds[k];
    }
}

double SpatialSystem::chiSquare(Index k, double const* coefficients, double background) const {
    Index const n = basis_.size();
    auto const kernel = Eigen::Map<VectorXd const>(coefficients, n);
    double const* row = packed_.row(k).data();
    double sum = squares_[k];
    for (Index i = 0; i <= n; row += ++i) {
        double const value = i < n ? coefficients[i] : background;
        if (value != 0.0) {
            double const product = 2.0 * Eigen::Map<VectorXd const>(row, i).dot(kernel.head(i)) + row[i] * value;
            sum += value * (product - 2.0 * sides_(k, i));
        }
    }
    return sum;
}

}  // namespace psfmatch
