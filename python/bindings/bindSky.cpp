#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "module.h"
#include "psfmatch/image/BlankSky.h"
#include "psfmatch/image/LeastSquares.h"
#include "psfmatch/image/NeighbourNoise.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/SkyNoise.h"
#include "psfmatch/sources/BrightPixels.h"
#include "psfmatch/sources/Clumps.h"
#include "psfmatch/sources/SourceResiduals.h"
#include "psfmatch/sources/StarPeaks.h"
#include "psfmatch/sources/WindowedCentroid.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

template <typename Value>
std::vector<double> quantilesOf(py::array const& values, py::object const& good, std::vector<double> const& fractions) {
    ValueReader<Value> const reader(values, good);
    py::gil_scoped_release const release;
    std::vector<Value> list;
    std::vector<Value> scratch;
    reader.read(list);
    std::vector<double> found;
    for (double const fraction : fractions) {
        found.push_back(quantileOf<Value>(list, fraction, scratch));
    }
    return found;
}

template <typename Value>
MedianAndSigma medianAndSigmaOf(py::array const& values, py::object const& good) {
    ValueReader<Value> const reader(values, good);
    py::gil_scoped_release const release;
    std::vector<Value> list;
    std::vector<Value> scratch;
    reader.read(list);
    return medianAndSigma<Value>(list, scratch);
}

template <typename Value>
py::array_t<double> rowMediansOf(py::array const& values, py::object const& good) {
    if (values.ndim() == 0) {
        throw py::value_error("values must have a first axis");
    }
    ValueReader<Value> const reader(values, good);
    py::array_t<double> result(static_cast<py::ssize_t>(reader.nRows()));
    double* const medians = result.mutable_data();
    {
        py::gil_scoped_release const release;
        std::vector<Value> list;
        std::vector<Value> scratch;
        for (std::size_t row = 0; row < reader.nRows(); ++row) {
            reader.readRow(row, list);
            medians[row] = quantileOf<Value>(list, 0.5, scratch);
        }
    }
    return result;
}

bool isSingle(py::array const& values) {
    return values.dtype().equal(py::dtype::of<float>());
}

template <typename Value, typename Pixels>
py::array_t<Value> planeOf(Pixels const& pixels, BlankSky const& sky) {
    py::array_t<Value> array({sky.nWindows(), sky.height, sky.width});
    std::copy_n(pixels.data(), pixels.size(), array.mutable_data());
    return array;
}

template <typename Value>
py::array_t<Value> listArray(std::vector<Value> const& values) {
    return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <typename Value>
using PixelList = Eigen::Array<Value, Eigen::Dynamic, 1>;

template <typename Value>
py::array_t<Value> pixelArray(PixelList<Value> const& pixels) {
    return py::array_t<Value>(pixels.size(), pixels.data());
}

template <typename Value>
PixelList<Value> pixelsOf(py::handle const& array) {
    auto const values = py::cast<py::array_t<Value>>(array);
    return Eigen::Map<PixelList<Value> const>(values.data(), values.size());
}

// For pickles.
py::tuple stateOf(BlankSky const& sky) {
    return py::make_tuple(sky.tops, sky.lefts, py::make_tuple(sky.height, sky.width, sky.cellSide),
                          pixelArray(sky.image), pixelArray(sky.values), pixelArray(sky.variances),
                          pixelArray(sky.pulls), pixelArray(sky.isBlank), sky.nPixels, sky.freedom);
}

BlankSky skyOfState(py::tuple const& state) {
    BlankSky sky;
    sky.tops = py::cast<std::vector<Index>>(state[0]);
    sky.lefts = py::cast<std::vector<Index>>(state[1]);
    std::tie(sky.height, sky.width, sky.cellSide) = py::cast<std::tuple<Index, Index, Index>>(state[2]);
    sky.image = pixelsOf<float>(state[3]);
    sky.values = pixelsOf<float>(state[4]);
    sky.variances = pixelsOf<float>(state[5]);
    sky.pulls = pixelsOf<float>(state[6]);
    sky.isBlank = pixelsOf<std::uint8_t>(state[7]);
    sky.nPixels = py::cast<Index>(state[8]);
    sky.freedom = py::cast<double>(state[9]);
    return sky;
}

bool isSame(BlankSky const& one, BlankSky const& other) {
    return one.tops == other.tops && one.lefts == other.lefts && one.height == other.height &&
           one.width == other.width && one.cellSide == other.cellSide && one.image.size() == other.image.size() &&
           (one.image == other.image).all() && (one.values == other.values).all() &&
           (one.variances == other.variances).all() && (one.pulls == other.pulls).all() &&
           (one.isBlank == other.isBlank).all();
}

void bindBlankSky(py::module_& module) {
    py::class_<BlankSky>(module, "BlankSky")
        .def(py::pickle(&stateOf, &skyOfState))
        .def("__eq__", &isSame, py::is_operator(), py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("values", [](BlankSky const& sky) { return planeOf<float>(sky.values, sky); })
        .def_property_readonly("pulls", [](BlankSky const& sky) { return planeOf<float>(sky.pulls, sky); })
        .def_property_readonly("variances", [](BlankSky const& sky) { return planeOf<float>(sky.variances, sky); })
        .def_property_readonly("isBlank", [](BlankSky const& sky) { return planeOf<bool>(sky.isBlank, sky); })
        .def_property_readonly(
            "shape", [](BlankSky const& sky) { return py::make_tuple(sky.nWindows(), sky.height, sky.width); })
        .def_property_readonly("tops", [](BlankSky const& sky) { return listArray(sky.tops); })
        .def_property_readonly("lefts", [](BlankSky const& sky) { return listArray(sky.lefts); })
        .def_readonly("nPixels", &BlankSky::nPixels)
        .def_readonly("freedom", &BlankSky::freedom)
        .def("pullWidth", &pullWidth, py::call_guard<py::gil_scoped_release>())
        .def("widths",
             [](BlankSky const& sky) {
                 BlankSkyWidths found;
                 {
                     py::gil_scoped_release const release;
                     found = widths(sky);
                 }
                 return py::make_tuple(found.pulls, found.values, found.medianVariance);
             })
        .def(
            "whiteness",
            [](BlankSky const& sky, int nThreads) {
                auto const execution = interruptible(nThreads);
                Whiteness const found = withoutLock([&] { return whiteness(sky, execution); });
                return py::make_tuple(found.lag1, found.lag2, found.lagError, found.pullWidth, found.pullWidthError,
                                      sky.nPixels, arrayOf(found.correlations));
            },
            py::kw_only(), py::arg("nThreads") = 1)
        .def(
            "laggedProducts",
            [](BlankSky const& sky, Index maxLag, int nThreads) {
                auto const execution = interruptible(nThreads);
                LaggedProducts found;
                {
                    py::gil_scoped_release const release;
                    found = laggedProducts(sky, maxLag, execution);
                }
                return py::make_tuple(arrayOf(found.means), arrayOf(found.counts));
            },
            py::arg("maxLag"), py::kw_only(), py::arg("nThreads") = 1)
        .def(
            "cellMeans",
            [](BlankSky const& sky, Index minPixels, int nThreads) {
                auto const execution = interruptible(nThreads);
                CellMeans const found = withoutLock([&] { return cellMeans(sky, minPixels, execution); });
                return py::make_tuple(listArray(found.x), listArray(found.y), listArray(found.means),
                                      listArray(found.errors));
            },
            py::arg("minPixels"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "findBlankSky",
        [](StampTuple const& image, std::optional<StampTuple> const& subtrahend, Index maxPixels, int nThreads) {
            auto const view = viewsOf(image);
            auto const other = viewsOf(subtrahend.value_or(image));
            auto const execution = interruptible(nThreads);
            BlankSkyControl control;
            control.maxPixels = maxPixels;
            return withoutLock([&] {
                return subtrahend
                           ? findBlankSky(view, badBitsOf(image), other, badBitsOf(*subtrahend), control, execution)
                           : findBlankSky(view, badBitsOf(image), control, execution);
            });
        },
        py::arg("image"), py::arg("subtrahend") = py::none(), py::kw_only(),
        py::arg("maxPixels") = BlankSkyControl{}.maxPixels, py::arg("nThreads") = 1);
    module.def(
        "neighbourNoise",
        [](StampTuple const& image, Index maxPixels, int nThreads) {
            auto const view = viewsOf(image);
            auto const execution = interruptible(nThreads);
            NeighbourNoiseControl control;
            control.maxPixels = maxPixels;
            return withoutLock(
                [&] { return noiseVariance(neighbourNoise(view, badBitsOf(image), control, execution)); });
        },
        py::arg("image"), py::kw_only(), py::arg("maxPixels") = NeighbourNoiseControl{}.maxPixels,
        py::arg("nThreads") = 1);
    module.def(
        "blankSkyAt",
        [](StampTuple const& image, BlankSky const& where, int nThreads) {
            auto const view = viewsOf(image);
            auto const execution = interruptible(nThreads);
            return withoutLock([&] { return blankSkyAt(view, badBitsOf(image), where, {}, execution); });
        },
        py::arg("image"), py::arg("where"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "blankSkyInRows",
        [](StampTuple const& image, BlankSky const& where, Index step, int nThreads) {
            auto const view = viewsOf(image);
            auto const execution = interruptible(nThreads);
            return withoutLock([&] { return blankSkyInRows(view, badBitsOf(image), where, step, {}, execution); });
        },
        py::arg("image"), py::arg("where"), py::arg("step"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "leastSquares",
        [](DoubleArray const& terms, DoubleArray const& values, DoubleArray const& errors) {
            auto const matrix = matrixOf(terms, "terms");
            auto const data = vectorOf(values, "values");
            auto const deviations = vectorOf(errors, "errors");
            LeastSquares found;
            {
                py::gil_scoped_release const release;
                found = leastSquares(matrix, data, deviations);
            }
            return py::make_tuple(arrayOf(found.solution), arrayOf(found.covariance));
        },
        py::arg("terms"), py::arg("values"), py::arg("errors"));
}

void bindSaturation(py::module_& module) {
    py::class_<BrightPixels>(module, "BrightPixels")
        .def_readonly("sky", &BrightPixels::sky)
        .def_readonly("noise", &BrightPixels::noise)
        .def_property_readonly("places", [](BrightPixels const& pixels) { return listArray(pixels.places); })
        .def_property_readonly("counts", [](BrightPixels const& pixels) { return listArray(pixels.counts); })
        .def_property_readonly("isFlagged",
                               [](BrightPixels const& pixels) {
                                   py::array_t<bool> flags(static_cast<py::ssize_t>(pixels.isFlagged.size()));
                                   std::copy(pixels.isFlagged.begin(), pixels.isFlagged.end(), flags.mutable_data());
                                   return flags;
                               })
        .def_readonly("nFlagged", &BrightPixels::nFlagged);
    py::class_<Plateau>(module, "Plateau")
        .def_readonly("level", &Plateau::level)
        .def_readonly("top", &Plateau::top)
        .def_readonly("nPixels", &Plateau::nPixels)
        .def_readonly("nExpected", &Plateau::nExpected)
        .def_readonly("nAbove", &Plateau::nAbove)
        .def_readonly("nUnflagged", &Plateau::nUnflagged);
    module.def(
        "brightPixels",
        [](py::array const& image, py::array const& mask, MaskPixel saturated, MaskPixel defects, int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return brightPixels(pixels, planes, {saturated, defects}, execution);
        },
        py::arg("image"), py::arg("mask"), py::kw_only(), py::arg("saturated"), py::arg("defects"),
        py::arg("nThreads") = 1);
    module.def(
        "findPlateau",
        [](BrightPixels const& pixels, Index minPixels, double minExcess, double least, double most,
           bool countsFlagged) {
            PlateauControl control;
            control.minPixels = minPixels;
            control.minExcess = minExcess;
            control.least = least;
            control.most = most;
            control.countsFlagged = countsFlagged;
            py::gil_scoped_release const release;
            return findPlateau(pixels, control);
        },
        py::arg("pixels"), py::kw_only(), py::arg("minPixels") = PlateauControl{}.minPixels,
        py::arg("minExcess") = PlateauControl{}.minExcess, py::arg("least") = PlateauControl{}.least,
        py::arg("most") = PlateauControl{}.most, py::arg("countsFlagged") = true);
    module.def(
        "flagSaturation",
        [](py::array const& image, py::array const& mask, MaskPixel saturated, MaskPixel defects, double level,
           bool countsHidden, std::tuple<double, double, Index> const& trails, double growth,
           int nThreads) -> py::object {
            auto const pixels = viewOf<float>(image, "image");
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            py::array_t<MaskPixel> flags({planes.rows(), planes.cols()});
            auto const target = mutableViewOf<MaskPixel>(flags, "flags");
            auto const execution = interruptible(nThreads);
            auto const [trailLeast, trailMost, trailPixels] = trails;
            SaturationControl const control{saturated, defects,    level,     countsHidden,
                                            growth,    trailLeast, trailMost, trailPixels};
            bool isAny = false;
            {
                py::gil_scoped_release const release;
                isAny = flagSaturation(pixels, planes, control, execution, target);
            }
            return isAny ? py::object(flags) : py::object(py::none());
        },
        py::arg("image"), py::arg("mask"), py::kw_only(), py::arg("saturated"), py::arg("defects"), py::arg("level"),
        py::arg("countsHidden") = false,
        py::arg("trails") = std::tuple(SaturationControl{}.trailLeast, SaturationControl{}.trailMost, Index{1}),
        py::arg("growth") = 0.0, py::arg("nThreads") = 1);
    module.def(
        "clumpSizes",
        [](BrightPixels const& pixels, Index width, double level) {
            std::vector<std::uint8_t> isChosen(pixels.counts.size());
            std::transform(pixels.counts.begin(), pixels.counts.end(), isChosen.begin(),
                           [&](double counts) { return pixels.sky + counts >= level ? 1 : 0; });
            std::vector<Index> sizes;
            {
                py::gil_scoped_release const release;
                sizes = clumpSizes(pixels.places, width, isChosen);
            }
            return listArray(sizes);
        },
        py::arg("pixels"), py::arg("width"), py::arg("level"));
    module.def(
        "areaAbout",
        [](py::array const& image, Index place, double value) {
            auto const pixels = viewOf<float>(image, "image");
            py::gil_scoped_release const release;
            return areaAbout(pixels, place, static_cast<float>(value));
        },
        py::arg("image"), py::arg("place"), py::arg("value"));
    py::class_<StarPeaks>(module, "StarPeaks")
        .def_property_readonly("places", [](StarPeaks const& peaks) { return listArray(peaks.places); })
        .def_property_readonly("counts", [](StarPeaks const& peaks) { return listArray(peaks.counts); })
        .def_property_readonly("fallX", [](StarPeaks const& peaks) { return listArray(peaks.fallX); })
        .def_property_readonly("fallY", [](StarPeaks const& peaks) { return listArray(peaks.fallY); });
    module.def(
        "starPeaks",
        [](py::array const& image, py::array const& mask, BrightPixels const& bright, MaskPixel badBits, Index distance,
           int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return starPeaks(pixels, planes, bright, {badBits, distance}, execution);
        },
        py::arg("image"), py::arg("mask"), py::arg("bright"), py::kw_only(), py::arg("badBits"),
        py::arg("distance") = 1, py::arg("nThreads") = 1);
    module.def(
        "planesOf",
        [](py::array const& mask, int nThreads) {
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return planesOf(planes, execution);
        },
        py::arg("mask"), py::kw_only(), py::arg("nThreads") = 1);
}

// The figures of both, by the names that `Quality` has for them.
py::dict dictOf(SkyNoise const& sky, SourceFigures const& sources) {
    py::dict figures;
    figures["nSkyPixels"] = sky.nSkyPixels;
    figures["noiseRobustStdev"] = sky.noiseRobustStdev;
    figures["noiseMedian"] = sky.noiseMedian;
    figures["skyLevel"] = sky.skyLevel;
    figures["outlierFraction"] = sky.outlierFraction;
    figures["lag1"] = sky.lag1;
    figures["pixelNoise"] = sky.pixelNoise;
    figures["maskedFraction"] = sky.maskedFraction;
    figures["coverage"] = sky.coverage;
    figures["nSources"] = sources.nSources;
    figures["nRemaining"] = sources.nRemaining;
    figures["remainingFraction"] = sources.remainingFraction;
    figures["saturatedFraction"] = sources.saturatedFraction;
    figures["sourceRobust"] = sources.sourceRobust;
    figures["sourcePlain"] = sources.sourcePlain;
    figures["worstRegion"] = sources.worstRegion;
    figures["badSourceFraction"] = sources.badSourceFraction;
    figures["fluxMean"] = sources.fluxMean;
    figures["fluxMeanSize"] = sources.fluxMeanSize;
    figures["fluxScatter"] = sources.fluxScatter;
    figures["fluxError"] = sources.fluxError;
    figures["footprintRatioMean"] = sources.footprintRatioMean;
    figures["footprintRatioStdev"] = sources.footprintRatioStdev;
    figures["chiSquareByFlux"] = py::tuple(py::cast(sources.chiSquareByFlux));
    return figures;
}

void bindQuality(py::module_& module) {
    module.def(
        "differenceFigures",
        [](StampTuple const& difference, StampTuple const& templateImage, StampTuple const& scienceImage,
           MaskPixel noData, MaskPixel edge, std::array<MaskPixel, 2> const& saturated, double kernelSum,
           int nThreads) {
            auto const view = viewsOf(difference);
            std::array<MaskedImageView, 2> const images{viewsOf(templateImage), viewsOf(scienceImage)};
            SkyNoiseControl skyControl;
            skyControl.badBits = badBitsOf(difference);
            skyControl.noData = noData;
            skyControl.edge = edge;
            SourceResidualsControl sourceControl;
            sourceControl.badBits = badBitsOf(difference);
            std::array<PeaksControl, 2> peaksControls;
            peaksControls[0].badBits = badBitsOf(templateImage);
            peaksControls[1].badBits = badBitsOf(scienceImage);
            auto const execution = interruptible(nThreads);
            SkyNoise sky;
            SourceFigures sources;
            withoutLock([&] {
                sky = skyNoise(view, images[0].image, images[1].image, skyControl, execution);
                std::array<Peaks, 2> peaks;
                for (std::size_t i = 0; i < 2; ++i) {
                    peaksControls[i].saturated = saturated[i];
                    peaks[i] = findPeaks(images[i], peaksControls[i], execution);
                }
                auto const residuals = sourceResiduals(view, images[0].image, images[1].image, peaks[0], peaks[1],
                                                       kernelSum, sourceControl, execution);
                sources = figuresOf(residuals, std::isnan(sky.skyAbsolute) ? 0.0 : sky.skyAbsolute, view.image.rows(),
                                    view.image.cols(), {});
                sources.saturatedFraction = std::max(peaks[0].saturatedFraction, peaks[1].saturatedFraction);
            });
            return dictOf(sky, sources);
        },
        py::arg("difference"), py::arg("template"), py::arg("science"), py::kw_only(), py::arg("noData"),
        py::arg("edge"), py::arg("saturated"), py::arg("kernelSum"), py::arg("nThreads") = 1);
    module.def(
        "pullNoise",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits, Index step) {
            auto const view = maskedViewOf(image, variance, mask);
            PullNoise found;
            {
                py::gil_scoped_release const release;
                found = pullNoise(view, badBits, step);
            }
            return py::make_tuple(found.sigma, found.median, found.nPixels);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::kw_only(), py::arg("step") = 1);
    module.def(
        "windowedCentroid",
        [](DoubleArray const& stamp, double sigma, int nPasses) {
            if (stamp.ndim() != 2) {
                throw py::value_error("a stamp has two dimensions");
            }
            ConstImageView<double> const pixels(stamp.data(), stamp.shape(0), stamp.shape(1),
                                                Eigen::OuterStride<>(stamp.shape(1)));
            Centroid const found = withoutLock([&] { return windowedCentroid(pixels, sigma, nPasses); });
            return py::make_tuple(found.x, found.y);
        },
        py::arg("stamp"), py::kw_only(), py::arg("sigma"), py::arg("nPasses"));
}

}  // namespace

void bindSky(py::module_& module) {
    bindBlankSky(module);
    bindSaturation(module);
    bindQuality(module);
    module.def(
        "quantiles",
        [](py::array const& values, std::vector<double> const& fractions, py::object const& good) {
            return isSingle(values) ? quantilesOf<float>(values, good, fractions)
                                    : quantilesOf<double>(values, good, fractions);
        },
        py::arg("values"), py::arg("fractions"), py::arg("good") = py::none());
    module.def(
        "medianAndSigma",
        [](py::array const& values, py::object const& good) {
            MedianAndSigma const found =
                isSingle(values) ? medianAndSigmaOf<float>(values, good) : medianAndSigmaOf<double>(values, good);
            return py::make_tuple(found.median, found.sigma);
        },
        py::arg("values"), py::arg("good") = py::none());
    module.def(
        "rowMedians",
        [](py::array const& values, py::object const& good) {
            return isSingle(values) ? rowMediansOf<float>(values, good) : rowMediansOf<double>(values, good);
        },
        py::arg("values"), py::arg("good") = py::none());
}

}  // namespace psfmatch::python
