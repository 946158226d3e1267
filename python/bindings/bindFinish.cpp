#include "arrays.h"
#include "module.h"

namespace psfmatch::python {

void bindFinish(py::module_& /*module*/) {}

}  // namespace psfmatch::python
