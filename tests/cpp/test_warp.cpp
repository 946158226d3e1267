// Resampled image, variance and mask against the definition in float64; padding, bad pixels, threads, errors.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/warp/warp.h"

namespace {

using psfmatch::Index;
using psfmatch::InstructionSet;
using psfmatch::MaskPixel;
using psfmatch::WarpControl;
using psfmatch::WarpingKernel;

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
constexpr MaskPixel noData = 1 << 8;

template <typename Pixel>
using Image = psfmatch::OwnedImage<Pixel>;

template <typename Pixel>
psfmatch::ConstImageView<Pixel> viewOf(Image<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

template <typename Pixel>
psfmatch::ImageView<Pixel> targetOf(Image<Pixel>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Planes {
    Planes(Index height, Index width)
        : image(Image<float>::Zero(height, width)),
          variance(Image<float>::Ones(height, width)),
          mask(Image<MaskPixel>::Zero(height, width)) {}
    Image<float> image;
    Image<float> variance;
    Image<MaskPixel> mask;
};

struct Lattice {
    Index spacing;
    Image<double> x;
    Image<double> y;
};

// Positions x = a0 + a1 i + a2 j, y = b0 + b1 i + b2 j of output pixel [j, i].
Lattice makeLattice(Index height, Index width, Index spacing, std::array<double, 3> const& a,
                    std::array<double, 3> const& b) {
    Index const rows = (height - 1) / spacing + 2;
    Index const columns = (width - 1) / spacing + 2;
    Lattice lattice{spacing, Image<double>(rows, columns), Image<double>(rows, columns)};
    for (Index j = 0; j < rows; ++j) {
        for (Index i = 0; i < columns; ++i) {
            auto const u = static_cast<double>(i * spacing);
            auto const v = static_cast<double>(j * spacing);
            lattice.x(j, i) = a[0] + a[1] * u + a[2] * v;
            lattice.y(j, i) = b[0] + b[1] * u + b[2] * v;
        }
    }
    return lattice;
}

// Output pixel [j, i] lies at (x + i, y + j).
Lattice makeShift(Index height, Index width, double x, double y) {
    return makeLattice(height, width, 10, {x, 1.0, 0.0}, {y, 0.0, 1.0});
}

Planes warped(Planes const& source, Lattice const& lattice, Index height, Index width, WarpControl const& control,
              int nThreads = 1) {
    Planes output(height, width);
    psfmatch::warp({viewOf(source.image), viewOf(source.variance), viewOf(source.mask)},
                   {lattice.spacing, viewOf(lattice.x), viewOf(lattice.y)}, control, {nThreads, {}},
                   {targetOf(output.image), targetOf(output.variance), targetOf(output.mask)});
    return output;
}

// Plain control: positions as they are.
WarpControl controlOf(WarpingKernel kernel, InstructionSet set = InstructionSet::automatic) {
    WarpControl control;
    control.kernel = kernel;
    control.cacheSize = 0;
    control.instructionSet = set;
    return control;
}

std::vector<InstructionSet> instructionSets() {
    std::vector<InstructionSet> sets{InstructionSet::baseline};
    if (isSupported(InstructionSet::avx2)) {
        sets.push_back(InstructionSet::avx2);
    }
    return sets;
}

Planes makeNoise(Index height, Index width, unsigned seed) {
    Planes planes(height, width);
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
    for (Index i = 0; i < planes.image.size(); ++i) {
        planes.image(i) = uniform(random);
        planes.variance(i) = 1.0F + 0.5F * uniform(random);
    }
    return planes;
}

double profile(WarpingKernel kernel, double x) {
    int const n = order(kernel);
    if (std::abs(x) >= n) {
        return 0.0;
    }
    if (kernel == WarpingKernel::bilinear) {
        return 1.0 - std::abs(x);
    }
    double const p = std::numbers::pi * x;
    return x == 0.0 ? 1.0 : n * std::sin(p) * std::sin(p / n) / (p * p);
}

double averaged(WarpingKernel kernel, double x, double areaWidth) {
    if (areaWidth == 0.0) {
        return profile(kernel, x);
    }
    constexpr int steps = 1000;
    double sum = 0.0;
    for (int i = 0; i < steps; ++i) {
        sum += profile(kernel, x + areaWidth * ((i + 0.5) / steps - 0.5));
    }
    return sum / steps;
}

struct Value {
    double image;
    double variance;
};

// The definition: all source pixels, weights by the distance along x and along y.
Value exactValue(Planes const& source, WarpingKernel kernel, double areaWidth, double x, double y, double area) {
    auto const weights = [&](double position, Index size) {
        std::vector<double> w(static_cast<std::size_t>(size));
        double sum = 0.0;
        for (Index i = 0; i < size; ++i) {
            w[static_cast<std::size_t>(i)] = averaged(kernel, static_cast<double>(i) - position, areaWidth);
            sum += w[static_cast<std::size_t>(i)];
        }
        for (double& value : w) {
            value /= sum;
        }
        return w;
    };
    auto const wx = weights(x, source.image.cols());
    auto const wy = weights(y, source.image.rows());
    Value value{0.0, 0.0};
    for (Index j = 0; j < source.image.rows(); ++j) {
        for (Index i = 0; i < source.image.cols(); ++i) {
            double const w = wx[static_cast<std::size_t>(i)] * wy[static_cast<std::size_t>(j)] * area;
            value.image += w * source.image(j, i);
            value.variance += w * w * source.variance(j, i);
        }
    }
    return value;
}

bool sameBits(Planes const& a, Planes const& b) {
    auto const bytes = static_cast<std::size_t>(a.image.size()) * 4;
    return std::memcmp(a.image.data(), b.image.data(), bytes) == 0 &&
           std::memcmp(a.variance.data(), b.variance.data(), bytes) == 0 &&
           std::memcmp(a.mask.data(), b.mask.data(), bytes) == 0;
}

std::vector<WarpingKernel> const allKernels{WarpingKernel::bilinear, WarpingKernel::lanczos3, WarpingKernel::lanczos4,
                                            WarpingKernel::lanczos5};

}  // namespace

TEST_CASE("image and variance agree with the definition in float64") {
    auto const source = makeNoise(34, 38, 1);
    // Rotated by 0.2 and 8 % larger pixels; widths that are no multiple of the lattice or of the lanes.
    double const c = 1.08 * std::cos(0.2);
    double const s = 1.08 * std::sin(0.2);
    auto const lattice = makeLattice(13, 17, 10, {10.3, c, -s}, {8.1, s, c});
    for (WarpingKernel const kernel : allKernels) {
        for (double const areaWidth : {0.0, 1.7, 3.0}) {
            for (InstructionSet const set : instructionSets()) {
                auto control = controlOf(kernel, set);
                control.areaWidth = areaWidth;
                auto const output = warped(source, lattice, 13, 17, control);
                for (Index j = 0; j < 13; ++j) {
                    for (Index i = 0; i < 17; ++i) {
                        double const x = 10.3 + c * static_cast<double>(i) - s * static_cast<double>(j);
                        double const y = 8.1 + s * static_cast<double>(i) + c * static_cast<double>(j);
                        if (std::isnan(output.image(j, i))) {
                            int const half = static_cast<int>(std::ceil(order(kernel) + 0.5 * areaWidth));
                            CHECK((x < half - 1 || x >= 38 - half || y < half - 1 || y >= 34 - half));
                            continue;
                        }
                        Value const exact = exactValue(source, kernel, areaWidth, x, y, 1.08 * 1.08);
                        // float32 sums of up to 196 products of at most 1; the midpoint rule of the averages is good to
                        // 1e-6.
                        CHECK(std::abs(output.image(j, i) - exact.image) < (areaWidth > 0.0 ? 2e-6 : 1e-6));
                        CHECK(output.variance(j, i) == doctest::Approx(exact.variance).epsilon(4e-6));
                    }
                }
            }
        }
    }
}

TEST_CASE("the first four moments of corrected weights are those of a point or of the area") {
    for (WarpingKernel const kernel : {WarpingKernel::lanczos3, WarpingKernel::lanczos4, WarpingKernel::lanczos5}) {
        for (double const areaWidth : {0.0, 1.5}) {
            for (double const fraction : {0.0, 0.1, 0.37, 0.5, 0.93}) {
                double const position = 12.0 + fraction;
                auto const lattice = makeShift(1, 1, position, 12.3);
                auto control = controlOf(kernel);
                control.areaWidth = areaWidth;
                for (int const power : {1, 2, 3, 4}) {
                    Planes source(26, 26);
                    for (Index i = 0; i < 26; ++i) {
                        double const x = static_cast<double>(i) - position;
                        source.image.col(i).setConstant(static_cast<float>(std::pow(x, power)));
                    }
                    control.keepCentroids = true;
                    double const largest = std::pow(order(kernel) + 0.5 * areaWidth, power);
                    // Of a square of side 1.5 in one dimension: the mean of x^k.
                    double const wanted =
                        power % 2 == 0 && areaWidth > 0.0 ? std::pow(0.5 * areaWidth, power) / (power + 1) : 0.0;
                    // Weights at the rim are good to 3e-8, and there are some ten of them in either direction.
                    CHECK(std::abs(warped(source, lattice, 1, 1, control).image(0, 0) - wanted) < 2e-6 * largest);
                    control.keepCentroids = false;
                    if (fraction == 0.1 && areaWidth == 0.0 && power == 1) {
                        // Plain weights do not; otherwise this test would show nothing.
                        CHECK(std::abs(warped(source, lattice, 1, 1, control).image(0, 0)) > 5e-3F);
                    }
                }
            }
        }
    }
}

TEST_CASE("whole positions copy pixels") {
    auto const source = makeNoise(30, 40, 2);
    for (WarpingKernel const kernel : allKernels) {
        for (bool const keepCentroids : {false, true}) {
            auto control = controlOf(kernel);
            control.keepCentroids = keepCentroids;
            auto const output = warped(source, makeShift(12, 14, 9.0, 7.0), 12, 14, control);
            CHECK((output.image == source.image.block(7, 9, 12, 14)).all());
            CHECK((output.variance == source.variance.block(7, 9, 12, 14)).all());
        }
    }
}

TEST_CASE("positions are rounded down to 1 / cacheSize") {
    auto const source = makeNoise(20, 20, 3);
    auto control = controlOf(WarpingKernel::lanczos3);
    auto const exact = warped(source, makeShift(4, 4, 7.2, 6.4), 4, 4, control);
    control.cacheSize = 5;
    // One bit beyond the fifth, so that rounding of the sum does not decide.
    auto const output = warped(source, makeShift(4, 4, 7.39, 6.41), 4, 4, control);
    CHECK((output.image - exact.image).abs().maxCoeff() < 1e-6F);
}

TEST_CASE("planes spread over the mask kernel, planes to grow over the image kernel") {
    constexpr MaskPixel detected = 1 << 5;
    constexpr MaskPixel edge = 1 << 4;
    Planes source(24, 24);
    source.mask(12, 12) = detected | edge;
    auto const flagged = [&](WarpControl const& control, double shift, MaskPixel bit) {
        auto const output = warped(source, makeShift(18, 18, 3.0 + shift, 3.0 + shift), 18, 18, control);
        return output.mask.unaryExpr([bit](MaskPixel pixel) { return (pixel & bit) != 0; }).count();
    };
    auto control = controlOf(WarpingKernel::lanczos3);
    CHECK(flagged(control, 0.5, detected) == 4);
    CHECK(flagged(control, 0.0, detected) == 1);
    // The box of the image kernel, pixels without weight included.
    CHECK(flagged(control, 0.5, edge) == 36);
    CHECK(flagged(control, 0.0, edge) == 36);
    control.growBits = 0;
    CHECK(flagged(control, 0.5, edge) == 4);
    control.maskKernel = WarpingKernel::lanczos3;
    CHECK(flagged(control, 0.5, detected) == 36);
    CHECK(flagged(control, 0.0, detected) == 1);
    control.areaWidth = 2.0;
    control.maskKernel = WarpingKernel::bilinear;
    CHECK(flagged(control, 0.5, detected) == 16);
}

TEST_CASE("no room for the kernel or no position gives NaN with the no-data plane alone") {
    Planes source(20, 20);
    source.mask.setConstant(1 << 5);
    auto const control = controlOf(WarpingKernel::lanczos3);
    auto lattice = makeShift(20, 20, 0.0, 0.0);
    auto const output = warped(source, lattice, 20, 20, control);
    for (Index j = 0; j < 20; ++j) {
        for (Index i = 0; i < 20; ++i) {
            bool const inside = i >= 2 && i < 17 && j >= 2 && j < 17;
            CHECK(std::isnan(output.image(j, i)) == !inside);
            CHECK(std::isinf(output.variance(j, i)) == !inside);
            CHECK(output.mask(j, i) == (inside ? 1 << 5 : noData));
        }
    }
    // The cells of the lattice around a node without position.
    lattice.y(1, 1) = std::numeric_limits<double>::quiet_NaN();
    auto const holed = warped(source, lattice, 20, 20, control);
    CHECK(holed.image.isNaN().all());
    lattice = makeShift(20, 20, 1e300, -std::numeric_limits<double>::infinity());
    CHECK(warped(source, lattice, 20, 20, control).image.isNaN().all());
}

TEST_CASE("bad pixels do not reach their neighbours unflagged") {
    constexpr MaskPixel bad = 1;
    Planes source(40, 40);
    source.image.setConstant(5.0F);
    source.image(20, 20) = notANumber;
    auto control = controlOf(WarpingKernel::lanczos3);
    control.badBits = bad;
    auto const lattice = makeShift(30, 30, 5.4, 5.4);
    auto const output = warped(source, lattice, 30, 30, control);
    // Filled with its neighbours' value, which here is the truth; NaN where the pixel holds more than 1 % of sum |w|.
    Index nMissing = 0;
    for (Index i = 0; i < output.image.size(); ++i) {
        bool const missing = std::isnan(output.image(i));
        CHECK((output.mask(i) == noData) == missing);
        if (!missing) {
            CHECK(output.image(i) == doctest::Approx(5.0).epsilon(1e-6));
        }
        nMissing += missing ? 1 : 0;
    }
    CHECK(nMissing >= 4);
    CHECK(nMissing <= 20);

    source.image(20, 20) = 1e6F;
    source.mask(20, 20) = bad;
    auto const flagged = warped(source, lattice, 30, 30, control);
    CHECK(((flagged.mask == bad) == output.image.isNaN()).all());
    CHECK((flagged.image - 5.0F).abs().maxCoeff() < 1e-5F);
    // With no bad planes the value is used, as in the reference.
    control.badBits = 0;
    CHECK(warped(source, lattice, 30, 30, control).image.maxCoeff() > 1e5F);

    source.image.setConstant(notANumber);
    CHECK(warped(source, lattice, 30, 30, control).image.isNaN().all());
}

TEST_CASE("a pixel that is filled safely is flagged where it alone holds more than a fraction of its own") {
    constexpr MaskPixel bad = 1;
    constexpr MaskPixel other = 1 << 5;
    auto const flagged = [&](double shift, double safeFraction, MaskPixel beside, MaskPixel plane) {
        Planes source(40, 40);
        source.image.setConstant(5.0F);
        source.variance.setConstant(1.0F);
        source.image(20, 20) = plane == noData ? notANumber : 1e6F;
        source.mask(20, 20) = plane == noData ? 0 : plane;
        source.mask(20, 21) = beside;
        source.mask(20, 22) = beside;
        auto control = controlOf(WarpingKernel::lanczos3);
        control.maskKernel = WarpingKernel::bilinear;
        control.badBits = bad;
        control.safeKernelFraction = safeFraction;
        auto const output = warped(source, makeShift(30, 30, 5.0 + shift, 5.0 + shift), 30, 30, control);
        Index count = 0;
        for (Index i = 0; i < output.mask.size(); ++i) {
            CHECK(std::isnan(output.image(i)) == ((output.mask(i) & noData) != 0));
            count += (output.mask(i) & (bad | noData)) != 0 ? 1 : 0;
        }
        return count;
    };
    for (MaskPixel const plane : {bad, noData}) {
        // Weights of sinc(x) sinc(x / 3) half way are 0.61, -0.14 and 0.02 on either side, of a sum of |w| of 1.54, so
        // that the four nearest results hold a pixel by 0.157, the next eight by 0.035 each, and four by 0.008.
        CHECK(flagged(0.5, 0.0, 0, plane) == 12);
        CHECK(flagged(0.5, 0.005, 0, plane) == 12);
        CHECK(flagged(0.5, 0.1, 0, plane) == 4);
        CHECK(flagged(0.5, 0.16, 0, plane) == 0);
        CHECK(flagged(0.0, 0.16, 0, plane) == 1);
        CHECK(flagged(0.5, 0.16, bad, plane) >= 12);
        CHECK(flagged(0.5, 0.1, other, plane) == 4);
    }
}

TEST_CASE("a transform that tears the image apart") {
    auto const source = makeNoise(700, 700, 4);
    Lattice lattice = makeLattice(70, 70, 1, {0.0, 0.0, 0.0}, {0.0, 0.0, 0.0});
    std::mt19937 random(5);
    std::uniform_real_distribution<double> uniform(10.0, 690.0);
    for (Index i = 0; i < lattice.x.size(); ++i) {
        lattice.x(i) = uniform(random);
        lattice.y(i) = uniform(random);
    }
    auto const output = warped(source, lattice, 70, 70, controlOf(WarpingKernel::bilinear));
    for (Index j = 0; j < 70; j += 9) {
        for (Index i = 0; i < 70; i += 7) {
            double const area =
                std::abs((lattice.x(j, i + 1) - lattice.x(j, i)) * (lattice.y(j + 1, i) - lattice.y(j, i)) -
                         (lattice.y(j, i + 1) - lattice.y(j, i)) * (lattice.x(j + 1, i) - lattice.x(j, i)));
            double const exact =
                exactValue(source, WarpingKernel::bilinear, 0.0, lattice.x(j, i), lattice.y(j, i), area).image;
            CHECK(std::abs(output.image(j, i) - exact) <= 1e-6 * area);
        }
    }
}

TEST_CASE("the number of threads changes no bit") {
    auto source = makeNoise(210, 180, 6);
    source.mask(100, 100) = 1;
    source.image(50, 60) = notANumber;
    auto const lattice = makeLattice(200, 190, 10, {3.0, 0.9, 0.1}, {1.0, -0.1, 1.05});
    for (InstructionSet const set : instructionSets()) {
        auto control = controlOf(WarpingKernel::lanczos4, set);
        control.badBits = 1;
        auto const one = warped(source, lattice, 200, 190, control);
        for (int const nThreads : {2, 5}) {
            CHECK(sameBits(one, warped(source, lattice, 200, 190, control, nThreads)));
        }
    }
}

TEST_CASE("impossible calls are refused, and poll can end the work") {
    Planes const source(20, 20);
    auto const lattice = makeShift(10, 10, 5.0, 5.0);
    auto const with = [&](auto const& change) {
        WarpControl control;
        change(control);
        return warped(source, lattice, 10, 10, control);
    };
    CHECK_THROWS_WITH_AS(warped(source, lattice, 10, 30, {}), doctest::Contains("the lattice has 2 rows and 2 columns"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(with([](auto& c) {
                             c.kernel = WarpingKernel::lanczos3;
                             c.maskKernel = WarpingKernel::lanczos4;
                         }),
                         doctest::Contains("mask kernel is larger"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(with([](auto& c) { c.cacheSize = -1; }), doctest::Contains("cacheSize is -1"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(with([](auto& c) { c.areaWidth = 17.0; }), doctest::Contains("areaWidth is 17"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(with([](auto& c) { c.maskedKernelFraction = 1.0; }), doctest::Contains("maskedKernelFraction"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(with([](auto& c) { c.safeKernelFraction = -0.1; }), doctest::Contains("safeKernelFraction"),
                         std::invalid_argument);
    Planes output(10, 10);
    CHECK_THROWS_WITH_AS(
        psfmatch::warp({viewOf(source.image), viewOf(source.variance), viewOf(source.mask)},
                       {10, viewOf(lattice.x), viewOf(lattice.y)}, {}, {1, [] { throw std::runtime_error("stopped"); }},
                       {targetOf(output.image), targetOf(output.variance), targetOf(output.mask)}),
        "stopped", std::runtime_error);
    Planes const other(20, 21);
    CHECK_THROWS_WITH_AS(psfmatch::warp({viewOf(source.image), viewOf(other.variance), viewOf(source.mask)},
                                        {10, viewOf(lattice.x), viewOf(lattice.y)}, {}, {1, {}},
                                        {targetOf(output.image), targetOf(output.variance), targetOf(output.mask)}),
                         doctest::Contains("one shape"), std::invalid_argument);
}
