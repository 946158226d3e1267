// parallelFor: every item once, errors reach the caller, the poll can end the work.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "psfmatch/base/parallel.h"

using psfmatch::Execution;
using psfmatch::Index;
using psfmatch::parallelFor;
using psfmatch::parallelForBrief;
using psfmatch::workerCount;

TEST_CASE("every item runs exactly once, on a worker within range") {
    for (int const nThreads : {1, 2, 7}) {
        for (Index const count : {Index{0}, Index{1}, Index{5}, Index{1000}}) {
            std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
            std::atomic<bool> workersInRange{true};
            parallelFor(count, {nThreads, {}}, [&](Index item, int worker) {
                ++calls[static_cast<std::size_t>(item)];
                if (worker < 0 || worker >= workerCount(count, {nThreads, {}})) {
                    workersInRange = false;
                }
            });
            CHECK(workersInRange);
            for (auto const& n : calls) {
                CHECK(n == 1);
            }
        }
    }
}

TEST_CASE("no two items share a worker at the same time") {
    std::vector<std::atomic<int>> busy(4);
    std::atomic<bool> shared{false};
    parallelFor(200, {4, {}}, [&](Index, int worker) {
        auto& mine = busy[static_cast<std::size_t>(worker)];
        if (++mine != 1) {
            shared = true;
        }
        std::this_thread::yield();
        --mine;
    });
    CHECK_FALSE(shared);
}

TEST_CASE("the number of workers") {
    CHECK(workerCount(0, {3, {}}) == 1);
    CHECK(workerCount(2, {3, {}}) == 2);
    CHECK(workerCount(9, {3, {}}) == 3);
    CHECK_THROWS_WITH_AS((void)workerCount(9, {0, {}}), doctest::Contains("number of threads is 0"),
                         std::invalid_argument);
}

TEST_CASE("an exception of an item ends the work and reaches the caller") {
    for (int const nThreads : {1, 2, 7}) {
        std::atomic<int> done{0};
        auto const run = [&] {
            parallelFor(100000, {nThreads, {}}, [&](Index item, int) {
                if (item == 3) {
                    throw std::runtime_error("item " + std::to_string(item));
                }
                ++done;
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            });
        };
        CHECK_THROWS_WITH_AS(run(), "item 3", std::runtime_error);
        CHECK(done < 99999);
    }
}

TEST_CASE("the poll runs on the calling thread and may throw") {
    auto const caller = std::this_thread::get_id();
    for (int const nThreads : {1, 3}) {
        std::atomic<int> done{0};
        int polls = 0;
        bool onCaller = true;
        Execution const execution{nThreads, [&] {
                                      onCaller = onCaller && std::this_thread::get_id() == caller;
                                      if (++polls == 2) {
                                          throw std::runtime_error("interrupted");
                                      }
                                  }};
        auto const run = [&] {
            parallelFor(100000, execution, [&](Index, int) {
                ++done;
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            });
        };
        CHECK_THROWS_WITH_AS(run(), "interrupted", std::runtime_error);
        CHECK(onCaller);
        CHECK(polls == 2);
        CHECK(done < 100000);
    }
}

TEST_CASE("brief items: all of them, on few threads where little is to do") {
    auto const caller = std::this_thread::get_id();
    for (int const nThreads : {1, 2, 7}) {
        // The system may stop the caller in between, which makes items look long: not every time.
        int nAlone = 0;
        for (int turn = 0; turn < 20; ++turn) {
            std::vector<int> once(10, 0);
            std::atomic<bool> isAlone{true};
            parallelForBrief(10, {nThreads, {}}, [&](Index item, int worker) {
                ++once[static_cast<std::size_t>(item)];
                if (worker != 0 || std::this_thread::get_id() != caller) {
                    isAlone = false;
                }
            });
            nAlone += isAlone ? 1 : 0;
            CHECK(once == std::vector<int>(10, 1));
        }
        CHECK(nAlone > 0);
        std::vector<int> calls(1000, 0);
        std::atomic<int> others{0};
        parallelForBrief(1000, {nThreads, {}}, [&](Index item, int worker) {
            ++calls[static_cast<std::size_t>(item)];
            others += worker > 0 ? 1 : 0;
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        });
        CHECK((others > 0) == (nThreads > 1));
        CHECK(calls == std::vector<int>(1000, 1));
        auto const fail = [&] {
            parallelForBrief(1000, {nThreads, {}}, [](Index item, int) {
                std::this_thread::sleep_for(std::chrono::microseconds(20));
                if (item == 100) {
                    throw std::runtime_error("item 100");
                }
            });
        };
        CHECK_THROWS_WITH_AS(fail(), "item 100", std::runtime_error);
    }
}
