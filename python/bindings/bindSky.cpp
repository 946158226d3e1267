#include "arrays.h"
#include "module.h"

namespace psfmatch::python {

void bindSky(py::module_& /*module*/) {}

}  // namespace psfmatch::python
