#include "fit/KernelCandidateFitLight.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "psfmatch/base/exceptions.h"
#include "simd/rowFunctions.h"

namespace psfmatch {

namespace {

using detail::PreparedStamp;
using Eigen::Matrix3d;
using Eigen::Vector3d;
using Eigen::VectorXd;
using Image = OwnedImage<double>;
using Counting = OwnedImage<bool>;

// Of the pixels' squares: float32 rounds them to 6e-8.
constexpr double rounding = 1e-13;

// A Gaussian of this part of the kernel's side: the template's light may lie somewhat beside that of the science image.
constexpr double sigmaOfSide = 1.0 / 6.0;

// The image less the plane that fits it best where it counts, and 0 elsewhere.
Image withoutPlane(Image const& image, Counting const& counts) {
    auto const terms = [&](Index y, Index x) {
        return Vector3d(1.0, static_cast<double>(x) - 0.5 * static_cast<double>(image.cols()),
                        static_cast<double>(y) - 0.5 * static_cast<double>(image.rows()));
    };
    double const level = counts.any() ? counts.select(image, 0.0).sum() / static_cast<double>(counts.count()) : 0.0;
    Matrix3d matrix = Matrix3d::Zero();
    Vector3d side = Vector3d::Zero();
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            if (counts(y, x)) {
                matrix += terms(y, x) * terms(y, x).transpose();
                side += (image(y, x) - level) * terms(y, x);
            }
        }
    }
    Vector3d const plane = matrix.completeOrthogonalDecomposition().solve(side);
    Image result = Image::Zero(image.rows(), image.cols());
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            if (counts(y, x)) {
                result(y, x) = image(y, x) - level - plane.dot(terms(y, x));
            }
        }
    }
    return result;
}

// Of good pixels alone: what fills the others is no light.
Image templateLight(PreparedStamp const& stamp) {
    return withoutPlane(stamp.templateImage.cast<double>(), !stamp.templateBad);
}

VectorXd gaussianOf(Index size, double sigma) {
    VectorXd values(size);
    for (Index i = 0; i < size; ++i) {
        double const distance = static_cast<double>(i - size / 2) / sigma;
        values[i] = std::exp(-0.5 * distance * distance);
    }
    return values / values.sum();
}

// Correlation with a product of two functions of one coordinate, where they lie inside the image.
Image smoothed(Image const& image, VectorXd const& rows, VectorXd const& columns) {
    Image across = Image::Zero(image.rows(), image.cols() - columns.size() + 1);
    for (Index i = 0; i < columns.size(); ++i) {
        across += columns[i] * image.middleCols(i, across.cols());
    }
    Image result = Image::Zero(across.rows() - rows.size() + 1, across.cols());
    for (Index i = 0; i < rows.size(); ++i) {
        result += rows[i] * across.middleRows(i, result.rows());
    }
    return result;
}

// The transpose of it.
Image spread(Image const& image, VectorXd const& rows, VectorXd const& columns) {
    Image down = Image::Zero(image.rows() + rows.size() - 1, image.cols());
    for (Index i = 0; i < rows.size(); ++i) {
        down.middleRows(i, image.rows()) += rows[i] * image;
    }
    Image result = Image::Zero(down.rows(), down.cols() + columns.size() - 1);
    for (Index i = 0; i < columns.size(); ++i) {
        result.middleCols(i, down.cols()) += columns[i] * down;
    }
    return result;
}

LightRatio lightRatio(PreparedStamp const& stamp, VectorXd const& rows, VectorXd const& columns) {
    Counting counts(stamp.height, stamp.width);
    Image science(stamp.height, stamp.width);
    for (Index i = 0; i < science.size(); ++i) {
        counts.data()[i] = stamp.good[static_cast<std::size_t>(i)] != 0;
        science.data()[i] = counts.data()[i] ? stamp.science[i] : 0.0;
    }
    Image const light = templateLight(stamp);
    science = withoutPlane(science, counts);
    Image const predicted = withoutPlane(smoothed(light, rows, columns), counts);
    double const square = predicted.square().sum();
    if (!(square > 0.0)) {
        return {};
    }
    double const ofTemplate = light.square().mean() * spread(science, rows, columns).square().sum();
    double const ofScience = science.square().sum() / static_cast<double>(counts.count()) * square;
    return {(predicted * science).sum() / square, std::sqrt(std::max(ofTemplate, ofScience)) / square};
}

}  // namespace

std::vector<LightRatio> lightRatios(std::vector<CandidateStamp> const& stamps, Index kernelHeight, Index kernelWidth,
                                    CandidateFitControl const& control, Execution const& execution) {
    double const sigma = sigmaOfSide * static_cast<double>(std::min(kernelHeight, kernelWidth));
    VectorXd const rows = gaussianOf(kernelHeight, sigma);
    VectorXd const columns = gaussianOf(kernelWidth, sigma);
    std::vector<LightRatio> ratios(stamps.size());
    auto const count = static_cast<Index>(stamps.size());
    std::vector<PreparedStamp> prepared(static_cast<std::size_t>(workerCount(count, execution)));
    parallelFor(count, execution, [&](Index item, int worker) {
        PreparedStamp& stamp = prepared[static_cast<std::size_t>(worker)];
        auto const i = static_cast<std::size_t>(item);
        detail::prepareStamp(stamps[i], kernelHeight, kernelWidth, control, stamp);
        ratios[i] = lightRatio(stamp, rows, columns);
    });
    return ratios;
}

bool detail::showsLight(PreparedStamp const& stamp) {
    // One pixel that is no mean of its neighbours tells, of most images the first: a plane within rounding is looked
    // for only where there is none.
    auto const& image = stamp.templateImage;
    double const limit = std::sqrt(6.0 * rounding * static_cast<double>(image.size())) * image.abs().maxCoeff();
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 1; x + 1 < image.cols(); ++x) {
            bool const isGood =
                !stamp.templateBad(y, x - 1) && !stamp.templateBad(y, x) && !stamp.templateBad(y, x + 1);
            if (isGood && std::abs(image(y, x - 1) - 2.0 * image(y, x) + image(y, x + 1)) > limit) {
                return true;
            }
        }
    }
    double const all = stamp.templateImage.cast<double>().square().sum();
    double const light = templateLight(stamp).square().sum();
    // What is not finite is told by the fit.
    return !(light <= rounding * all);
}

}  // namespace psfmatch
