#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"
#include "psfmatch/image/RobustStatistics.h"

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

}  // namespace

void bindSky(py::module_& module) {
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
