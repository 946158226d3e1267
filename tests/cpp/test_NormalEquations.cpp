// Stamps convolved with basis images, and the sums of products over their pixels.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "psfmatch/fit/NormalEquations.h"
#include "simulate.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::convolveStamp;
using psfmatch::InstructionSet;
using psfmatch::makeNormalEquations;
using psfmatch::NormalEquations;
using psfmatch::prepare;
using psfmatch::PreparedBasis;
using namespace simulate;

namespace {

Image<float> randomStamp(Index height, Index width, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(100.0F, 30.0F);
    Image<float> stamp(height, width);
    for (Index i = 0; i < stamp.size(); ++i) {
        stamp(i) = noise(random);
    }
    return stamp;
}

RowMatrix columnsOf(PreparedBasis const& basis, Image<float> const& stamp,
                    InstructionSet instructionSet = InstructionSet::automatic) {
    RowMatrix scratch;
    RowMatrix columns;
    convolveStamp(basis, view(stamp), scratch, columns, instructionSet);
    return columns;
}

// Columns, weights and data without structure.
struct Problem {
    RowMatrix columns;
    VectorXd weights;
    VectorXd data;
};

Problem randomProblem(Index n, Index pixels, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    auto const draw = [&] { return uniform(random); };
    Problem problem{RowMatrix::NullaryExpr(n, pixels, draw), VectorXd::NullaryExpr(pixels, draw).cwiseAbs(),
                    VectorXd::NullaryExpr(pixels, draw)};
    return problem;
}

}  // namespace

TEST_CASE("a single bright pixel turns into the kernel, turned round") {
    // Correlation: output (y, x) sees the pixel at (7, 8) through kernel element (7 - y, 8 - x).
    KernelBasis const basis = randomBasis(2, 5, 3, 1);
    Image<float> stamp = Image<float>::Zero(15, 17);
    stamp(7, 8) = 4.0F;
    RowMatrix const columns = columnsOf(prepare(basis), stamp);
    REQUIRE(columns.rows() == 2);
    REQUIRE(columns.cols() == 11 * 15);
    for (Index i = 0; i < 2; ++i) {
        for (Index y = 0; y < 11; ++y) {
            for (Index x = 0; x < 15; ++x) {
                bool const seen = 7 - y >= 0 && 7 - y < 5 && 8 - x >= 0 && 8 - x < 3;
                double const expected = seen ? 4.0 * basis.images(i, (7 - y) * 3 + 8 - x) : 0.0;
                CHECK(columns(i, y * 15 + x) == expected);
            }
        }
    }
}

TEST_CASE("a constant stamp gives the sums of the images") {
    PreparedBasis const basis = prepare(smallBasis());
    RowMatrix const columns = columnsOf(basis, Image<float>::Constant(12, 14, 8.0F));
    CHECK(columns.cols() == 4 * 6);
    CHECK((columns.row(0).array() - 8.0).abs().maxCoeff() < 1e-13);
    CHECK(columns.bottomRows(8).cwiseAbs().maxCoeff() < 1e-12);
}

TEST_CASE("delta functions shift the stamp, bit for bit") {
    KernelBasis const deltas = psfmatch::makeDeltaFunctionBasis(5, 3);
    CHECK(deltas.images == deltaBasis(3, 5).images);
    PreparedBasis const basis = prepare(deltas);
    REQUIRE(basis.deltas.has_value());
    CHECK_FALSE(basis.separable.has_value());
    Image<float> const stamp = randomStamp(11, 13, 5);
    RowMatrix scratch;
    RowMatrix columns;
    convolveStamp(basis, simulate::view(stamp), scratch, columns, InstructionSet::automatic, true);
    REQUIRE(columns.rows() == 16);
    for (Index i = 0; i < 15; ++i) {
        Image<double> const shifted = stamp.block(i / 5, i % 5, 9, 9).cast<double>();
        CHECK(std::memcmp(shifted.data(), columns.row(i).data(), 81 * sizeof(double)) == 0);
    }
    CHECK((columns.row(15).array() == 1.0).all());

    // Any sequence, repeats included, but nothing besides ones.
    KernelBasis some{deltas.images.topRows(2), 3, 5};
    some.images.row(1).swap(some.images.row(0));
    CHECK(*prepare(some).deltas == std::vector<Index>{1, 0});
    some.images(0, 4) = 1e-300;
    CHECK_FALSE(prepare(some).deltas.has_value());
    CHECK_FALSE(prepare({-deltas.images, 3, 5}).deltas.has_value());
}

TEST_CASE("convolved stamps agree with the quadruple loop") {
    struct Case {
        KernelBasis basis;
        bool separable;
    };
    std::vector<Case> const cases{
        {smallBasis(), true},
        {psfmatch::renormalize(psfmatch::makeAlardLuptonBasis(10, {0.7, 1.5, 3.0}, {4, 2, 2})), true},
        {psfmatch::makeAlardLuptonBasis(3, {1.0}, {3}), true},
        {deltaBasis(3, 5), false},
        {randomBasis(3, 1, 7, 2), true},
        {randomBasis(3, 7, 5, 2), false},
        {deltaBasis(1, 1), false}};
    for (Case const& testCase : cases) {
        PreparedBasis const basis = prepare(testCase.basis);
        CAPTURE(basis.basis.height);
        CAPTURE(basis.basis.width);
        REQUIRE(basis.separable.has_value() == testCase.separable);
        PreparedBasis const direct{testCase.basis, std::nullopt};
        for (auto const& [extraHeight, extraWidth] : {std::pair<Index, Index>{0, 0}, {8, 13}}) {
            Image<float> const stamp = randomStamp(basis.basis.height + extraHeight, basis.basis.width + extraWidth, 7);
            std::vector<std::pair<RowMatrix, RowMatrix>> found;
            for (InstructionSet const set : {InstructionSet::baseline, InstructionSet::avx2}) {
                if (isSupported(set)) {
                    found.emplace_back(columnsOf(basis, stamp, set), columnsOf(direct, stamp, set));
                }
            }
            for (Index i = 0; i < basis.basis.size(); ++i) {
                Image<double> const kernel = imageOf(basis.basis, i);
                Image<double> const expected = correlate(stamp, kernel);
                Eigen::Map<Eigen::RowVectorXd const> const row(expected.data(), expected.size());
                // The factors reproduce an image to 1e-14; sums of |K| times 130 or so bound the rest.
                double const scale = kernel.abs().sum() * 130.0;
                for (auto const& [columns, directColumns] : found) {
                    CHECK((columns.row(i) - row).cwiseAbs().maxCoeff() < 1e-12 * scale);
                    CHECK((directColumns.row(i) - row).cwiseAbs().maxCoeff() < 1e-14 * scale);
                }
            }
        }
    }
}

TEST_CASE("stamps little larger than the kernel, as at the edge of an image") {
    // Rows narrower than a vector: what is computed beyond them must not reach other rows, images or memory.
    KernelBasis const images = psfmatch::renormalize(psfmatch::makeAlardLuptonBasis(5, {0.7, 1.5}, {3, 2}));
    PreparedBasis const basis = prepare(images);
    REQUIRE(basis.separable.has_value());
    for (Index extraHeight = 0; extraHeight < 9; ++extraHeight) {
        for (Index extraWidth = 0; extraWidth < 9; ++extraWidth) {
            CAPTURE(extraHeight);
            CAPTURE(extraWidth);
            Image<float> const stamp = randomStamp(11 + extraHeight, 11 + extraWidth, 3);
            for (InstructionSet const set : {InstructionSet::baseline, InstructionSet::avx2}) {
                for (bool const withBackground : {false, true}) {
                    if (!isSupported(set)) {
                        continue;
                    }
                    RowMatrix scratch;
                    RowMatrix columns;
                    convolveStamp(basis, view(stamp), scratch, columns, set, withBackground);
                    for (Index i = 0; i < images.size(); ++i) {
                        Image<double> const expected = correlate(stamp, imageOf(images, i));
                        Eigen::Map<Eigen::RowVectorXd const> const row(expected.data(), expected.size());
                        CHECK((columns.row(i) - row).cwiseAbs().maxCoeff() < 1e-9);
                    }
                    CHECK((!withBackground || (columns.row(images.size()).array() == 1.0).all()));
                }
            }
        }
    }
}

TEST_CASE("convolved stamps are linear and do not depend on strides or old scratch") {
    for (KernelBasis const& images : {smallBasis(), randomBasis(3, 9, 9, 4)}) {
        PreparedBasis const basis = prepare(images);
        Image<float> const field = randomStamp(50, 60, 3);
        Image<float> const stamp = field.block(11, 13, 20, 21);
        RowMatrix const columns = columnsOf(basis, stamp);
        CHECK(columnsOf(basis, 4.0F * stamp) == 4.0 * columns);

        psfmatch::ConstImageView<float> const cut(&field(11, 13), 20, 21, Eigen::OuterStride<>(60));
        RowMatrix scratch = RowMatrix::Constant(7, 900, std::nan(""));
        RowMatrix strided = RowMatrix::Constant(50, 3, std::nan(""));
        convolveStamp(basis, cut, scratch, strided);
        CHECK(strided == columns);
        convolveStamp(basis, view(field), scratch, strided);
        convolveStamp(basis, cut, scratch, strided);
        CHECK(strided == columns);
    }
}

TEST_CASE("taps that are left out change no column by more than its rounding") {
    // Of Gaussians this narrow most taps are below 1e-16 of the largest. A pixel of 2^20 in a sky of zero shows each.
    KernelBasis const images = psfmatch::makeAlardLuptonBasis(10, {0.4, 0.7}, {3, 3});
    PreparedBasis const basis = prepare(images);
    REQUIRE(basis.separable.has_value());
    Image<float> stamp = Image<float>::Zero(43, 45);
    stamp(20, 23) = 1048576.0F;
    RowMatrix const columns = columnsOf(basis, stamp);
    for (Index i = 0; i < images.size(); ++i) {
        Image<double> const expected = correlate(stamp, imageOf(images, i));
        Eigen::Map<Eigen::RowVectorXd const> const row(expected.data(), expected.size());
        // The factors reproduce an image to 1e-14; what is left out is a hundred times less.
        CHECK((columns.row(i) - row).cwiseAbs().maxCoeff() < 1e-14 * row.cwiseAbs().maxCoeff());
    }
}

TEST_CASE("a stamp smaller than the kernel is refused") {
    PreparedBasis const basis = prepare(deltaBasis(5, 3));
    CHECK(columnsOf(basis, randomStamp(5, 3, 1)).cols() == 1);
    CHECK_THROWS_WITH_AS((void)columnsOf(basis, randomStamp(4, 30, 1)),
                         "stamp of 30x4 pixels is smaller than the kernel of 3x5", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)columnsOf(basis, randomStamp(40, 2, 1)), doctest::Contains("stamp of 2x40 pixels"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)prepare(deltaBasis(4, 4)), doctest::Contains("must be odd"), std::invalid_argument);
}

TEST_CASE("normal equations by hand") {
    RowMatrix columns(2, 3);
    columns << 1.0, 2.0, 3.0,  //
        1.0, 1.0, 1.0;
    NormalEquations const equations =
        makeNormalEquations(columns, Eigen::Vector3d(1.0, 4.0, 0.25), Eigen::Vector3d(2.0, 1.0, 8.0));
    MatrixXd expected(2, 2);
    expected << 19.25, 9.75, 9.75, 5.25;
    CHECK((equations.matrix - expected).cwiseAbs().maxCoeff() < 1e-14);
    CHECK((equations.rightHandSide - Eigen::Vector2d(16.0, 8.0)).cwiseAbs().maxCoeff() < 1e-14);
}

TEST_CASE("normal equations agree with sums over the pixels") {
    for (auto const& [n, pixels] :
         {std::pair<Index, Index>{1, 1}, {3, 2}, {28, 529}, {50, 60}, {7, 144}, {25, 145}, {3, 1001}}) {
        Problem const problem = randomProblem(n, pixels, 5);
        NormalEquations const equations = makeNormalEquations(problem.columns, problem.weights, problem.data);
        MatrixXd matrix = MatrixXd::Zero(n, n);
        VectorXd side = VectorXd::Zero(n);
        for (Index k = 0; k < pixels; ++k) {
            for (Index i = 0; i < n; ++i) {
                side[i] += problem.weights[k] * problem.columns(i, k) * problem.data[k];
                for (Index j = 0; j < n; ++j) {
                    matrix(i, j) += problem.weights[k] * problem.columns(i, k) * problem.columns(j, k);
                }
            }
        }
        // Products are below 1: rounding of 1e-16 each.
        double const tolerance = 1e-15 * static_cast<double>(pixels);
        CHECK((equations.matrix - matrix).cwiseAbs().maxCoeff() < tolerance);
        CHECK((equations.rightHandSide - side).cwiseAbs().maxCoeff() < tolerance);
        CHECK(equations.matrix == equations.matrix.transpose());
    }
}

TEST_CASE("a pixel of weight zero counts as if it were not there") {
    Problem problem = randomProblem(5, 40, 6);
    Problem fewer = randomProblem(5, 30, 6);
    for (Index k = 0, kept = 0; k < 40; ++k) {
        if (k % 4 == 1) {
            problem.weights[k] = 0.0;
        } else {
            fewer.columns.col(kept) = problem.columns.col(k);
            fewer.weights[kept] = problem.weights[k];
            fewer.data[kept] = problem.data[k];
            ++kept;
        }
    }
    NormalEquations const expected = makeNormalEquations(fewer.columns, fewer.weights, fewer.data);
    NormalEquations const with = makeNormalEquations(problem.columns, problem.weights, problem.data);
    CHECK((with.matrix - expected.matrix).cwiseAbs().maxCoeff() < 1e-13);
    CHECK((with.rightHandSide - expected.rightHandSide).cwiseAbs().maxCoeff() < 1e-13);
    for (Index k = 1; k < 40; k += 4) {
        problem.columns.col(k).setConstant(1e30);
        problem.data[k] = -1e30;
    }
    NormalEquations const huge = makeNormalEquations(problem.columns, problem.weights, problem.data);
    CHECK(huge.matrix == with.matrix);
    CHECK(huge.rightHandSide == with.rightHandSide);
}

TEST_CASE("normal equations are linear in weights and data") {
    Problem const problem = randomProblem(6, 50, 9);
    NormalEquations const one = makeNormalEquations(problem.columns, problem.weights, problem.data);
    NormalEquations const scaled = makeNormalEquations(problem.columns, 4.0 * problem.weights, 8.0 * problem.data);
    CHECK(scaled.matrix == 4.0 * one.matrix);
    CHECK(scaled.rightHandSide == 32.0 * one.rightHandSide);
}

TEST_CASE("numbers of pixels that differ are refused") {
    Problem const problem = randomProblem(2, 5, 1);
    CHECK_THROWS_WITH_AS((void)makeNormalEquations(problem.columns, VectorXd::Ones(4), problem.data),
                         "5 pixels in the columns, 4 weights and 5 data", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)makeNormalEquations(problem.columns, problem.weights, VectorXd::Ones(6)),
                         doctest::Contains("5 weights and 6 data"), std::invalid_argument);
}
