// The one implementation behind warpFunctions.h. Each file that includes it has declared `laneCount` in an unnamed
// namespace, so that everything here has internal linkage.
#pragma once

#include "simd/lanes.h"
#include "simd/warpFunctions.h"

namespace psfmatch::detail {

namespace {

void locate(WarpAxis axis, double const* position, int count, int* inside, int* pixel, int* node, float* rest) {
    // Without jumps and calls (conversion to int truncates where std::floor may be a call): this must vectorise.
    for (int i = 0; i < count; ++i) {
        int const isInside = (position[i] >= axis.begin) & (position[i] < axis.end);
        double const safe = isInside != 0 ? position[i] : 0.0;
        int const whole = static_cast<int>(safe);
        double const fraction = safe - whole;
        double const rounded = static_cast<int>(fraction * axis.steps) * axis.stepSize;
        double const place = (axis.steps > 0.0 ? rounded : fraction) * axis.nodes;
        int const left = static_cast<int>(place);
        inside[i] = isInside;
        pixel[i] = whole;
        node[i] = left;
        rest[i] = static_cast<float>(place - left);
    }
}

template <int nVectors>
inline void weightsOf(WarpWeights weights, int node, float rest, Lanes (&result)[nVectors]) {
    constexpr int lanes = nVectors * laneCount;
    float const* const row = weights.coefficients + static_cast<std::ptrdiff_t>(node) * (3 * lanes);
    Lanes const t = splat(rest);
    for (int k = 0; k < nVectors; ++k) {
        float const* const from = row + k * laneCount;
        Lanes const slope = multiplyAdd(load(from + lanes), t, load(from + 2 * lanes));
        result[k] = multiplyAdd(load(from), t, slope);
    }
}

// Of a[k] * b[k] over all k and lanes, always in one order.
template <int nVectors>
inline float sumOfProducts(Lanes const (&a)[nVectors], Lanes const (&b)[nVectors]) {
    Lanes sum = splat(0.0F);
    for (int k = 0; k < nVectors; ++k) {
        sum = multiplyAdd(sum, a[k], b[k]);
    }
    float values[laneCount];
    store(values, sum);
    for (int half = laneCount / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) {
            values[i] += values[i + half];
        }
    }
    return values[0];
}

template <int nVectors>
void resampleWith(WarpWeights weights, WarpPositions positions, float const* imagePlane, float const* variancePlane,
                  int stride, float* image, float* variance) {
    float yWeights[nVectors * laneCount];
    for (int i = 0; i < positions.count; ++i) {
        Lanes wx[nVectors];
        Lanes wy[nVectors];
        weightsOf(weights, positions.xNode[i], positions.xRest[i], wx);
        weightsOf(weights, positions.yNode[i], positions.yRest[i], wy);
        for (int k = 0; k < nVectors; ++k) {
            store(yWeights + k * laneCount, wy[k]);
        }
        Lanes sum[nVectors];
        Lanes squares[nVectors];
        for (int k = 0; k < nVectors; ++k) {
            sum[k] = splat(0.0F);
            squares[k] = splat(0.0F);
        }
        float const* imageRow = imagePlane + positions.offset[i];
        float const* varianceRow = variancePlane + positions.offset[i];
        for (int j = 0; j < weights.nTaps; ++j, imageRow += stride, varianceRow += stride) {
            Lanes const w = splat(yWeights[j]);
            Lanes const square = splat(yWeights[j] * yWeights[j]);
            for (int k = 0; k < nVectors; ++k) {
                sum[k] = multiplyAdd(sum[k], w, load(imageRow + k * laneCount));
                squares[k] = multiplyAdd(squares[k], square, load(varianceRow + k * laneCount));
            }
        }
        image[i] = sumOfProducts(sum, wx);
        for (int k = 0; k < nVectors; ++k) {
            wx[k] = multiplyAdd(splat(0.0F), wx[k], wx[k]);
        }
        variance[i] = sumOfProducts(squares, wx);
    }
}

template <int nVectors>
void absoluteShareWith(WarpWeights weights, WarpPositions positions, float const* plane, int stride, float* share) {
    float yWeights[nVectors * laneCount];
    for (int i = 0; i < positions.count; ++i) {
        Lanes wx[nVectors];
        Lanes wy[nVectors];
        Lanes sum[nVectors];
        Lanes total[nVectors];
        weightsOf(weights, positions.xNode[i], positions.xRest[i], wx);
        weightsOf(weights, positions.yNode[i], positions.yRest[i], wy);
        for (int k = 0; k < nVectors; ++k) {
            wx[k] = absolute(wx[k]);
            store(yWeights + k * laneCount, absolute(wy[k]));
            sum[k] = splat(0.0F);
            total[k] = splat(0.0F);
        }
        float const* row = plane + positions.offset[i];
        for (int j = 0; j < weights.nTaps; ++j, row += stride) {
            Lanes const w = splat(yWeights[j]);
            for (int k = 0; k < nVectors; ++k) {
                sum[k] = multiplyAdd(sum[k], w, load(row + k * laneCount));
                total[k] = multiplyAdd(total[k], w, splat(1.0F));
            }
        }
        share[i] = sumOfProducts(sum, wx) / sumOfProducts(total, wx);
    }
}

void resample(WarpWeights weights, WarpPositions positions, float const* imagePlane, float const* variancePlane,
              int stride, float* image, float* variance) {
    constexpr int step = warpLaneStep / laneCount;
    switch (weights.lanes / warpLaneStep) {
        case 1:
            resampleWith<step>(weights, positions, imagePlane, variancePlane, stride, image, variance);
            break;
        case 2:
            resampleWith<2 * step>(weights, positions, imagePlane, variancePlane, stride, image, variance);
            break;
        case 3:
            resampleWith<3 * step>(weights, positions, imagePlane, variancePlane, stride, image, variance);
            break;
        default:
            resampleWith<4 * step>(weights, positions, imagePlane, variancePlane, stride, image, variance);
            break;
    }
}

void absoluteShare(WarpWeights weights, WarpPositions positions, float const* plane, int stride, float* share) {
    constexpr int step = warpLaneStep / laneCount;
    switch (weights.lanes / warpLaneStep) {
        case 1:
            absoluteShareWith<step>(weights, positions, plane, stride, share);
            break;
        case 2:
            absoluteShareWith<2 * step>(weights, positions, plane, stride, share);
            break;
        case 3:
            absoluteShareWith<3 * step>(weights, positions, plane, stride, share);
            break;
        default:
            absoluteShareWith<4 * step>(weights, positions, plane, stride, share);
            break;
    }
}

}  // namespace

}  // namespace psfmatch::detail
