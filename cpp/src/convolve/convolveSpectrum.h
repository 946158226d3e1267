// A kernel that is a polynomial of the position, prepared for exact convolution by Fourier transforms (overlap-save),
// internal to convolve.cpp. With X and Y the position of the output pixel scaled to [-1, 1] over a region,
//   K(x, y; v, u) = sum over q, p of X^q Y^p C_qp(v, u),   out = sum_q X^q [sum_p C'_qp (*) (Y^p in)].
// Y^p stands on the input, where Y is that of the input pixel; the difference, a multiple of v, goes into C' (binomial
// expansion). So 3 n + 4 passes of one-dimensional transforms serve a full polynomial of degree n, the spectra are
// the same for every tile of the region, and nothing is interpolated.
#pragma once

#include <memory>
#include <vector>

#include "convolve/convolveExpansion.h"
#include "convolve/convolvePlanes.h"
#include "convolve/convolveTiling.h"
#include "psfmatch/image/badPixels.h"
#include "simd/fourierFunctions.h"

namespace psfmatch::detail {

// Floats on a boundary of 64 bytes, so that no vector straddles two cache lines.
class AlignedFloats {
public:
    void resize(std::size_t size);  // leaves new floats unset
    [[nodiscard]] float* data() const { return data_.get(); }

private:
    struct Free {
        void operator()(float* data) const;
    };
    std::unique_ptr<float[], Free> data_;
    std::size_t size_ = 0;
};

// The twiddle factors of fourierFunctions.h.
[[nodiscard]] std::vector<float> makeTwiddles();

// Memory that a worker keeps from pair to pair.
struct SpectralWorkspace {
    AlignedFloats tiles;    // two real tiles
    AlignedFloats streams;  // one complex tile for each power of Y
    AlignedFloats columns;  // one complex tile
    AlignedFloats scratch;  // a batch for each of them
    AlignedFloats factors;
    AlignedFloats footprint;
    AlignedFloats spectra;
    struct Bright {
        int row;
        int column;
        float value;
    };
    std::vector<Bright> bright[2];  // of either tile
};

// Largest side of a kernel for which a tile of 128 pixels still yields more than a sliver.
inline constexpr int maxSpectralSide = 112;

class SpectralKernel {
public:
    // region: the output pixels over which the kernel's Chebyshev polynomials run. The spectra are made in
    // work.spectra unless they are to outlive it, in `spectra`.
    SpectralKernel(TileKernel const& kernel, int height, int width, Tile const& region,
                   FourierFunctions const& functions, RowFunctions const& rowFunctions,
                   std::vector<float> const& twiddles, SpectralWorkspace& work, AlignedFloats& spectra);

    // Convolves one plane of a pair of tiles. False, with nothing written, where float32 transforms would not be exact:
    // a pixel is not finite, or too many are bright beside the faintest part of the tile.
    [[nodiscard]] bool convolve(Plane<float> const& plane, FilledPixels const& fill, float FilledPixel::* fillValue,
                                TilePair const& pair, SpectralWorkspace& work) const;

private:
    void makeTerms(TileKernel const& kernel);
    void makeSpectra(SpectralWorkspace& work, float* spectra) const;
    void load(Plane<float> const& plane, FilledPixels const& fill, float FilledPixel::* fillValue, Tile const& tile,
              float* target) const;
    [[nodiscard]] bool liftBright(Plane<float> const& plane, TilePair const& pair, SpectralWorkspace& work) const;
    void addBright(std::vector<SpectralWorkspace::Bright> const& bright, Tile const& tile, float const* yFactors,
                   float const* xFactors, SpectralWorkspace& work, float* target) const;

    int height_;
    int width_;
    double xCentre_;
    double yCentre_;
    double xHalf_;  // pixels per unit of X
    double yHalf_;
    FourierFunctions const& functions_;
    RowFunctions const& rowFunctions_;
    std::vector<float> const& twiddles_;
    int n_;                     // powers of X and of Y
    int rowStride_;             // of one row of taps, padded so that a row may be read from any column on
    std::vector<float> terms_;  // (termCount(n), height * rowStride): C', both axes backwards, as a pixel spreads them
    float const* spectra_ = nullptr;
};

}  // namespace psfmatch::detail
