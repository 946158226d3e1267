// Takes the place of the library's AVX2 functions in one of the two test programs, as if the compiler could not build
// them: there every test runs the code for all processors.
#include <doctest/doctest.h>

#include "psfmatch/base/instructionSet.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

RowFunctions rowFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

TEST_CASE("this program runs the code for all processors only") {
    CHECK_FALSE(isSupported(psfmatch::InstructionSet::avx2));
    CHECK(isSupported(psfmatch::InstructionSet::baseline));
}
