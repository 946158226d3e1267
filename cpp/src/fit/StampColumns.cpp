#include "psfmatch/fit/StampColumns.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace psfmatch {

namespace {

// What sharpens by a Gaussian, exp(+ s^2 w^2 / 2) in the frequencies w that images have, and its first two derivatives
// by its position; rows.
Eigen::Matrix<double, 3, Eigen::Dynamic> sharpProfiles(double sigma, Index half) {
    constexpr int nSteps = 400;
    // rad / pixel: beyond it the template's noise would be multiplied by more than 8.
    double const cut = std::min(2.4, std::sqrt(2.0 * std::log(8.0)) / sigma);
    Eigen::Matrix<double, 3, Eigen::Dynamic> rows = Eigen::Matrix<double, 3, Eigen::Dynamic>::Zero(3, 2 * half + 1);
    for (int step = 0; step < nSteps; ++step) {
        double const w = (step + 0.5) * std::numbers::pi / nSteps;
        double const power = std::exp(0.5 * sigma * sigma * w * w - std::pow(w / cut, 8));
        for (Index i = -half; i <= half; ++i) {
            double const phase = w * static_cast<double>(i);
            rows.col(i + half) +=
                power * Eigen::Vector3d(std::cos(phase), w * std::sin(phase), -w * w * std::cos(phase));
        }
    }
    rows /= rows.row(0).sum();
    return rows;
}

// A Gaussian over whole pixels from -half to half, and its first two derivatives by its position; rows.
Eigen::Matrix<double, 3, Eigen::Dynamic> profiles(double sigma, Index half) {
    if (sigma < 0.0) {
        return sharpProfiles(-sigma, half);
    }
    auto const cumulative = [&](double x) { return 0.5 * std::erf(x / (sigma * std::numbers::sqrt2)); };
    auto const density = [&](double x) {
        return std::exp(-0.5 * x * x / (sigma * sigma)) / (sigma * std::sqrt(2.0 * std::numbers::pi));
    };
    Eigen::Matrix<double, 3, Eigen::Dynamic> rows(3, 2 * half + 1);
    for (Index i = -half; i <= half; ++i) {
        double const low = static_cast<double>(i) - 0.5;
        double const high = low + 1.0;
        rows(0, i + half) = cumulative(high) - cumulative(low);
        rows(1, i + half) = density(low) - density(high);
        rows(2, i + half) = (low * density(low) - high * density(high)) / (sigma * sigma);
    }
    rows /= rows.row(0).sum();
    return rows;
}

OwnedImage<double> padded(OwnedImage<double> const& image, Index half) {
    OwnedImage<double> wide(image.rows() + 2 * half, image.cols() + 2 * half);
    for (Index y = 0; y < wide.rows(); ++y) {
        Index const from = std::clamp<Index>(y - half, 0, image.rows() - 1);
        wide.row(y).segment(half, image.cols()) = image.row(from);
        wide.row(y).head(half).setConstant(image(from, 0));
        wide.row(y).tail(half).setConstant(image(from, image.cols() - 1));
    }
    return wide;
}

// Convolution along x and y of an image that is wider by half a profile on each side.
OwnedImage<double> acrossRows(OwnedImage<double> const& wide, Eigen::VectorXd const& profile) {
    Index const n = profile.size();
    OwnedImage<double> result = OwnedImage<double>::Zero(wide.rows(), wide.cols() - n + 1);
    for (Index i = 0; i < n; ++i) {
        result += profile(n - 1 - i) * wide.middleCols(i, result.cols());
    }
    return result;
}

OwnedImage<double> alongColumns(OwnedImage<double> const& wide, Eigen::VectorXd const& profile) {
    Index const n = profile.size();
    OwnedImage<double> result = OwnedImage<double>::Zero(wide.rows() - n + 1, wide.cols());
    for (Index i = 0; i < n; ++i) {
        result += profile(n - 1 - i) * wide.middleRows(i, result.rows());
    }
    return result;
}

using Column = Eigen::Map<Eigen::VectorXd const>;

}  // namespace

StampColumns stampColumns(OwnedImage<double> const& science, OwnedImage<double> const& reference,
                          StampColumnsControl const& control) {
    if (!haveOneShape(science, reference) || science.size() == 0) {
        throw std::invalid_argument("stamps differ in shape or are empty");
    }
    StampColumns columns;
    columns.height = science.rows();
    columns.width = science.cols();
    columns.widths = control.widths;
    Index const half = columns.halfWidth = control.halfWidth;
    Index const side = 2 * half + 1;
    for (Index y = -half; y <= half; ++y) {
        for (Index x = -half; x <= half; ++x) {
            if (static_cast<double>(x * x + y * y) <= control.deviationRadius * control.deviationRadius) {
                columns.places.push_back({x, y});
            }
        }
    }
    columns.wide = padded(reference, half);
    auto const& wide = columns.wide;
    columns.values.resize(science.size(), columns.size());
    columns.kernels = RowMatrix::Zero(columns.plane(), side * side);
    for (Index i = 0; i < columns.nDeviation(); ++i) {
        auto const [dx, dy] = columns.places[static_cast<std::size_t>(i)];
        OwnedImage<double> const shifted = wide.block(half - dy, half - dx, science.rows(), science.cols());
        columns.values.col(i) = Column(shifted.data(), shifted.size());
        columns.kernels(i, (half + dy) * side + half + dx) = 1.0;
    }
    // Derivatives along x and y of each column, and its factor: half of the second ones.
    static constexpr std::array<std::array<int, 2>, StampColumns::perWidth> orders{
        {{0, 0}, {1, 0}, {0, 1}, {2, 0}, {1, 1}, {0, 2}}};
    static constexpr std::array<double, StampColumns::perWidth> factors{1.0, 1.0, 1.0, 0.5, 1.0, 0.5};
    for (Index w = 0; w < static_cast<Index>(control.widths.size()); ++w) {
        auto const rows = profiles(control.widths[static_cast<std::size_t>(w)], half);
        columns.peaks.push_back(rows.row(0).maxCoeff() * rows.row(0).maxCoeff());
        std::array<OwnedImage<double>, 3> across;
        for (int order = 0; order < 3; ++order) {
            across[static_cast<std::size_t>(order)] = acrossRows(wide, rows.row(order));
        }
        for (Index k = 0; k < StampColumns::perWidth; ++k) {
            auto const [orderX, orderY] = orders[static_cast<std::size_t>(k)];
            double const factor = factors[static_cast<std::size_t>(k)];
            OwnedImage<double> const column =
                factor * alongColumns(across[static_cast<std::size_t>(orderX)], rows.row(orderY));
            Index const at = columns.firstOf(w) + k;
            columns.values.col(at) = Column(column.data(), column.size());
            RowMatrix const kernel = factor * rows.row(orderY).transpose() * rows.row(orderX);
            columns.kernels.row(at) = Column(kernel.data(), kernel.size()).transpose();
        }
    }
    for (Index y = 0; y < science.rows(); ++y) {
        for (Index x = 0; x < science.cols(); ++x) {
            auto row = columns.values.row(y * science.cols() + x);
            auto const along = [](Index i, Index n) {
                return n > 1 ? 2.0 * static_cast<double>(i) / static_cast<double>(n - 1) - 1.0 : 0.0;
            };
            row(columns.plane()) = 1.0;
            row(columns.plane() + 1) = along(x, science.cols());
            row(columns.plane() + 2) = along(y, science.rows());
            row(columns.science()) = science(y, x);
        }
    }
    return columns;
}

OwnedImage<double> convolvedStamp(OwnedImage<double> const& image, OwnedImage<double> const& kernel) {
    Index const half = std::max(kernel.rows(), kernel.cols()) / 2;
    auto const wide = padded(image, half);
    OwnedImage<double> result = OwnedImage<double>::Zero(image.rows(), image.cols());
    for (Index y = 0; y < kernel.rows(); ++y) {
        for (Index x = 0; x < kernel.cols(); ++x) {
            if (kernel(y, x) != 0.0) {
                result += kernel(y, x) * wide.block(half - (y - kernel.rows() / 2), half - (x - kernel.cols() / 2),
                                                    image.rows(), image.cols());
            }
        }
    }
    return result;
}

OwnedImage<double> smoothedStamp(OwnedImage<double> const& image, double sigma) {
    auto const half = static_cast<Index>(std::ceil(3.5 * sigma));
    Eigen::VectorXd const profile = profiles(sigma, half).row(0);
    OwnedImage<double> wide = OwnedImage<double>::Zero(image.rows() + 2 * half, image.cols() + 2 * half);
    wide.block(half, half, image.rows(), image.cols()) = image;
    return alongColumns(acrossRows(wide, profile), profile);
}

}  // namespace psfmatch
