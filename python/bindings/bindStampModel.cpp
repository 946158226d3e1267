#include <pybind11/stl.h>

#include <optional>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/StackMatch.h"
#include "psfmatch/fit/StampModel.h"
#include "psfmatch/image/LagProducts.h"

namespace psfmatch::python {

namespace {

using BoolArray = py::array_t<bool, py::array::c_style | py::array::forcecast>;

StampFlags flagsOf(BoolArray const& array, char const* name) {
    if (array.ndim() != 2) {
        throw py::value_error(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, must have 2");
    }
    StampFlags flags(array.shape(0), array.shape(1));
    std::copy_n(array.data(), array.size(), flags.data());
    return flags;
}

OwnedImage<double> planeOf(std::optional<DoubleArray> const& array, char const* name) {
    return array ? OwnedImage<double>(matrixOf(*array, name).array()) : OwnedImage<double>();
}

py::array_t<bool> boolsOf(StampFlags const& flags) {
    py::array_t<bool> array({flags.rows(), flags.cols()});
    std::transform(flags.data(), flags.data() + flags.size(), array.mutable_data(),
                   [](auto flag) { return flag != 0; });
    return array;
}

py::dict dictOf(StampModel const& model) {
    py::dict found;
    found["kernel"] = python::arrayOf(model.kernel);
    found["plane"] = model.plane;
    found["ratio"] = model.ratio;
    found["ratioError"] = model.ratioError;
    found["isFree"] = model.isFree;
    found["kernelWidth"] = model.kernelWidth;
    found["deviation"] = model.choice.deviation;
    found["account"] = model.account;
    found["attempts"] = model.attempts;
    found["rejected"] = model.rejected;
    found["scienceNoise"] = model.scienceNoise;
    found["templateNoise"] = model.referenceNoise;
    found["photonVariance"] = model.photonVariance;
    found["modelError"] = model.modelError;
    found["largestModelError"] = model.largestModelError;
    found["middleNoise"] = model.middleNoise;
    found["middleLight"] = model.middleLight;
    found["scienceSky"] = model.scienceSky;
    found["templateSky"] = model.referenceSky;
    found["scienceHasLight"] = model.scienceHasLight;
    found["templateHasLight"] = model.referenceHasLight;
    found["light"] = python::arrayOf(model.light);
    found["variance"] = python::arrayOf(model.variance);
    found["noData"] = boolsOf(model.noData);
    return found;
}

}  // namespace

void bindStampModel(py::module_& module) {
    py::native_enum<StampAccount>(module, "StampAccount", "enum.Enum")
        .value("none", StampAccount::none)
        .value("scaled", StampAccount::scaled)
        .value("point", StampAccount::point)
        .value("out", StampAccount::out)
        .finalize();
    py::class_<StampAttempt>(module, "StampAttempt")
        .def_readonly("account", &StampAttempt::account)
        .def_readonly("score", &StampAttempt::score)
        .def_readonly("middleFlux", &StampAttempt::middleFlux)
        .def_readonly("middleError", &StampAttempt::middleError)
        .def_readonly("ratio", &StampAttempt::ratio)
        .def_readonly("nRejected", &StampAttempt::nRejected);
    module.def(
        "fitStamp",
        [](py::array const& science, py::array const& reference, BoolArray const& scienceGood,
           BoolArray const& referenceGood, std::optional<DoubleArray> const& scienceVariance,
           std::optional<DoubleArray> const& referenceVariance, bool isAlert, double ratio, double ratioError,
           bool canFreeRatio) {
            StampImages const images{
                viewOf<float>(science, "science"),           viewOf<float>(reference, "template"),
                flagsOf(scienceGood, "scienceGood"),         flagsOf(referenceGood, "templateGood"),
                planeOf(scienceVariance, "scienceVariance"), planeOf(referenceVariance, "templateVariance")};
            StampModelControl control;
            control.isAlert = isAlert;
            control.ratio = ratio;
            control.ratioError = ratioError;
            control.canFreeRatio = canFreeRatio;
            return dictOf(withoutLock([&] { return fitStamp(images, control); }));
        },
        py::arg("science"), py::arg("template"), py::arg("scienceGood"), py::arg("templateGood"),
        py::arg("scienceVariance") = py::none(), py::arg("templateVariance") = py::none(), py::kw_only(),
        py::arg("isAlert") = false, py::arg("ratio") = 1.0, py::arg("ratioError") = StampModelControl{}.ratioError,
        py::arg("canFreeRatio") = true);
    module.def(
        "matchStacks",
        [](DoubleArray const& first, DoubleArray const& second, std::pair<double, double> variances,
           std::pair<double, double> fwhms, std::optional<std::pair<double, double>> const& shift) {
            auto const [dx, dy] = shift.value_or(std::pair(0.0, 0.0));
            StackPair const pair{viewOf<double>(first, "first"),
                                 viewOf<double>(second, "second"),
                                 variances.first,
                                 variances.second,
                                 fwhms.first,
                                 fwhms.second,
                                 shift.has_value(),
                                 dx,
                                 dy};
            StackMatch const match = withoutLock([&] { return matchStacks(pair); });
            py::dict found;
            found["ratio"] = match.ratio;
            found["ratioError"] = match.ratioError;
            found["variance"] = match.variance;
            found["varianceError"] = match.varianceError;
            found["shift"] = py::make_tuple(match.dx, match.dy);
            found["shiftError"] = match.shiftError;
            found["chiSquare"] = match.chiSquare;
            found["snr"] = py::make_tuple(match.firstSnr, match.secondSnr);
            found["power"] = match.power;
            found["kernel"] = python::arrayOf(match.kernel);
            return found;
        },
        py::arg("first"), py::arg("second"), py::kw_only(), py::arg("variances"), py::arg("fwhms"),
        py::arg("shift") = py::none());
    module.def(
        "lagProducts",
        [](py::array const& first, py::array const& second, Index reach, Index nCells, int nThreads) {
            auto const one = viewOf<float>(first, "first");
            auto const other = viewOf<float>(second, "second");
            auto const execution = interruptible(nThreads);
            std::vector<OwnedImage<double>> sums;
            {
                py::gil_scoped_release const release;
                sums = lagProducts(one, other, reach, nCells, execution);
            }
            py::array_t<double> result({nCells * nCells, 2 * reach + 1, 2 * reach + 1});
            double* to = result.mutable_data();
            for (OwnedImage<double> const& sum : sums) {
                to = std::copy_n(sum.data(), sum.size(), to);
            }
            return result;
        },
        py::arg("first"), py::arg("second"), py::kw_only(), py::arg("reach"), py::arg("nCells"),
        py::arg("nThreads") = 1);
}

}  // namespace psfmatch::python
