// Work shared between threads that are started for one call and joined before it returns (a pool that outlives
// the call would hang after a fork). Items are handed out by an atomic counter; as every item writes only its
// own results, the number of threads never changes a bit of them.
#pragma once

#include <cstddef>
#include <functional>

#include "psfmatch/base/types.h"

namespace psfmatch {

// Bytes that processors exchange at once: scratch space of two workers lies no nearer, or each would wait for the
// other.
inline constexpr std::size_t cacheLine = 64;

struct Execution {
    int nThreads = 1;
    // Called now and then by the calling thread between items; throws to end the work early (Ctrl-C).
    std::function<void()> poll = {};
};

// Calls body(item, worker) for item = 0 .. count-1, worker = 0 .. nThreads-1 (to index scratch space).
// The first exception thrown by any item, or by poll, ends the work and is rethrown to the caller.
void parallelFor(Index count, Execution const& execution, std::function<void(Index, int)> const& body);

// The same for many items of less than about a quarter of a millisecond each: the calling thread begins alone, and
// starts the others only if what is left takes longer than that pays for.
void parallelForBrief(Index count, Execution const& execution, std::function<void(Index, int)> const& body);

// Number of workers that both use for `count` items.
[[nodiscard]] int workerCount(Index count, Execution const& execution);

}  // namespace psfmatch
