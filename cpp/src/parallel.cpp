#include "psfmatch/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace psfmatch {

namespace {

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

}  // namespace

int workerCount(Index count, Execution const& execution) {
    if (execution.nThreads < 1) {
        throw std::invalid_argument("number of threads is " + std::to_string(execution.nThreads) +
                                    ", must be at least 1");
    }
    return static_cast<int>(std::clamp<Index>(count, 1, execution.nThreads));
}

void parallelFor(Index count, Execution const& execution, std::function<void(Index, int)> const& body) {
    int const nWorkers = workerCount(count, execution);
    std::atomic<Index> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr firstError;
    std::mutex errorMutex;

    auto work = [&](int worker) {
        try {
            while (!failed.load(std::memory_order_relaxed)) {
                Index const item = next.fetch_add(1, std::memory_order_relaxed);
                if (item >= count) {
                    return;
                }
                body(item, worker);
                if (worker == 0 && execution.poll) {
                    execution.poll();
                }
            }
        } catch (...) {
            std::lock_guard const lock(errorMutex);
            if (!firstError) {
                firstError = std::current_exception();
            }
            failed.store(true, std::memory_order_relaxed);
        }
    };

    {
        ThreadGroup group(nWorkers - 1);
        for (int worker = 1; worker < nWorkers; ++worker) {
            group.threads.emplace_back(work, worker);
        }
        work(0);
    }
    if (firstError) {
        std::rethrow_exception(firstError);
    }
}

}  // namespace psfmatch
