// The one implementation behind pixelFunctions.h, in loops that compilers make vectors of. Everything here has internal
// linkage.
#pragma once

#include <cstddef>

#include "simd/pixelFunctions.h"

namespace psfmatch::detail {

namespace {

constexpr float largestFloat = 3.40282347e+38F;
constexpr int mostClipped = 64;

inline float lesser(float one, float other) {
    return other < one ? other : one;
}

inline float larger(float one, float other) {
    return one < other ? other : one;
}

inline int isLitPixel(float value, StepLimits const& limits) {
    float const light = value - limits.level;
    float const height = light < 0.0F ? -light : light;
    return (height > limits.brightness) & (height <= largestFloat);
}

inline int isStepAlong(float const* pixel, std::ptrdiff_t step, float sign, float least) {
    float const own = sign * pixel[0];
    float const before = sign * pixel[-step];
    float const after = sign * pixel[step];
    return (own - larger(before, after) > least) |
           (lesser(own, after) - larger(before, sign * pixel[2 * step]) > least) |
           (lesser(own, before) - larger(after, sign * pixel[-2 * step]) > least);
}

void flagSteps(float const* pixels, int stride, StepLimits limits, unsigned char* flags) {
    std::ptrdiff_t const row = stride;
    int found[stepBlock];
    int isAny = 0;
    for (int x = 0; x < stepBlock; ++x) {
        float const around = lesser(lesser(pixels[x - 1], pixels[x + 1]), lesser(pixels[x - row], pixels[x + row]));
        found[x] = around > pixels[x] + limits.depth ? holeFlag : 0;
        isAny |= isLitPixel(pixels[x], limits);
    }
    if (isAny != 0) {
        for (int x = 0; x < stepBlock; ++x) {
            float const sign = pixels[x] > limits.level ? 1.0F : -1.0F;
            int const isStep =
                isStepAlong(pixels + x, 1, sign, limits.step) | isStepAlong(pixels + x, row, sign, limits.step);
            found[x] |= (isLitPixel(pixels[x], limits) & isStep) != 0 ? stepFlag : 0;
        }
    }
    for (int x = 0; x < stepBlock; ++x) {
        flags[x] = static_cast<unsigned char>(found[x]);
    }
}

ClippedSum addClipped(PixelRows rows, int badBits, float level, float scale, float clip, int size, float* sums,
                      float* counts) {
    float values[mostClipped] = {};
    float isGood[mostClipped] = {};
    auto const clipped = [&](int i) {
        float const value = (rows.image[i] - level) * scale;
        float const variance = rows.variance[i];
        // Differences of what is no number, or infinite, are no number.
        int const isThere =
            (((value - value) + (variance - variance)) == 0.0F) & (variance >= 0.0F) & ((rows.mask[i] & badBits) == 0);
        values[i] = isThere != 0 ? lesser(larger(value, -clip), clip) : 0.0F;
        isGood[i] = isThere != 0 ? 1.0F : 0.0F;
    };
    if (size == mostClipped) {
        for (int i = 0; i < mostClipped; ++i) {
            clipped(i);
        }
    } else {
        for (int i = 0; i < size; ++i) {
            clipped(i);
        }
    }
    for (int i = 0; i < size; ++i) {
        sums[i] += values[i];
        counts[i] += isGood[i];
    }
    constexpr int lanes = 8;
    float total[lanes] = {};
    float count[lanes] = {};
    for (int i = 0; i < mostClipped; i += lanes) {
        for (int lane = 0; lane < lanes; ++lane) {
            total[lane] += values[i + lane];
            count[lane] += isGood[i + lane];
        }
    }
    ClippedSum all{0.0F, 0.0F};
    for (int lane = 0; lane < lanes; ++lane) {
        all.sum += total[lane];
        all.count += count[lane];
    }
    return all;
}

}  // namespace

}  // namespace psfmatch::detail
