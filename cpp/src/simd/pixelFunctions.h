// The passes over all pixels that look for defects, built once for every instruction set like rowFunctions.h, but
// without fused multiply-adds: both give the same bits. Plain pointers only.
#pragma once

#include "psfmatch/base/instructionSet.h"

namespace psfmatch::detail {

// What pixels are compared with, counts.
struct StepLimits {
    float level;
    float brightness;  // from the level
    float step;        // from neighbours
    float depth;       // of holes
};

inline constexpr unsigned char stepFlag = 1;
inline constexpr unsigned char holeFlag = 2;

// Pixels that are looked at together.
inline constexpr int stepBlock = 32;

struct PixelRows {
    float const* image;
    float const* variance;
    int const* mask;
};

struct ClippedSum {
    float sum;
    float count;
};

struct PixelFunctions {
    // flags[x] for x < stepBlock; those two pixels beside them, and two rows of `stride` above and below, are read.
    // stepFlag: the light of a pixel exceeds the brightness, and that of both neighbours in its row or column by the
    // step, or it does with one of them both that lie beside these two; dark ones likewise. holeFlag: all four beside
    // it are brighter by the depth.
    void (*flagSteps)(float const* pixels, int stride, StepLimits limits, unsigned char* flags);

    // Adds (image - level) * scale, clipped, of up to 64 pixels that are good to their sums and 1 to their counts, and
    // returns the sums of both, by eight lanes.
    ClippedSum (*addClipped)(PixelRows rows, int badBits, float level, float scale, float clip, int size, float* sums,
                             float* counts);
};

[[nodiscard]] PixelFunctions pixelFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] PixelFunctions pixelFunctionsAvx2();

// As chooseRowFunctions.
[[nodiscard]] PixelFunctions choosePixelFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail
