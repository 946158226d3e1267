// The mask of a convolution against its rule applied pixel by pixel: OR over the footprint, and the fraction of
// sum |K| for planes of filled pixels.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "convolveReference.h"

using namespace convolveReference;
using psfmatch::ConvolutionControl;
using psfmatch::SpatialModel;

namespace {

constexpr MaskPixel bad = 1 << 0;
constexpr MaskPixel saturated = 1 << 1;
constexpr MaskPixel interpolated = 1 << 2;
constexpr MaskPixel cosmicRay = 1 << 3;
constexpr MaskPixel detected = 1 << 5;
constexpr MaskPixel highest = static_cast<MaskPixel>(1U << 31);
constexpr MaskPixel noData = 1 << 8;

// Number of pixels the kernel fits around whose mask differs from the rule.
Index differences(MaskedImage const& input, LinearCombinationKernel const& kernel, ConvolutionControl const& control) {
    MaskedImage output(input.mask.rows(), input.mask.cols());
    convolve(input.views(), kernel, 70, 80, control, {2, {}}, output.targets());
    Image<MaskPixel> const expected = spreadExactly(input, kernel, 70, 80, control);
    Index const h = kernel.basis.height;
    Index const w = kernel.basis.width;
    auto const cut = [&](Image<MaskPixel> const& mask) {
        return mask.block((h - 1) / 2, (w - 1) / 2, mask.rows() - h + 1, mask.cols() - w + 1);
    };
    return (cut(output.mask) != cut(expected)).count();
}

void scatter(MaskedImage& input, MaskPixel plane, double fraction, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (Index i = 0; i < input.mask.size(); ++i) {
        if (uniform(random) < fraction) {
            input.mask(i) |= plane;
        }
    }
}

std::vector<ConvolutionControl> controls() {
    std::vector<ConvolutionControl> result;
    for (double const fraction : {0.0, 0.001, 0.01, 0.3}) {
        ConvolutionControl control;
        control.badBits = bad | saturated | cosmicRay;
        control.maskedKernelFraction = fraction;
        result.push_back(control);
    }
    for (double const fraction : {0.005, 0.05, 0.2}) {
        ConvolutionControl apart = result[2];
        apart.safeKernelFraction = fraction;
        result.push_back(apart);
    }
    ConvolutionControl noFill;
    noFill.badBits = bad;
    noFill.fillBad = false;
    result.push_back(noFill);
    ConvolutionControl withNoData;
    withNoData.badBits = bad | noData | interpolated | highest;
    result.push_back(withNoData);
    return result;
}

}  // namespace

TEST_CASE("planes that are not bad spread over the whole rectangle of a varying kernel") {
    MaskedImage input(40, 120);
    input.mask(20, 60) = detected | highest;
    ConvolutionControl control;
    auto const kernel = makeKernel(5, 9, 1, SpatialModel::chebyshev1, {70, 80, 120, 40}, 0.1, 1);
    MaskedImage output(40, 120);
    convolve(input.views(), kernel, 70, 80, control, {}, output.targets());
    for (Index y = 2; y < 38; ++y) {
        for (Index x = 4; x < 116; ++x) {
            bool const near = std::abs(y - 20) <= 2 && std::abs(x - 60) <= 4;
            CHECK(output.mask(y, x) == (near ? detected | highest : 0));
        }
    }
}

TEST_CASE("one bad pixel reaches only the outputs in which it weighs") {
    MaskedImage input(60, 60);
    input.mask(30, 30) = bad;
    ConvolutionControl control;
    control.badBits = bad;
    auto const kernel = makeKernel(21, 21, 2, SpatialModel::chebyshev1, {70, 80, 60, 60}, 0.1, 1);
    MaskedImage output(60, 60);
    convolve(input.views(), kernel, 70, 80, control, {}, output.targets());
    CHECK(output.mask(30, 30) == (bad | interpolated));
    CHECK(output.mask(30, 38) == 0);
    auto const nMarked = (output.mask.block(10, 10, 40, 40) != 0).count();
    CHECK(nMarked > 9);
    CHECK(nMarked < 60);
}

TEST_CASE("masks follow the rule exactly") {
    std::vector<std::pair<std::string, std::function<void(MaskedImage&)>>> const scenes = {
        {"no plane at all", [](MaskedImage&) {}},
        {"one plane, scattered", [](MaskedImage& input) { scatter(input, bad, 0.01, 1); }},
        {"several planes, scattered, some pixels in two",
         [](MaskedImage& input) {
             scatter(input, bad, 0.01, 1);
             scatter(input, saturated, 0.003, 2);
             scatter(input, bad | saturated, 0.002, 3);
             scatter(input, detected | interpolated, 0.01, 4);
             scatter(input, highest | noData, 0.003, 5);
         }},
        {"dense", [](MaskedImage& input) { scatter(input, cosmicRay, 0.6, 6); }},
        {"bad for their values, with and without planes",
         [](MaskedImage& input) {
             scatter(input, bad | noData | detected, 0.005, 7);
             for (Index n = 0; n < 22; ++n) {
                 input.image(5 * n, 4 * n) = std::numeric_limits<float>::quiet_NaN();
                 input.variance(5 * n, 119 - 4 * n) = -1.0F;
                 input.variance(4 * n, 3 * n) = std::numeric_limits<float>::infinity();
                 input.mask(5 * n, 4 * n) |= n % 2 == 0 ? noData : bad;
             }
         }},
        {"borders, a column, a row and a blank region",
         [](MaskedImage& input) {
             input.mask.row(0).setConstant(bad);
             input.mask.col(119).setConstant(bad | detected);
             input.mask.row(77).setConstant(cosmicRay);
             input.image.block(50, 30, 60, 70).setConstant(std::numeric_limits<float>::quiet_NaN());
         }},
        {"nothing good", [](MaskedImage& input) { input.mask.setConstant(saturated); }},
        {"nothing good, two kinds",
         [](MaskedImage& input) {
             input.mask.setConstant(saturated);
             input.mask.topRows(50).setConstant(bad | saturated);
         }},
    };
    for (auto const& [name, paint] : scenes) {
        auto input = makeField(110, 120, 100.0F, 3);
        paint(input);
        for (int const order : {0, 2}) {
            for (Index const side : {Index{1}, Index{5}, Index{7}}) {
                auto const kernel = makeKernel(side, side, order, SpatialModel::chebyshev1, {70, 80, 120, 110}, 0.5, 3);
                for (ConvolutionControl const& control : controls()) {
                    CAPTURE(name);
                    CAPTURE(order);
                    CAPTURE(side);
                    CAPTURE(control.maskedKernelFraction);
                    CAPTURE(control.safeKernelFraction);
                    CHECK(differences(input, kernel, control) == 0);
                }
            }
        }
    }
}

TEST_CASE("a pixel that is filled safely weighs less than one beside others or in bent light") {
    auto const marked = [](double peak, MaskPixel beside) {
        MaskedImage input(90, 90);
        input.image.setConstant(100.0F);
        input.image(45, 45) += 5.0F;  // what is filled plays no part
        for (Index y = 0; y < 90; ++y) {
            for (Index x = 0; x < 90; ++x) {
                auto const r2 = static_cast<double>((y - 45) * (y - 45) + (x - 45) * (x - 45));
                input.image(y, x) += static_cast<float>(peak * std::exp(-r2 / 6.0));
            }
        }
        input.variance.setConstant(100.0F);
        input.mask(45, 45) = bad;
        input.mask(45, 46) |= beside;
        input.mask(45, 47) |= beside;
        ConvolutionControl control;
        control.badBits = bad;
        control.safeKernelFraction = 0.05;
        auto const kernel = makeKernel(21, 21, 0, SpatialModel::chebyshev1, {70, 80, 90, 90}, 0.1, 1);
        MaskedImage output(90, 90);
        convolve(input.views(), kernel, 70, 80, control, {}, output.targets());
        return (output.mask.block(10, 10, 70, 70) != 0).count();
    };
    auto const alone = marked(0.0, 0);
    CHECK(alone < 12);
    CHECK(marked(10.0, 0) == alone);
    CHECK(marked(3000.0, 0) > 2 * alone);
    CHECK(marked(0.0, bad) > 2 * alone);
}

TEST_CASE("a fixed kernel spreads planes over its non-zero pixels") {
    std::mt19937 random(9);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (double const filling : {0.0, 0.05, 0.5, 0.95, 1.0}) {
        auto kernel = makeKernel(11, 17, 0, SpatialModel::chebyshev1, {70, 80, 120, 110}, 0.0, 3);
        kernel.basis.images = kernel.basis.images.row(0).eval();
        kernel.parameters = Eigen::MatrixXd::Ones(1, 1);
        for (Index i = 0; i < kernel.basis.images.size(); ++i) {
            kernel.basis.images(0, i) *= uniform(random) < filling ? 1.0 : 0.0;
        }
        auto input = makeField(110, 120, 100.0F, 3);
        scatter(input, detected, 0.005, 1);
        scatter(input, cosmicRay, 0.005, 2);
        scatter(input, bad, 0.002, 3);
        for (ConvolutionControl const& control : controls()) {
            CHECK(differences(input, kernel, control) == 0);
        }
    }
}
