#include "psfmatch/base/instructionSet.h"

#include <stdexcept>
#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

#include "simd/fourierFunctions.h"
#include "simd/pixelFunctions.h"
#include "simd/regionFunctions.h"
#include "simd/rowFunctions.h"

namespace psfmatch {

namespace detail {

namespace {

bool canRunAvx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    return rowFunctionsAvx2().accumulate != nullptr && __builtin_cpu_supports("avx2") != 0 &&
           __builtin_cpu_supports("fma") != 0;
#elif defined(_MSC_VER) && !defined(__clang__) && defined(_M_X64)
    // As Intel's and AMD's manuals tell to ask: the processor has the instructions (leaf 1: FMA, XSAVE in use; leaf 7:
    // AVX2), and the system keeps the upper halves of the registers.
    int leaf1[4];
    int leaf7[4];
    __cpuid(leaf1, 1);
    __cpuidex(leaf7, 7, 0);
    bool const hasFma = (leaf1[2] & (1 << 12)) != 0;
    bool const usesXsave = (leaf1[2] & (1 << 27)) != 0;
    bool const hasAvx2 = (leaf7[1] & (1 << 5)) != 0;
    return rowFunctionsAvx2().accumulate != nullptr && hasFma && usesXsave && hasAvx2 && (_xgetbv(0) & 6) == 6;
#else
    return false;
#endif
}

bool useAvx2(InstructionSet instructionSet) {
    if (!isSupported(instructionSet)) {
        throw std::invalid_argument("AVX2 with FMA was asked for, but this processor or this build lacks it");
    }
    return instructionSet != InstructionSet::baseline && canRunAvx2();
}

}  // namespace

RowFunctions chooseRowFunctions(InstructionSet instructionSet) {
    return useAvx2(instructionSet) ? rowFunctionsAvx2() : rowFunctionsBaseline();
}

FourierFunctions chooseFourierFunctions(InstructionSet instructionSet) {
    return useAvx2(instructionSet) ? fourierFunctionsAvx2() : fourierFunctionsBaseline();
}

RegionFunctions chooseRegionFunctions(InstructionSet instructionSet) {
    return useAvx2(instructionSet) ? regionFunctionsAvx2() : regionFunctionsBaseline();
}

PixelFunctions choosePixelFunctions(InstructionSet instructionSet) {
    return useAvx2(instructionSet) ? pixelFunctionsAvx2() : pixelFunctionsBaseline();
}

}  // namespace detail

bool isSupported(InstructionSet instructionSet) {
    return instructionSet != InstructionSet::avx2 || detail::canRunAvx2();
}

}  // namespace psfmatch
