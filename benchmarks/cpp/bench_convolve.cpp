// Time of the convolution of image, variance and mask, beside the multiply-add ceiling of the same machine and a
// plain double loop. Usage: bench_convolve [--runs N] [--full] [--side K] [--order N] [size ...]; by default sizes
// 1024 2048 4096, sides 21 35 and orders 0 2 4. The plain loop runs on 512x512 and is scaled by the number of
// pixels; with --full it runs on the whole image. Times are medians over runs that take turns. Image: the image
// alone. Variance: image and variance with an empty mask, less the image. Mask: what a mask with planes everywhere
// adds to that. All: the three. 1 % bad: the same with one pixel in a hundred bad.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "psfmatch/convolve.h"

namespace {

using psfmatch::Index;
using psfmatch::MaskPixel;

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Medians of the times of several pieces of work, which take turns, so that all meet the same load.
template <std::size_t count>
std::array<double, count> medianTimes(int nRuns, std::array<std::function<void()>, count> const& works) {
    std::array<std::vector<double>, count> times;
    for (int run = 0; run <= nRuns; ++run) {
        for (std::size_t i = 0; i < count; ++i) {
            double const start = seconds();
            works[i]();
            if (run > 0) {
                times[i].push_back(seconds() - start);
            }
        }
    }
    std::array<double, count> medians;
    for (std::size_t i = 0; i < count; ++i) {
        std::nth_element(times[i].begin(), times[i].begin() + nRuns / 2, times[i].end());
        medians[i] = times[i][static_cast<std::size_t>(nRuns / 2)];
    }
    return medians;
}

constexpr int nChains = 10;
constexpr Index nSteps = 3000000;

using FourLanes [[gnu::vector_size(16)]] = float;
using EightLanes [[gnu::vector_size(32)]] = float;

template <typename Lanes>
[[gnu::always_inline]] inline float runChains() {
    Lanes const factor = Lanes{} + 0.999F;
    Lanes sums[nChains];
    for (int k = 0; k < nChains; ++k) {
        sums[k] = Lanes{} + static_cast<float>(k);
    }
    for (Index step = 0; step < nSteps; ++step) {
        for (int k = 0; k < nChains; ++k) {
            sums[k] = sums[k] * factor + factor;
        }
    }
    float total = 0.0F;
    for (int k = 0; k < nChains; ++k) {
        total += sums[k][0];
    }
    return total;
}

[[gnu::noinline]] float chainsBaseline() {
    return runChains<FourLanes>();
}
#if defined(__x86_64__)
[[gnu::noinline, gnu::target("avx2,fma")]] float chainsAvx2() {
    return runChains<EightLanes>();
}
#endif

// GFLOP/s of independent multiply-adds that touch no memory, the best of several tries.
double multiplyAddCeiling(int nThreads) {
    bool const avx2 = isSupported(psfmatch::InstructionSet::avx2);
    std::vector<float> sink(static_cast<std::size_t>(nThreads));
    double best = 0.0;
    for (int run = 0; run < 15; ++run) {
        double const start = seconds();
        psfmatch::parallelFor(nThreads, {nThreads, {}}, [&](Index item, int) {
#if defined(__x86_64__)
            sink[static_cast<std::size_t>(item)] = avx2 ? chainsAvx2() : chainsBaseline();
#else
            sink[static_cast<std::size_t>(item)] = chainsBaseline();
#endif
        });
        double const flops = 2.0 * nChains * (avx2 ? 8 : 4) * static_cast<double>(nSteps) * nThreads;
        best = std::max(best, flops / (seconds() - start) * 1e-9);
    }
    return sink[0] == 0.0F ? 0.0 : best;
}

template <typename Pixel>
using Image = psfmatch::OwnedImage<Pixel>;

template <typename Pixel>
psfmatch::ConstImageView<Pixel> viewOf(Image<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

template <typename Pixel>
psfmatch::ImageView<Pixel> viewOf(Image<Pixel>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Planes {
    explicit Planes(Index size) : image(size, size), variance(size, size), mask(size, size) {}
    Image<float> image;
    Image<float> variance;
    Image<MaskPixel> mask;
};

Planes makeInput(Index size) {
    Planes planes(size);
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
    for (Index i = 0; i < planes.image.size(); ++i) {
        planes.image(i) = 100.0F + 10.0F * uniform(random) + (uniform(random) < 0.001F ? 1e5F : 0.0F);
        planes.variance(i) = planes.image(i);
    }
    planes.mask.setZero();
    return planes;
}

// The 27 functions of the default Alard-Lupton basis, each varying by some per cent of the first over the image.
psfmatch::LinearCombinationKernel makeKernel(Index side, int order, Index size) {
    psfmatch::LinearCombinationKernel kernel;
    kernel.basis = psfmatch::renormalize(psfmatch::makeAlardLuptonBasis((side - 1) / 2, {0.7, 1.5, 3.0}, {4, 2, 2}));
    kernel.spatial = {psfmatch::SpatialModel::chebyshev1, order, psfmatch::frameOf({0, 0, size, size})};
    kernel.parameters = Eigen::MatrixXd::Zero(kernel.basis.size(), kernel.spatial.size());
    std::mt19937 random(2);
    std::uniform_real_distribution<double> uniform(-0.01, 0.01);
    for (Index i = 0; i < kernel.parameters.size(); ++i) {
        kernel.parameters(i) = uniform(random);
    }
    kernel.parameters(0, 0) = 1.0;
    return kernel;
}

// The reference: image and variance, a fixed kernel, one thread, float sums.
void plainLoop(Planes const& input, Image<float> const& taps, Planes& output) {
    Index const h = taps.rows();
    Index const w = taps.cols();
    for (Index y = 0; y <= input.image.rows() - h; ++y) {
        for (Index x = 0; x <= input.image.cols() - w; ++x) {
            float sum = 0.0F;
            float squares = 0.0F;
            for (Index v = 0; v < h; ++v) {
                for (Index u = 0; u < w; ++u) {
                    float const tap = taps(v, u);
                    sum += tap * input.image(y + v, x + u);
                    squares += tap * tap * input.variance(y + v, x + u);
                }
            }
            output.image(y + h / 2, x + w / 2) = sum;
            output.variance(y + h / 2, x + w / 2) = squares;
        }
    }
}

double plainTime(Planes const& whole, psfmatch::LinearCombinationKernel const& kernel, bool full) {
    Index const size = full ? whole.image.rows() : std::min<Index>(whole.image.rows(), 512);
    Planes input(size);
    input.image = whole.image.topLeftCorner(size, size);
    input.variance = whole.variance.topLeftCorner(size, size);
    Planes output(size);
    Image<float> const taps = kernelImage(kernel, 0.0, 0.0).cast<float>();
    double const scale = static_cast<double>(whole.image.size()) / static_cast<double>(input.image.size());
    return scale * medianTimes<1>(full ? 1 : 3, {[&] { plainLoop(input, taps, output); }})[0];
}

void measure(Planes const& input, Index side, int order, int nRuns, bool full, double const* ceilings) {
    Index const size = input.image.rows();
    auto const kernel = makeKernel(side, order, size);
    double const plain = plainTime(input, kernel, full);
    Planes output(size);
    Image<MaskPixel> const planesEverywhere = Image<MaskPixel>::Constant(size, size, 32);
    Image<MaskPixel> withBad = planesEverywhere;
    std::mt19937 random(3);
    for (Index n = 0; n < withBad.size() / 100; ++n) {
        withBad(static_cast<Index>(random() % static_cast<unsigned>(withBad.size()))) = 1;
    }
    for (int const nThreads : {1, 2}) {
        psfmatch::ConvolutionControl control;
        control.badBits = 1;
        auto const allPlanes = [&](Image<MaskPixel> const& mask) {
            convolve({viewOf(input.image), viewOf(input.variance), viewOf(mask)}, kernel, 0, 0, control, {nThreads, {}},
                     {viewOf(output.image), viewOf(output.variance), viewOf(output.mask)});
        };
        auto const [image, emptyMask, all, bad] = medianTimes<4>(
            nRuns, {[&] { convolve(viewOf(input.image), kernel, 0, 0, control, {nThreads, {}}, viewOf(output.image)); },
                    [&] { allPlanes(input.mask); }, [&] { allPlanes(planesEverywhere); }, [&] { allPlanes(withBad); }});
        double const rate = static_cast<double>(size * size * side * side) * 2.0 * (order + 1) * 1e-9 / image;
        std::printf("%5d %3d %5d %7d %9.1f %8.1f %6.0f %% %9.1f %7.1f %8.1f %8.1f %9.1f\n", static_cast<int>(size),
                    static_cast<int>(side), order, nThreads, image * 1e3, rate, 100.0 * rate / ceilings[nThreads - 1],
                    (emptyMask - image) * 1e3, (all - emptyMask) * 1e3, all * 1e3, bad * 1e3, plain / all);
        std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<Index> sizes;
    std::vector<Index> sides = {21, 35};
    std::vector<int> orders = {0, 2, 4};
    int nRuns = 5;
    bool full = false;
    for (int i = 1; i < argc; ++i) {
        std::string const argument = argv[i];
        if (argument == "--full") {
            full = true;
        } else if (argument == "--runs" && i + 1 < argc) {
            nRuns = std::max(1, std::atoi(argv[++i]));
        } else if (argument == "--side" && i + 1 < argc) {
            sides = {std::atol(argv[++i])};
        } else if (argument == "--order" && i + 1 < argc) {
            orders = {std::atoi(argv[++i])};
        } else {
            sizes.push_back(std::atol(argv[i]));
        }
    }
    if (sizes.empty()) {
        sizes = {1024, 2048, 4096};
    }
    double const ceilings[2] = {multiplyAddCeiling(1), multiplyAddCeiling(2)};
    std::printf("multiply-add ceiling: %.1f GFLOP/s on one thread, %.1f on two\n", ceilings[0], ceilings[1]);
    std::printf("%5s %3s %5s %7s %9s %8s %8s %9s %7s %8s %8s %9s\n", "size", "K", "order", "threads", "image ms",
                "GFLOP/s", "ceiling", "var. ms", "mask ms", "all ms", "1 % bad", "x plain");
    for (Index const size : sizes) {
        if (size < 64) {
            std::fprintf(stderr, "a size must be at least 64 pixels\n");
            return 2;
        }
        Planes const input = makeInput(size);
        for (Index const side : sides) {
            for (int const order : orders) {
                measure(input, side, order, nRuns, full, ceilings);
            }
        }
    }
}
