// The difference of two images: values, variances, planes, and which pixels are flagged.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "convolveReference.h"
#include "psfmatch/convolve/subtract.h"

using namespace convolveReference;
using psfmatch::Execution;
using psfmatch::SpatialFunction;
using psfmatch::SpatialModel;
using psfmatch::subtract;
using psfmatch::SubtractionControl;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr MaskPixel noData = 1 << 8;

Eigen::VectorXd const tilted{{100.0, 3.0, -2.0, 0.5, 0.25, -0.125}};

// Scaled so that the polynomial stays of the size of its coefficients.
SpatialFunction quadratic(SpatialModel model = SpatialModel::polynomial) {
    return {model, 2, {20.0, 10.0, 40.0, 30.0}};
}

struct Pair {
    Pair(Index height, Index width)
        : minuend(makeField(height, width, 1000.0F, 1)), subtrahend(makeField(height, width, 800.0F, 2)) {
        for (Index i = 0; i < minuend.image.size(); ++i) {
            minuend.variance(i) = 1.0F + static_cast<float>(i % 7);
            minuend.mask(i) = static_cast<MaskPixel>(i % 3);
            subtrahend.mask(i) = static_cast<MaskPixel>(i % 5 << 1);
        }
    }
    MaskedImage minuend;
    MaskedImage subtrahend;
};

MaskedImage difference(Pair const& pair, SubtractionControl const& control = {}, int nThreads = 1,
                       SpatialFunction const& spatial = quadratic(), Eigen::VectorXd const& background = tilted) {
    MaskedImage output(pair.minuend.image.rows(), pair.minuend.image.cols());
    subtract(pair.minuend.views(), pair.subtrahend.views(), background, spatial, 3, -5, control, Execution{nThreads},
             output.targets());
    return output;
}

bool isFine(float value) {
    return std::isfinite(value);
}

// The definition, pixel by pixel; the sum over all functions of position is formed by SpatialFunction itself.
void checkAgainstDefinition(Pair const& pair, SubtractionControl const& control, SpatialFunction const& spatial,
                            Eigen::VectorXd const& background) {
    MaskedImage const output = difference(pair, control, 1, spatial, background);
    MaskedImage const &a = pair.minuend, &b = pair.subtrahend;
    bool anyVariance = false;
    for (Index i = 0; i < output.variance.size(); ++i) {
        anyVariance = anyVariance || (output.variance(i) > 0.0F && isFine(output.variance(i)));
    }
    for (Index y = 0; y < output.image.rows(); ++y) {
        for (Index x = 0; x < output.image.cols(); ++x) {
            CAPTURE(x);
            CAPTURE(y);
            double const sky = background.dot(spatial.evaluate(static_cast<double>(x + 3), static_cast<double>(y - 5)));
            double const value = (static_cast<double>(a.image(y, x)) - b.image(y, x) - sky) / control.divisor;
            double const variance =
                (static_cast<double>(a.variance(y, x)) + b.variance(y, x)) / (control.divisor * control.divisor);
            bool unusable = !isFine(a.image(y, x)) || !isFine(b.image(y, x)) || !isFine(output.image(y, x));
            for (float const v : {a.variance(y, x), b.variance(y, x), output.variance(y, x)}) {
                unusable = unusable || !isFine(v) || v < 0.0F;
            }
            unusable = unusable || (anyVariance && !(output.variance(y, x) > 0.0F));
            if (std::isfinite(value)) {
                // One rounding to float32, and of the sky 1e-12.
                CHECK(std::abs(output.image(y, x) - value) <= 6e-8 * std::abs(value) + 1e-9);
            } else {
                CHECK_FALSE(isFine(output.image(y, x)));
            }
            if (std::isfinite(variance)) {
                CHECK(std::abs(output.variance(y, x) - variance) <= 6e-8 * std::abs(variance));
            } else {
                CHECK_FALSE(isFine(output.variance(y, x)));
            }
            MaskPixel const planes = (a.mask(y, x) & control.minuendBits) | (b.mask(y, x) & control.subtrahendBits);
            CHECK(output.mask(y, x) == (planes | (unusable ? control.noDataBit : 0)));
        }
    }
}

void spoil(MaskedImage& image) {
    image.image(0, 3) = notANumber;
    image.image(1, 4) = infinity;
    image.image(1, 5) = -infinity;
    image.variance(2, 6) = notANumber;
    image.variance(3, 7) = infinity;
    image.variance(4, 8) = -0.5F;
    image.variance(5, 9) = 0.0F;
}

bool same(MaskedImage const& a, MaskedImage const& b) {
    auto const equal = [](auto const& p, auto const& q) {
        return std::memcmp(p.data(), q.data(), sizeof(*p.data()) * static_cast<std::size_t>(p.size())) == 0;
    };
    return equal(a.image, b.image) && equal(a.variance, b.variance) && equal(a.mask, b.mask);
}

}  // namespace

TEST_CASE("equal images leave minus the background, twice the variance and the planes of both") {
    MaskedImage const field = makeField(7, 9, 100.0F, 3);
    MaskedImage output(7, 9);
    Eigen::VectorXd const constant{{2.5}};
    subtract(field.views(), field.views(), constant, {SpatialModel::polynomial, 0, {}}, 0, 0, {}, {}, output.targets());
    CHECK((output.image == -2.5F).all());
    CHECK((output.variance == 2.0F * field.variance).all());
    CHECK((output.mask == 0).all());
}

TEST_CASE("every pixel follows the definition") {
    for (auto const model : {SpatialModel::polynomial, SpatialModel::chebyshev1}) {
        for (double const divisor : {1.0, -0.8}) {
            Pair pair(40, 33);
            spoil(pair.minuend);
            pair.subtrahend.image(20, 20) = notANumber;
            pair.subtrahend.variance(21, 20) = -1.0F;
            SubtractionControl control;
            control.divisor = divisor;
            control.minuendBits = 11;
            control.subtrahendBits = 6;
            checkAgainstDefinition(pair, control, quadratic(model), tilted);
        }
    }
}

TEST_CASE("a difference that overflows, or whose variance vanishes, is flagged") {
    Pair pair(2, 2);
    pair.minuend.image(0, 0) = 3e38F;
    pair.subtrahend.image(0, 0) = -3e38F;
    pair.minuend.variance(0, 1) = pair.subtrahend.variance(0, 1) = 3e38F;
    pair.minuend.variance(1, 0) = pair.subtrahend.variance(1, 0) = 0.0F;
    MaskedImage const output = difference(pair);
    CHECK((output.mask(0, 0) & noData) != 0);
    CHECK((output.mask(0, 1) & noData) != 0);
    CHECK((output.mask(1, 0) & noData) != 0);
    CHECK((output.mask(1, 1) & noData) == 0);
}

TEST_CASE("images without any variance count as noiseless") {
    Pair pair(12, 10);
    pair.minuend.variance.setZero();
    pair.subtrahend.variance.setZero();
    pair.minuend.image(3, 3) = notANumber;
    // As the border of a convolved image has it.
    pair.subtrahend.variance(0, 0) = infinity;
    checkAgainstDefinition(pair, {}, quadratic(), tilted);
    MaskedImage const output = difference(pair);
    CHECK((output.mask(3, 3) & noData) != 0);
    CHECK((output.mask(0, 0) & noData) != 0);
    CHECK((output.mask(5, 5) & noData) == 0);
    // One pixel with a variance is enough to make the others suspect.
    pair.minuend.variance(11, 9) = 1.0F;
    CHECK((difference(pair).mask(5, 5) & noData) != 0);
}

TEST_CASE("one pixel, one row, one column") {
    for (auto const& [height, width] : {std::pair{1, 1}, std::pair{1, 70}, std::pair{70, 1}}) {
        checkAgainstDefinition(Pair(height, width), {}, quadratic(), tilted);
    }
}

TEST_CASE("the number of threads changes nothing") {
    Pair pair(130, 47);
    spoil(pair.minuend);
    MaskedImage const one = difference(pair, {}, 1);
    for (int const nThreads : {2, 3, 16}) {
        CHECK(same(difference(pair, {}, nThreads), one));
    }
}

TEST_CASE("rows may lie apart, in the input and in the output") {
    constexpr Index height = 20, width = 12, stride = 31;
    Pair const pair(height, width);
    MaskedImage const expected = difference(pair);
    auto const widened = [](MaskedImage const& image) {
        MaskedImage wide(height, stride);
        wide.image.leftCols(width) = image.image;
        wide.variance.leftCols(width) = image.variance;
        wide.mask.leftCols(width) = image.mask;
        return wide;
    };
    Eigen::OuterStride<> const apart(stride);
    auto const part = [&](MaskedImage const& wide) {
        return psfmatch::MaskedImageView{{wide.image.data(), height, width, apart},
                                         {wide.variance.data(), height, width, apart},
                                         {wide.mask.data(), height, width, apart}};
    };
    MaskedImage const minuend = widened(pair.minuend);
    MaskedImage const subtrahend = widened(pair.subtrahend);
    MaskedImage output(height, stride);
    subtract(part(minuend), part(subtrahend), tilted, quadratic(), 3, -5, {}, {},
             {{output.image.data(), height, width, apart},
              {output.variance.data(), height, width, apart},
              {output.mask.data(), height, width, apart}});
    CHECK((output.image.leftCols(width) == expected.image).all());
    CHECK((output.variance.leftCols(width) == expected.variance).all());
    CHECK((output.mask.leftCols(width) == expected.mask).all());
    CHECK((output.image.rightCols(stride - width) == 0.0F).all());
}

TEST_CASE("an interrupted call stops") {
    Pair const pair(200, 10);
    MaskedImage output(200, 10);
    Execution const execution{1, [] { throw std::runtime_error("interrupted"); }};
    CHECK_THROWS_WITH(subtract(pair.minuend.views(), pair.subtrahend.views(), tilted, quadratic(), 0, 0, {}, execution,
                               output.targets()),
                      "interrupted");
}

TEST_CASE("what does not belong together is refused") {
    Pair const pair(5, 6);
    MaskedImage output(5, 7);
    CHECK_THROWS_AS(
        subtract(pair.minuend.views(), pair.subtrahend.views(), tilted, quadratic(), 0, 0, {}, {}, output.targets()),
        std::invalid_argument);
    Eigen::VectorXd const tooFew = tilted.head(3);
    CHECK_THROWS_WITH_AS(difference(pair, {}, 1, quadratic(), tooFew),
                         "a background of order 2 has 6 coefficients, not 3", std::invalid_argument);
    for (double const divisor : {0.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
        SubtractionControl control;
        control.divisor = divisor;
        CHECK_THROWS_AS(difference(pair, control), std::invalid_argument);
    }
}
