// What the files of the extension share: one bind function per noun, and how a call runs.
#pragma once

#include <pybind11/pybind11.h>

#include "psfmatch/base/parallel.h"

namespace psfmatch::python {

void bindStatistics(pybind11::module_& module);
void bindKernels(pybind11::module_& module);
void bindFits(pybind11::module_& module);
void bindFitStamps(pybind11::module_& module);
void bindFitSystem(pybind11::module_& module);
void bindRegionSolver(pybind11::module_& module);
void bindConvolve(pybind11::module_& module);
void bindSubtract(pybind11::module_& module);
void bindWarp(pybind11::module_& module);
void bindSources(pybind11::module_& module);
void bindSky(pybind11::module_& module);
void bindNoise(pybind11::module_& module);
void bindStampModel(pybind11::module_& module);
void bindStars(pybind11::module_& module);
void bindStreaks(pybind11::module_& module);
void bindDefects(pybind11::module_& module);
void bindFinish(pybind11::module_& module);

// What `compute` returns, computed without the interpreter's lock: it may touch no object of Python.
template <typename Compute>
auto withoutLock(Compute const& compute) {
    pybind11::gil_scoped_release const release;
    return compute();
}

// Execution of a call that has released the interpreter lock: Ctrl-C is looked for ten times a second.
[[nodiscard]] Execution interruptible(int nThreads);

}  // namespace psfmatch::python
