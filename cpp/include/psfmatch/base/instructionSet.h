// Which processor instructions the hot loops use. One build holds them for every processor of the architecture.
#pragma once

namespace psfmatch {

enum class InstructionSet { automatic, baseline, avx2 };

// Whether this build holds code for the set and this processor can run it.
[[nodiscard]] bool isSupported(InstructionSet instructionSet);

}  // namespace psfmatch
