#include "psfmatch/kernel/KernelUncertainty.h"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/CellGrid.h"
#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch {

namespace {

using Stamp = OwnedImage<float>;

struct Place {
    double x;  // parent pixels
    double y;
};

// An image without its sky, in tiles, zero where it is bad and beyond its border.
class Tiles {
public:
    Tiles(MaskedImageView const& image, Index x0, Index y0, KernelUncertaintyControl const& control,
          Execution const& execution)
        : image_(image), x0_(x0), y0_(y0), control_(control) {
        CellGridControl cells;
        cells.badBits = control.badBits;
        cells.x0 = x0;
        cells.y0 = y0;
        sky_ = measureCells(image, image.image, cells, execution);
        cells.isVariance = true;
        noise_ = measureCells(image, image.variance, cells, execution);
        nRows = (image.image.rows() + control.tileSide - 1) / control.tileSide;
        nColumns = (image.image.cols() + control.tileSide - 1) / control.tileSide;
    }

    // The middle of a tile.
    [[nodiscard]] Place centreOf(Index row, Index column) const {
        auto const side = static_cast<double>(control_.tileSide);
        return {static_cast<double>(x0_) + (static_cast<double>(column) + 0.5) * side - 0.5,
                static_cast<double>(y0_) + (static_cast<double>(row) + 0.5) * side - 0.5};
    }

    // A tile with a margin.
    [[nodiscard]] Stamp stampOf(Index row, Index column, Index margin) const {
        Place const middle = centreOf(row, column);
        auto const sky = static_cast<float>(sky_.at(middle.x, middle.y));
        Index const side = control_.tileSide + 2 * margin;
        Index const top = row * control_.tileSide - margin;
        Index const left = column * control_.tileSide - margin;
        Stamp stamp = Stamp::Zero(side, side);
        for (Index y = std::max<Index>(0, -top); y < std::min(side, image_.image.rows() - top); ++y) {
            for (Index x = std::max<Index>(0, -left); x < std::min(side, image_.image.cols() - left); ++x) {
                Index const i = top + y;
                Index const j = left + x;
                if (!isBad(image_.image(i, j), image_.variance(i, j), image_.mask(i, j), control_.badBits)) {
                    stamp(y, x) = image_.image(i, j) - sky;
                }
            }
        }
        return stamp;
    }

    // Sums of the squares of the bright pixels in blocks.
    [[nodiscard]] OwnedImage<double> brightLight(Execution const& execution) const {
        Index const nBlocks = control_.tileSide / control_.blockSide;
        OwnedImage<double> light = OwnedImage<double>::Zero(nRows * nBlocks, nColumns * nBlocks);
        parallelFor(nRows * nColumns, execution, [&](Index tile, int) {
            Index const row = tile / nColumns;
            Index const column = tile % nColumns;
            Place const middle = centreOf(row, column);
            double const limit = control_.brightSigmas * std::sqrt(noise_.at(middle.x, middle.y));
            Stamp const stamp = stampOf(row, column, 0);
            for (Index y = 0; y < control_.tileSide; ++y) {
                for (Index x = 0; x < control_.tileSide; ++x) {
                    auto const value = static_cast<double>(stamp(y, x));
                    light(row * nBlocks + y / control_.blockSide, column * nBlocks + x / control_.blockSide) +=
                        value > limit ? value * value : 0.0;
                }
            }
        });
        return light;
    }

    Index nRows;
    Index nColumns;

private:
    MaskedImageView image_;
    Index x0_;
    Index y0_;
    KernelUncertaintyControl control_;
    CellGrid sky_;
    CellGrid noise_;
};

// Correlations of a tile, a stamp with a margin about it, with images: one row each, the tile's pixels along it.
RowMatrix through(Stamp const& stamp, KernelBasis const& images, Index tileSide) {
    Index const margin = (stamp.rows() - tileSide) / 2;
    RowMatrix result = RowMatrix::Zero(images.size(), tileSide * tileSide);
    OwnedImage<double> const pixels = stamp.cast<double>();
    for (Index n = 0; n < images.size(); ++n) {
        for (Index v = 0; v < images.height; ++v) {
            for (Index u = 0; u < images.width; ++u) {
                double const weight = images.images(n, v * images.width + u);
                for (Index y = 0; y < tileSide; ++y) {
                    double const* __restrict const from =
                        &pixels(y + v + margin - images.height / 2, u + margin - images.width / 2);
                    double* __restrict const to = &result(n, y * tileSide);
                    for (Index x = 0; x < tileSide; ++x) {
                        to[x] += weight * from[x];
                    }
                }
            }
        }
    }
    return result;
}

// The independent ways in which a kernel may be wrong, judged by what they do to examples of the image's light: a
// kernel may err wildly at frequencies that no source has.
class KernelErrors {
public:
    KernelErrors(LinearCombinationKernel const& kernel, Eigen::MatrixXd const& covariance,
                 LinearCombinationKernel const* correction, std::vector<Stamp> const& examples,
                 KernelUncertaintyControl const& control, Execution const& execution)
        : kernel_(kernel), covariance_(covariance), correction_(correction), control_(control) {
        Index const area = control.tileSide * control.tileSide;
        Index const n = kernel.basis.size();
        Eigen::MatrixXd all(area * static_cast<Index>(examples.size()), n);
        peaks_.resize(examples.size());
        parallelFor(static_cast<Index>(examples.size()), execution, [&](Index i, int) {
            Stamp const& stamp = examples[static_cast<std::size_t>(i)];
            Eigen::MatrixXd const seen =
                through(stamp, kernel.basis, control.tileSide).transpose() / stamp.cast<double>().matrix().norm();
            all.middleRows(i * area, area) = seen;
            // Where much of anything comes through, the largest error is found.
            Eigen::VectorXd const power = seen.rowwise().squaredNorm();
            std::vector<Index> order(static_cast<std::size_t>(area));
            std::iota(order.begin(), order.end(), Index{0});
            std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return power[a] > power[b]; });
            order.resize(static_cast<std::size_t>(std::min(area, control.nPeaks)));
            peaks_[static_cast<std::size_t>(i)] = seen(order, Eigen::all);
        });
        Eigen::HouseholderQR<Eigen::MatrixXd> const decomposition(all);
        triangle_ = decomposition.matrixQR().topRows(std::min(all.rows(), n)).triangularView<Eigen::Upper>();
    }

    // Covariance (n, n) of the coefficients at a place.
    [[nodiscard]] Eigen::MatrixXd covarianceAt(Place const& place) const {
        Eigen::VectorXd const terms = kernel_.spatial.evaluate(place.x, place.y);
        Index const p = terms.size();
        Index const n = kernel_.basis.size();
        Eigen::MatrixXd result(n, n);
        for (Index i = 0; i < n; ++i) {
            for (Index j = 0; j < n; ++j) {
                result(i, j) = terms.dot(covariance_.block(i * p, j * p, p, p) * terms);
            }
        }
        return result;
    }

    // The largest variance of a source per sum of its squared light. It is that of the usual source, on the safe side;
    // those with a hole in the middle for being saturated, where more may come through, are bright enough to be found
    // all the same.
    [[nodiscard]] double perLight(Place const& place) const {
        Eigen::MatrixXd const covariance = covarianceAt(place);
        std::vector<double> largest;
        for (Eigen::MatrixXd const& peaks : peaks_) {
            largest.push_back((peaks * covariance).cwiseProduct(peaks).rowwise().sum().maxCoeff());
        }
        std::vector<double> scratch;
        double const typical = control_.safety * quantileOf<double>(largest, 0.5, scratch);
        // No frequency gains more than the weights together.
        double const gain = correction_ == nullptr ? 1.0 : kernelImage(*correction_, place.x, place.y).abs().sum();
        return gain * gain * typical;
    }

    // Images whose correlations with the light, squared, add up to the variance. With the eigenvectors e and values of
    // R C R^T, R^T R the products of what the basis makes of the examples, the coefficients are C R^T e / sqrt(value);
    // all of them together give C.
    [[nodiscard]] KernelBasis imagesAt(Place const& place) const {
        Eigen::MatrixXd const half = covarianceAt(place) * triangle_.transpose();
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(triangle_ * half);
        Eigen::ArrayXd const values = solver.eigenvalues().array().max(0.0);
        Index const n = values.size();
        // In ascending order: from the last one on as many as hold all but little.
        double sum = 0.0;
        Index count = 0;
        while (count < n && (count == 0 || sum < (1.0 - control_.lostVariance) * values.sum())) {
            sum += values[n - 1 - count];
            ++count;
        }
        Eigen::VectorXd const scale =
            values.tail(count).max(std::numeric_limits<double>::min()).sqrt().inverse().matrix();
        Eigen::MatrixXd const coefficients = half * solver.eigenvectors().rightCols(count) * scale.asDiagonal();
        KernelBasis images = kernel_.basis;
        images.images = coefficients.transpose() * kernel_.basis.images;
        if (correction_ == nullptr) {
            return images;
        }
        std::vector<double> const x{place.x};
        std::vector<double> const y{place.y};
        return composed(images, kernelImages(*correction_, x, y));
    }

private:
    LinearCombinationKernel const& kernel_;
    Eigen::MatrixXd const& covariance_;
    LinearCombinationKernel const* correction_;
    KernelUncertaintyControl control_;
    Eigen::MatrixXd triangle_;            // (n, n) at most
    std::vector<Eigen::MatrixXd> peaks_;  // (pixels, n) for each example
};

// The least positive value, infinite without one.
double leastPositive(ConstImageView<float> const& plane, Index top, Index left, Index side) {
    double least = std::numeric_limits<double>::infinity();
    for (Index y = top; y < std::min(top + side, plane.rows()); ++y) {
        for (Index x = left; x < std::min(left + side, plane.cols()); ++x) {
            auto const value = static_cast<double>(plane(y, x));
            least = value > 0.0 && value < least ? value : least;
        }
    }
    return least;
}

}  // namespace

OwnedImage<float> kernelUncertainty(MaskedImageView const& convolved, ConstImageView<float> const& variance,
                                    LinearCombinationKernel const& kernel, Eigen::MatrixXd const& covariance,
                                    LinearCombinationKernel const* correction, Index x0, Index y0,
                                    KernelUncertaintyControl const& control, Execution const& execution) {
    Index const height = convolved.image.rows();
    Index const width = convolved.image.cols();
    Index const nParameters = kernel.basis.size() * kernel.spatial.size();
    if (variance.rows() != height || variance.cols() != width || covariance.rows() != nParameters ||
        covariance.cols() != nParameters || control.tileSide % control.blockSide != 0) {
        throw std::invalid_argument(
            "image and variance, kernel and covariance, or tile and block do not belong together");
    }
    Index const side = control.tileSide;
    Index const sides = std::max(kernel.basis.height, kernel.basis.width) +
                        (correction == nullptr ? 0 : std::max(correction->basis.height, correction->basis.width) - 1);
    Index const half = sides / 2;
    Tiles const tiles(convolved, x0, y0, control, execution);
    OwnedImage<double> const blocks = tiles.brightLight(execution);
    Index const nBlocks = side / control.blockSide;
    auto const lightNear = [&](Index tile, Index reach) {
        Index const top = std::max<Index>(0, tile / tiles.nColumns * nBlocks - reach);
        Index const left = std::max<Index>(0, tile % tiles.nColumns * nBlocks - reach);
        Index const bottom = std::min(blocks.rows(), (tile / tiles.nColumns + 1) * nBlocks + reach);
        Index const right = std::min(blocks.cols(), (tile % tiles.nColumns + 1) * nBlocks + reach);
        return blocks.block(top, left, bottom - top, right - left).sum();
    };
    Index const nTiles = tiles.nRows * tiles.nColumns;
    std::vector<std::pair<double, Index>> brightest;
    for (Index tile = 0; tile < nTiles; ++tile) {
        double const light = lightNear(tile, 0);
        if (light > 0.0) {
            brightest.emplace_back(-light, tile);
        }
    }
    std::sort(brightest.begin(), brightest.end());
    brightest.resize(std::min(brightest.size(), static_cast<std::size_t>(control.nExamples)));
    OwnedImage<float> plane = OwnedImage<float>::Zero(height, width);
    if (brightest.empty()) {
        return plane;
    }
    std::vector<Stamp> examples;
    for (auto const& [light, tile] : brightest) {
        examples.push_back(tiles.stampOf(tile / tiles.nColumns, tile % tiles.nColumns, half));
    }
    KernelErrors const errors(kernel, covariance, correction, examples, control, execution);
    double const squaredDivisor = control.divisor * control.divisor;
    parallelFor(nTiles, execution, [&](Index tile, int) {
        double const near = lightNear(tile, (half + control.blockSide - 1) / control.blockSide);
        Index const row = tile / tiles.nColumns;
        Index const column = tile % tiles.nColumns;
        Place const place = tiles.centreOf(row, column);
        double const least = leastPositive(variance, row * side, column * side, side) * squaredDivisor;
        if (!(near > 0.0 && errors.perLight(place) * near > control.minShare * least)) {
            return;
        }
        RowMatrix const seen = through(tiles.stampOf(row, column, half), errors.imagesAt(place), side);
        Eigen::RowVectorXd const sum = seen.colwise().squaredNorm() / squaredDivisor;
        Index const rows = std::min(side, height - row * side);
        Index const columns = std::min(side, width - column * side);
        for (Index y = 0; y < rows; ++y) {
            plane.row(row * side + y).segment(column * side, columns) =
                sum.segment(y * side, columns).cast<float>().array();
        }
    });
    return plane;
}

}  // namespace psfmatch
