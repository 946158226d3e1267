// providePages: memory is there afterwards, and holds what it held.
#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "psfmatch/base/pages.h"
#include "psfmatch/base/types.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

using psfmatch::ImageView;
using psfmatch::Index;
using psfmatch::providePages;

TEST_CASE("providing pages changes no pixel, in the memory or beside it") {
    for (int const nThreads : {1, 2, 7}) {
        for (std::size_t const offset : {std::size_t{0}, std::size_t{1}, std::size_t{1023}}) {
            Index const side = 700;  // 2 MB of int
            std::vector<int> memory(static_cast<std::size_t>(side * side) + 2048);
            for (std::size_t i = 0; i < memory.size(); ++i) {
                memory[i] = static_cast<int>(i % 9973);
            }
            providePages(ImageView<int>(memory.data() + offset, side, side, Eigen::OuterStride<>(side)),
                         {nThreads, {}});
            bool isKept = true;
            for (std::size_t i = 0; i < memory.size(); ++i) {
                isKept &= memory[i] == static_cast<int>(i % 9973);
            }
            CHECK(isKept);
        }
    }
}

#ifdef __linux__

namespace {

std::size_t residentPages(void* start, std::size_t size, std::size_t page) {
    std::vector<unsigned char> isThere(size / page);
    REQUIRE(mincore(start, size, isThere.data()) == 0);
    std::size_t count = 0;
    for (unsigned char const flags : isThere) {
        count += flags & 1U;
    }
    return count;
}

}  // namespace

TEST_CASE("whole pages of new memory are there afterwards, those of views with gaps and of small ones as before") {
    auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::size_t const size = 512 * page;
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    auto const floats = static_cast<Index>(page / sizeof(float));
    auto* const pixels = static_cast<float*>(memory);
    auto const view = [&](Index rows, Index columns) {
        return ImageView<float>(pixels, rows, columns, Eigen::OuterStride<>(floats));
    };
    providePages(view(512, floats - 1), {1, {}});
    providePages(view(1, floats), {1, {}});
    CHECK(residentPages(memory, size, page) == 0);
    // 23: MADV_POPULATE_WRITE; older systems have no such call, and nothing happens.
    bool const isPossible = madvise(memory, page, 23) == 0;
    std::size_t const end = page / 2;  // the view begins and ends within a page
    providePages(static_cast<char*>(memory) + end, size - page, {2, {}});
    CHECK(residentPages(memory, size, page) == (isPossible ? 511 : 0));
    munmap(memory, size);
}

#endif
