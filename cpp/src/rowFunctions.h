// The choice between the inner loops of convolveRows.h, made at run time.
#pragma once

#include "convolveRows.h"
#include "psfmatch/instructionSet.h"

namespace psfmatch::detail {

// Throws std::invalid_argument for a set that this processor or this build lacks.
[[nodiscard]] RowFunctions chooseRowFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail
