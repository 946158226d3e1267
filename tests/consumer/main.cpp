// Subtracts a field with the library alone: stars whose kernel varies over the field, fitted one by one and then
// together; flux ratio and noise of the difference are checked.
#include <cmath>
#include <cstdio>
#include <optional>
#include <random>
#include <vector>

#include "psfmatch/KernelCandidateFit.h"
#include "psfmatch/SpatialKernelSolution.h"
#include "psfmatch/convolve.h"
#include "psfmatch/subtract.h"

namespace {

using namespace psfmatch;

constexpr Index size = 512;      // pixels
constexpr Index halfStamp = 20;  // pixels
constexpr double fluxRatio = 1.25;

struct Planes {
    OwnedImage<float> image = OwnedImage<float>::Zero(size, size);
    OwnedImage<float> variance = OwnedImage<float>::Ones(size, size);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(size, size);

    [[nodiscard]] MaskedImageView view(Box const& box = {0, 0, size, size}) const {
        Index const first = box.y0 * size + box.x0;
        Eigen::OuterStride<> const stride(size);
        return {{image.data() + first, box.height, box.width, stride},
                {variance.data() + first, box.height, box.width, stride},
                {mask.data() + first, box.height, box.width, stride}};
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

}  // namespace

int main() {
    std::mt19937 random(1);
    auto const noise = [&random] {  // nearly normal, of variance 1; the same everywhere, unlike the standard's
        double sum = -6.0;
        for (int i = 0; i < 12; ++i) {
            sum += static_cast<double>(random()) / 4294967296.0;
        }
        return static_cast<float>(sum);
    };
    Planes templateImage;
    Planes science;
    std::vector<CandidateStamp> stamps;
    std::vector<double> xs;
    std::vector<double> ys;
    for (Index yStar = 40; yStar < size - 30; yStar += 48) {
        for (Index xStar = 40; xStar < size - 30; xStar += 48) {
            double const x = static_cast<double>(xStar) + 0.1 * noise();
            double const y = static_cast<double>(yStar) + 0.1 * noise();
            double const kernelSigma = 1.2 + 0.4 * x / static_cast<double>(size);
            addStar(templateImage, x, y, 5000.0, 1.4);
            addStar(science, x, y, 5000.0 * fluxRatio, std::hypot(1.4, kernelSigma));
            Box const box{xStar - halfStamp, yStar - halfStamp, 2 * halfStamp + 1, 2 * halfStamp + 1};
            stamps.push_back({templateImage.view(box), science.view(box)});
            xs.push_back(static_cast<double>(xStar));
            ys.push_back(static_cast<double>(yStar));
        }
    }
    for (Index row = 0; row < size; ++row) {
        for (Index column = 0; column < size; ++column) {
            templateImage.image(row, column) += 0.1F * noise();
            templateImage.variance(row, column) = 0.01F;
            science.image(row, column) += 20.0F + 0.01F * static_cast<float>(column) + noise();
        }
    }

    auto const basis = prepare(renormalize(makeAlardLuptonBasis(8, {0.9, 1.5, 2.5}, {2, 2, 2})));
    CandidateFitControl control;
    control.fitBackground = true;
    Execution const execution{2};
    auto const fits = fitCandidates(stamps, basis, control, execution);
    std::vector<CandidateEquations> equations;
    for (std::size_t i = 0; i < fits.size(); ++i) {
        NormalEquations const& own = fits[i].equations;
        equations.push_back({xs[i], ys[i], own.rightHandSide.size(), own.matrix.data(), own.rightHandSide.data()});
    }
    Frame const frame = frameOf({0, 0, size, size});
    SpatialFunction const varying{SpatialModel::chebyshev1, 2, frame};
    SpatialFunction const sky{SpatialModel::chebyshev1, 1, frame};
    auto const solution = solveSpatialKernel(equations, basis.basis.size(), varying, sky, {}, execution);

    LinearCombinationKernel const kernel{basis.basis, varying, solution.kernelParameters};
    ConvolutionControl edges;
    edges.copyEdge = true;
    Planes matched;
    convolve(templateImage.view(), kernel, 0, 0, edges, execution, matched.target());
    Planes difference;
    subtract(science.view(), matched.view(), solution.backgroundParameters, sky, 0, 0, {}, execution,
             difference.target());

    auto const pulls = (difference.image / difference.variance.sqrt()).block(8, 8, size - 16, size - 16);
    double const rms = std::sqrt(static_cast<double>(pulls.square().mean()));
    double const sum = kernelSum(kernel, 0.5 * size, 0.5 * size);
    std::printf("%zu stars: flux ratio %.4f of %.4f, noise of the difference %.4f of 1\n", stamps.size(), sum,
                fluxRatio, rms);
    return std::abs(sum - fluxRatio) < 0.003 && std::abs(rms - 1.0) < 0.01 ? 0 : 1;
}
