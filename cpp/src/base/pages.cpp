#include "psfmatch/base/pages.h"

#include <algorithm>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace psfmatch {

#ifdef __linux__

namespace {

constexpr std::size_t chunkSize = std::size_t{1} << 20;  // bytes of one call: a fraction of a millisecond
constexpr int populateWrite = 23;                        // MADV_POPULATE_WRITE, which older headers do not know

}  // namespace

void providePages(void* start, std::size_t size, Execution const& execution) {
    if (size < chunkSize) {
        return;
    }
    auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    // Whole pages alone; the first and the last may be shared with something else.
    std::size_t const skipped = (page - reinterpret_cast<std::uintptr_t>(start) % page) % page;
    char* const first = static_cast<char*>(start) + skipped;
    std::size_t const whole = (size - skipped) / page * page;
    auto const nChunks = static_cast<Index>((whole + chunkSize - 1) / chunkSize);
    parallelForBrief(nChunks, execution, [&](Index item, int) {
        std::size_t const begin = static_cast<std::size_t>(item) * chunkSize;
        // Where it fails, pages come one by one.
        static_cast<void>(madvise(first + begin, std::min(chunkSize, whole - begin), populateWrite));
    });
}

#else

void providePages(void*, std::size_t, Execution const&) {}

#endif

}  // namespace psfmatch
