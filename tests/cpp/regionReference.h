// A pair of images for the tests of the fit to regions, and what a fit is by definition, in float64.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "psfmatch/fit/RegionFit.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "simulate.h"

namespace regionReference {

using psfmatch::Index;
using psfmatch::RegionShape;
using simulate::Image;
using simulate::MaskedImage;

struct Field {
    MaskedImage templateImage;
    MaskedImage science;
    std::vector<std::int64_t> x;
    std::vector<std::int64_t> y;
    psfmatch::RegionStampControl control;
};

// Skies of 800 and 350, a star in the middle of each region, some bad pixels.
inline Field makeField(Index kernelSide, Index halfWidth = 8, double flux = 2e4, Index nAcross = 4) {
    Index const step = 2 * halfWidth + kernelSide + 2;
    Index const side = nAcross * step;
    Field field{{side, side}, {side, side}, {}, {}, {}};
    field.control.halfWidth = halfWidth;
    field.control.kernelHeight = field.control.kernelWidth = kernelSide;
    field.control.templateBadBits = 1;
    field.control.scienceBadBits = 2;
    std::mt19937 random(5);
    std::normal_distribution<double> noise(0.0, 1.0);
    Image<double> light = Image<double>::Zero(side, side);
    Image<double> wide = light;
    for (Index j = 0; j < nAcross; ++j) {
        for (Index i = 0; i < nAcross; ++i) {
            field.x.push_back(i * step + step / 2);
            field.y.push_back(j * step + step / 2);
            double const own = flux * std::exp(-0.4 * static_cast<double>(i + j));
            light.block(j * step, i * step, step, step) += simulate::gaussian(step, step, 1.3, own, 0.3, -0.2);
            wide.block(j * step, i * step, step, step) += simulate::gaussian(step, step, 1.7, 1.2 * own, 0.3, -0.2);
        }
    }
    auto const expose = [&](MaskedImage& image, Image<double> const& signal, double sky) {
        for (Index p = 0; p < signal.size(); ++p) {
            double const variance = 100.0 + signal(p);
            image.image(p) = static_cast<float>(sky + signal(p) + std::sqrt(variance) * noise(random));
            image.variance(p) = static_cast<float>(variance);
        }
    };
    expose(field.templateImage, light, 800.0);
    expose(field.science, wide, 350.0);
    for (Index n = 0; n < side * side / 400; ++n) {
        field.templateImage.mask(static_cast<Index>(random() % static_cast<unsigned>(side * side))) |= 1;
        field.science.mask(static_cast<Index>(random() % static_cast<unsigned>(side * side))) |= 2;
    }
    return field;
}

inline std::shared_ptr<psfmatch::RegionStamps const> cut(Field const& field, int nThreads = 1) {
    return std::make_shared<psfmatch::RegionStamps const>(psfmatch::readRegionStamps(
        field.templateImage.views(), field.science.views(), field.x, field.y, field.control, {nThreads}));
}

// (n + 1, fitted pixels) of region k, with the template's sky, the ones of the background last
inline Eigen::MatrixXd designOf(psfmatch::RegionStamps const& stamps, psfmatch::KernelBasis const& basis, Index k) {
    RegionShape const& shape = stamps.shape;
    Image<double> filled(shape.height + stamps.kernelHeight - 1, shape.width + stamps.kernelWidth - 1);
    for (Index y = 0; y < filled.rows(); ++y) {
        for (Index x = 0; x < filled.cols(); ++x) {
            filled(y, x) =
                static_cast<double>(stamps.templateImage(k, y * stamps.templateStride + x)) + stamps.templateSky;
        }
    }
    Eigen::MatrixXd design = Eigen::MatrixXd::Ones(basis.size() + 1, shape.nPixels());
    for (Index i = 0; i < basis.size(); ++i) {
        Image<double> const column = simulate::correlate(filled, simulate::imageOf(basis, i));
        design.row(i) = Eigen::Map<Eigen::RowVectorXd const>(column.data(), column.size());
    }
    return design;
}

// Fitted pixels of region k, without the ends of the rows.
template <typename Plane>
Eigen::VectorXd pixelsOf(RegionShape const& shape, Plane const& plane, Index k) {
    Eigen::VectorXd pixels(shape.nPixels());
    for (Index y = 0; y < shape.height; ++y) {
        for (Index x = 0; x < shape.width; ++x) {
            pixels[y * shape.width + x] = static_cast<double>(plane(k, y * shape.stride + x));
        }
    }
    return pixels;
}

}  // namespace regionReference
