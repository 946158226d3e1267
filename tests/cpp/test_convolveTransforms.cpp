// Convolution by transforms, where it is most easily wrong: more than one pair of tiles, bright pixels, zeros, every
// order.
#include <doctest/doctest.h>

#include <limits>
#include <stdexcept>
#include <vector>

#include "convolveReference.h"

using namespace convolveReference;
using psfmatch::ConvolutionControl;
using psfmatch::ConvolutionMethod;
using psfmatch::InstructionSet;
using psfmatch::SpatialModel;

namespace {

std::vector<InstructionSet> instructionSets() {
    std::vector<InstructionSet> sets{InstructionSet::baseline};
    if (isSupported(InstructionSet::avx2)) {
        sets.push_back(InstructionSet::avx2);
    }
    return sets;
}

MaskedImage convolved(MaskedImage const& input, LinearCombinationKernel const& kernel,
                      ConvolutionControl const& control) {
    MaskedImage output(input.image.rows(), input.image.cols());
    convolve(input.views(), kernel, 0, 0, control, {2, {}}, output.targets());
    return output;
}

struct Inside {
    Index y0;
    Index x0;
    Index height;
    Index width;

    Inside(Image<float> const& image, LinearCombinationKernel const& kernel)
        : y0((kernel.basis.height - 1) / 2),
          x0((kernel.basis.width - 1) / 2),
          height(image.rows() - kernel.basis.height + 1),
          width(image.cols() - kernel.basis.width + 1) {}

    template <typename Array>
    auto operator()(Array const& array) const {
        return array.block(y0, x0, height, width);
    }
};

// With both instruction sets: image to 1e-5 of the largest result in a kernel box, variance to 1e-3.
void checkAgainstDefinition(MaskedImage const& input, LinearCombinationKernel const& kernel) {
    Sums const exact = convolveExactly(input.image, input.variance, kernel, 0, 0);
    Image<double> const scale = localMaximum(exact.image, kernel.basis.height, kernel.basis.width);
    Inside const inside(input.image, kernel);
    for (InstructionSet const set : instructionSets()) {
        ConvolutionControl control;
        control.method = ConvolutionMethod::transforms;
        control.instructionSet = set;
        auto const output = convolved(input, kernel, control);
        Image<double> const image = (output.image.cast<double>() - exact.image).abs() / scale;
        Image<double> const variance = (output.variance.cast<double>() / exact.variance - 1.0).abs();
        CHECK(inside(image).maxCoeff() < 1e-5);
        CHECK(inside(variance).maxCoeff() < 1e-3);
    }
}

}  // namespace

TEST_CASE("tiles, pairs and odd remainders join without a seam") {
    struct Case {
        Index height;
        Index width;
        Index side;
    };
    // One tile, one and a half pairs, a narrow last column; kernels that leave most and little of a tile.
    for (Case const size :
         {Case{60, 50, 21}, Case{335, 120, 21}, Case{120, 225, 21}, Case{200, 210, 35}, Case{140, 150, 99}}) {
        CAPTURE(size.height);
        CAPTURE(size.side);
        auto const input = makeField(size.height, size.width, 200.0F, 3);
        auto const kernel =
            makeKernel(size.side, size.side, 2, SpatialModel::chebyshev1, {0, 0, size.width, size.height}, 0.2, 4);
        checkAgainstDefinition(input, kernel);
    }
}

TEST_CASE("every order, and kernels that are not square") {
    for (int const order : {0, 1, 2, 3, 4, 5, 6}) {
        CAPTURE(order);
        auto const input = makeField(150, 160, 0.0F, 5);
        checkAgainstDefinition(input, makeKernel(15, 9, order, SpatialModel::polynomial, {0, 0, 160, 150}, 0.3, 6));
    }
}

TEST_CASE("very bright pixels do not reach beyond the kernel") {
    // 1e7 on a sky of noise 10: float32 transforms alone would miss by 1e-7 * 1e7 / 128 everywhere.
    for (float const sky : {0.0F, 300.0F}) {
        auto input = makeField(130, 140, sky, 7);
        input.image(60, 70) = 1e7F;
        input.image(61, 70) = -3e6F;
        input.image(0, 0) = 1e6F;
        input.image(129, 139) = 1e6F;
        checkAgainstDefinition(input, makeKernel(21, 21, 2, SpatialModel::chebyshev1, {0, 0, 140, 130}, 0.2, 8));
    }
}

TEST_CASE("pixels without any signal stay exactly zero") {
    // A chip of which two thirds are 0, in image and variance: no contrast can be given, so sums are direct there.
    auto input = makeField(260, 250, 100.0F, 9);
    input.image.leftCols(160).setZero();
    input.variance.leftCols(160).setZero();
    auto const kernel = makeKernel(21, 21, 2, SpatialModel::chebyshev1, {0, 0, 250, 260}, 0.2, 10);
    ConvolutionControl control;
    auto const output = convolved(input, kernel, control);
    CHECK(output.image.block(10, 10, 240, 140).abs().maxCoeff() == 0.0F);
    CHECK(output.variance.block(10, 10, 240, 140).abs().maxCoeff() == 0.0F);
    CHECK(Inside(input.image, kernel)(output.variance).minCoeff() >= 0.0F);
    Sums const exact = convolveExactly(input.image, input.variance, kernel, 0, 0);
    auto const error = [&](auto const& found, auto const& truth) {
        return (found.block(10, 170, 240, 70).template cast<double>() / truth.block(10, 170, 240, 70) - 1.0)
            .abs()
            .maxCoeff();
    };
    CHECK(error(output.image, exact.image) < 1e-5);
    CHECK(error(output.variance, exact.variance) < 1e-3);
}

TEST_CASE("a pixel that is not finite spoils its footprint alone") {
    auto input = makeField(130, 140, 100.0F, 11);
    input.image(65, 70) = std::numeric_limits<float>::infinity();
    auto const kernel = makeKernel(21, 21, 1, SpatialModel::chebyshev1, {0, 0, 140, 130}, 0.2, 12);
    ConvolutionControl control;
    control.fillBad = false;
    Inside const inside(input.image, kernel);
    CHECK((!inside(convolved(input, kernel, control).image).isFinite()).count() == 21 * 21);
}

TEST_CASE("direct sums and transforms agree") {
    auto const input = makeField(230, 240, 50.0F, 13);
    auto const kernel = makeKernel(17, 19, 2, SpatialModel::chebyshev1, {0, 0, 240, 230}, 0.2, 14);
    ConvolutionControl direct;
    direct.method = ConvolutionMethod::direct;
    ConvolutionControl transforms;
    transforms.method = ConvolutionMethod::transforms;
    auto const a = convolved(input, kernel, direct);
    auto const b = convolved(input, kernel, transforms);
    Inside const inside(input.image, kernel);
    CHECK((inside(a.image) - inside(b.image)).abs().maxCoeff() < 2e-5F * inside(a.image).abs().maxCoeff());
    CHECK((inside(a.variance) / inside(b.variance) - 1.0F).abs().maxCoeff() < 2e-3F);
    CHECK((a.mask == b.mask).all());
}

TEST_CASE("a kernel too large for a tile is summed directly, and says so when transforms are asked for") {
    auto const input = makeField(130, 140, 100.0F, 15);
    auto const kernel = makeKernel(115, 3, 0, SpatialModel::chebyshev1, {0, 0, 140, 130}, 0.0, 16);
    ConvolutionControl control;
    Sums const exact = convolveExactly(input.image, input.variance, kernel, 0, 0);
    Inside const inside(input.image, kernel);
    auto const output = convolved(input, kernel, control);
    CHECK((inside(output.image).cast<double>() / inside(exact.image) - 1.0).abs().maxCoeff() < 1e-5);
    control.method = ConvolutionMethod::transforms;
    CHECK_THROWS_WITH_AS(convolved(input, kernel, control), doctest::Contains("(115, 3) is too large"),
                         std::invalid_argument);
}

TEST_CASE("no variance is negative") {
    // Stars without any noise between them: where only the outskirts of K^2 meet them, its expansion may change sign.
    MaskedImage input(190, 190);
    input.variance.setZero();
    for (Index y = 30; y < 190; y += 64) {
        for (Index x = 30; x < 190; x += 64) {
            input.variance.block(y, x, 3, 3).setConstant(500.0F);
        }
    }
    for (int const order : {1, 2, 3}) {
        auto const kernel = makeKernel(29, 29, order, SpatialModel::polynomial, {0, 0, 190, 190}, 0.5, 17);
        for (auto const method : {ConvolutionMethod::direct, ConvolutionMethod::transforms}) {
            ConvolutionControl control;
            control.method = method;
            auto const output = convolved(input, kernel, control);
            CHECK(Inside(input.image, kernel)(output.variance).minCoeff() >= 0.0F);
        }
    }
}

TEST_CASE("splines, whose pieces end within the image") {
    auto const input = makeField(160, 150, 0.0F, 5);
    psfmatch::Frame const frame = psfmatch::frameOf({0, 0, 150, 160});
    for (int const degree : {0, 1, 3}) {
        CAPTURE(degree);
        psfmatch::LinearCombinationKernel kernel =
            makeKernel(15, 9, 1, SpatialModel::polynomial, {0, 0, 160, 150}, 0.3, 6);
        kernel.spatial = psfmatch::joined(kernel.spatial, psfmatch::makeBSplines(degree, {-0.21, 0.3}, {0.05}, frame));
        Eigen::MatrixXd parameters = 0.02 * Eigen::MatrixXd::Random(kernel.basis.size(), kernel.spatial.size());
        parameters.leftCols(3) += kernel.parameters;
        kernel.parameters = parameters;
        checkAgainstDefinition(input, kernel);
    }
}
