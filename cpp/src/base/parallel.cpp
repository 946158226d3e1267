#include "psfmatch/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace psfmatch {

namespace {

// Work below this is not shared: a thread that starts is at work after up to half of it.
constexpr double leastSeconds = 2.5e-4;
// Brief items are judged by the first ones when these have taken so long.
constexpr double tellingSeconds = 2e-5;

// Joins on every way out, a failure to start a thread included (std::jthread is not everywhere yet).
struct ThreadGroup {
    explicit ThreadGroup(int count) { threads.reserve(static_cast<std::size_t>(count)); }
    ThreadGroup(ThreadGroup const&) = delete;
    ThreadGroup& operator=(ThreadGroup const&) = delete;
    ~ThreadGroup() {
        for (auto& thread : threads) {
            thread.join();
        }
    }
    std::vector<std::thread> threads;
};

void share(Index count, Execution const& execution, std::function<void(Index, int)> const& body, bool areBrief) {
    int const nWorkers = workerCount(count, execution);
    std::atomic<Index> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr firstError;
    std::mutex errorMutex;

    // Does the next item; false where none is left.
    auto const step = [&](int worker) {
        try {
            Index const item =
                failed.load(std::memory_order_relaxed) ? count : next.fetch_add(1, std::memory_order_relaxed);
            if (item >= count) {
                return false;
            }
            body(item, worker);
            if (worker == 0 && execution.poll) {
                execution.poll();
            }
            return true;
        } catch (...) {
            std::lock_guard const lock(errorMutex);
            if (!firstError) {
                firstError = std::current_exception();
            }
            failed.store(true, std::memory_order_relaxed);
            return false;
        }
    };

    bool isLeft = true;
    if (areBrief && nWorkers > 1) {
        auto const start = std::chrono::steady_clock::now();
        for (Index nDone = 1; (isLeft = step(0)); ++nDone) {
            std::chrono::duration<double> const spent = std::chrono::steady_clock::now() - start;
            double const left = spent.count() / static_cast<double>(nDone) * static_cast<double>(count - nDone);
            if (spent.count() > tellingSeconds && left > leastSeconds) {
                break;
            }
        }
    }
    if (isLeft) {
        ThreadGroup group(nWorkers - 1);
        for (int worker = 1; worker < nWorkers; ++worker) {
            group.threads.emplace_back([&step, worker] {
                while (step(worker)) {
                }
            });
        }
        while (step(0)) {
        }
    }
    if (firstError) {
        std::rethrow_exception(firstError);
    }
}

}  // namespace

int workerCount(Index count, Execution const& execution) {
    if (execution.nThreads < 1) {
        throw std::invalid_argument("number of threads is " + std::to_string(execution.nThreads) +
                                    ", must be at least 1");
    }
    return static_cast<int>(std::clamp<Index>(count, 1, execution.nThreads));
}

void parallelFor(Index count, Execution const& execution, std::function<void(Index, int)> const& body) {
    share(count, execution, body, false);
}

void parallelForBrief(Index count, Execution const& execution, std::function<void(Index, int)> const& body) {
    share(count, execution, body, true);
}

}  // namespace psfmatch
