#include "fit/RegionFitEquations.h"

#include <algorithm>
#include <cmath>

namespace psfmatch::detail {

namespace {

// Of a diagonal element: the error of signed updates in float32, about 1.5e-7, grows by the inverse of what is left.
constexpr double leastPart = 0.1;

Index packedRows(Index n) {
    return (n + rowPadding - 1) / rowPadding * rowPadding;
}

// Packed pixels stay in the cache nearest to the processor.
Index pieceLength(Index nRows) {
    return nRows <= 48 ? 128 : nRows <= 96 ? 64 : 32;
}

void prepareSpace(RegionFit const& fit, Index k, ProductSpace& space) {
    Index const nRows = packedRows(fit.nImages + 2);
    auto const nPixels = static_cast<std::size_t>(fit.stamps->shape.size());
    auto const rows = static_cast<std::size_t>(nRows);
    if (space.constants.size() != 2 * nPixels) {
        space.constants.assign(nPixels, 1.0F);
        space.constants.resize(2 * nPixels, 0.0F);
    }
    space.rows.assign(rows, space.constants.data() + nPixels);
    for (Index i = 0; fit.exactBasis == nullptr && i < fit.nImages; ++i) {
        space.rows[static_cast<std::size_t>(i)] = fit.columns.row(k * fit.nImages + i).data();
    }
    space.rows[static_cast<std::size_t>(fit.nImages)] = space.constants.data();
    space.rows[static_cast<std::size_t>(fit.nImages) + 1] = fit.stamps->science.row(k).data();
    space.piece.resize(rows);
    space.roots.resize(nPixels);
    space.packed.resize(rows * static_cast<std::size_t>(pieceLength(nRows)));
    space.products.assign(rows * rows, 0.0);
}

double sumOfImage(RegionFit const& fit, Index i) {
    return i < fit.nImages ? fit.stamps->templateSky * fit.imageSums[i] : 0.0;
}

// Adds the products' share, skies given back: with u_i the sky of column i, s that of the science image and W the sum
// of weights, M_ij = M'_ij + u_i M'_bj + u_j M'_bi + u_i u_j W, r_i = r'_i + u_i r'_b + s (M'_ib + u_i W).
void addProducts(RegionFit& fit, Index k, ProductSpace const& space) {
    Index const m = fit.nImages + 1;
    Index const b = fit.nImages;
    Index const nRows = packedRows(m + 1);
    double const sky = fit.stamps->scienceSky;
    double const* const background = space.products.data() + b * nRows;
    double const* const data = space.products.data() + m * nRows;
    double const weight = background[b];
    double* const matrix = fit.equations.matrices.row(k).data();
    double* const side = fit.equations.rightHandSides.row(k).data();
    for (Index i = 0; i < m; ++i) {
        double const* const row = space.products.data() + i * nRows;
        double const ownSky = sumOfImage(fit, i);
        double const own = i == b ? weight : background[i] + ownSky * weight;
        for (Index j = 0; j < i; ++j) {
            double const value = row[j] + ownSky * background[j] + sumOfImage(fit, j) * own;
            matrix[i * m + j] += value;
            matrix[j * m + i] += value;
        }
        matrix[i * m + i] += row[i] + ownSky * (i == b ? 0.0 : background[i] + own);
        side[i] += data[i] + ownSky * data[b] + sky * own;
    }
    fit.equations.squares[k] += data[m] + 2.0 * sky * data[b] + sky * sky * weight;
}

// Diagonal of the products without skies, that of the science image last, from the equations.
Eigen::VectorXd skylessDiagonal(RegionFit const& fit, Index k) {
    Index const m = fit.nImages + 1;
    Index const b = fit.nImages;
    double const* const matrix = fit.equations.matrices.row(k).data();
    double const weight = matrix[b * m + b];
    Eigen::VectorXd diagonal(m + 1);
    for (Index i = 0; i < m; ++i) {
        double const ownSky = sumOfImage(fit, i);
        diagonal[i] = matrix[i * m + i] - 2.0 * ownSky * matrix[i * m + b] + ownSky * ownSky * weight;
    }
    double const sky = fit.stamps->scienceSky;
    diagonal[m] = fit.equations.squares[k] - 2.0 * sky * fit.equations.rightHandSides(k, b) + sky * sky * weight;
    return diagonal;
}

// In float64, without the pixels of which nothing is known: for values whose squares float32 does not hold.
void makePlainProducts(RegionFit const& fit, Index k, ProductSpace& space) {
    Index const nUsed = fit.nImages + 2;
    Index const nRows = packedRows(nUsed);
    std::fill(space.products.begin(), space.products.end(), 0.0);
    std::vector<double> values(static_cast<std::size_t>(nUsed));
    for (Index x = 0; x < fit.stamps->shape.size(); ++x) {
        auto const weight = static_cast<double>(fit.weights(k, x));
        bool isKnown = weight > 0.0;
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = static_cast<double>(space.rows[i][x]);
            isKnown = isKnown && std::isfinite(values[i]);
        }
        for (Index i = 0; isKnown && i < nUsed; ++i) {
            for (Index j = 0; j <= i; ++j) {
                space.products[static_cast<std::size_t>(i * nRows + j)] +=
                    weight * values[static_cast<std::size_t>(i)] * values[static_cast<std::size_t>(j)];
            }
        }
    }
}

// In float64 throughout, the columns made anew: what large coefficients make of sums in float32 is no chi-square.
void makeExactProducts(RegionFit const& fit, Index k, ProductSpace& space) {
    RegionStamps const& stamps = *fit.stamps;
    RegionShape const& shape = stamps.shape;
    Index const m = fit.nImages + 1;
    Index const nRows = packedRows(m + 1);
    ConstImageView<float> const stamp(stamps.templateImage.row(k).data(), shape.height + stamps.kernelHeight - 1,
                                      shape.width + stamps.kernelWidth - 1,
                                      Eigen::OuterStride<>(stamps.templateStride));
    convolveStamp(*fit.exactBasis, stamp, space.exactPixels, space.exactColumns, fit.instructionSet, true);
    auto const fitted = [&](auto const& plane) {
        Eigen::Map<OwnedImage<float> const, 0, Eigen::OuterStride<>> const rows(
            plane.row(k).data(), shape.height, shape.width, Eigen::OuterStride<>(shape.stride));
        OwnedImage<double> const values = rows.template cast<double>();
        return Eigen::VectorXd(Eigen::Map<Eigen::VectorXd const>(values.data(), values.size()));
    };
    Eigen::VectorXd const weights = fitted(fit.weights);
    Eigen::VectorXd const data = fitted(stamps.science);
    NormalEquations const equations =
        makeNormalEquations(space.exactColumns, weights, data, fit.instructionSet, &space.exactMemory);
    for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j <= i; ++j) {
            space.products[static_cast<std::size_t>(i * nRows + j)] = equations.matrix(i, j);
        }
        space.products[static_cast<std::size_t>(m * nRows + i)] = equations.rightHandSide[i];
    }
    space.products[static_cast<std::size_t>(m * nRows + m)] = (weights.array() * data.array().square()).sum();
}

void sumNoise(RegionFit& fit, Index k) {
    double noise = 0.0;
    for (Index x = 0; x < fit.stamps->shape.size(); ++x) {
        float const weight = fit.weights(k, x);
        noise +=
            weight > 0.0F ? static_cast<double>(weight) * static_cast<double>(fit.stamps->varianceHere(k, x)) : 0.0;
    }
    fit.equations.noise[k] = noise;
}

}  // namespace

void makeEquations(RegionFunctions const& functions, RegionFit& fit, Index k, ProductSpace& space) {
    prepareSpace(fit, k, space);
    Index const nPixels = fit.stamps->shape.size();
    Index const nRows = packedRows(fit.nImages + 2);
    Index const length = pieceLength(nRows);
    if (fit.exactBasis != nullptr) {
        makeExactProducts(fit, k, space);
    }
    Eigen::Map<Eigen::ArrayXf>(space.roots.data(), nPixels) = fit.weights.row(k).sqrt().transpose();
    for (Index first = 0; fit.exactBasis == nullptr && first < nPixels; first += length) {
        auto const count = static_cast<int>(std::min(length, nPixels - first));
        for (std::size_t i = 0; i < space.rows.size(); ++i) {
            space.piece[i] = space.rows[i] + first;
        }
        functions.packRows(space.piece.data(), static_cast<int>(nRows), space.roots.data() + first, count,
                           space.packed.data());
        functions.addPackedProducts(space.packed.data(), static_cast<int>(nRows), count, 1.0, space.products.data());
    }
    auto const diagonal = [&](Index i) { return space.products[static_cast<std::size_t>(i * nRows + i)]; };
    for (Index i = 0; fit.exactBasis == nullptr && i < fit.nImages + 2; ++i) {
        if (!std::isfinite(diagonal(i))) {
            makePlainProducts(fit, k, space);
            break;
        }
    }
    for (Index i = 0; i < fit.nImages + 2; ++i) {
        fit.freshDiagonals(k, i) = diagonal(i);
    }
    fit.equations.matrices.row(k).setZero();
    fit.equations.rightHandSides.row(k).setZero();
    fit.equations.squares[k] = 0.0;
    addProducts(fit, k, space);
    sumNoise(fit, k);
}

void updateEquations(RegionFunctions const& functions, RegionFit& fit, Index k, std::span<Index const> pixels,
                     std::span<float const> weights, ProductSpace& space) {
    prepareSpace(fit, k, space);
    Index const nRows = packedRows(fit.nImages + 2);
    auto const length = static_cast<int>(pieceLength(nRows));
    for (bool const isGain : {true, false}) {
        int count = 0;
        auto const add = [&] {
            functions.addPackedProducts(space.packed.data(), static_cast<int>(nRows), count, isGain ? 1.0 : -1.0,
                                        space.products.data());
            count = 0;
        };
        for (std::size_t p = 0; p < pixels.size(); ++p) {
            float const change = weights[p] - fit.weights(k, pixels[p]);
            if ((change > 0.0F) != isGain) {
                continue;
            }
            float const root = std::sqrt(std::abs(change));
            float* const to = space.packed.data() + static_cast<Index>(count) * nRows;
            for (std::size_t i = 0; i < space.rows.size(); ++i) {
                to[i] = space.rows[i][pixels[p]] * root;
            }
            if (++count == length) {
                add();
            }
        }
        if (count > 0) {
            add();
        }
    }
    for (std::size_t p = 0; p < pixels.size(); ++p) {
        fit.weights(k, pixels[p]) = weights[p];
    }
    addProducts(fit, k, space);
    Eigen::VectorXd const left = skylessDiagonal(fit, k);
    for (Index i = 0; i < left.size(); ++i) {
        // Not what is not a number either.
        if (!(left[i] >= leastPart * fit.freshDiagonals(k, i))) {
            makeEquations(functions, fit, k, space);
            return;
        }
    }
    sumNoise(fit, k);
}

}  // namespace psfmatch::detail
