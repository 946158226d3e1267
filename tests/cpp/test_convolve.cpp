// The convolved image and variance against the definition in float64; edges, shapes, threads, errors.
#include <doctest/doctest.h>

#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/base/exceptions.h"

using namespace convolveReference;
using psfmatch::ConvolutionControl;
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

psfmatch::Box interior(Image<float> const& image, LinearCombinationKernel const& kernel) {
    return {(kernel.basis.width - 1) / 2, (kernel.basis.height - 1) / 2, image.cols() - kernel.basis.width + 1,
            image.rows() - kernel.basis.height + 1};
}

template <typename Array>
auto inside(Array const& array, psfmatch::Box const& box) {
    return array.block(box.y0, box.x0, box.height, box.width);
}

MaskedImage convolved(MaskedImage const& input, LinearCombinationKernel const& kernel, Index x0, Index y0,
                      ConvolutionControl const& control = {}, int nThreads = 1) {
    MaskedImage output(input.image.rows(), input.image.cols());
    convolve(input.views(), kernel, x0, y0, control, {nThreads, {}}, output.targets());
    return output;
}

bool sameBits(MaskedImage const& a, MaskedImage const& b) {
    auto const bytes = static_cast<std::size_t>(a.image.size()) * 4;
    return std::memcmp(a.image.data(), b.image.data(), bytes) == 0 &&
           std::memcmp(a.variance.data(), b.variance.data(), bytes) == 0 &&
           std::memcmp(a.mask.data(), b.mask.data(), bytes) == 0;
}

// A fixed kernel with the given taps.
LinearCombinationKernel fixedKernel(Image<double> const& taps) {
    LinearCombinationKernel kernel;
    kernel.basis.height = taps.rows();
    kernel.basis.width = taps.cols();
    kernel.basis.images = Eigen::Map<psfmatch::RowMatrix const>(taps.data(), 1, taps.size());
    kernel.parameters = Eigen::MatrixXd::Ones(1, 1);
    return kernel;
}

struct Errors {
    double image;     // relative to the largest |result| within a kernel box
    double variance;  // relative
};

Errors errorsOf(MaskedImage const& output, Sums const& exact, LinearCombinationKernel const& kernel) {
    psfmatch::Box const box = interior(output.image, kernel);
    Image<double> const scale = localMaximum(exact.image, kernel.basis.height, kernel.basis.width);
    Image<double> const image = (output.image.cast<double>() - exact.image).abs() / scale;
    Image<double> const variance = (output.variance.cast<double>() / exact.variance - 1.0).abs();
    return {inside(image, box).maxCoeff(), inside(variance, box).maxCoeff()};
}

}  // namespace

TEST_CASE("a constant image gives the kernel's sum") {
    MaskedImage input(40, 50);
    input.image.setConstant(3.0F);
    input.variance.setConstant(2.0F);
    auto const kernel = makeKernel(7, 9, 1, SpatialModel::polynomial, {0, 0, 50, 40}, 0.1, 1);
    auto const output = convolved(input, kernel, 0, 0);
    for (Index y = 3; y < 37; ++y) {
        for (Index x = 4; x < 46; ++x) {
            double const sum = kernelSum(kernel, static_cast<double>(x), static_cast<double>(y));
            CHECK(output.image(y, x) == doctest::Approx(3.0 * sum).epsilon(1e-6));
        }
    }
}

TEST_CASE("image and variance agree with the double loop in float64") {
    struct Size {
        Index height;
        Index width;
        Index imageHeight;
        Index imageWidth;
    };
    // More than one tile, and widths that leave a remainder for every block of the inner loops.
    for (Size const size : {Size{1, 1, 20, 33}, Size{5, 3, 140, 201}, Size{21, 21, 75, 129}}) {
        for (int const order : {0, 1, 2, 4}) {
            for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
                for (float const sky : {0.0F, 1000.0F}) {
                    CAPTURE(size.width);
                    CAPTURE(order);
                    CAPTURE(sky);
                    Index const x0 = 30000;
                    Index const y0 = -700;
                    auto const input = makeField(size.imageHeight, size.imageWidth, sky, 5);
                    auto const kernel = makeKernel(size.height, size.width, order, model,
                                                   {x0, y0, size.imageWidth, size.imageHeight}, 0.2, 7);
                    Sums const exact = convolveExactly(input.image, input.variance, kernel, x0, y0);
                    for (InstructionSet const set : instructionSets()) {
                        ConvolutionControl control;
                        control.instructionSet = set;
                        auto const output = convolved(input, kernel, x0, y0, control);
                        Errors const errors = errorsOf(output, exact, kernel);
                        // float32 sums of 441 products lose about 1e-6 of the largest.
                        CHECK(errors.image < 1e-5);
                        CHECK(errors.variance < 1e-3);
                    }
                }
            }
        }
    }
}

TEST_CASE("the variance of a strongly varying kernel is good to 1e-3") {
    // Tens of per cent within one tile, and over a field of several tiles.
    struct Size {
        Index height;
        Index width;
    };
    for (Size const size : {Size{60, 70}, Size{90, 800}, Size{700, 60}}) {
        for (int const order : {1, 2, 3}) {
            for (double const variation : {0.3, 0.9}) {
                CAPTURE(size.width);
                CAPTURE(order);
                CAPTURE(variation);
                auto const input = makeField(size.height, size.width, 100.0F, 11);
                auto const kernel =
                    makeKernel(13, 13, order, SpatialModel::chebyshev1, {0, 0, size.width, size.height}, variation, 13);
                Sums const exact = convolveExactly(input.image, input.variance, kernel, 0, 0);
                CHECK(errorsOf(convolved(input, kernel, 0, 0), exact, kernel).variance < 1e-3);
            }
        }
    }
}

TEST_CASE("raw pixel coordinates far from the origin do no harm") {
    // K = (1 + 1e-5 x) delta in unscaled pixels at x near 1e5: the local expansion is made in float64.
    Image<double> taps = Image<double>::Zero(3, 3);
    taps(1, 1) = 1.0;
    auto kernel = fixedKernel(taps);
    kernel.spatial = {SpatialModel::polynomial, 1, {}};
    kernel.parameters = Eigen::MatrixXd::Zero(1, 3);
    kernel.parameters << 1.0, 1e-5, 0.0;
    auto const input = makeField(30, 40, 1000.0F, 3);
    auto const output = convolved(input, kernel, 100000, 0);
    for (Index x = 1; x < 39; ++x) {
        double const factor = 1.0 + 1e-5 * static_cast<double>(100000 + x);
        CHECK(output.image(7, x) == doctest::Approx(factor * static_cast<double>(input.image(7, x))).epsilon(1e-6));
    }
}

TEST_CASE("a delta function shifts, exactly and without touching other pixels") {
    Image<double> taps = Image<double>::Zero(5, 7);
    taps(4, 1) = 1.0;  // out(x, y) = in(x - 2, y + 2)
    auto input = makeField(30, 140, 10.0F, 2);
    input.image(20, 50) = std::numeric_limits<float>::quiet_NaN();
    ConvolutionControl control;
    control.fillBad = false;
    auto const output = convolved(input, fixedKernel(taps), 0, 0, control);
    int nNan = 0;
    for (Index y = 2; y < 28; ++y) {
        for (Index x = 3; x < 137; ++x) {
            if (std::isnan(output.image(y, x))) {
                ++nNan;
                CHECK(y + 2 == 20);
                CHECK(x - 2 == 50);
            } else {
                CHECK(output.image(y, x) == input.image(y + 2, x - 2));
                CHECK(output.variance(y, x) == input.variance(y + 2, x - 2));
            }
        }
    }
    CHECK(nNan == 1);
}

TEST_CASE("fixed kernels with zeros skip them") {
    auto const input = makeField(70, 150, 10.0F, 4);
    std::mt19937 random(8);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (double const filling : {0.0, 0.1, 0.6, 1.0}) {
        Image<double> taps = Image<double>::Zero(9, 11);
        for (Index i = 0; i < taps.size(); ++i) {
            taps(i) = uniform(random) < filling ? uniform(random) : 0.0;
        }
        auto const kernel = fixedKernel(taps);
        Sums const exact = convolveExactly(input.image, input.variance, kernel, 0, 0);
        for (InstructionSet const set : instructionSets()) {
            ConvolutionControl control;
            control.instructionSet = set;
            auto const output = convolved(input, kernel, 0, 0, control);
            if (filling == 0.0) {
                CHECK(inside(output.image, interior(output.image, kernel)).abs().maxCoeff() == 0.0F);
                CHECK(inside(output.variance, interior(output.image, kernel)).abs().maxCoeff() == 0.0F);
            } else {
                Errors const errors = errorsOf(output, exact, kernel);
                CHECK(errors.image < 1e-5);
                CHECK(errors.variance < 1e-5);
            }
        }
    }
}

TEST_CASE("the edge is NaN and NO_DATA, or a copy and EDGE") {
    auto input = makeField(31, 45, 50.0F, 6);
    input.mask.setConstant(3);
    input.image(0, 0) = std::numeric_limits<float>::quiet_NaN();
    auto const kernel = makeKernel(7, 11, 1, SpatialModel::chebyshev1, {0, 0, 45, 31}, 0.1, 1);
    psfmatch::Box const box = interior(input.image, kernel);
    for (bool const copyEdge : {false, true}) {
        ConvolutionControl control;
        control.copyEdge = copyEdge;
        auto const output = convolved(input, kernel, 0, 0, control);
        for (Index y = 0; y < 31; ++y) {
            for (Index x = 0; x < 45; ++x) {
                bool const isInside = y >= box.y0 && y < box.y0 + box.height && x >= box.x0 && x < box.x0 + box.width;
                if (isInside) {
                    CHECK(std::isfinite(output.image(y, x)));
                    CHECK((output.mask(y, x) & (control.edgeBit | control.noDataBit)) == 0);
                } else if (copyEdge) {
                    CHECK(std::memcmp(&output.image(y, x), &input.image(y, x), sizeof(float)) == 0);
                    CHECK(output.variance(y, x) == input.variance(y, x));
                    bool const isNan = x == 0 && y == 0;
                    CHECK(output.mask(y, x) == (3 | control.edgeBit | (isNan ? control.noDataBit : 0)));
                } else {
                    CHECK(std::isnan(output.image(y, x)));
                    CHECK(output.variance(y, x) == std::numeric_limits<float>::infinity());
                    CHECK(output.mask(y, x) == control.noDataBit);
                }
            }
        }
    }
}

TEST_CASE("normalize divides by the kernel's sum at every pixel") {
    auto const input = makeField(50, 130, 500.0F, 9);
    auto const kernel = makeKernel(9, 9, 2, SpatialModel::polynomial, {400, 0, 130, 50}, 0.2, 3);
    ConvolutionControl control;
    control.normalize = true;
    auto const plain = convolved(input, kernel, 400, 0);
    auto const normalized = convolved(input, kernel, 400, 0, control);
    for (Index y = 4; y < 46; ++y) {
        for (Index x = 4; x < 126; ++x) {
            double const sum = kernelSum(kernel, static_cast<double>(400 + x), static_cast<double>(y));
            CHECK(normalized.image(y, x) == doctest::Approx(plain.image(y, x) / sum).epsilon(1e-6));
            CHECK(normalized.variance(y, x) == doctest::Approx(plain.variance(y, x) / (sum * sum)).epsilon(1e-6));
        }
    }
    auto zeroSum = makeKernel(9, 9, 0, SpatialModel::polynomial, {0, 0, 130, 50}, 0.0, 3);
    zeroSum.parameters.setZero();
    CHECK_THROWS_WITH_AS(convolved(input, zeroSum, 0, 0, control), doctest::Contains("is 0 at pixel"),
                         psfmatch::NumericalError);
}

TEST_CASE("the number of threads changes no bit, nor does the image-only form") {
    auto input = makeField(300, 310, 100.0F, 21);
    std::mt19937 random(4);
    for (int n = 0; n < 500; ++n) {
        input.mask(static_cast<Index>(random() % 300), static_cast<Index>(random() % 310)) = 1;
        input.mask(static_cast<Index>(random() % 300), static_cast<Index>(random() % 310)) = 32;
    }
    for (int const order : {0, 2}) {
        auto const kernel = makeKernel(15, 15, order, SpatialModel::chebyshev1, {0, 0, 310, 300}, 0.2, 5);
        ConvolutionControl control;
        control.badBits = 1;
        auto const one = convolved(input, kernel, 0, 0, control, 1);
        CHECK(sameBits(one, convolved(input, kernel, 0, 0, control, 2)));
        CHECK(sameBits(one, convolved(input, kernel, 0, 0, control, 7)));

        control.badBits = 0;
        auto const all = convolved(input, kernel, 0, 0, control, 1);
        Image<float> image(300, 310);
        convolve(view(std::as_const(input.image)), kernel, 0, 0, control, {3, {}}, view(image));
        CHECK(std::memcmp(image.data(), all.image.data(), static_cast<std::size_t>(image.size()) * 4) == 0);
    }
}

TEST_CASE("views with a row stride") {
    auto const whole = makeField(60, 130, 100.0F, 31);
    auto const kernel = makeKernel(7, 7, 1, SpatialModel::chebyshev1, {0, 0, 110, 40}, 0.2, 5);
    MaskedImage part(40, 110);
    part.image = whole.image.block(8, 9, 40, 110);
    part.variance = whole.variance.block(8, 9, 40, 110);
    Index const offset = 8 * 130 + 9;
    Eigen::OuterStride<> const stride(130);
    MaskedImage strided(60, 130);
    convolve({{whole.image.data() + offset, 40, 110, stride},
              {whole.variance.data() + offset, 40, 110, stride},
              {whole.mask.data() + offset, 40, 110, stride}},
             kernel, 0, 0, {}, {},
             {{strided.image.data() + offset, 40, 110, stride},
              {strided.variance.data() + offset, 40, 110, stride},
              {strided.mask.data() + offset, 40, 110, stride}});
    MaskedImage cut(40, 110);
    cut.image = strided.image.block(8, 9, 40, 110);
    cut.variance = strided.variance.block(8, 9, 40, 110);
    cut.mask = strided.mask.block(8, 9, 40, 110);
    CHECK(sameBits(cut, convolved(part, kernel, 0, 0)));
    CHECK(strided.image(8, 8) == 0.0F);
    CHECK(strided.image(8, 119) == 0.0F);
    CHECK(strided.image(48, 50) == 0.0F);
}

TEST_CASE("the result is linear in the image") {
    auto const a = makeField(50, 120, 100.0F, 41);
    auto const b = makeField(50, 120, 0.0F, 42);
    auto const kernel = makeKernel(11, 11, 2, SpatialModel::chebyshev1, {0, 0, 120, 50}, 0.2, 5);
    MaskedImage sum(50, 120);
    sum.image = 2.0F * a.image + b.image;
    auto const box = interior(sum.image, kernel);
    Image<double> const expected =
        2.0 * convolved(a, kernel, 0, 0).image.cast<double>() + convolved(b, kernel, 0, 0).image.cast<double>();
    Image<double> const error = convolved(sum, kernel, 0, 0).image.cast<double>() - expected;
    // Three results, each within 1e-5 of the largest pixel, 2e5.
    CHECK(inside(error, box).abs().maxCoeff() < 3e-5 * inside(expected, box).abs().maxCoeff());
}

TEST_CASE("an image of the kernel's size has one good pixel; a smaller one is an error") {
    auto const input = makeField(5, 9, 100.0F, 51);
    auto const kernel = makeKernel(5, 9, 2, SpatialModel::chebyshev1, {0, 0, 100, 100}, 0.2, 5);
    Sums const exact = convolveExactly(input.image, input.variance, kernel, 10, 20);
    auto const output = convolved(input, kernel, 10, 20);
    CHECK(output.image(2, 4) == doctest::Approx(exact.image(2, 4)).epsilon(1e-5));
    CHECK(output.variance(2, 4) == doctest::Approx(exact.variance(2, 4)).epsilon(1e-3));
    CHECK(output.image.isNaN().count() == 44);
    CHECK_THROWS_WITH_AS(convolved(makeField(4, 9, 0.0F, 1), kernel, 0, 0),
                         doctest::Contains("shape (4, 9) is smaller than the kernel of shape (5, 9)"),
                         std::invalid_argument);
    CHECK_THROWS_AS(convolved(makeField(5, 8, 0.0F, 1), kernel, 0, 0), std::invalid_argument);
}

TEST_CASE("a caller's slips are named") {
    auto input = makeField(30, 30, 100.0F, 61);
    auto kernel = makeKernel(5, 5, 1, SpatialModel::chebyshev1, {0, 0, 30, 30}, 0.2, 5);
    MaskedImage wrong(30, 29);
    CHECK_THROWS_WITH_AS(convolve(input.views(), kernel, 0, 0, {}, {}, wrong.targets()),
                         doctest::Contains("output image has shape (30, 29)"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(convolve(input.views(), kernel, 0, 0, {}, {}, input.targets()),
                         doctest::Contains("overlap in memory"), std::invalid_argument);
    for (double const fraction : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
        ConvolutionControl control;
        control.maskedKernelFraction = fraction;
        CHECK_THROWS_WITH_AS(convolved(input, kernel, 0, 0, control), doctest::Contains("maskedKernelFraction"),
                             std::invalid_argument);
    }
    CHECK_THROWS_AS(convolved(input, kernel, 0, 0, {}, 0), std::invalid_argument);
    kernel.parameters(1, 1) = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(convolved(input, kernel, 0, 0), doctest::Contains("not all finite"), psfmatch::NumericalError);
}

TEST_CASE("non-finite pixels spread only when they are not filled") {
    auto input = makeField(60, 60, 100.0F, 71);
    input.image(30, 31) = std::numeric_limits<float>::quiet_NaN();
    input.image(40, 12) = -std::numeric_limits<float>::infinity();
    auto const kernel = makeKernel(5, 5, 2, SpatialModel::chebyshev1, {0, 0, 60, 60}, 0.2, 5);
    ConvolutionControl control;
    auto const box = interior(input.image, kernel);
    CHECK(inside(convolved(input, kernel, 0, 0, control).image, box).allFinite());
    control.fillBad = false;
    auto const spread = convolved(input, kernel, 0, 0, control);
    CHECK((!inside(spread.image, box).isFinite()).count() == 2 * 25);
    CHECK_FALSE(std::isfinite(spread.image(28, 29)));
    CHECK(std::isfinite(spread.image(27, 29)));
}

TEST_CASE("the image is that of the filled input") {
    auto input = makeField(70, 120, 100.0F, 81);
    input.mask(30, 40) = 1;
    input.image(31, 41) = std::numeric_limits<float>::quiet_NaN();
    input.variance(10, 100) = -1.0F;
    input.image.block(50, 50, 8, 9).setConstant(std::numeric_limits<float>::infinity());
    ConvolutionControl control;
    control.badBits = 1;
    auto filled = input;
    writeFill(fillBadPixels(input.views(), 1), view(filled.image), view(filled.variance));
    auto const kernel = makeKernel(9, 9, 1, SpatialModel::chebyshev1, {0, 0, 120, 70}, 0.2, 5);
    auto const direct = convolved(input, kernel, 0, 0, control);
    auto const twoSteps = convolved(filled, kernel, 0, 0);
    auto const bytes = static_cast<std::size_t>(direct.image.size()) * 4;
    CHECK(std::memcmp(direct.image.data(), twoSteps.image.data(), bytes) == 0);
    CHECK(std::memcmp(direct.variance.data(), twoSteps.variance.data(), bytes) == 0);
}
