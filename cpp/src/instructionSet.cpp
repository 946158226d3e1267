#include "psfmatch/instructionSet.h"

#include <stdexcept>

#include "fourierFunctions.h"
#include "rowFunctions.h"

namespace psfmatch {

namespace detail {

namespace {

bool canRunAvx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    return rowFunctionsAvx2().accumulate != nullptr && __builtin_cpu_supports("avx2") != 0 &&
           __builtin_cpu_supports("fma") != 0;
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

}  // namespace detail

bool isSupported(InstructionSet instructionSet) {
    return instructionSet != InstructionSet::avx2 || detail::canRunAvx2();
}

}  // namespace psfmatch
