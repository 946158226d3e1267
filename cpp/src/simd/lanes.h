// Vectors of floats and doubles for the inner loops. Each file that includes it has declared `laneCount` in an unnamed
// namespace, so that everything here has internal linkage; the compiler makes of them what its instruction set has.
// Compilers without such vectors get arrays and loops over them; PSFMATCH_PLAIN_LANES gives every compiler these, so
// that they can be tested where there is no other.
#pragma once

#include <cstddef>

namespace psfmatch::detail {

namespace {

// GCC has __builtin_shufflevector since version 12.
#if (defined(__clang__) || __GNUC__ >= 12) && !defined(PSFMATCH_PLAIN_LANES)

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

// rows[i] lane j for rows[j] lane i
template <typename Row>
[[gnu::always_inline]] inline void transpose(Row (&rows)[4]) {
    Row const low01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    Row const high01 = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    Row const low23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    Row const high23 = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

template <typename Row>
[[gnu::always_inline]] inline void transpose(Row (&rows)[8]) {
    Row pairs[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    Row fours[8];
    for (int i = 0; i < 8; i += 4) {
        fours[i] = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        fours[i + 1] = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        fours[i + 2] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        fours[i + 3] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; ++i) {
        rows[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        rows[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

#else

template <typename Number, int count>
struct Plain {
    Number values[count];
};

template <typename Number, int count>
inline Plain<Number, count> operator+(Plain<Number, count> a, Plain<Number, count> const& b) {
    for (int i = 0; i < count; ++i) {
        a.values[i] += b.values[i];
    }
    return a;
}

template <typename Number, int count>
inline Plain<Number, count> operator-(Plain<Number, count> a, Plain<Number, count> const& b) {
    for (int i = 0; i < count; ++i) {
        a.values[i] -= b.values[i];
    }
    return a;
}

template <typename Number, int count>
inline Plain<Number, count> operator*(Plain<Number, count> a, Plain<Number, count> const& b) {
    for (int i = 0; i < count; ++i) {
        a.values[i] *= b.values[i];
    }
    return a;
}

template <typename Number, int count>
inline Plain<Number, count> operator-(Plain<Number, count> a) {
    for (int i = 0; i < count; ++i) {
        a.values[i] = -a.values[i];
    }
    return a;
}

template <typename Number, int count>
inline Plain<Number, count> multiplyAdd(Plain<Number, count> sum, Plain<Number, count> const& a,
                                        Plain<Number, count> const& b) {
    for (int i = 0; i < count; ++i) {
        sum.values[i] += a.values[i] * b.values[i];
    }
    return sum;
}

template <typename Number, int count>
inline Plain<Number, count> absolute(Plain<Number, count> lanes) {
    for (int i = 0; i < count; ++i) {
        lanes.values[i] = lanes.values[i] < Number(0) ? -lanes.values[i] : lanes.values[i];
    }
    return lanes;
}

template <typename Number, int count>
inline void store(Number* to, Plain<Number, count> const& lanes) {
    for (int i = 0; i < count; ++i) {
        to[i] = lanes.values[i];
    }
}

template <int count, typename Number>
inline Plain<Number, count> loadPlain(Number const* from) {
    Plain<Number, count> lanes;
    for (int i = 0; i < count; ++i) {
        lanes.values[i] = from[i];
    }
    return lanes;
}

template <int count, typename Number>
inline Plain<Number, count> splatPlain(Number value) {
    Plain<Number, count> lanes;
    for (int i = 0; i < count; ++i) {
        lanes.values[i] = value;
    }
    return lanes;
}

constexpr int doubleLaneCount = laneCount / 2;

using Lanes = Plain<float, laneCount>;
using DoubleLanes = Plain<double, doubleLaneCount>;

inline Lanes load(float const* from) {
    return loadPlain<laneCount>(from);
}

inline DoubleLanes load(double const* from) {
    return loadPlain<doubleLaneCount>(from);
}

inline Lanes splat(float value) {
    return splatPlain<laneCount>(value);
}

inline DoubleLanes splat(double value) {
    return splatPlain<doubleLaneCount>(value);
}

// rows[i] lane j for rows[j] lane i
template <int count>
inline void transpose(Plain<float, count> (&rows)[count]) {
    for (int i = 0; i < count; ++i) {
        for (int j = 0; j < i; ++j) {
            float const value = rows[i].values[j];
            rows[i].values[j] = rows[j].values[i];
            rows[j].values[i] = value;
        }
    }
}

#endif

}  // namespace

}  // namespace psfmatch::detail
