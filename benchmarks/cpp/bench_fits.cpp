// Time of fitting and assessing candidates: 43x43 pixel stamps, 27 basis functions of 21x21 with background; and of
// fits with the 441 delta functions of such a kernel, single and spatial, for every 50th candidate.
//     bench_fits [number of candidates, default 1000]
// Prints microseconds a candidate for each step on one thread, and for the batch on one and two threads, all
// measured in one run; medians of five.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/fit/SpatialKernelSolution.h"
#include "psfmatch/kernel/Regularization.h"

using namespace psfmatch;

namespace {

constexpr Index stampSide = 43;

struct Stamp {
    OwnedImage<float> image = OwnedImage<float>::Zero(stampSide, stampSide);
    OwnedImage<float> variance = OwnedImage<float>::Constant(stampSide, stampSide, 100.0F);
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(stampSide, stampSide);

    [[nodiscard]] MaskedImageView view() const {
        auto const stride = Eigen::OuterStride<>(stampSide);
        return {{image.data(), stampSide, stampSide, stride},
                {variance.data(), stampSide, stampSide, stride},
                {mask.data(), stampSide, stampSide, stride}};
    }
};

Stamp makeStar(double sigma, std::mt19937& random) {
    std::normal_distribution<float> noise(0.0F, 10.0F);
    Stamp stamp;
    for (Index y = 0; y < stampSide; ++y) {
        for (Index x = 0; x < stampSide; ++x) {
            auto const dx = static_cast<double>(x - stampSide / 2);
            auto const dy = static_cast<double>(y - stampSide / 2);
            double const star = 5e4 / (6.2832 * sigma * sigma) * std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma));
            stamp.image(y, x) = static_cast<float>(star) + noise(random);
        }
    }
    return stamp;
}

double medianSeconds(std::function<void()> const& work) {
    std::vector<double> seconds;
    for (int repeat = 0; repeat < 5; ++repeat) {
        auto const start = std::chrono::steady_clock::now();
        work();
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return median(seconds);
}

void report(char const* name, double seconds, std::size_t count) {
    auto const n = static_cast<double>(count);
    std::printf("%-44s %9.1f us a candidate  (%.3f s in all)\n", name, 1e6 * seconds / n, seconds);
}

void benchDeltaFunctions(std::vector<CandidateStamp> const& stamps) {
    std::printf("441 delta functions with background, %zu candidates\n", stamps.size());
    PreparedBasis const basis = prepare(makeDeltaFunctionBasis(21, 21));
    CandidateFitControl control;
    control.fitBackground = true;
    control.keepEquations = false;
    Regularization regularization{makeRegularizationMatrix(21, 21), LambdaType::absolute, 0.2, 1e-4, {}, 5e6};
    for (int step = 0; step <= 30; ++step) {
        regularization.lambdas.push_back(std::pow(10.0, -1.0 + 0.1 * step));
    }
    RowMatrix scratch;
    RowMatrix columns;
    report("convolve stamp with the basis", medianSeconds([&] {
               for (CandidateStamp const& stamp : stamps) {
                   convolveStamp(basis, stamp.templateStamp.image, scratch, columns, control.instructionSet, true);
               }
           }),
           stamps.size());
    Eigen::VectorXd const weights = Eigen::VectorXd::Constant(columns.cols(), 0.01);
    NormalEquations equations;
    report("normal equations", medianSeconds([&] {
               for (std::size_t i = 0; i < stamps.size(); ++i) {
                   equations = makeNormalEquations(columns, weights, columns.row(220).transpose());
               }
           }),
           stamps.size());
    Eigen::MatrixXd const matrix = regularized(equations.matrix, regularization, 0.2);
    report("solve", medianSeconds([&] {
               for (std::size_t i = 0; i < stamps.size(); ++i) {
                   (void)solveSymmetric(matrix, equations.rightHandSide);
               }
           }),
           stamps.size());
    for (auto const& [name, type] : {std::pair{"fit, lambda given", LambdaType::absolute},
                                     std::pair{"fit, lambda of least unbiased risk", LambdaType::minimizeUnbiasedRisk},
                                     std::pair{"fit, lambda of least biased risk", LambdaType::minimizeBiasedRisk}}) {
        regularization.lambdaType = type;
        report(name, medianSeconds([&] { (void)fitCandidates(stamps, basis, control, {1}, &regularization); }),
               stamps.size());
    }
    regularization.lambdaType = LambdaType::absolute;
    std::vector<double> x;
    std::vector<double> y;
    for (std::size_t i = 0; i < stamps.size(); ++i) {
        x.push_back(static_cast<double>((i * 617) % 2048));
        y.push_back(static_cast<double>((i * 401) % 2048));
    }
    for (int const order : {0, 1, 2}) {
        SpatialFunction const function{SpatialModel::chebyshev1, order, frameOf({0, 0, 2048, 2048})};
        if (stamps.size() < 3 * static_cast<std::size_t>(function.size())) {
            break;  // too few candidates: what would be timed is the way out of a singular system
        }
        SpatialKernelSolution solution;
        double const seconds = medianSeconds([&] {
            solution = solveSpatialKernelFromStamps(stamps, x, y, basis, control, function, function, {},
                                                    &regularization, {}, {2});
        });
        std::printf("spatial fit of order %d, 2 threads: %td unknowns in %.3f s\n", order, solution.nUnknowns, seconds);
    }
}

}  // namespace

int main(int argc, char** argv) {
    int const count = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1000;
    std::mt19937 random(1);
    std::vector<Stamp> templates;
    std::vector<Stamp> sciences;
    for (int i = 0; i < count; ++i) {
        templates.push_back(makeStar(1.1, random));
        sciences.push_back(makeStar(1.6, random));
    }
    std::vector<CandidateStamp> stamps;
    for (int i = 0; i < count; ++i) {
        auto const k = static_cast<std::size_t>(i);
        stamps.push_back({templates[k].view(), sciences[k].view()});
    }
    PreparedBasis const basis = prepare(renormalize(makeAlardLuptonBasis(10, {0.7, 1.4, 2.8}, {4, 2, 2})));
    CandidateFitControl control;
    control.fitBackground = true;
    auto const report = [count](char const* name, double seconds) {
        ::report(name, seconds, static_cast<std::size_t>(count));
    };

    RowMatrix scratch;
    RowMatrix columns;
    report("convolve stamp with the basis", medianSeconds([&] {
               for (CandidateStamp const& stamp : stamps) {
                   convolveStamp(basis, stamp.templateStamp.image, scratch, columns);
               }
           }));
    Eigen::VectorXd const weights = Eigen::VectorXd::Constant(columns.cols(), 0.01);
    Eigen::VectorXd const data = columns.row(0).transpose();
    NormalEquations equations;
    report("normal equations", medianSeconds([&] {
               for (int i = 0; i < count; ++i) {
                   equations = makeNormalEquations(columns, weights, data);
               }
           }));
    report("solve", medianSeconds([&] {
               for (int i = 0; i < count; ++i) {
                   (void)solveSymmetric(equations.matrix, equations.rightHandSide);
               }
           }));
    std::vector<CandidateFit> fits;
    std::vector<double> fitSeconds;
    for (int const nThreads : {1, 2}) {
        fitSeconds.push_back(medianSeconds([&] { fits = fitCandidates(stamps, basis, control, {nThreads}); }));
        report(nThreads == 1 ? "fit candidates, 1 thread" : "fit candidates, 2 threads", fitSeconds.back());
    }
    std::vector<OwnedImage<double>> kernels(stamps.size(), OwnedImage<double>(21, 21));
    for (std::size_t i = 0; i < kernels.size(); ++i) {
        Eigen::Map<Eigen::VectorXd>(kernels[i].data(), kernels[i].size()) =
            basis.basis.images.transpose() * fits[i].coefficients;
    }
    std::vector<double> const backgrounds(stamps.size(), 0.0);
    std::vector<double> assessSeconds;
    for (int const nThreads : {1, 2}) {
        assessSeconds.push_back(
            medianSeconds([&] { (void)assessCandidates(stamps, kernels, backgrounds, control, {nThreads}); }));
        report(nThreads == 1 ? "assess candidates, 1 thread" : "assess candidates, 2 threads", assessSeconds.back());
    }
    std::printf("1 to 2 threads: fit %.2f, assess %.2f\n", fitSeconds[0] / fitSeconds[1],
                assessSeconds[0] / assessSeconds[1]);
    std::vector<CandidateStamp> few;
    for (std::size_t i = 0; i < stamps.size(); i += 50) {
        few.push_back(stamps[i]);
    }
    benchDeltaFunctions(few);
    return 0;
}
