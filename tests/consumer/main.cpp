// Subtracts a field with the library alone: a kernel that varies over the field is fitted to all pixels about the
// stars, each judged by a solution without it, so that variable stars give themselves away and are left out. Flux
// ratio, noise of the difference and what is left of a variable star are checked.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "psfmatch/convolve/convolve.h"
#include "psfmatch/convolve/subtract.h"
#include "psfmatch/fit/RegionOutliers.h"
#include "psfmatch/fit/SpatialSystem.h"

namespace {

using namespace psfmatch;

constexpr Index size = 512;       // pixels
constexpr Index halfRegion = 15;  // pixels
constexpr Index halfKernel = 8;   // pixels
constexpr std::size_t nFolds = 8;
constexpr std::size_t variableStar = 40;
constexpr double fluxRatio = 1.25;

struct Planes {
    OwnedImage<float> image = OwnedImage<float>::Zero(size, size);
    OwnedImage<float> variance = OwnedImage<float>::Ones(size, size);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(size, size);

    [[nodiscard]] MaskedImageView view() const {
        Eigen::OuterStride<> const stride(size);
        return {{image.data(), size, size, stride},
                {variance.data(), size, size, stride},
                {mask.data(), size, size, stride}};
    }
    MaskedImageTarget target() {
        Eigen::OuterStride<> const stride(size);
        return {{image.data(), size, size, stride},
                {variance.data(), size, size, stride},
                {mask.data(), size, size, stride}};
    }
};

void addStar(Planes& planes, double x, double y, double flux, double sigma) {
    for (Index row = std::lround(y) - 16; row <= std::lround(y) + 16; ++row) {
        for (Index column = std::lround(x) - 16; column <= std::lround(x) + 16; ++column) {
            double const radius = std::hypot(static_cast<double>(column) - x, static_cast<double>(row) - y) / sigma;
            double const density = std::exp(-0.5 * radius * radius) / (2.0 * std::acos(-1.0) * sigma * sigma);
            planes.image(row, column) += static_cast<float>(flux * density);
        }
    }
}

struct Field {
    Planes templateImage;
    Planes science;
    std::vector<std::int64_t> x;  // nearest pixels of the stars
    std::vector<std::int64_t> y;
};

Field makeField() {
    std::mt19937 random(1);
    auto const noise = [&random] {  // nearly normal, of variance 1; the same everywhere, unlike the standard's
        double sum = -6.0;
        for (int i = 0; i < 12; ++i) {
            sum += static_cast<double>(random()) / 4294967296.0;
        }
        return static_cast<float>(sum);
    };
    Field field;
    for (Index yStar = 40; yStar < size - 30; yStar += 48) {
        for (Index xStar = 40; xStar < size - 30; xStar += 48) {
            double const x = static_cast<double>(xStar) + 0.1 * noise();
            double const y = static_cast<double>(yStar) + 0.1 * noise();
            double const kernelSigma = 1.2 + 0.4 * x / static_cast<double>(size);
            double const change = field.x.size() == variableStar ? 1.3 : 1.0;
            addStar(field.templateImage, x, y, 5000.0, 1.4);
            addStar(field.science, x, y, 5000.0 * fluxRatio * change, std::hypot(1.4, kernelSigma));
            field.x.push_back(xStar);
            field.y.push_back(yStar);
        }
    }
    for (Index row = 0; row < size; ++row) {
        for (Index column = 0; column < size; ++column) {
            field.templateImage.image(row, column) += 0.1F * noise();
            field.templateImage.variance(row, column) = 0.01F;
            field.science.image(row, column) += 20.0F + 0.01F * static_cast<float>(column) + noise();
        }
    }
    return field;
}

struct Fitted {
    SpatialSolution solution;
    double rejectedFraction = 0.0;
    double heldOutChiSquare = 0.0;  // per pixel, of regions the kernel has not seen
};

// Solve, reject what the held-out model cannot explain, weigh anew, and solve again.
Fitted fitField(Field const& field, PreparedBasis const& basis, SpatialFunction const& function,
                Execution const& execution) {
    RegionStampControl cut;
    cut.halfWidth = halfRegion;
    cut.kernelHeight = cut.kernelWidth = 2 * halfKernel + 1;
    auto const stamps = std::make_shared<RegionStamps const>(
        readRegionStamps(field.templateImage.view(), field.science.view(), field.x, field.y, cut, execution));
    RegionFit fit = makeRegionFit(stamps, basis, execution);

    auto const nStars = static_cast<Index>(field.x.size());
    Eigen::VectorXd x(nStars);
    Eigen::VectorXd y(nStars);
    std::vector<Index> folds;
    for (std::size_t i = 0; i < field.x.size(); ++i) {
        x[static_cast<Index>(i)] = static_cast<double>(field.x[i]);
        y[static_cast<Index>(i)] = static_cast<double>(field.y[i]);
        folds.push_back(static_cast<Index>(i % nFolds));
    }
    SpatialModelOptions model;
    model.images.resize(static_cast<std::size_t>(basis.basis.size()));
    std::iota(model.images.begin(), model.images.end(), Index{0});
    model.kernel = function;
    model.background = function.ofOrder(1);
    double const kernelNorm =
        basis.basis.images.row(0).norm();  // about; the unit of priors, of which there is none here
    auto const systemOf = [&] {
        return SpatialSystem(fit.equations, x, y, folds, function, basis.basis, kernelNorm, execution);
    };
    for (int pass = 0; pass < 3; ++pass) {
        StampValues const heldOut = systemOf().heldOut(model, execution);
        RegionResiduals const residuals = judge(fit, heldOut.coefficients, heldOut.backgrounds, execution);
        RegionFlags const outliers = findOutliers(residuals, {}, execution);
        if (!reweigh(fit, residuals.variance, &outliers, execution)) {
            break;
        }
    }
    SpatialSystem const system = systemOf();
    StampValues const heldOut = system.heldOut(model, execution);
    RegionResiduals const residuals = judge(fit, heldOut.coefficients, heldOut.backgrounds, execution);
    RegionSummary const summary = summarize(residuals, &fit.rejected);
    double sum = 0.0;
    double count = 0.0;
    for (Index k = 0; k < nStars; ++k) {
        if (auto const n = static_cast<double>(summary.nPixels[static_cast<std::size_t>(k)]); n > 0.0) {
            sum += n * summary.chiSquare[k];
            count += n;
        }
    }
    return {system.solve(model, false, {}, execution), fit.rejected.fraction(), sum / count};
}

}  // namespace

int main() {
    Execution const execution{2};
    Field const field = makeField();
    auto const basis = prepare(renormalize(makeAlardLuptonBasis(halfKernel, {0.9, 1.5, 2.5}, {2, 2, 2})));
    Frame const frame = frameOf({0, 0, size, size});
    SpatialFunction const varying{SpatialModel::chebyshev1, 2, frame};
    SpatialFunction const sky{SpatialModel::chebyshev1, 1, frame};
    Fitted const fitted = fitField(field, basis, varying, execution);

    LinearCombinationKernel const kernel{basis.basis, varying, fitted.solution.kernel};
    ConvolutionControl edges;
    edges.copyEdge = true;
    Planes matched;
    convolve(field.templateImage.view(), kernel, 0, 0, edges, execution, matched.target());
    Planes difference;
    subtract(field.science.view(), matched.view(), fitted.solution.background, sky, 0, 0, {}, execution,
             difference.target());

    OwnedImage<float> pulls = difference.image / difference.variance.sqrt();
    auto about = pulls.block(field.y[variableStar] - halfRegion, field.x[variableStar] - halfRegion, 2 * halfRegion + 1,
                             2 * halfRegion + 1);
    auto const light = static_cast<double>(about.sum());  // 30 % of its flux; the noise of the sum is 31
    about.setZero();
    Index const inner = size - 2 * halfKernel;
    double const rms =
        std::sqrt(static_cast<double>(pulls.block(halfKernel, halfKernel, inner, inner).square().mean()));
    double const sum = kernelSum(kernel, 0.5 * size, 0.5 * size);
    std::printf(
        "%zu stars, %.1f %% of the pixels rejected, held-out chi-square %.3f: flux ratio %.4f of %.4f, noise of "
        "the difference %.4f of 1, variable star %.0f of 1875\n",
        field.x.size(), 100.0 * fitted.rejectedFraction, fitted.heldOutChiSquare, sum, fluxRatio, rms, light);
    bool const isGood = std::abs(sum - fluxRatio) < 0.003 && std::abs(rms - 1.0) < 0.01 &&
                        std::abs(fitted.heldOutChiSquare - 1.0) < 0.05 && fitted.rejectedFraction > 0.0 &&
                        fitted.rejectedFraction < 0.05 && std::abs(light / 1875.0 - 1.0) < 0.1;
    return isGood ? 0 : 1;
}
