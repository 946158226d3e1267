// Vectors of floats and doubles for the inner loops. Each file that includes it has declared `laneCount` in an unnamed
// namespace, so that everything here has internal linkage; the compiler makes of them what its instruction set has.
#pragma once

namespace psfmatch::detail {

namespace {

#if defined(__GNUC__)

using Lanes [[gnu::vector_size(laneCount * sizeof(float))]] = float;
using IntLanes [[gnu::vector_size(laneCount * sizeof(int))]] = int;

[[gnu::always_inline]] inline Lanes load(float const* from) {
    Lanes lanes;
    __builtin_memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

[[gnu::always_inline]] inline void store(float* to, Lanes lanes) {
    __builtin_memcpy(to, &lanes, sizeof lanes);
}

[[gnu::always_inline]] inline Lanes splat(float value) {
    return value - Lanes{};
}

[[gnu::always_inline]] inline Lanes multiplyAdd(Lanes sum, Lanes a, Lanes b) {
    return sum + a * b;
}

[[gnu::always_inline]] inline Lanes absolute(Lanes lanes) {
    return reinterpret_cast<Lanes>(reinterpret_cast<IntLanes>(lanes) & 0x7fffffff);
}

constexpr int doubleLaneCount = laneCount / 2;

using DoubleLanes [[gnu::vector_size(doubleLaneCount * sizeof(double))]] = double;

[[gnu::always_inline]] inline DoubleLanes load(double const* from) {
    DoubleLanes lanes;
    __builtin_memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

[[gnu::always_inline]] inline void store(double* to, DoubleLanes lanes) {
    __builtin_memcpy(to, &lanes, sizeof lanes);
}

[[gnu::always_inline]] inline DoubleLanes splat(double value) {
    return value - DoubleLanes{};
}

[[gnu::always_inline]] inline DoubleLanes multiplyAdd(DoubleLanes sum, DoubleLanes a, DoubleLanes b) {
    return sum + a * b;
}

#else

constexpr int doubleLaneCount = 1;

using DoubleLanes = double;

inline DoubleLanes load(double const* from) {
    return *from;
}

inline void store(double* to, DoubleLanes lanes) {
    *to = lanes;
}

inline DoubleLanes splat(double value) {
    return value;
}

inline DoubleLanes multiplyAdd(DoubleLanes sum, DoubleLanes a, DoubleLanes b) {
    return sum + a * b;
}

struct Lanes {
    float values[laneCount];
};

inline Lanes load(float const* from) {
    Lanes lanes;
    for (int i = 0; i < laneCount; ++i) {
        lanes.values[i] = from[i];
    }
    return lanes;
}

inline void store(float* to, Lanes const& lanes) {
    for (int i = 0; i < laneCount; ++i) {
        to[i] = lanes.values[i];
    }
}

inline Lanes splat(float value) {
    Lanes lanes;
    for (int i = 0; i < laneCount; ++i) {
        lanes.values[i] = value;
    }
    return lanes;
}

inline Lanes multiplyAdd(Lanes sum, Lanes const& a, Lanes const& b) {
    for (int i = 0; i < laneCount; ++i) {
        sum.values[i] += a.values[i] * b.values[i];
    }
    return sum;
}

inline Lanes absolute(Lanes lanes) {
    for (int i = 0; i < laneCount; ++i) {
        lanes.values[i] = lanes.values[i] < 0.0F ? -lanes.values[i] : lanes.values[i];
    }
    return lanes;
}

#endif

}  // namespace

}  // namespace psfmatch::detail
