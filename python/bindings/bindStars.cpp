#include "arrays.h"
#include "module.h"

namespace psfmatch::python {

void bindStars(py::module_& /*module*/) {}

}  // namespace psfmatch::python
