#include "psfmatch/kernel/KernelBasis.h"

#include <Eigen/SVD>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

// The first image carries the kernel's sum; any other Gaussian may be left out by a degree of -1.
int leastDegree(std::size_t gaussian) {
    return gaussian == 0 ? 0 : -1;
}

using Eigen::MatrixXd;
using Eigen::RowVectorXd;
using Eigen::VectorXd;

// Largest part of an image's norm that separate() may lose; sums over images then agree to 1e-12 as well.
constexpr double separabilityTolerance = 1e-12;

Eigen::Map<RowMatrix const> imageOf(KernelBasis const& basis, Index i) {
    return {basis.images.row(i).data(), basis.height, basis.width};
}

struct RankOne {
    VectorXd column;  // carries the scale
    RowVectorXd row;  // unit norm, its largest element positive, so that equal factors compare equal
    double residual;  // norm of what the product misses
};

RankOne rankOne(MatrixXd const& image) {
    Eigen::JacobiSVD<MatrixXd> const svd(image, Eigen::ComputeThinU | Eigen::ComputeThinV);
    VectorXd const& values = svd.singularValues();
    RankOne result{svd.matrixU().col(0) * values[0], svd.matrixV().col(0).transpose(),
                   values.tail(values.size() - 1).norm()};
    Index largest = 0;
    // A shade in favour of earlier elements keeps the choice stable for (anti)symmetric factors.
    (result.row.cwiseAbs().array() * RowVectorXd::LinSpaced(result.row.size(), 1.0, 1.0 - 1e-6).array())
        .maxCoeff(&largest);
    if (result.row[largest] < 0.0) {
        result.row = -result.row;
        result.column = -result.column;
    }
    return result;
}

// The multiple t of `first` (= column x row) for which image - t first has rank one, if the image has rank two.
// In the two leading singular directions the determinant of (S - t a b^T) is linear in t.
std::optional<double> weightOfFirst(MatrixXd const& image, RankOne const& first) {
    Eigen::JacobiSVD<MatrixXd> const svd(image, Eigen::ComputeThinU | Eigen::ComputeThinV);
    if (svd.singularValues().size() < 2) {
        return std::nullopt;
    }
    Eigen::Vector2d const a = svd.matrixU().leftCols<2>().transpose() * first.column;
    Eigen::Vector2d const b = svd.matrixV().leftCols<2>().transpose() * first.row.transpose();
    Eigen::Array2d const s = svd.singularValues().head<2>();
    double const slope = a[0] * b[0] / s[0] + a[1] * b[1] / s[1];
    if (!std::isfinite(slope) || slope == 0.0) {
        return std::nullopt;
    }
    return 1.0 / slope;
}

// Gaussian times polynomials of degree 0 to `degree`, one per column; the first sums to 1. Hermite functions by
// their recurrence, h_{n+1} = sqrt(2 / (n + 1)) t h_n - sqrt(n / (n + 1)) h_{n-1} with t = x / sigma.
Eigen::ArrayXXd profiles(Eigen::ArrayXd const& offset, double sigma, int degree, Polynomials polynomials) {
    Eigen::ArrayXXd result(offset.size(), degree + 1);
    result.col(0) = (-0.5 * (offset / sigma).square()).exp();
    result.col(0) /= result.col(0).sum();
    Eigen::ArrayXd const unit = offset / offset.maxCoeff();
    for (int n = 0; n < degree; ++n) {
        if (polynomials == Polynomials::monomials) {
            result.col(n + 1) = result.col(0) * unit.pow(n + 1);
            continue;
        }
        result.col(n + 1) = std::sqrt(2.0 / (n + 1)) * offset / sigma * result.col(n);
        if (n > 0) {
            result.col(n + 1) -= std::sqrt(n / (n + 1.0)) * result.col(n - 1);
        }
    }
    return result;
}

}  // namespace

void validate(KernelBasis const& basis) {
    if (basis.size() < 1 || basis.height < 1 || basis.width < 1) {
        throw std::invalid_argument("a kernel basis needs at least one image of at least 1x1 pixel");
    }
    if (basis.height % 2 == 0 || basis.width % 2 == 0) {
        throw std::invalid_argument("kernel sides must be odd so that a kernel has a middle pixel, not " +
                                    std::to_string(basis.height) + "x" + std::to_string(basis.width));
    }
    if (basis.images.cols() != basis.height * basis.width) {
        throw std::invalid_argument("basis images hold " + std::to_string(basis.images.cols()) + " pixels, not " +
                                    std::to_string(basis.height) + "x" + std::to_string(basis.width));
    }
    if (!basis.images.allFinite()) {
        throw std::invalid_argument("a kernel basis must not hold NaN or infinity");
    }
}

KernelBasis makeAlardLuptonBasis(Index halfWidth, std::vector<double> const& sigmas, std::vector<int> const& degrees,
                                 Polynomials polynomials) {
    if (halfWidth < 1) {
        throw std::invalid_argument("half width of the kernel is " + std::to_string(halfWidth) +
                                    " pixels, must be at least 1");
    }
    if (sigmas.empty() || sigmas.size() != degrees.size()) {
        throw std::invalid_argument(std::to_string(sigmas.size()) + " sigmas for " + std::to_string(degrees.size()) +
                                    " degrees; each Gaussian needs one of both");
    }
    Index count = 0;
    for (std::size_t g = 0; g < sigmas.size(); ++g) {
        if (!(sigmas[g] > 0.0) || !std::isfinite(sigmas[g]) || degrees[g] < leastDegree(g)) {
            throw std::invalid_argument("Gaussian " + std::to_string(g) + " has sigma " + std::to_string(sigmas[g]) +
                                        " px and degree " + std::to_string(degrees[g]) +
                                        "; need sigma > 0 and degree >= " + std::to_string(leastDegree(g)));
        }
        count += (degrees[g] + 1) * (degrees[g] + 2) / 2;
    }
    Index const side = 2 * halfWidth + 1;
    KernelBasis basis{RowMatrix(count, side * side), side, side};
    Eigen::ArrayXd const offset =
        Eigen::ArrayXd::LinSpaced(side, -static_cast<double>(halfWidth), static_cast<double>(halfWidth));
    Index next = 0;
    for (std::size_t g = 0; g < sigmas.size(); ++g) {
        if (degrees[g] < 0) {
            continue;
        }
        Eigen::ArrayXXd const along = profiles(offset, sigmas[g], degrees[g], polynomials);
        for (int degree = 0; degree <= degrees[g]; ++degree) {
            for (int yPower = 0; yPower <= degree; ++yPower) {
                Eigen::Map<RowMatrix>(basis.images.row(next).data(), side, side) =
                    along.col(yPower).matrix() * along.col(degree - yPower).matrix().transpose();
                ++next;
            }
        }
    }
    return basis;
}

std::vector<Index> alardLuptonImages(std::vector<int> const& degrees, std::vector<int> const& within) {
    if (degrees.size() != within.size()) {
        throw std::invalid_argument(std::to_string(degrees.size()) + " degrees among those of " +
                                    std::to_string(within.size()) + " Gaussians");
    }
    std::vector<Index> chosen;
    Index first = 0;
    for (std::size_t g = 0; g < degrees.size(); ++g) {
        if (degrees[g] < leastDegree(g) || degrees[g] > within[g]) {
            throw std::invalid_argument("degree " + std::to_string(degrees[g]) + " of Gaussian " + std::to_string(g) +
                                        " is not between " + std::to_string(leastDegree(g)) + " and " +
                                        std::to_string(within[g]));
        }
        for (Index k = 0; k < (degrees[g] + 1) * (degrees[g] + 2) / 2; ++k) {
            chosen.push_back(first + k);
        }
        first += (within[g] + 1) * (within[g] + 2) / 2;
    }
    return chosen;
}

KernelBasis makeDeltaFunctionBasis(Index width, Index height) {
    if (width < 1 || height < 1) {
        throw std::invalid_argument("a delta-function basis of " + std::to_string(width) + "x" +
                                    std::to_string(height) + " pixels; both sides must be at least 1");
    }
    return {RowMatrix::Identity(width * height, width * height), height, width};
}

std::optional<std::vector<Index>> deltaPixels(KernelBasis const& basis) {
    std::vector<Index> pixels;
    for (Index i = 0; i < basis.size(); ++i) {
        auto const image = basis.images.row(i);
        Index pixel = 0;
        if (image.maxCoeff(&pixel) != 1.0 || (image.array() != 0.0).count() != 1) {
            return std::nullopt;
        }
        pixels.push_back(pixel);
    }
    return pixels;
}

KernelBasis renormalize(KernelBasis basis) {
    if (basis.size() == 0) {
        return basis;
    }
    double const firstSum = basis.images.row(0).sum();
    if (firstSum == 0.0) {
        throw NumericalError("the first basis image sums to zero and cannot carry the flux ratio");
    }
    basis.images.row(0) /= firstSum;
    // The threshold is the float epsilon although pixels are doubles: smaller sums are rounding (spec 2.3).
    constexpr double negligible = std::numeric_limits<float>::epsilon();
    // What taking the first image off one of its multiples leaves, relative to the first image.
    constexpr double roundingLevel = 1e-14;
    for (Index i = 1; i < basis.size(); ++i) {
        double const sum = basis.images.row(i).sum();
        if (std::abs(sum) > negligible) {
            basis.images.row(i) = basis.images.row(i) / sum - basis.images.row(0);
            if (basis.images.row(i).norm() <= roundingLevel * basis.images.row(0).norm()) {
                throw NumericalError("basis image " + std::to_string(i) +
                                     " is a multiple of the first one: the basis holds it twice");
            }
        }
        double const norm = basis.images.row(i).norm();
        if (norm == 0.0) {
            throw NumericalError("basis image " + std::to_string(i) + " is zero everywhere");
        }
        basis.images.row(i) /= norm;
    }
    return basis;
}

std::optional<SeparableBasis> separate(KernelBasis const& basis) {
    validate(basis);
    RankOne const first = rankOne(imageOf(basis, 0));
    SeparableBasis result;
    result.columnFactors.resize(basis.size(), basis.height);
    result.firstImageWeight = VectorXd::Zero(basis.size());
    std::vector<RowVectorXd> distinctRows;
    for (Index i = 0; i < basis.size(); ++i) {
        MatrixXd const image = imageOf(basis, i);
        double const allowed = separabilityTolerance * image.norm();
        RankOne factors = rankOne(image);
        if (factors.residual > allowed) {
            auto const weight = i == 0 ? std::nullopt : weightOfFirst(image, first);
            if (!weight) {
                return std::nullopt;
            }
            factors = rankOne(image - *weight * (first.column * first.row));
            // Rounding grows with the multiple of the first image that was taken off.
            if (factors.residual > allowed + separabilityTolerance * std::abs(*weight) * first.column.norm()) {
                return std::nullopt;
            }
            result.firstImageWeight[i] = *weight;
        }
        result.columnFactors.row(i) = factors.column.transpose();
        std::size_t match = 0;
        while (match < distinctRows.size() &&
               (distinctRows[match] - factors.row).norm() > 10.0 * separabilityTolerance) {
            ++match;
        }
        if (match == distinctRows.size()) {
            distinctRows.push_back(factors.row);
        }
        result.rowOf.push_back(static_cast<Index>(match));
    }
    result.rowFactors.resize(static_cast<Index>(distinctRows.size()), basis.width);
    for (std::size_t r = 0; r < distinctRows.size(); ++r) {
        result.rowFactors.row(static_cast<Index>(r)) = distinctRows[r];
    }
    return result;
}

KernelBasis composed(KernelBasis const& first, KernelBasis const& second, Execution const& execution) {
    if (second.size() != first.size() && second.size() != 1) {
        throw std::invalid_argument(std::to_string(first.size()) + " images cannot be convolved with " +
                                    std::to_string(second.size()));
    }
    KernelBasis result;
    result.height = first.height + second.height - 1;
    result.width = first.width + second.width - 1;
    result.images = RowMatrix::Zero(first.size(), result.height * result.width);
    parallelForBrief(first.size(), execution, [&](Index n, int) {
        double const* const factors = first.images.row(n).data();
        double const* const images = second.images.row(second.size() == 1 ? 0 : n).data();
        for (Index pixel = 0; pixel < first.images.cols(); ++pixel) {
            Index const top = pixel / first.width;
            Index const left = pixel % first.width;
            for (Index y = 0; y < second.height; ++y) {
                double const* __restrict const from = images + y * second.width;
                double* __restrict const to = result.images.row(n).data() + (top + y) * result.width + left;
                for (Index x = 0; x < second.width; ++x) {
                    to[x] += factors[pixel] * from[x];
                }
            }
        }
    });
    return result;
}

}  // namespace psfmatch
