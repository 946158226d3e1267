#include <pybind11/stl.h>

#include <algorithm>
#include <span>
#include <string>

#include "arrays.h"
#include "module.h"
#include "psfmatch/image/Coverage.h"
#include "psfmatch/image/background.h"
#include "psfmatch/sources/BoxLight.h"
#include "psfmatch/sources/GrownFootprints.h"
#include "psfmatch/sources/LinearFit.h"
#include "psfmatch/sources/RingLevels.h"
#include "psfmatch/sources/SourceMeasurement.h"
#include "psfmatch/sources/StackedSources.h"
#include "psfmatch/sources/StarEquations.h"
#include "psfmatch/sources/StarMatch.h"
#include "psfmatch/sources/StarPatterns.h"
#include "psfmatch/sources/StarPositions.h"
#include "psfmatch/sources/StarProfile.h"
#include "psfmatch/sources/StarShifts.h"
#include "psfmatch/sources/StarWidths.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

using ByteArray = py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>;
using RunArray = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

// Records of nothing but doubles, of the rows of an array (n, count).
template <typename Record>
std::span<Record const> recordsOf(DoubleArray const& array, char const* name) {
    constexpr auto count = static_cast<py::ssize_t>(sizeof(Record) / sizeof(double));
    if (array.ndim() != 2 || array.shape(1) != count) {
        throw py::value_error(std::string(name) + " must have shape (n, " + std::to_string(count) + ")");
    }
    return {reinterpret_cast<Record const*>(array.data()), static_cast<std::size_t>(array.shape(0))};
}

// Columns (n, count) of records that are nothing but `count` doubles.
template <typename Record>
py::array_t<double> columnsOf(std::vector<Record> const& records) {
    constexpr std::size_t count = sizeof(Record) / sizeof(double);
    py::array_t<double> array({static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(records.size())});
    double* const to = array.mutable_data();
    for (std::size_t i = 0; i < records.size(); ++i) {
        auto const* const from = reinterpret_cast<double const*>(&records[i]);
        for (std::size_t k = 0; k < count; ++k) {
            to[k * records.size() + i] = from[k];
        }
    }
    return array;
}

template <typename Value>
py::array_t<Value> numbersOf(std::vector<Value> const& values) {
    return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
}

std::vector<PixelRun> runsOf(RunArray const& y, RunArray const& x0, RunArray const& x1, RunArray const& label) {
    if (y.size() != x0.size() || y.size() != x1.size() || y.size() != label.size()) {
        throw py::value_error("rows, columns and footprints of runs differ in number");
    }
    std::vector<PixelRun> runs(static_cast<std::size_t>(y.size()));
    for (std::size_t i = 0; i < runs.size(); ++i) {
        auto const at = [i](RunArray const& values) { return static_cast<std::int32_t>(values.data()[i]); };
        runs[i] = {at(y), at(x0), at(x1), at(label)};
    }
    return runs;
}

py::tuple tupleOf(FootprintRuns const& footprints) {
    py::array_t<std::int64_t> columns({py::ssize_t{4}, static_cast<py::ssize_t>(footprints.runs.size())});
    std::int64_t* const to = columns.mutable_data();
    std::size_t const n = footprints.runs.size();
    for (std::size_t i = 0; i < n; ++i) {
        PixelRun const& run = footprints.runs[i];
        to[i] = run.y;
        to[n + i] = run.x0;
        to[2 * n + i] = run.x1;
        to[3 * n + i] = run.footprint;
    }
    return py::make_tuple(columns, footprints.count);
}

Eigen::MatrixX2d positionsOf(DoubleArray const& array, char const* name) {
    if (array.ndim() != 2 || array.shape(1) != 2) {
        throw py::value_error(std::string(name) + " must have shape (n, 2)");
    }
    return Eigen::Map<Eigen::Matrix<double, Eigen::Dynamic, 2, Eigen::RowMajor> const>(array.data(), array.shape(0), 2);
}

void bindFootprints(py::module_& module) {
    module.def(
        "connectRuns",
        [](RunArray const& y, RunArray const& x0, RunArray const& x1) {
            auto runs = runsOf(y, x0, x1, y);
            FootprintRuns connected;
            {
                py::gil_scoped_release const release;
                connected = connectRuns(std::move(runs));
            }
            return tupleOf(connected);
        },
        py::arg("y"), py::arg("x0"), py::arg("x1"));
    module.def(
        "growFootprints",
        [](RunArray const& y, RunArray const& x0, RunArray const& x1, RunArray const& label, Index count, Index height,
           Index width, Index radius, bool isotropic, bool combined) {
            FootprintRuns footprints{runsOf(y, x0, x1, label), count};
            {
                py::gil_scoped_release const release;
                footprints = growFootprints(std::move(footprints), height, width, {radius, isotropic, combined});
            }
            return tupleOf(footprints);
        },
        py::arg("y"), py::arg("x0"), py::arg("x1"), py::arg("label"), py::kw_only(), py::arg("count"),
        py::arg("height"), py::arg("width"), py::arg("radius"), py::arg("isotropic") = false,
        py::arg("combined") = true);
    module.def(
        "sampleNoise",
        [](py::array const& samples) {
            auto const view = viewOf<float>(samples, "samples");
            SampleNoise found;
            {
                py::gil_scoped_release const release;
                found = sampleNoise(view);
            }
            return py::make_tuple(found.stdev, found.largest, found.count);
        },
        py::arg("samples"));
    module.def(
        "countCoverage",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           py::array const& otherImage, py::array const& otherVariance, py::array const& otherMask,
           MaskPixel otherBadBits, int nThreads) {
            auto const first = maskedViewOf(image, variance, mask);
            auto const second = maskedViewOf(otherImage, otherVariance, otherMask);
            auto const execution = interruptible(nThreads);
            PixelCoverage found;
            {
                py::gil_scoped_release const release;
                found = countCoverage(first, badBits, second, otherBadBits, execution);
            }
            return py::make_tuple(found.nFirst, found.nSecond, found.nBoth,
                                  py::make_tuple(found.box.x0, found.box.y0, found.box.width, found.box.height));
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("otherImage"),
        py::arg("otherVariance"), py::arg("otherMask"), py::arg("otherBadBits"), py::kw_only(),
        py::arg("nThreads") = 1);
}

void bindMeasurements(py::module_& module) {
    module.def(
        "starWidths",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           DoubleArray const& x, DoubleArray const& y, Index radius, int nThreads) {
            auto const view = maskedViewOf(image, variance, mask);
            StarWidthControl control;
            control.radius = radius;
            auto const execution = interruptible(nThreads);
            std::vector<double> widths;
            {
                py::gil_scoped_release const release;
                widths = starWidths(view, badBits, spanOf(x), spanOf(y), control, execution);
            }
            return numbersOf(widths);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("radius") = StarWidthControl{}.radius, py::arg("nThreads") = 1);
    module.def(
        "fitPositions",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           DoubleArray const& x, DoubleArray const& y, double fwhm, int nThreads) {
            auto const view = maskedViewOf(image, variance, mask);
            PositionControl control;
            control.fwhm = fwhm;
            auto const execution = interruptible(nThreads);
            std::vector<StarPosition> found;
            {
                py::gil_scoped_release const release;
                found = fitPositions(view, badBits, spanOf(x), spanOf(y), control, execution);
            }
            return columnsOf(found);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("fwhm"), py::arg("nThreads") = 1);
    module.def(
        "areSinglePixels",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           DoubleArray const& x, DoubleArray const& y, double minNeighbours, double minSigmas) {
            auto const view = maskedViewOf(image, variance, mask);
            std::vector<std::uint8_t> found;
            {
                py::gil_scoped_release const release;
                found = areSinglePixels(view, badBits, spanOf(x), spanOf(y), minNeighbours, minSigmas);
            }
            py::array_t<bool> result(static_cast<py::ssize_t>(found.size()));
            std::copy(found.begin(), found.end(), result.mutable_data());
            return result;
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("minNeighbours"), py::arg("minSigmas") = 0.0);
    module.def(
        "stackSources",
        [](std::vector<StampTuple> const& images, DoubleArray const& x, DoubleArray const& y,
           DoubleArray const& weights, Index radius, int nThreads) {
            std::vector<MaskedImageView> views;
            std::vector<MaskPixel> badBits;
            for (StampTuple const& image : images) {
                views.push_back(viewsOf(image));
                badBits.push_back(badBitsOf(image));
            }
            StackControl control;
            control.radius = radius;
            auto const execution = interruptible(nThreads);
            StackedSources found;
            {
                py::gil_scoped_release const release;
                found = stackSources(views, badBits, spanOf(x), spanOf(y), spanOf(weights), control, execution);
            }
            py::list stacks;
            for (SourceStack const& stack : found.stacks) {
                stacks.append(py::make_tuple(python::arrayOf(stack.image), stack.variance, stack.fwhm));
            }
            return py::make_tuple(stacks, found.nUsed);
        },
        py::arg("images"), py::arg("x"), py::arg("y"), py::arg("weights"), py::kw_only(),
        py::arg("radius") = StackControl{}.radius, py::arg("nThreads") = 1);
    module.def(
        "boxLight",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           DoubleArray const& x, DoubleArray const& y, Index halfBox, Index skyRing, Index minPixels, int nThreads) {
            auto const view = maskedViewOf(image, variance, mask);
            auto const execution = interruptible(nThreads);
            std::vector<BoxLight> found;
            {
                py::gil_scoped_release const release;
                found = boxLight(view, badBits, spanOf(x), spanOf(y), {halfBox, skyRing, minPixels}, execution);
            }
            return columnsOf(found);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("halfBox"), py::arg("skyRing"), py::arg("minPixels"), py::arg("nThreads") = 1);
    module.def(
        "ringLevels",
        [](py::array const& image, py::array const& weight, DoubleArray const& x, DoubleArray const& y, double inner,
           double outer, Index minPixels, int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const weights = viewOf<float>(weight, "weight");
            auto const execution = interruptible(nThreads);
            return columnsOf(withoutLock([&] {
                return ringLevels(pixels, weights, spanOf(x), spanOf(y), {inner, outer, minPixels}, execution);
            }));
        },
        py::arg("image"), py::arg("weight"), py::arg("x"), py::arg("y"), py::kw_only(), py::arg("inner"),
        py::arg("outer"), py::arg("minPixels"), py::arg("nThreads") = 1);
    module.def(
        "measureSources",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           DoubleArray const& x, DoubleArray const& y, double sigma, Index radius, double maxSigma,
           py::object const& psfImages, py::object const& psfNumber, int nThreads) {
            auto const view = maskedViewOf(image, variance, mask);
            DoubleArray images;
            py::array_t<Index, py::array::c_style | py::array::forcecast> number;
            PsfImages psf;
            if (!psfImages.is_none()) {
                images = py::cast<DoubleArray>(psfImages);
                number = py::cast<decltype(number)>(psfNumber);
                if (images.ndim() != 3) {
                    throw py::value_error("psfImages must have shape (n, side, side)");
                }
                psf = {spanOf(images), images.shape(2), {number.data(), static_cast<std::size_t>(number.size())}};
            }
            MeasurementControl control;
            control.sigma = sigma;
            control.radius = radius;
            control.maxSigma = maxSigma;
            auto const execution = interruptible(nThreads);
            std::vector<MeasuredSource> found;
            {
                py::gil_scoped_release const release;
                found = measureSources(view, badBits, spanOf(x), spanOf(y), psf, control, execution);
            }
            return columnsOf(found);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("sigma"), py::arg("radius"), py::arg("maxSigma"), py::arg("psfImages") = py::none(),
        py::arg("psfNumber") = py::none(), py::arg("nThreads") = 1);
    module.def(
        "bitsNear",
        [](py::array const& mask, DoubleArray const& x, DoubleArray const& y, Index radius) {
            auto const pixels = viewOf<MaskPixel>(mask, "mask");
            return numbersOf(withoutLock([&] { return bitsNear(pixels, spanOf(x), spanOf(y), radius); }));
        },
        py::arg("mask"), py::arg("x"), py::arg("y"), py::arg("radius"));
    module.def(
        "starShifts",
        [](py::array const& image, py::array const& variance, py::array const& mask, py::array const& matched,
           MaskPixel badBits, DoubleArray const& x, DoubleArray const& y, Index radius, int nThreads) {
            auto const difference = maskedViewOf(image, variance, mask);
            auto const model = viewOf<float>(matched, "matched");
            StarShiftControl control;
            control.radius = radius;
            auto const execution = interruptible(nThreads);
            StarShifts found;
            {
                py::gil_scoped_release const release;
                found = starShifts(difference, model, badBits, spanOf(x), spanOf(y), control, execution);
            }
            return py::make_tuple(python::arrayOf(found.values), python::arrayOf(found.errors));
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("matched"), py::arg("badBits"), py::arg("x"),
        py::arg("y"), py::kw_only(), py::arg("radius"), py::arg("nThreads") = 1);
}

void bindProfiles(py::module_& module) {
    module.def(
        "drawStars",
        [](py::array& image, DoubleArray const& stars, DoubleArray const& shapes, DoubleArray const& radii,
           int nThreads) {
            auto const view = mutableViewOf<float>(image, "image");
            auto const list = recordsOf<Star>(stars, "stars");
            auto const forms = recordsOf<StarShape>(shapes, "shapes");
            auto const execution = interruptible(nThreads);
            withoutLock([&] { drawStars(view, list, forms, spanOf(radii), execution); });
        },
        py::arg("image"), py::arg("stars"), py::arg("shapes"), py::arg("radii"), py::kw_only(),
        py::arg("nThreads") = 1);
    module.def(
        "starEquations",
        [](py::array const& residual, py::array const& weight, DoubleArray const& stars, DoubleArray const& shapes,
           DoubleArray const& radii, ByteArray const& freedoms, int nThreads) {
            auto const pixels = viewOf<float>(residual, "residual");
            auto const weights = viewOf<float>(weight, "weight");
            auto const list = recordsOf<Star>(stars, "stars");
            auto const forms = recordsOf<StarShape>(shapes, "shapes");
            auto const execution = interruptible(nThreads);
            std::vector<StarFreedom> free(static_cast<std::size_t>(freedoms.size()));
            for (std::size_t i = 0; i < free.size(); ++i) {
                free[i] = static_cast<StarFreedom>(std::min<std::uint8_t>(freedoms.data()[i], 2));
            }
            return columnsOf(withoutLock(
                [&] { return starEquations(pixels, weights, list, forms, spanOf(radii), free, execution); }));
        },
        py::arg("residual"), py::arg("weight"), py::arg("stars"), py::arg("shapes"), py::arg("radii"),
        py::arg("freedoms"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "meanResidual",
        [](py::array const& residual, py::array const& weight, DoubleArray const& stars, DoubleArray const& factors,
           Index half, int nThreads) {
            auto const pixels = viewOf<float>(residual, "residual");
            auto const weights = viewOf<float>(weight, "weight");
            auto const list = recordsOf<Star>(stars, "stars");
            auto const execution = interruptible(nThreads);
            auto const found =
                withoutLock([&] { return meanResidual(pixels, weights, list, spanOf(factors), half, execution); });
            return py::make_tuple(python::arrayOf(found.mean), python::arrayOf(found.variance));
        },
        py::arg("residual"), py::arg("weight"), py::arg("stars"), py::arg("factors"), py::kw_only(), py::arg("half"),
        py::arg("nThreads") = 1);
}

}  // namespace

void bindStars(py::module_& module) {
    bindFootprints(module);
    bindMeasurements(module);
    bindProfiles(module);
    module.def(
        "matchStars",
        [](DoubleArray const& first, DoubleArray const& second, double area, double maxOffset, double maxChance) {
            auto const one = positionsOf(first, "first");
            auto const other = positionsOf(second, "second");
            StarMatch match;
            {
                py::gil_scoped_release const release;
                match = matchStars(one, other, {area, maxOffset, maxChance});
            }
            return py::make_tuple(numbersOf(match.first), numbersOf(match.second), match.chance);
        },
        py::arg("first"), py::arg("second"), py::kw_only(), py::arg("area"), py::arg("maxOffset"),
        py::arg("maxChance"));
    module.def(
        "matchPatterns",
        [](DoubleArray const& first, DoubleArray const& second, double area, double maxChance) {
            auto const one = positionsOf(first, "first");
            auto const other = positionsOf(second, "second");
            StarPatternControl control;
            control.area = area;
            control.maxChance = maxChance;
            auto const [match, matrix] = withoutLock([&] { return matchPatterns(one, other, control); });
            return py::make_tuple(numbersOf(match.first), numbersOf(match.second), match.chance,
                                  python::arrayOf(Eigen::MatrixXd(matrix)));
        },
        py::arg("first"), py::arg("second"), py::kw_only(), py::arg("area"), py::arg("maxChance"));
    module.def(
        "fitLinear",
        [](DoubleArray const& terms, DoubleArray const& values, py::object const& variances) {
            auto const matrix = matrixOf(terms, "terms");
            auto const sides = matrixOf(values, "values");
            auto const spreads =
                variances.is_none() ? Eigen::MatrixXd() : matrixOf(py::cast<DoubleArray>(variances), "variances");
            LinearFit const fit = withoutLock([&] { return fitLinear(matrix, sides, spreads); });
            return py::make_tuple(python::arrayOf(fit.coefficients), python::arrayOf(fit.errors));
        },
        py::arg("terms"), py::arg("values"), py::arg("variances") = py::none());
    module.def(
        "excessVariance",
        [](DoubleArray const& squares, DoubleArray const& variances, int nParameters) {
            auto const arrayed = [](DoubleArray const& values) {
                return Eigen::Map<Eigen::ArrayXd const>(values.data(), values.size());
            };
            return withoutLock([&] { return excessVariance(arrayed(squares), arrayed(variances), nParameters); });
        },
        py::arg("squares"), py::arg("variances"), py::arg("nParameters"));
}

}  // namespace psfmatch::python
