#include "ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#include "psfmatch/base/parallel.h"

namespace psfmatch::bench {

namespace {

constexpr int nTries = 3;
constexpr int nChains = 10;  // latency times throughput of a fused multiply-add is 8 to 10 on today's processors
constexpr Index nSteps = 3000000;

using FourLanes [[gnu::vector_size(16)]] = float;
using EightLanes [[gnu::vector_size(32)]] = float;

template <typename Lanes>
[[gnu::always_inline]] inline float runChains() {
    Lanes const factor = Lanes{} + 0.999F;
    Lanes sums[nChains];
    for (int k = 0; k < nChains; ++k) {
        sums[k] = Lanes{} + static_cast<float>(k);
    }
    for (Index step = 0; step < nSteps; ++step) {
        for (int k = 0; k < nChains; ++k) {
            sums[k] = sums[k] * factor + factor;
        }
    }
    float total = 0.0F;
    for (int k = 0; k < nChains; ++k) {
        total += sums[k][0];
    }
    return total;
}

[[gnu::noinline]] float chainsBaseline() {
    return runChains<FourLanes>();
}

#if defined(__x86_64__)
[[gnu::noinline, gnu::target("avx2,fma")]] float chainsAvx2() {
    return runChains<EightLanes>();
}
#endif

double bestSeconds(std::function<void()> const& work) {
    double best = 0.0;
    for (int run = 0; run < nTries; ++run) {
        auto const start = std::chrono::steady_clock::now();
        work();
        double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        best = run == 0 ? seconds : std::min(best, seconds);
    }
    return best;
}

}  // namespace

double multiplyAddRate(InstructionSet instructionSet, int nThreads) {
    if (!isSupported(instructionSet)) {
        throw std::invalid_argument("this processor or this build lacks the instruction set");
    }
    bool const wide = instructionSet != InstructionSet::baseline && isSupported(InstructionSet::avx2);
    std::vector<float> sink(static_cast<std::size_t>(nThreads));
    double const seconds = bestSeconds([&] {
        parallelFor(nThreads, {nThreads, {}}, [&](Index item, int) {
#if defined(__x86_64__)
            sink[static_cast<std::size_t>(item)] = wide ? chainsAvx2() : chainsBaseline();
#else
            sink[static_cast<std::size_t>(item)] = chainsBaseline();
#endif
        });
    });
    return 2.0 * nChains * (wide ? 8 : 4) * static_cast<double>(nSteps) * nThreads / seconds * 1e-9;
}

double copyRate(int nThreads) {
    constexpr std::size_t nBytes = std::size_t{128} << 20U;
    std::vector<char> const source(nBytes, 1);
    std::vector<char> target(nBytes, 0);  // its pages exist before the clock starts
    std::size_t const share = nBytes / static_cast<std::size_t>(nThreads);
    double const seconds = bestSeconds([&] {
        parallelFor(nThreads, {nThreads, {}}, [&](Index item, int) {
            std::size_t const offset = static_cast<std::size_t>(item) * share;
            std::memcpy(target.data() + offset, source.data() + offset, share);
        });
    });
    return 2.0 * static_cast<double>(share) * nThreads / seconds * 1e-9;
}

}  // namespace psfmatch::bench
