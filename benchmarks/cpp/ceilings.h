// What the machine allows, measured: multiply-adds that touch no memory, and a copy that does nothing else.
#pragma once

#include "psfmatch/base/instructionSet.h"

namespace psfmatch::bench {

// Single-precision GFLOP/s of independent multiply-adds (two operations each), the best of three tries. Code of the
// baseline has separate multiplications and additions where the processor family's baseline has no fused ones.
[[nodiscard]] double multiplyAddRate(InstructionSet instructionSet, int nThreads);

// GB/s (1e9 bytes, read plus written) of copying 128 MiB, shared between the threads; the best of three tries.
[[nodiscard]] double copyRate(int nThreads);

}  // namespace psfmatch::bench
