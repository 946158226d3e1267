// The extension module psfmatch._core: arrays and options in, arrays out, nothing of science.
#include "module.h"

#include <chrono>
#include <exception>

#include "psfmatch/base/exceptions.h"

namespace py = pybind11;

namespace psfmatch::python {

Execution interruptible(int nThreads) {
    using Clock = std::chrono::steady_clock;
    return {nThreads, [last = Clock::now()]() mutable {
                auto const now = Clock::now();
                if (now - last < std::chrono::milliseconds(100)) {
                    return;
                }
                last = now;
                py::gil_scoped_acquire const lock;
                if (PyErr_CheckSignals() != 0) {
                    throw py::error_already_set();
                }
            }};
}

namespace {

// The core's own errors become those that the package documents.
void translate(std::exception_ptr error) {
    auto const raise = [](char const* name, std::exception const& what) {
        py::object const type = py::module_::import("psfmatch.errors").attr(name);
        PyErr_SetString(type.ptr(), what.what());
    };
    try {
        if (error) {
            std::rethrow_exception(error);
        }
    } catch (SolutionError const& what) {
        raise("KernelSolutionError", what);
    } catch (NumericalError const& what) {
        raise("NumericalError", what);
    }
}

}  // namespace

}  // namespace psfmatch::python

// Nothing here or in the core changes what several threads could see: objects are filled when they are made, and calls
// only read them. Arrays belong to their callers.
PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
    using namespace psfmatch::python;
    module.doc() = "Compiled core of psfmatch; see the modules that import it for meaning and units.";
    module.attr("__version__") = PSFMATCH_VERSION;
    py::register_exception_translator(&translate);
    bindStatistics(module);
    bindKernels(module);
    bindFits(module);
    bindFitSystem(module);
    bindRegionSolver(module);
    bindFitStamps(module);
    bindConvolve(module);
    bindSubtract(module);
    bindWarp(module);
    bindSources(module);
    bindSky(module);
    bindNoise(module);
    bindStampModel(module);
    bindStars(module);
    bindStreaks(module);
    bindDefects(module);
    bindFinish(module);
}
