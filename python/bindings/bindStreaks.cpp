#include <pybind11/stl.h>

#include <string>
#include <tuple>

#include "arrays.h"
#include "module.h"
#include "psfmatch/sources/Streaks.h"

namespace psfmatch::python {

void bindStreaks(py::module_& module) {
    py::class_<Streak>(module, "Streak")
        .def(py::init<double, double, double, double, double, double, double, double>(), py::arg("x0"), py::arg("y0"),
             py::arg("x1"), py::arg("y1"), py::arg("halfWidth"), py::arg("fwhm") = 0.0, py::arg("peak") = 0.0,
             py::arg("significance") = 0.0)
        .def_readonly("x0", &Streak::x0)
        .def_readonly("y0", &Streak::y0)
        .def_readonly("x1", &Streak::x1)
        .def_readonly("y1", &Streak::y1)
        .def_readonly("halfWidth", &Streak::halfWidth)
        .def_readonly("fwhm", &Streak::fwhm)
        .def_readonly("peak", &Streak::peak)
        .def_readonly("significance", &Streak::significance);
    module.def(
        "findStreaks",
        [](py::array const& image, py::array const& mask, py::array const& other, py::array const& otherMask,
           MaskPixel badBits, MaskPixel otherBadBits, double fluxRatio, int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            auto const otherPixels = viewOf<float>(other, "other");
            auto const otherPlanes = viewOf<MaskPixel>(otherMask, "otherMask");
            StreakControl control;
            control.badBits = badBits;
            control.otherBadBits = otherBadBits;
            control.fluxRatio = fluxRatio;
            auto const execution = interruptible(nThreads);
            auto found =
                withoutLock([&] { return findStreaks(pixels, planes, otherPixels, otherPlanes, control, execution); });
            return std::tuple(std::move(found.image), std::move(found.other));
        },
        py::arg("image"), py::arg("mask"), py::arg("other"), py::arg("otherMask"), py::kw_only(), py::arg("badBits"),
        py::arg("otherBadBits"), py::arg("fluxRatio"), py::arg("nThreads") = 1);
    module.def(
        "flagStreaks",
        [](std::vector<Streak> const& streaks, MaskPixel bits, py::array& mask) {
            auto const planes = mutableViewOf<MaskPixel>(mask, "mask");
            return withoutLock([&] { return flagStreaks(streaks, bits, planes); });
        },
        py::arg("streaks"), py::arg("bits"), py::arg("mask"));
}

}  // namespace psfmatch::python
