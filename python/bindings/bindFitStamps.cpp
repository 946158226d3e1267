#include "arrays.h"
#include "module.h"

namespace psfmatch::python {

void bindFitStamps(py::module_& /*module*/) {}

}  // namespace psfmatch::python
