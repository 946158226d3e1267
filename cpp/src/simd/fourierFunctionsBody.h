// The one implementation behind fourierFunctions.h. Each file that includes it has declared `laneCount` (4 or 8) in an
// unnamed namespace, so that everything here has internal linkage.
// Forward: decimation in frequency with radices 4, 4, 8; inverse: the same steps backwards (decimation in time).
#pragma once

#include "simd/fourierFunctions.h"
#include "simd/lanes.h"

namespace psfmatch::detail {

namespace {

struct Complex {
    Lanes re;
    Lanes im;
};

[[gnu::always_inline]] inline Complex loadLine(float const* line) {
    return {load(line), load(line + batchWidth)};
}

[[gnu::always_inline]] inline void storeLine(float* line, Complex z) {
    store(line, z.re);
    store(line + batchWidth, z.im);
}

[[gnu::always_inline]] inline Complex operator+(Complex a, Complex b) {
    return {a.re + b.re, a.im + b.im};
}

[[gnu::always_inline]] inline Complex operator-(Complex a, Complex b) {
    return {a.re - b.re, a.im - b.im};
}

// z times exp(-i pi / 2), or times its inverse
template <bool forward>
[[gnu::always_inline]] inline Complex quarterTurn(Complex z) {
    return forward ? Complex{z.im, -z.re} : Complex{-z.im, z.re};
}

// z times a twiddle factor, or times its conjugate
template <bool forward>
[[gnu::always_inline]] inline Complex twiddled(Complex z, float const* factor) {
    Lanes const c = splat(factor[0]);
    Lanes const s = splat(forward ? factor[1] : -factor[1]);
    return {z.re * c - z.im * s, z.re * s + z.im * c};
}

template <bool forward>
[[gnu::always_inline]] inline void butterfly4(Complex& a, Complex& b, Complex& c, Complex& d) {
    Complex const sumAc = a + c;
    Complex const sumBd = b + d;
    Complex const differenceAc = a - c;
    Complex const differenceBd = quarterTurn<forward>(b - d);
    a = sumAc + sumBd;
    b = differenceAc + differenceBd;
    c = sumAc - sumBd;
    d = differenceAc - differenceBd;
}

constexpr float halfRoot = 0.70710678118654752F;

// Eight neighbouring lines: frequencies 0 2 4 6 1 3 5 7.
[[gnu::always_inline]] inline void forward8(float* lines) {
    Complex sums[4];
    Complex differences[4];
    for (int j = 0; j < 4; ++j) {
        Complex const low = loadLine(lines + j * lineLength);
        Complex const high = loadLine(lines + (j + 4) * lineLength);
        sums[j] = low + high;
        differences[j] = low - high;
    }
    butterfly4<true>(sums[0], sums[1], sums[2], sums[3]);
    for (int j = 0; j < 4; ++j) {
        storeLine(lines + j * lineLength, sums[j]);
    }
    Complex const one = differences[1];
    Complex const three = differences[3];
    Lanes const root = splat(halfRoot);
    differences[1] = {(one.re + one.im) * root, (one.im - one.re) * root};
    differences[2] = quarterTurn<true>(differences[2]);
    differences[3] = {(three.im - three.re) * root, (-three.re - three.im) * root};
    butterfly4<true>(differences[0], differences[1], differences[2], differences[3]);
    for (int j = 0; j < 4; ++j) {
        storeLine(lines + (j + 4) * lineLength, differences[j]);
    }
}

[[gnu::always_inline]] inline void inverse8(float* lines) {
    Complex differences[4];
    for (int j = 0; j < 4; ++j) {
        differences[j] = loadLine(lines + (j + 4) * lineLength);
    }
    butterfly4<false>(differences[0], differences[1], differences[2], differences[3]);
    Complex const one = differences[1];
    Complex const three = differences[3];
    Lanes const root = splat(halfRoot);
    differences[1] = {(one.re - one.im) * root, (one.im + one.re) * root};
    differences[2] = quarterTurn<false>(differences[2]);
    differences[3] = {(-three.re - three.im) * root, (three.re - three.im) * root};
    Complex sums[4];
    for (int j = 0; j < 4; ++j) {
        sums[j] = loadLine(lines + j * lineLength);
    }
    butterfly4<false>(sums[0], sums[1], sums[2], sums[3]);
    for (int j = 0; j < 4; ++j) {
        storeLine(lines + j * lineLength, sums[j] + differences[j]);
        storeLine(lines + (j + 4) * lineLength, sums[j] - differences[j]);
    }
}

// One step of radix 4 of a forward transform: lines j, j + count, j + 2 count, j + 3 count of `in` to `out`.
[[gnu::always_inline]] inline void forward4(float const* in, float const* twiddles, int count, float* out) {
    int const step = count * lineLength;
    for (int j = 0; j < count; ++j, in += lineLength, out += lineLength, twiddles += 6) {
        Complex a = loadLine(in);
        Complex b = loadLine(in + step);
        Complex c = loadLine(in + 2 * step);
        Complex d = loadLine(in + 3 * step);
        butterfly4<true>(a, b, c, d);
        storeLine(out, a);
        storeLine(out + step, twiddled<true>(b, twiddles));
        storeLine(out + 2 * step, twiddled<true>(c, twiddles + 2));
        storeLine(out + 3 * step, twiddled<true>(d, twiddles + 4));
    }
}

// The same step backwards; each resulting line goes to finish(line, value).
template <typename Finish>
[[gnu::always_inline]] inline void inverse4(float const* in, float const* twiddles, int count, Finish const& finish) {
    int const step = count * lineLength;
    for (int j = 0; j < count; ++j, in += lineLength, twiddles += 6) {
        Complex a = loadLine(in);
        Complex b = twiddled<false>(loadLine(in + step), twiddles);
        Complex c = twiddled<false>(loadLine(in + 2 * step), twiddles + 2);
        Complex d = twiddled<false>(loadLine(in + 3 * step), twiddles + 4);
        butterfly4<false>(a, b, c, d);
        finish(j, a);
        finish(j + count, b);
        finish(j + 2 * count, c);
        finish(j + 3 * count, d);
    }
}

constexpr int quarter = transformSize / 4;
constexpr int sixteenth = transformSize / 16;
constexpr int secondTwiddles = 6 * quarter;

// The second step of a transform, on one of the four quarters of a batch.
[[gnu::always_inline]] inline void forwardQuarter(float* part, float const* twiddles) {
    forward4(part, twiddles + secondTwiddles, sixteenth, part);
}

[[gnu::always_inline]] inline void inverseQuarter(float* part, float const* twiddles) {
    inverse4(part, twiddles + secondTwiddles, sixteenth,
             [part](int line, Complex z) { storeLine(part + line * lineLength, z); });
}

constexpr int quarterLength = quarter * lineLength;

[[gnu::always_inline]] inline void forwardQuarters(float* batch, float const* twiddles) {
    for (int k = 0; k < 4; ++k) {
        forwardQuarter(batch + k * quarterLength, twiddles);
    }
}

[[gnu::always_inline]] inline void inverseQuarters(float* batch, float const* twiddles) {
    for (int k = 0; k < 4; ++k) {
        inverseQuarter(batch + k * quarterLength, twiddles);
    }
}

// Eight lines of eight complex numbers, turned.
[[gnu::always_inline]] inline void turnBlock(float const* from, float* to) {
    for (int part = 0; part < lineLength; part += batchWidth) {
        for (int y = 0; y < batchWidth; y += laneCount) {
            for (int x = 0; x < batchWidth; x += laneCount) {
                Lanes rows[laneCount];
                for (int i = 0; i < laneCount; ++i) {
                    rows[i] = load(from + (y + i) * lineLength + part + x);
                }
                transpose(rows);
                for (int i = 0; i < laneCount; ++i) {
                    store(to + (x + i) * lineLength + part + y, rows[i]);
                }
            }
        }
    }
}

void forwardColumns(float const* realTile, float const* imaginaryTile, float const* realFactors,
                    float const* imaginaryFactors, float const* twiddles, int nColumnBatches, float* stream) {
    alignas(64) float batch[transformSize * lineLength];
    for (int b = 0; b < nColumnBatches; ++b) {
        for (int lane = 0; lane < batchWidth; lane += laneCount) {
            float const* const re = realTile + b * batchWidth + lane;
            float const* const im = imaginaryTile + b * batchWidth + lane;
            auto const modulated = [&](int row) {
                return Complex{load(re + row * tileStride) * splat(realFactors[row]),
                               load(im + row * tileStride) * splat(imaginaryFactors[row])};
            };
            float const* factor = twiddles;
            for (int j = 0; j < quarter; ++j, factor += 6) {
                Complex z0 = modulated(j);
                Complex z1 = modulated(j + quarter);
                Complex z2 = modulated(j + 2 * quarter);
                Complex z3 = modulated(j + 3 * quarter);
                butterfly4<true>(z0, z1, z2, z3);
                float* const line = batch + j * lineLength + lane;
                storeLine(line, z0);
                storeLine(line + quarter * lineLength, twiddled<true>(z1, factor));
                storeLine(line + 2 * quarter * lineLength, twiddled<true>(z2, factor + 2));
                storeLine(line + 3 * quarter * lineLength, twiddled<true>(z3, factor + 4));
            }
            forwardQuarters(batch + lane, twiddles);
        }
        for (int k = 0; k < nBatches; ++k) {
            float* const block = batch + k * batchWidth * lineLength;
            for (int lane = 0; lane < batchWidth; lane += laneCount) {
                forward8(block + lane);
            }
            turnBlock(block, stream + k * batchStride + b * batchWidth * lineLength);
        }
    }
}

void forwardSpectrum(float const* stream, float const* twiddles, float scale, int term, int nTerms, float* spectra) {
    alignas(64) float batch[transformSize * lineLength];
    for (int b = 0; b < nBatches; ++b) {
        for (int lane = 0; lane < batchWidth; lane += laneCount) {
            forward4(stream + b * batchStride + lane, twiddles, quarter, batch + lane);
            forwardQuarters(batch + lane, twiddles);
            for (int k = 0; k < nBatches; ++k) {
                forward8(batch + k * batchWidth * lineLength + lane);
            }
        }
        for (int line = 0; line < transformSize; ++line) {
            float* const to = spectra + ((b * transformSize + line) * nTerms + term) * lineLength;
            float const* const from = batch + line * lineLength;
            for (int i = 0; i < batchWidth; ++i) {
                to[i] = scale * from[i];
                to[i + batchWidth] = -scale * from[i + batchWidth];
            }
        }
    }
}

[[gnu::always_inline]] inline Complex zero() {
    return {splat(0.0F), splat(0.0F)};
}

[[gnu::always_inline]] inline void addProduct(Complex& sum, Complex a, Complex b) {
    sum.re = multiplyAdd(sum.re, a.re, b.re) - a.im * b.im;
    sum.im = multiplyAdd(multiplyAdd(sum.im, a.re, b.im), a.im, b.re);
}

constexpr int scratchStride = transformSize * lineLength;

// The streams' lines at one frequency become those of the outputs, one for each power of X.
template <int n>
[[gnu::always_inline]] inline void combine(float* lines, float const* spectra) {
    Complex in[n];
    for (int p = 0; p < n; ++p) {
        in[p] = loadLine(lines + p * scratchStride);
    }
    for (int q = 0; q < n; ++q) {
        Complex sum = zero();
        for (int p = 0; p < n - q; ++p, spectra += lineLength) {
            addProduct(sum, in[p], loadLine(spectra));
        }
        storeLine(lines + q * scratchStride, sum);
    }
}

void combineMany(float* lines, float const* spectra, int n) {
    Complex in[maxTermsOnAxis];
    for (int p = 0; p < n; ++p) {
        in[p] = loadLine(lines + p * scratchStride);
    }
    for (int q = 0; q < n; ++q) {
        Complex sum = zero();
        for (int p = 0; p < n - q; ++p, spectra += lineLength) {
            addProduct(sum, in[p], loadLine(spectra));
        }
        storeLine(lines + q * scratchStride, sum);
    }
}

// fixed: n, known to the compiler; 0: any n
template <int fixed>
void convolveRowsOf(float const* streams, float const* spectra, int anyN, float const* xFactors, float const* twiddles,
                    int nColumnBatches, float* scratch, float* columns) {
    int const n = fixed > 0 ? fixed : anyN;
    int const step = termCount(n) * lineLength;
    for (int b = 0; b < nBatches; ++b) {
        for (int lane = 0; lane < batchWidth; lane += laneCount) {
            for (int p = 0; p < n; ++p) {
                forward4(streams + p * complexTileLength + b * batchStride + lane, twiddles, quarter,
                         scratch + p * scratchStride + lane);
            }
            // Quarter by quarter, so that what belongs to one frequency stays in the nearest cache.
            for (int k = 0; k < 4; ++k) {
                float* const part = scratch + k * quarterLength + lane;
                for (int p = 0; p < n; ++p) {
                    forwardQuarter(part + p * scratchStride, twiddles);
                }
                float const* factors = spectra + (b * transformSize + k * quarter) * step + lane;
                for (int line = 0; line < quarter; line += batchWidth) {
                    float* const block = part + line * lineLength;
                    for (int p = 0; p < n; ++p) {
                        forward8(block + p * scratchStride);
                    }
                    for (int i = 0; i < batchWidth; ++i, factors += step) {
                        if constexpr (fixed > 0) {
                            combine<fixed>(block + i * lineLength, factors);
                        } else {
                            combineMany(block + i * lineLength, factors, n);
                        }
                    }
                    for (int q = 0; q < n; ++q) {
                        inverse8(block + q * scratchStride);
                    }
                }
                for (int q = 0; q < n; ++q) {
                    inverseQuarter(part + q * scratchStride, twiddles);
                }
            }
            // Horner's scheme, from the highest power of X down.
            for (int q = n - 1; q >= 0; --q) {
                float* const batch = scratch + q * scratchStride + lane;
                float const* const higher = batch + scratchStride;
                if (q == n - 1) {
                    inverse4(batch, twiddles, quarter,
                             [batch](int line, Complex z) { storeLine(batch + line * lineLength, z); });
                } else {
                    inverse4(batch, twiddles, quarter, [batch, higher, xFactors](int line, Complex z) {
                        Complex const sum = loadLine(higher + line * lineLength);
                        Lanes const factor = splat(xFactors[line]);
                        storeLine(batch + line * lineLength,
                                  {multiplyAdd(z.re, factor, sum.re), multiplyAdd(z.im, factor, sum.im)});
                    });
                }
            }
        }
        for (int column = 0; column < nColumnBatches; ++column) {
            float* const block = columns + column * batchStride + b * batchWidth * lineLength;
            turnBlock(scratch + column * batchWidth * lineLength, block);
            for (int lane = 0; lane < batchWidth; lane += laneCount) {
                inverse8(block + lane);
            }
        }
    }
}

void convolveRows(float const* streams, float const* spectra, int n, float const* xFactors, float const* twiddles,
                  int nColumnBatches, float* scratch, float* columns) {
    auto const convolve = n == 1   ? convolveRowsOf<1>
                          : n == 2 ? convolveRowsOf<2>
                          : n == 3 ? convolveRowsOf<3>
                          : n == 4 ? convolveRowsOf<4>
                          : n == 5 ? convolveRowsOf<5>
                                   : convolveRowsOf<0>;
    convolve(streams, spectra, n, xFactors, twiddles, nColumnBatches, scratch, columns);
}

void inverseColumns(float* columns, float const* twiddles, int nColumnBatches, float* realTile, float* imaginaryTile) {
    for (int b = 0; b < nColumnBatches; ++b) {
        for (int lane = 0; lane < batchWidth; lane += laneCount) {
            float* const batch = columns + b * batchStride + lane;
            float* const re = realTile + b * batchWidth + lane;
            float* const im = imaginaryTile + b * batchWidth + lane;
            inverseQuarters(batch, twiddles);
            inverse4(batch, twiddles, quarter, [re, im](int row, Complex z) {
                store(re + row * tileStride, z.re);
                store(im + row * tileStride, z.im);
            });
        }
    }
}

void addPolynomial(float const* images, int imageStride, int rowStride, int n, float const* xFactors, int height,
                   int width, float* target) {
    for (int v = 0; v < height; ++v) {
        for (int u = 0; u < width; u += laneCount) {
            float const* const image = images + v * rowStride + u;
            Lanes const factor = load(xFactors + u);
            Lanes sum = load(image + (n - 1) * imageStride);
            for (int q = n - 2; q >= 0; --q) {
                sum = multiplyAdd(load(image + q * imageStride), factor, sum);
            }
            float* const to = target + v * tileStride + u;
            store(to, load(to) + sum);
        }
    }
}

}  // namespace

}  // namespace psfmatch::detail
