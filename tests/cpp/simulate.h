// Stamps of stars and references by definition for the tests of the kernel fits.
#pragma once

#include <Eigen/QR>
#include <cmath>
#include <random>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/fit/KernelCandidateFit.h"

namespace simulate {

using convolveReference::Image;
using convolveReference::MaskedImage;
using convolveReference::view;
using psfmatch::Index;
using psfmatch::KernelBasis;
using psfmatch::MaskPixel;
using psfmatch::RowMatrix;

// Sum over the kernel's pixels of K(v, u) image(y + v, x + u), at the pixels whose footprint lies inside:
// (height - kernelHeight + 1, width - kernelWidth + 1)
template <typename Pixel>
Image<double> correlate(Image<Pixel> const& image, Image<double> const& kernel) {
    Image<double> sums = Image<double>::Zero(image.rows() - kernel.rows() + 1, image.cols() - kernel.cols() + 1);
    for (Index y = 0; y < sums.rows(); ++y) {
        for (Index x = 0; x < sums.cols(); ++x) {
            for (Index v = 0; v < kernel.rows(); ++v) {
                for (Index u = 0; u < kernel.cols(); ++u) {
                    sums(y, x) += kernel(v, u) * static_cast<double>(image(y + v, x + u));
                }
            }
        }
    }
    return sums;
}

inline Image<double> imageOf(KernelBasis const& basis, Index i) {
    return Eigen::Map<Image<double> const>(basis.images.row(i).data(), basis.height, basis.width);
}

inline Image<double> combine(KernelBasis const& basis, Eigen::VectorXd const& coefficients) {
    Image<double> sum = Image<double>::Zero(basis.height, basis.width);
    for (Index i = 0; i < basis.size(); ++i) {
        sum += coefficients[i] * imageOf(basis, i);
    }
    return sum;
}

// One pixel of 1 an image, row by row.
inline KernelBasis deltaBasis(Index height, Index width) {
    return {RowMatrix::Identity(height * width, height * width), height, width};
}

// Nine Alard-Lupton images of 9x9 pixels.
inline KernelBasis smallBasis() {
    return psfmatch::renormalize(psfmatch::makeAlardLuptonBasis(4, {0.9, 1.8}, {2, 1}));
}

inline KernelBasis randomBasis(Index n, Index height, Index width, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    KernelBasis basis{RowMatrix(n, height * width), height, width};
    for (Index i = 0; i < basis.images.size(); ++i) {
        basis.images(i) = uniform(random);
    }
    return basis;
}

// A Gaussian of the given total about the middle pixel plus (xOffset, yOffset).
inline Image<double> gaussian(Index height, Index width, double sigma, double total, double xOffset = 0.0,
                              double yOffset = 0.0) {
    Image<double> image(height, width);
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            double const dx = static_cast<double>(x - width / 2) - xOffset;
            double const dy = static_cast<double>(y - height / 2) - yOffset;
            image(y, x) = std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma));
        }
    }
    return image * (total / image.sum());
}

struct StampPair {
    MaskedImage templateStamp;
    MaskedImage scienceStamp;
    MaskPixel templateBadBits = 1;
    MaskPixel scienceBadBits = 2;

    [[nodiscard]] psfmatch::CandidateStamp views() const {
        return {templateStamp.views(), scienceStamp.views(), templateBadBits, scienceBadBits};
    }
};

struct StarControl {
    Index height = 29;
    Index width = 31;
    double sigma = 1.3;  // of the template's star, pixels
    double flux = 2e4;
    double background = 0.0;
    double templateNoise = 3.0;
    double scienceNoise = 5.0;
};

// A star off the middle of the stamp, its science image made with the given kernel. Variances are those of the
// noise plus the star's, a count being an electron; noise 0 is an image without noise and variance. The science
// stamp's edge, where the kernel does not fit, holds background and noise only.
inline StampPair makeStar(Image<double> const& kernel, StarControl const& control, unsigned seed) {
    StampPair pair{{control.height, control.width}, {control.height, control.width}};
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> offset(-0.5, 0.5);
    std::normal_distribution<double> noise(0.0, 1.0);
    double const xOffset = offset(random);
    double const yOffset = offset(random);
    Image<double> const star = gaussian(control.height, control.width, control.sigma, control.flux, xOffset, yOffset);
    Image<double> matched = Image<double>::Zero(control.height, control.width);
    matched.block(kernel.rows() / 2, kernel.cols() / 2, control.height - kernel.rows() + 1,
                  control.width - kernel.cols() + 1) = correlate(star, kernel);
    auto const expose = [&](MaskedImage& stamp, Image<double> const& signal, double sky, double sigma) {
        for (Index i = 0; i < signal.size(); ++i) {
            double const variance = sigma > 0.0 ? sigma * sigma + std::abs(signal(i)) : 0.0;
            stamp.image(i) = static_cast<float>(signal(i) + sky + std::sqrt(variance) * noise(random));
            stamp.variance(i) = static_cast<float>(variance);
        }
    };
    expose(pair.templateStamp, star, 0.0, control.templateNoise);
    expose(pair.scienceStamp, matched, control.background, control.scienceNoise);
    return pair;
}

// The weighted fit by orthogonal decomposition of the design matrix: design (pixels, unknowns).
inline Eigen::VectorXd leastSquares(Eigen::MatrixXd const& design, Eigen::VectorXd const& weights,
                                    Eigen::VectorXd const& data) {
    Eigen::VectorXd const root = weights.cwiseSqrt();
    Eigen::MatrixXd const weighted = root.asDiagonal() * design;
    return weighted.colPivHouseholderQr().solve(root.cwiseProduct(data));
}

// Largest difference relative to the largest element of the second.
template <typename A, typename B>
double relativeError(A const& found, B const& expected) {
    return (found - expected).cwiseAbs().maxCoeff() / expected.cwiseAbs().maxCoeff();
}

}  // namespace simulate
