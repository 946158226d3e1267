// The spatial system against the design matrix of all pixels; subsets, folds, priors, the noise of the template.
#include <doctest/doctest.h>

#include <Eigen/LU>
#include <Eigen/QR>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/SpatialSystem.h"
#include "simulate.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::Index;
using psfmatch::KernelBasis;
using psfmatch::RowMatrix;
using psfmatch::SpatialFunction;
using psfmatch::SpatialModel;
using psfmatch::SpatialModelOptions;
using psfmatch::SpatialSolution;
using psfmatch::SpatialSystem;
using psfmatch::StampEquations;
using psfmatch::StampValues;

namespace {

constexpr Index nStamps = 44;
constexpr Index nImages = 5;
constexpr Index nPixels = 60;
constexpr Index nFolds = 4;
constexpr double norm = 0.35;

// Of which only the first has a sum.
KernelBasis basisImages() {
    KernelBasis basis = simulate::randomBasis(nImages, 5, 5, 3);
    for (Index i = 1; i < nImages; ++i) {
        basis.images.row(i).array() -= basis.images.row(i).mean();
    }
    basis.images.row(0) /= basis.images.row(0).sum();
    return basis;
}

constexpr psfmatch::Frame frame{1000.0, 700.0, 1100.0, 800.0};

// Of polynomials of two orders.
SpatialModelOptions modelOf(std::vector<Index> images, int kernelOrder, int backgroundOrder, double shape = 0.0,
                            double variation = 0.0, double width = 0.0, SpatialModel kind = SpatialModel::chebyshev1) {
    return {std::move(images), {kind, kernelOrder, frame}, {kind, backgroundOrder, frame}, shape, variation, width};
}

// Pixels without structure, which leave the equations well conditioned.
struct Field {
    explicit Field(double noiseLevel, SpatialModel model = SpatialModel::chebyshev1, Index count = nStamps)
        : function{model, 3, frame}, x(count), y(count) {
        std::mt19937 random(1);
        std::uniform_real_distribution<double> uniform(-1.0, 1.0);
        auto const draw = [&] { return uniform(random); };
        Index const m = nImages + 1;
        equations = {RowMatrix(count, m * m), RowMatrix(count, m), VectorXd(count), VectorXd(count)};
        for (Index k = 0; k < count; ++k) {
            x[k] = 1000.0 + 1000.0 * draw();
            y[k] = 700.0 + 700.0 * draw();
            folds.push_back((k * 7 / 3) % nFolds);
            columns.emplace_back(MatrixXd::NullaryExpr(nPixels, m, draw));
            columns.back().col(nImages).setOnes();
            weights.emplace_back(VectorXd::NullaryExpr(nPixels, draw).array() + 1.5);
            data.emplace_back(2.0 * columns.back().col(0) + VectorXd::NullaryExpr(nPixels, draw));
            MatrixXd const weighted = weights.back().asDiagonal() * columns.back();
            MatrixXd const matrix = columns.back().transpose() * weighted;
            equations.matrices.row(k) = Eigen::Map<Eigen::RowVectorXd const>(matrix.data(), m * m);
            equations.rightHandSides.row(k) = (weighted.transpose() * data.back()).transpose();
            equations.squares[k] = weights.back().dot(data.back().cwiseAbs2());
            equations.noise[k] = noiseLevel * (1.0 + 0.5 * draw());
        }
    }

    [[nodiscard]] SpatialSystem system(int nThreads = 1) const {
        return {equations, x, y, folds, function, basis, norm, {.nThreads = nThreads}};
    }

    SpatialFunction function;
    VectorXd x;
    VectorXd y;
    std::vector<Index> folds;
    KernelBasis basis = basisImages();
    StampEquations equations;
    std::vector<MatrixXd> columns;
    std::vector<VectorXd> weights;
    std::vector<VectorXd> data;
};

// The Laplacian of a kernel in pixels of which those beyond the border are 0, by the images that have no sum, of unit
// norm: over the model's images.
VectorXd directWidening(VectorXd const& coefficients, KernelBasis const& basis) {
    Index const n = basis.size();
    VectorXd const kernel = basis.images.transpose() * coefficients;
    auto const at = [&](Index row, Index column) {
        bool const inside = row >= 0 && row < basis.height && column >= 0 && column < basis.width;
        return inside ? kernel[row * basis.width + column] : 0.0;
    };
    VectorXd laplacian(kernel.size());
    for (Index row = 0; row < basis.height; ++row) {
        for (Index column = 0; column < basis.width; ++column) {
            laplacian[row * basis.width + column] = at(row - 1, column) + at(row + 1, column) + at(row, column - 1) +
                                                    at(row, column + 1) - 4.0 * at(row, column);
        }
    }
    MatrixXd const images = basis.images.bottomRows(n - 1).transpose();
    VectorXd widening = VectorXd::Zero(n);
    widening.tail(n - 1) = images.colPivHouseholderQr().solve(laplacian);
    return widening / (images * widening.tail(n - 1)).norm();
}

struct Direct {
    MatrixXd kernel;
    VectorXd background;
    MatrixXd covariance;
};

// From the pixels of some stamps; `all`: those of the widening.
Direct solveDirectly(Field const& field, SpatialModelOptions const& options, std::vector<Index> const& stamps,
                     std::vector<Index> const& all) {
    auto const m = static_cast<Index>(options.images.size());
    Index const p = options.kernel.size();
    Index const q = options.background.size();
    Index const size = 1 + (m - 1) * p + q;
    KernelBasis const basis{field.basis.images(options.images, Eigen::all), 5, 5};
    MatrixXd const gram = basis.images * basis.images.transpose();
    MatrixXd matrix = MatrixXd::Zero(size, size);
    MatrixXd spread = MatrixXd::Zero(size, size);
    VectorXd side = VectorXd::Zero(size);
    for (Index const k : stamps) {
        auto const place = static_cast<std::size_t>(k);
        VectorXd const f = field.function.evaluate(field.x[k], field.y[k]);
        // Lift of the unknowns to the coefficients at the stamp, the background's in the last row.
        MatrixXd lift = MatrixXd::Zero(m + 1, size);
        lift(0, 0) = 1.0;
        for (Index i = 1; i < m; ++i) {
            lift.block(i, 1 + (i - 1) * p, 1, p) = f.head(p).transpose();
        }
        lift.block(m, size - q, 1, q) = f.head(q).transpose();
        MatrixXd own(nPixels, m + 1);
        own << field.columns[place](Eigen::all, options.images), field.columns[place].col(nImages);
        MatrixXd const design = own * lift;
        matrix += design.transpose() * field.weights[place].asDiagonal() * design;
        side += design.transpose() * field.weights[place].cwiseProduct(field.data[place]);
        spread += field.equations.noise[k] * lift.topRows(m).transpose() * gram * lift.topRows(m);
    }
    MatrixXd penalised = matrix;
    for (Index term = 0; term < p && m > 1; ++term) {
        int const degree = options.kernel.form().roughness(term);
        double const unit = norm * std::pow(0.5, std::max(0, degree - 1));
        double const scale = unit * (degree == 0 ? options.shapeScale : options.variationScale);
        if (scale > 0.0) {
            MatrixXd covariance = scale * scale * gram.bottomRightCorner(m - 1, m - 1).inverse();
            if (degree > 0 && options.widthScale > 0.0) {
                SpatialModelOptions constant = options;
                constant.kernel = constant.background = {};
                MatrixXd const mean = solveDirectly(field, constant, all, all).kernel(options.images, Eigen::all);
                VectorXd const widening = directWidening(mean.col(0), basis).tail(m - 1);
                covariance += std::pow(unit * options.widthScale, 2) * widening * widening.transpose();
            }
            MatrixXd const precision = covariance.inverse();
            for (Index i = 1; i < m; ++i) {
                for (Index j = 1; j < m; ++j) {
                    penalised(1 + (i - 1) * p + term, 1 + (j - 1) * p + term) += precision(i - 1, j - 1);
                }
            }
        }
    }
    penalised.diagonal() *= 1.0 + 1e-10;
    MatrixXd const inverse = penalised.inverse();
    VectorXd const first = inverse * side;
    VectorXd const values = first + inverse * (side + spread * first - penalised * first);
    Direct direct{MatrixXd::Zero(nImages, p), values.tail(q), inverse * matrix * inverse};
    direct.kernel(options.images[0], 0) = values[0];
    for (Index i = 1; i < m; ++i) {
        direct.kernel.row(options.images[static_cast<std::size_t>(i)]) = values.segment(1 + (i - 1) * p, p).transpose();
    }
    return direct;
}

std::vector<SpatialModelOptions> modelsOf(SpatialModel kind) {
    return {
        modelOf({0, 1, 2, 3, 4}, 2, 1, 1.0, 0.1, 0.0, kind), modelOf({0, 1, 2, 3, 4}, 2, 1, 1.0, 0.01, 0.2, kind),
        modelOf({0, 2, 4}, 3, 0, 1.0, 0.03, 0.03, kind),     modelOf({0, 1, 2, 3, 4}, 0, 3, 0.3, 0.0, 0.0, kind),
        modelOf({0, 2, 4}, 3, 2, 0.0, 0.03, 0.0, kind),      modelOf({0}, 1, 0, 1.0, 1.0, 1.0, kind),
        modelOf({0, 1, 2, 3, 4}, 1, 2, 0.0, 0.0, 0.0, kind), modelOf({3, 1, 0}, 1, 1, 0.5, 0.1, 0.1, kind),
    };
}

std::vector<SpatialModelOptions> const models = modelsOf(SpatialModel::chebyshev1);

std::vector<Index> stampsOf(Field const& field, Index withoutFold = -1) {
    std::vector<Index> stamps;
    for (Index k = 0; k < field.x.size(); ++k) {
        if (field.folds[static_cast<std::size_t>(k)] != withoutFold) {
            stamps.push_back(k);
        }
    }
    return stamps;
}

double largest(MatrixXd const& matrix) {
    return matrix.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("every model is that of the design matrix of all pixels") {
    // Numbers of order one; condition numbers up to 1e4.
    for (SpatialModel const kind : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
        for (double const noise : {0.0, 3.0}) {
            Field const field(noise, kind);
            SpatialSystem const system = field.system();
            std::vector<Index> const all = stampsOf(field);
            for (SpatialModelOptions const& options : modelsOf(kind)) {
                Direct const direct = solveDirectly(field, options, all, all);
                SpatialSolution const solution = system.solve(options, true);
                CHECK(largest(solution.kernel - direct.kernel) < 1e-11);
                CHECK(largest(solution.background - direct.background) < 1e-11);
                Index const q = direct.background.size();
                CHECK(largest(solution.backgroundCovariance - direct.covariance.bottomRightCorner(q, q)) < 1e-11);
                CHECK(solution.kernelSumError == doctest::Approx(std::sqrt(direct.covariance(0, 0))).epsilon(1e-10));
                Index const p = solution.kernel.cols();
                Index const first = options.images[0] * p;
                CHECK(solution.kernelCovariance.rows() == nImages * p);
                CHECK(solution.kernelCovariance(first, first) ==
                      doctest::Approx(direct.covariance(0, 0)).epsilon(1e-10));
                if (options.images.size() > 1) {
                    CHECK(largest(solution.kernelCovariance.block(options.images[1] * p, first, p, 1) -
                                  direct.covariance.block(1, 0, p, 1)) < 1e-12);
                }
                CHECK(solution.conditionNumber >= 1.0);
                SpatialSolution const quick = system.solve(options);
                CHECK(largest(quick.kernel - solution.kernel) < 1e-12);
                CHECK(std::isnan(quick.conditionNumber));
                CHECK(quick.kernelCovariance.size() == 0);
            }
        }
    }
}

TEST_CASE("free numbers of a model are those of its functions, the kernel sum once") {
    SpatialModelOptions model = modelOf({0, 2, 3}, 2, 1, 1.0, 0.1, 0.2);
    CHECK(model.nParameters() == 1 + 2 * 6 + 3);
    CHECK(model.whole().size() == 6);
    SpatialModelOptions const same = model;
    CHECK(same == model);
    model.background = model.background.ofOrder(3);
    CHECK(same != model);
    CHECK(model.whole().size() == 10);
    model.scale = model.kernel.ofOrder(1);
    CHECK(model.nParameters() == 3 + 2 * 6 + 10);
}

TEST_CASE("each stamp is judged by the solution without its fold") {
    Field const field(2.0);
    SpatialSystem const system = field.system();
    REQUIRE(system.nFolds() == nFolds);
    for (SpatialModelOptions const& options : models) {
        StampValues const values = system.heldOut(options);
        for (Index fold = 0; fold < nFolds; ++fold) {
            Direct const direct = solveDirectly(field, options, stampsOf(field, fold), stampsOf(field));
            for (Index k = 0; k < nStamps; ++k) {
                if (field.folds[static_cast<std::size_t>(k)] == fold) {
                    auto const place = static_cast<std::size_t>(k);
                    VectorXd const f = field.function.evaluate(field.x[k], field.y[k]);
                    VectorXd model(nImages + 1);
                    model << direct.kernel * f.head(direct.kernel.cols()),
                        direct.background.dot(f.head(direct.background.size()));
                    CHECK(largest(values.coefficients.row(k).transpose() - model.head(nImages)) < 1e-11);
                    CHECK(std::abs(values.backgrounds[k] - model[nImages]) < 1e-11);
                    double const chiSquare =
                        field.weights[place].dot((field.data[place] - field.columns[place] * model).cwiseAbs2());
                    CHECK(values.chiSquares[k] == doctest::Approx(chiSquare).epsilon(1e-10));
                }
            }
        }
        CHECK(largest(system.chiSquares(values.coefficients, values.backgrounds) - values.chiSquares) == 0.0);
    }
}

TEST_CASE("the noise of a template whose neighbours share it") {
    Field const field(2.0);
    SpatialModelOptions const model = modelOf({0, 1, 2, 3, 4}, 0, 0);
    KernelBasis smooth = field.basis;
    for (Index k = 0; k < nImages; ++k) {
        Eigen::Map<RowMatrix> image(smooth.images.row(k).data(), 5, 5);
        RowMatrix const before = image;
        image.rightCols(4) += 0.4 * before.leftCols(4);
        image.leftCols(4) += 0.4 * before.rightCols(4);
    }
    SpatialSystem const system(field.equations, field.x, field.y, field.folds, field.function, field.basis, norm, {},
                               {}, &smooth);
    Eigen::RowVectorXd const sum = field.equations.matrices.colwise().sum();
    MatrixXd const matrix = Eigen::Map<RowMatrix const>(sum.data(), nImages + 1, nImages + 1);
    VectorXd const side = field.equations.rightHandSides.colwise().sum().transpose();
    VectorXd const first = matrix.llt().solve(side);
    VectorXd noise = VectorXd::Zero(nImages + 1);
    noise.head(nImages) =
        field.equations.noise.sum() * (field.basis.images * smooth.images.transpose()) * first.head(nImages);
    VectorXd const expected = first + matrix.llt().solve(noise);
    // The ridge of 1e-10 changes a part of that.
    CHECK(largest(system.solve(model).kernel.col(0) - expected.head(nImages)) < 1e-7);
    KernelBasis const few{smooth.images.topRows(2), 5, 5};
    CHECK_THROWS_AS((SpatialSystem(field.equations, field.x, field.y, field.folds, field.function, field.basis, norm,
                                   {}, {}, &few)),
                    std::invalid_argument);
}

TEST_CASE("noise is no more than all there is: told too large, it does not run away") {
    SpatialModelOptions const model = modelOf({0, 1, 2, 3, 4}, 0, 0);
    Field const quiet(0.0);
    VectorXd const first = quiet.system().solve(model).kernel.col(0);
    VectorXd const large = Field(1e5).system().solve(model).kernel.col(0);
    VectorXd const larger = Field(1e9).system().solve(model).kernel.col(0);
    CHECK(largest(large - larger) < 1e-3 * largest(first));
    CHECK(largest(larger) < 4.0 * largest(first));
}

TEST_CASE("fewer images, lower orders and fewer stamps are systems of their own") {
    Field const field(2.0);
    SpatialSystem const system = field.system();
    std::vector<Index> const images{0, 2, 4};
    std::vector<Index> const columns{0, 2, 4, 5};
    for (Index const nLeft : {3, 30}) {
        std::vector<char> without(nStamps, 0);
        std::vector<Index> kept;
        std::vector<Index> folds;
        for (Index k = 0; k < nStamps; ++k) {
            without[static_cast<std::size_t>(k)] = (k * 5) % nStamps < nLeft ? 1 : 0;
            if (without[static_cast<std::size_t>(k)] == 0) {
                kept.push_back(k);
                folds.push_back(0);
            }
        }
        REQUIRE(static_cast<Index>(kept.size()) == nStamps - nLeft);
        StampEquations own{RowMatrix(nStamps - nLeft, 16), field.equations.rightHandSides(kept, columns),
                           field.equations.squares(kept), field.equations.noise(kept)};
        for (Index k = 0; k < nStamps - nLeft; ++k) {
            auto const whole = Eigen::Map<RowMatrix const>(
                field.equations.matrices.row(kept[static_cast<std::size_t>(k)]).data(), nImages + 1, nImages + 1);
            Eigen::Map<RowMatrix>(own.matrices.row(k).data(), 4, 4) = whole(columns, columns);
        }
        SpatialFunction const lower = field.function.ofOrder(1);
        SpatialSystem const smaller(own, field.x(kept), field.y(kept), folds, lower,
                                    {field.basis.images(images, Eigen::all), 5, 5}, norm);
        SpatialSolution const expected = smaller.solve(modelOf({0, 1, 2}, 1, 1, 0.5, 0.1));
        SpatialSolution const found = system.solve(modelOf(images, 1, 1, 0.5, 0.1), false, without);
        CHECK(largest(found.kernel(images, Eigen::all) - expected.kernel) < 1e-12);
        CHECK(largest(found.background - expected.background) < 1e-12);
        CHECK(largest(found.kernel.row(1)) == 0.0);
        CHECK(largest(found.kernel.row(3)) == 0.0);
    }
}

TEST_CASE("the number of threads changes nothing") {
    Field const field(2.0);
    SpatialSystem const one = field.system();
    SpatialSystem const three = field.system(3);
    for (SpatialModelOptions const& options : models) {
        StampValues const here = one.heldOut(options);
        StampValues const there = three.heldOut(options, {.nThreads = 3});
        CHECK(here.coefficients == there.coefficients);
        CHECK(here.backgrounds == there.backgrounds);
        CHECK(here.chiSquares == there.chiSquares);
        SpatialSolution const solution = one.solve(options, true);
        SpatialSolution const other = three.solve(options, true, {}, {.nThreads = 3});
        CHECK(solution.kernel == other.kernel);
        CHECK(solution.kernelCovariance == other.kernelCovariance);
        CHECK(one.lightGain(solution) == three.lightGain(other, {.nThreads = 3}));
    }
}

TEST_CASE("the light that a kernel takes off") {
    Field const field(1.0);
    SpatialSystem const system = field.system();
    SpatialSolution const solution = system.solve(models[0]);
    StampValues const values = system.at(solution);
    // Chi-square of the best background alone by its design matrix, less that of the solution pixel by pixel.
    MatrixXd design(nStamps * nPixels, 3);
    VectorXd weights(nStamps * nPixels);
    VectorXd data(nStamps * nPixels);
    double chiSquare = 0.0;
    for (Index k = 0; k < nStamps; ++k) {
        auto const place = static_cast<std::size_t>(k);
        design.middleRows(k * nPixels, nPixels).rowwise() =
            field.function.evaluate(field.x[k], field.y[k]).head(3).transpose();
        weights.segment(k * nPixels, nPixels) = field.weights[place];
        data.segment(k * nPixels, nPixels) = field.data[place];
        VectorXd model(nImages + 1);
        model << values.coefficients.row(k).transpose(), values.backgrounds[k];
        chiSquare += field.weights[place].dot((field.data[place] - field.columns[place] * model).cwiseAbs2());
    }
    VectorXd const alone = data - design * simulate::leastSquares(design, weights, data);
    CHECK(system.lightGain(solution) == doctest::Approx(weights.dot(alone.cwiseAbs2()) - chiSquare).epsilon(1e-10));
}

TEST_CASE("a kernel of Gaussians widens as its Laplacian says") {
    KernelBasis const basis = psfmatch::renormalize(
        psfmatch::makeAlardLuptonBasis(12, {0.8, 1.6, 3.2}, {4, 4, 2}, psfmatch::Polynomials::hermite));
    auto const gaussian = [&](double sigma) {
        simulate::Image<double> const image = simulate::gaussian(25, 25, sigma, 1.0);
        return VectorXd(Eigen::Map<VectorXd const>(image.data(), image.size()));
    };
    VectorXd const kernel = basis.images.transpose().colPivHouseholderQr().solve(gaussian(1.6));
    MatrixXd const gram = basis.images * basis.images.transpose();
    VectorXd const widening = psfmatch::wideningOf(kernel, basis, gram);
    VectorXd const change = basis.images.transpose() * widening;
    CHECK(widening[0] == 0.0);
    CHECK(change.norm() == doctest::Approx(1.0));
    // Differences of pixels are a derivative with an error of (1 / sigma)^2 / 12 in each direction: 3 %.
    VectorXd const expected = gaussian(1.65) - gaussian(1.55);
    CHECK(change.dot(expected) / expected.norm() > 0.99);
    CHECK(psfmatch::wideningOf(VectorXd::Zero(basis.size()), basis, gram).isZero(0.0));
    CHECK(psfmatch::wideningOf(VectorXd::Ones(1), {basis.images.topRows(1), 25, 25}, gram.topLeftCorner(1, 1))
              .isZero(0.0));

    // The inverse of the sum of two covariances, and none for the first image.
    Index const n = basis.size() - 1;
    MatrixXd const covariance = 0.01 * 0.01 * gram.bottomRightCorner(n, n).inverse() +
                                0.2 * 0.2 * widening.tail(n) * widening.tail(n).transpose();
    MatrixXd const precision = psfmatch::precisionOf(gram, 0.01, widening, 0.2);
    // Sums whose largest term is 1e4, the inverse of 0.01^2, times what remains.
    CHECK(largest(precision.bottomRightCorner(n, n) * covariance - MatrixXd::Identity(n, n)) < 1e-8);
    CHECK(precision.row(0).isZero(0.0));
    CHECK(precision.col(0).isZero(0.0));
    CHECK(psfmatch::precisionOf(gram, 0.01, widening, 0.0) == psfmatch::precisionOf(gram, 0.01));
    CHECK(psfmatch::precisionOf(gram, 0.0, widening, 0.2).isZero(0.0));
}

TEST_CASE("the noise of the template leaves the square of its pull") {
    // One image: sums of w c^2 hold the share r of noise, so that the first solution is 1 - r, the second 1 - r^2.
    double const share = 0.2;
    StampEquations equations{RowMatrix(3, 4), RowMatrix(3, 2), VectorXd::Zero(3), VectorXd::Zero(3)};
    for (Index k = 0; k < 3; ++k) {
        equations.matrices.row(k) << 100.0, 0.0, 0.0, 50.0;
        equations.rightHandSides.row(k) << 100.0 * (1.0 - share), 0.0;
    }
    KernelBasis const point{RowMatrix::Ones(1, 1), 1, 1};
    VectorXd const places = VectorXd::Zero(3);
    auto const solved = [&] {
        SpatialSystem const system(equations, places, places, {0, 1, 2}, {SpatialModel::chebyshev1, 0, {}}, point, 1.0);
        return system.solve(modelOf({0}, 0, 0)).kernel(0, 0);
    };
    CHECK(solved() == doctest::Approx(1.0 - share).epsilon(1e-9));
    equations.noise.setConstant(100.0 * share);
    CHECK(solved() == doctest::Approx(1.0 - share * share).epsilon(1e-9));
}

TEST_CASE("what no stamp tells is zero") {
    Field field(0.0);
    for (Index i = 0; i < nImages + 1; ++i) {
        field.equations.matrices.col(3 * (nImages + 1) + i).setZero();
        field.equations.matrices.col(i * (nImages + 1) + 3).setZero();
    }
    field.equations.rightHandSides.col(3).setZero();
    SpatialSystem const system = field.system();
    SpatialSolution const solution = system.solve(modelOf({0, 1, 2, 3, 4}, 1, 2));
    SpatialSolution const without = system.solve(modelOf({0, 1, 2, 4}, 1, 2));
    CHECK(largest(solution.kernel.row(3)) < 1e-12);
    CHECK(largest(solution.kernel - without.kernel) < 1e-9);
}

TEST_CASE("systems that cannot be made or solved are refused") {
    Field field(0.0);
    SpatialSystem const system = field.system();
    auto const refused = [&](SpatialModelOptions const& options, char const* message) {
        CHECK_THROWS_WITH_AS((void)system.solve(options), doctest::Contains(message), std::invalid_argument);
        CHECK_THROWS_WITH_AS((void)system.heldOut(options), doctest::Contains(message), std::invalid_argument);
    };
    refused(modelOf({}, 0, 0), "at least one image");
    refused(modelOf({0, 5}, 0, 0), "image 5 of a model is not one of 5 images");
    refused(modelOf({0, 2, 2}, 0, 0), "image 2 of a model is not one of 5 images, or twice in it");
    refused(modelOf({0}, 4, 1),
            "spatial functions of order 4, which are not all among those of the system, of order 3");
    CHECK_THROWS_WITH_AS((void)system.solve(models[0], false, {1, 0}), "2 flags for 44 stamps", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)system.solve(models[6], false, std::vector<char>(nStamps, 1)),
                         doctest::Contains("order 1, 19 unknowns with the background, could not be solved from 0 "
                                           "stamps: normal equations of 19 unknowns are zero"),
                         psfmatch::SolutionError);
    CHECK_THROWS_WITH_AS((void)system.chiSquares(RowMatrix::Zero(3, 5), VectorXd::Zero(3)),
                         "coefficients (3, 5) and 3 backgrounds of 44 stamps with 5 images", std::invalid_argument);
    SpatialSolution fewer = system.solve(models[0]);
    fewer.kernel.conservativeResize(4, Eigen::NoChange);
    CHECK_THROWS_WITH_AS((void)system.at(fewer), doctest::Contains("a solution of 4 images"), std::invalid_argument);
    field.folds[3] = -1;
    CHECK_THROWS_WITH_AS((void)field.system(), doctest::Contains("not -1 to 3"), std::invalid_argument);
    field.folds.pop_back();
    CHECK_THROWS_WITH_AS((void)field.system(), doctest::Contains("44 y and 43 folds"), std::invalid_argument);
    field.basis.images.conservativeResize(4, Eigen::NoChange);
    CHECK_THROWS_WITH_AS((void)field.system(), doctest::Contains("6 unknowns, a basis of 4 images"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(
        (SpatialSystem({RowMatrix(), RowMatrix(), {}, {}}, {}, {}, {}, field.function, field.basis, 1)),
        "the spatial system has no stamp", psfmatch::SolutionError);
    Field broken(0.0);
    broken.equations.matrices(5, 0) = std::nan("");
    for (SpatialModelOptions const& options : {models[0], models[1]}) {
        CHECK_THROWS_WITH_AS((void)broken.system().solve(options),
                             doctest::Contains("from 44 stamps: normal equations"), psfmatch::SolutionError);
    }
    CHECK_THROWS_WITH_AS((void)broken.system().heldOut(models[0]), doctest::Contains("hold NaN or infinity"),
                         psfmatch::SolutionError);
}
