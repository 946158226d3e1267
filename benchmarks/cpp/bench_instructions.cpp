// Small cases of the numerical kernels on one thread, for counting their instructions (benchmarks/instructions.py):
//     bench_instructions        under valgrind --tool=callgrind: one dump of counts for each case and instruction set
// Outside valgrind it runs the cases and prints their names. Instruction counts do not depend on the load of the
// machine, so they can be compared with committed ones; they say nothing about memory and threads.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/convolve/Correction.h"
#include "psfmatch/convolve/convolve.h"
#include "psfmatch/convolve/subtract.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/fit/RegionFit.h"
#include "psfmatch/fit/RegionOutliers.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "psfmatch/fit/RegionStamps.h"
#include "psfmatch/fit/SpatialSystem.h"
#include "psfmatch/image/BlankSky.h"
#include "psfmatch/image/Coverage.h"
#include "psfmatch/image/NeighbourNoise.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/SkyNoise.h"
#include "psfmatch/image/background.h"
#include "psfmatch/sources/BrightPixels.h"
#include "psfmatch/sources/SourceMeasurement.h"
#include "psfmatch/sources/SourceResiduals.h"
#include "psfmatch/sources/StarMatch.h"
#include "psfmatch/sources/StarPositions.h"
#include "psfmatch/sources/StarShifts.h"
#include "psfmatch/sources/StarWidths.h"
#include "psfmatch/sources/sources.h"
#include "psfmatch/warp/warp.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) static_cast<void>(name)
#endif

using namespace psfmatch;

namespace {

constexpr Index fieldSide = 320;  // more than one tile of every method of convolution
constexpr Index stampSide = 43;
constexpr int nStamps = 12;
constexpr int nStars = 60;
constexpr MaskPixel bad = 1;

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

template <typename Pixel>
ImageView<Pixel> viewOf(OwnedImage<Pixel>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Planes {
    Planes(Index height, Index width)
        : image(OwnedImage<float>::Zero(height, width)),
          variance(OwnedImage<float>::Constant(height, width, 100.0F)),
          mask(OwnedImage<MaskPixel>::Zero(height, width)) {}

    [[nodiscard]] MaskedImageView views() const { return {viewOf(image), viewOf(variance), viewOf(mask)}; }
    [[nodiscard]] MaskedImageTarget targets() { return {viewOf(image), viewOf(variance), viewOf(mask)}; }

    OwnedImage<float> image;
    OwnedImage<float> variance;
    OwnedImage<MaskPixel> mask;
};

void addStar(OwnedImage<float>& image, double x, double y, double sigma, double flux) {
    double const peak = flux / (6.283185307179586 * sigma * sigma);
    for (Index j = 0; j < image.rows(); ++j) {
        for (Index i = 0; i < image.cols(); ++i) {
            double const dx = static_cast<double>(i) - x;
            double const dy = static_cast<double>(j) - y;
            image(j, i) += static_cast<float>(peak * std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma)));
        }
    }
}

void addNoise(OwnedImage<float>& image, std::mt19937& random) {
    for (Index i = 0; i < image.size(); ++i) {
        image(i) += 20.0F * (static_cast<float>(random() % 1024U) / 1024.0F - 0.5F);
    }
}

// A star for every 6000 pixels, fluxes over two decades, one pixel in a hundred bad.
Planes makeField(unsigned seed) {
    std::mt19937 random(seed);
    Planes field(fieldSide, fieldSide);
    field.image += 100.0F;
    for (int star = 0; star < fieldSide * fieldSide / 6000; ++star) {
        auto const x = static_cast<double>(random() % fieldSide);
        auto const y = static_cast<double>(random() % fieldSide);
        addStar(field.image, x, y, 1.1, 1e4 * std::pow(10.0, 0.02 * static_cast<double>(random() % 100U)));
    }
    addNoise(field.image, random);
    for (Index n = 0; n < field.mask.size() / 100; ++n) {
        field.mask(static_cast<Index>(random() % static_cast<unsigned>(field.mask.size()))) = bad;
    }
    return field;
}

KernelBasis alardLuptonBasis(Index halfWidth = 10) {
    return renormalize(makeAlardLuptonBasis(halfWidth, {0.7, 1.5, 3.0}, {4, 2, 2}));
}

// Varies by some per cent over the field.
LinearCombinationKernel makeKernel(int order, Index halfWidth = 10) {
    LinearCombinationKernel kernel;
    kernel.basis = alardLuptonBasis(halfWidth);
    kernel.spatial = {SpatialModel::chebyshev1, order, frameOf({0, 0, fieldSide, fieldSide})};
    kernel.parameters = Eigen::MatrixXd::Zero(kernel.basis.size(), kernel.spatial.size());
    std::mt19937 random(2);
    for (Index i = 0; i < kernel.parameters.size(); ++i) {
        kernel.parameters(i) = 0.02 * (static_cast<double>(random() % 1024U) / 1024.0 - 0.5);
    }
    kernel.parameters(0, 0) = 1.0;
    return kernel;
}

struct Case {
    std::string name;
    std::function<void(InstructionSet)> run;
};

void addConvolutions(std::vector<Case>& cases, Planes const& field, Planes& output) {
    for (int const order : {0, 2}) {
        LinearCombinationKernel const kernel = makeKernel(order);
        std::string const suffix = ", order " + std::to_string(order);
        ConvolutionControl control;
        control.badBits = bad;
        cases.push_back({"convolve image" + suffix, [&field, &output, kernel, control](InstructionSet set) mutable {
                             control.instructionSet = set;
                             convolve(viewOf(field.image), kernel, 0, 0, control, {}, viewOf(output.image));
                         }});
        cases.push_back({"convolve planes" + suffix, [&field, &output, kernel, control](InstructionSet set) mutable {
                             control.instructionSet = set;
                             convolve(field.views(), kernel, 0, 0, control, {}, output.targets());
                         }});
    }
    LinearCombinationKernel const small = makeKernel(2, 3);
    cases.push_back({"convolve image, 7x7", [&field, &output, small](InstructionSet set) {
                         ConvolutionControl control;
                         control.instructionSet = set;
                         convolve(viewOf(field.image), small, 0, 0, control, {}, viewOf(output.image));
                     }});
}

void addFits(std::vector<Case>& cases, std::vector<CandidateStamp> const& stamps) {
    CandidateFitControl control;
    control.fitBackground = true;
    auto const basis = prepare(alardLuptonBasis());
    cases.push_back({"fit candidates", [&stamps, basis, control](InstructionSet set) mutable {
                         control.instructionSet = set;
                         (void)fitCandidates(stamps, basis, control, {});
                     }});
    std::vector<OwnedImage<double>> const kernels(stamps.size(), kernelImage(makeKernel(2), 10.0, 20.0));
    std::vector<double> const backgrounds(stamps.size(), 0.0);
    cases.push_back({"assess candidates", [&stamps, kernels, backgrounds, control](InstructionSet set) mutable {
                         control.instructionSet = set;
                         (void)assessCandidates(stamps, kernels, backgrounds, control, {});
                     }});
}

// Regions of 23x23 pixels side by side over the field, which is its own template.
void addRegions(std::vector<Case>& cases, Planes const& field) {
    constexpr Index kernelHalf = 10;
    constexpr Index halfWidth = 11;
    std::vector<std::int64_t> x;
    std::vector<std::int64_t> y;
    for (Index j = kernelHalf + halfWidth; j < fieldSide - kernelHalf - halfWidth; j += 2 * halfWidth + 1) {
        for (Index i = kernelHalf + halfWidth; i < fieldSide - kernelHalf - halfWidth; i += 2 * halfWidth + 1) {
            x.push_back(i);
            y.push_back(j);
        }
    }
    RegionStampControl control;
    control.halfWidth = halfWidth;
    control.kernelHeight = control.kernelWidth = 2 * kernelHalf + 1;
    control.templateBadBits = control.scienceBadBits = bad;
    auto const stamps =
        std::make_shared<RegionStamps const>(readRegionStamps(field.views(), field.views(), x, y, control, {}));
    cases.push_back({"cut regions", [&field, x, y, control](InstructionSet) {
                         (void)readRegionStamps(field.views(), field.views(), x, y, control, {});
                     }});
    auto const basis = prepare(alardLuptonBasis(kernelHalf));
    cases.push_back(
        {"equations of regions", [stamps, basis](InstructionSet set) { (void)makeRegionFit(stamps, basis, {}, set); }});
    auto const fit = std::make_shared<RegionFit>(makeRegionFit(stamps, basis, {}, InstructionSet::baseline));
    RowMatrix coefficients = RowMatrix::Zero(stamps->size(), basis.basis.size());
    coefficients.col(0).setOnes();
    Eigen::VectorXd const backgrounds = Eigen::VectorXd::Zero(stamps->size());
    cases.push_back({"judge regions", [fit, coefficients, backgrounds](InstructionSet set) {
                         fit->instructionSet = set;
                         (void)judge(*fit, coefficients, backgrounds, {});
                     }});
    auto const residuals = std::make_shared<RegionResiduals const>(judge(*fit, coefficients, backgrounds, {}));
    cases.push_back({"outliers of regions", [residuals](InstructionSet) { (void)findOutliers(*residuals, {}, {}); }});
    auto const rejected = std::make_shared<RegionFlags>(RegionFlags{stamps->shape, stamps->usable});
    std::mt19937 random(5);
    for (Index i = 0; i < rejected->flags.size(); ++i) {
        rejected->flags(i) = rejected->flags(i) != 0 && random() % 10U == 0U ? 1 : 0;
    }
    (void)reweigh(*fit, residuals->variance, nullptr, {});
    RegionFlags const none{stamps->shape, stamps->usable * 0};
    cases.push_back({"reject a tenth of regions", [fit, residuals, rejected, none](InstructionSet set) {
                         fit->instructionSet = set;
                         (void)reweigh(*fit, residuals->variance, rejected.get(), {});
                         (void)reweigh(*fit, residuals->variance, &none, {});
                     }});
}

// A system of the size of 27 functions of order 2 with a background.
void addSolver(std::vector<Case>& cases) {
    constexpr Index n = 160;
    Eigen::MatrixXd matrix(n, n);
    for (Index j = 0; j < n; ++j) {
        for (Index i = 0; i < n; ++i) {
            matrix(i, j) = std::exp(-0.3 * static_cast<double>(std::abs(i - j))) + (i == j ? 1.0 : 0.0);
        }
    }
    cases.push_back({"solve 160 unknowns", [matrix](InstructionSet set) {
                         (void)solveSymmetric(matrix, Eigen::VectorXd::Ones(n), {.instructionSet = set});
                     }});
}

// Sums of 100 stamps, one code for all instruction sets, and eight held-out solutions of a model of order 2.
void addSystem(std::vector<Case>& cases) {
    constexpr Index stampCount = 100;
    KernelBasis const basis = alardLuptonBasis();
    Index const m = basis.size() + 1;
    StampEquations equations{RowMatrix(stampCount, m * m), RowMatrix::Ones(stampCount, m),
                             Eigen::VectorXd::Constant(stampCount, 100.0), Eigen::VectorXd::Ones(stampCount)};
    Eigen::VectorXd x(stampCount);
    Eigen::VectorXd y(stampCount);
    std::vector<Index> folds;
    for (Index k = 0; k < stampCount; ++k) {
        x[k] = static_cast<double>(37 * k % fieldSide);
        y[k] = static_cast<double>(101 * k % fieldSide);
        folds.push_back(k % 8);
        for (Index i = 0; i < m * m; ++i) {
            auto const apart = static_cast<double>(std::abs(i / m - i % m));
            equations.matrices(k, i) = std::exp(-0.3 * apart) + (i / m == i % m ? 1.0 : 0.0);
        }
    }
    SpatialFunction const parabola{SpatialModel::chebyshev1, 2, frameOf({0, 0, fieldSide, fieldSide})};
    SpatialModelOptions options{{}, parabola, parabola, 1.0, 0.01, 0.2};
    for (Index i = 0; i < basis.size(); ++i) {
        options.images.push_back(i);
    }
    cases.push_back({"spatial system, eight folds", [=](InstructionSet set) {
                         SpatialSystem const system(equations, x, y, folds, parabola, basis, 0.3, {},
                                                    {.instructionSet = set});
                         (void)system.heldOut(options);
                     }});
}

void addWarps(std::vector<Case>& cases, Planes const& field, Planes& output) {
    constexpr Index spacing = 10;
    constexpr Index nNodes = (fieldSide - 1) / spacing + 2;
    OwnedImage<double> x(nNodes, nNodes);
    OwnedImage<double> y(nNodes, nNodes);
    for (Index j = 0; j < nNodes; ++j) {
        for (Index i = 0; i < nNodes; ++i) {
            auto const u = static_cast<double>(i * spacing);
            auto const v = static_cast<double>(j * spacing);
            x(j, i) = 8.3 + 0.97 * u - 0.02 * v;
            y(j, i) = 2.1 + 0.02 * u + 0.97 * v;
        }
    }
    for (auto const kernel : {WarpingKernel::lanczos3, WarpingKernel::lanczos5}) {
        std::string const name = "warp lanczos" + std::to_string(order(kernel));
        cases.push_back({name, [&field, &output, x, y, kernel](InstructionSet set) {
                             WarpControl control;
                             control.kernel = kernel;
                             control.keepCentroids = true;
                             control.badBits = bad;
                             control.instructionSet = set;
                             warp(field.views(), {spacing, viewOf(x), viewOf(y)}, control, {}, output.targets());
                         }});
    }
}

// Sources above five times the noise. One code for all instruction sets, as for the difference.
void addDetection(std::vector<Case>& cases, Planes const& field) {
    cases.push_back({"find sources", [&field](InstructionSet) {
                         OwnedImage<float> const skyless = field.image - 100.0F;
                         FilledPixels const filled =
                             fillBadPixels({viewOf(skyless), viewOf(field.variance), viewOf(field.mask)}, bad);
                         SourceControl control;
                         control.profile = {0.06, 0.24, 0.4, 0.24, 0.06};
                         control.threshold = 15.0;
                         (void)findSources(viewOf(skyless), viewOf(field.variance), filled, control);
                     }});
}

void addStars(std::vector<Case>& cases, Planes const& field) {
    std::mt19937 random(5);
    std::uniform_real_distribution<double> place(30.0, static_cast<double>(fieldSide) - 30.0);
    std::vector<double> x(nStars);
    std::vector<double> y(nStars);
    Eigen::MatrixX2d positions(nStars, 2);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = place(random);
        y[i] = place(random);
        positions.row(static_cast<Index>(i)) << x[i], y[i];
    }
    cases.push_back({"star widths", [&field, x, y](InstructionSet) { (void)starWidths(field.views(), bad, x, y); }});
    cases.push_back(
        {"star positions", [&field, x, y](InstructionSet) { (void)fitPositions(field.views(), bad, x, y, {}); }});
    cases.push_back({"star shifts", [&field, x, y](InstructionSet) {
                         (void)starShifts(field.views(), viewOf(field.image), bad, x, y);
                     }});
    cases.push_back(
        {"measure sources", [&field, x, y](InstructionSet) { (void)measureSources(field.views(), bad, x, y, {}); }});
    cases.push_back({"match stars", [positions](InstructionSet) {
                         Eigen::MatrixX2d const moved = positions.rowwise() + Eigen::RowVector2d(3.3, -2.1);
                         (void)matchStars(positions, moved,
                                          {static_cast<double>(fieldSide) * static_cast<double>(fieldSide), 50.0});
                     }});
    cases.push_back(
        {"coverage", [&field](InstructionSet) { (void)countCoverage(field.views(), bad, field.views(), bad); }});
    cases.push_back({"noise of samples", [&field](InstructionSet) { (void)sampleNoise(viewOf(field.image)); }});
}

void addDifference(std::vector<Case>& cases, Planes const& field, Planes& output) {
    SpatialFunction const background{SpatialModel::chebyshev1, 1, frameOf({0, 0, fieldSide, fieldSide})};
    cases.push_back({"subtract", [&field, &output, background](InstructionSet) {
                         subtract(field.views(), field.views(), Eigen::Vector3d(3.0, 2.0, 1.0), background, 0, 0, {},
                                  {}, output.targets());
                     }});
    LinearCombinationKernel phi = makeKernel(0);
    phi.basis.images.row(0)[phi.basis.images.cols() / 2] += 2.0;
    VarianceFactors const factors{RowMatrix::Constant(fieldSide, 2, 0.4), RowMatrix::Constant(fieldSide, 2, 0.1),
                                  RowMatrix::Ones(2, fieldSide), 0.2};
    cases.push_back({"correct difference", [&field, &output, phi, factors](InstructionSet set) {
                         CorrectionControl control;
                         control.badBits = bad;
                         control.instructionSet = set;
                         correctDifference(field.views(), viewOf(field.variance), viewOf(field.variance), &factors, phi,
                                           0, 0, control, {}, output.targets());
                     }});
}

// Noise, saturation and quality. One code for all instruction sets.
void addSky(std::vector<Case>& cases, Planes const& field) {
    cases.push_back({"median", [&field](InstructionSet) {
                         std::vector<float> scratch;
                         auto const size = static_cast<std::size_t>(field.image.size());
                         (void)quantileOf<float>(std::span<float const>(field.image.data(), size), 0.5, scratch);
                     }});
    cases.push_back({"blank sky", [&field](InstructionSet) {
                         BlankSky const sky = findBlankSky(field.views(), bad);
                         (void)pullWidth(sky);
                         (void)laggedProducts(sky, 2);
                     }});
    cases.push_back({"neighbour noise", [&field](InstructionSet) { (void)neighbourNoise(field.views(), bad); }});
    cases.push_back({"saturation", [&field](InstructionSet) {
                         OwnedImage<MaskPixel> flags(fieldSide, fieldSide);
                         BrightPixels const pixels = brightPixels(viewOf(field.image), viewOf(field.mask), {2, bad});
                         (void)findPlateau(pixels);
                         (void)flagSaturation(viewOf(field.image), viewOf(field.mask), {2, bad, 5e3, false, 2.0}, {},
                                              viewOf(flags));
                     }});
    cases.push_back({"sky noise", [&field](InstructionSet) {
                         SkyNoiseControl control;
                         control.badBits = bad;
                         (void)skyNoise(field.views(), viewOf(field.image), viewOf(field.image), control);
                     }});
    cases.push_back({"source residuals", [&field](InstructionSet) {
                         PeaksControl control;
                         control.badBits = bad;
                         Peaks const peaks = findPeaks(field.views(), control);
                         auto const found = sourceResiduals(field.views(), viewOf(field.image), viewOf(field.image),
                                                            peaks, peaks, 1.0, {});
                         (void)figuresOf(found, 1.0, fieldSide, fieldSide, {});
                     }});
}

}  // namespace

int main() {
#if defined(__clang__)
    std::printf("compiler: clang %d\n", __clang_major__);
#elif defined(__GNUC__)
    std::printf("compiler: gcc %d\n", __GNUC__);
#else
    std::printf("compiler: unknown\n");
#endif
    Planes const field = makeField(1);
    Planes output(fieldSide, fieldSide);
    std::mt19937 random(3);
    std::vector<Planes> templates;
    std::vector<Planes> sciences;
    for (int i = 0; i < nStamps; ++i) {
        for (auto [stamps, sigma] : {std::pair{&templates, 1.1}, std::pair{&sciences, 1.6}}) {
            stamps->emplace_back(stampSide, stampSide);
            addStar(stamps->back().image, stampSide / 2 + 0.03 * i, stampSide / 2, sigma, 5e4);
            addNoise(stamps->back().image, random);
        }
    }
    std::vector<CandidateStamp> stamps;
    for (std::size_t i = 0; i < templates.size(); ++i) {
        stamps.push_back({templates[i].views(), sciences[i].views(), bad, bad});
    }

    std::vector<Case> cases;
    addConvolutions(cases, field, output);
    addFits(cases, stamps);
    addRegions(cases, field);
    addSolver(cases);
    addSystem(cases);
    addWarps(cases, field, output);
    addDetection(cases, field);
    addStars(cases, field);
    addDifference(cases, field, output);
    addSky(cases, field);
    for (auto const& [set, setName] :
         {std::pair{InstructionSet::baseline, "baseline"}, std::pair{InstructionSet::avx2, "avx2"}}) {
        for (Case const& item : cases) {
            if (!isSupported(set)) {
                std::printf("left out, no such processor: %s, %s\n", item.name.c_str(), setName);
                continue;
            }
            std::string const name = item.name + ", " + setName;
            std::printf("%s\n", name.c_str());
            CALLGRIND_ZERO_STATS;
            item.run(set);
            CALLGRIND_DUMP_STATS_AT(name.c_str());
        }
    }
    return 0;
}
