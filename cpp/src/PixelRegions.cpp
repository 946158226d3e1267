#include "psfmatch/PixelRegions.h"

#include <stdexcept>
#include <string>

#include "KernelCandidateFitEquations.h"
#include "KernelCandidateFitStamp.h"

namespace psfmatch {

namespace {

using detail::PreparedStamp;

// Every pixel its own variance, bad ones without weight.
CandidateFitControl pixelwise(CandidateFitControl control) {
    control.constantVariance = false;
    control.zeroWeightBadPixels = true;
    control.fitBackground = true;
    return control;
}

void requireOneShape(std::vector<CandidateStamp> const& stamps, Index kernelHeight, Index kernelWidth) {
    for (CandidateStamp const& stamp : stamps) {
        auto const& image = stamp.scienceStamp.image;
        auto const& first = stamps.front().scienceStamp.image;
        if (image.rows() != first.rows() || image.cols() != first.cols()) {
            throw std::invalid_argument("regions of " + std::to_string(first.cols()) + "x" +
                                        std::to_string(first.rows()) + " and " + std::to_string(image.cols()) + "x" +
                                        std::to_string(image.rows()) + " pixels: all must have one shape");
        }
        if (image.rows() < kernelHeight || image.cols() < kernelWidth) {
            throw std::invalid_argument("regions of " + std::to_string(image.cols()) + "x" +
                                        std::to_string(image.rows()) + " pixels are smaller than the kernel of " +
                                        std::to_string(kernelWidth) + "x" + std::to_string(kernelHeight));
        }
    }
}

Index fittedPixels(std::vector<CandidateStamp> const& stamps, Index kernelHeight, Index kernelWidth) {
    requireOneShape(stamps, kernelHeight, kernelWidth);
    if (stamps.empty()) {
        return 0;
    }
    auto const& image = stamps.front().scienceStamp.image;
    return (image.rows() - kernelHeight + 1) * (image.cols() - kernelWidth + 1);
}

void requireRows(Index rows, std::size_t nRegions, char const* what) {
    if (rows != static_cast<Index>(nRegions)) {
        throw std::invalid_argument(std::to_string(nRegions) + " regions and " + std::to_string(rows) + " rows of " +
                                    what);
    }
}

}  // namespace

PixelRegions readRegions(std::vector<CandidateStamp> const& stamps, Index kernelHeight, Index kernelWidth,
                         CandidateFitControl const& control, Execution const& execution) {
    Index const nPixels = fittedPixels(stamps, kernelHeight, kernelWidth);
    auto const nRegions = static_cast<Index>(stamps.size());
    CandidateFitControl const ours = pixelwise(control);
    PixelRegions regions;
    regions.science.resize(nRegions, nPixels);
    regions.scienceVariance.resize(nRegions, nPixels);
    regions.templateVariance.resize(nRegions, nPixels);
    regions.usable.resize(nRegions, nPixels);
    if (!stamps.empty()) {
        regions.height = stamps.front().scienceStamp.image.rows() - kernelHeight + 1;
        regions.width = stamps.front().scienceStamp.image.cols() - kernelWidth + 1;
    }
    std::vector<PreparedStamp> prepared(static_cast<std::size_t>(workerCount(nRegions, execution)));
    parallelFor(nRegions, execution, [&](Index k, int worker) {
        PreparedStamp& stamp = prepared[static_cast<std::size_t>(worker)];
        detail::prepareStamp(stamps[static_cast<std::size_t>(k)], kernelHeight, kernelWidth, ours, stamp);
        regions.science.row(k) = stamp.science.cast<float>().transpose();
        regions.scienceVariance.row(k) = stamp.scienceVariance.cast<float>().transpose();
        regions.templateVariance.row(k) = stamp.templateVarianceHere.cast<float>().transpose();
        for (Index i = 0; i < nPixels; ++i) {
            regions.usable(k, i) = stamp.good[static_cast<std::size_t>(i)] != 0;
        }
    });
    return regions;
}

RegionEquations makeRegionEquations(std::vector<CandidateStamp> const& stamps, PreparedBasis const& basis,
                                    RegionPlane const& weights, CandidateFitControl const& control,
                                    Execution const& execution) {
    Index const nPixels = fittedPixels(stamps, basis.basis.height, basis.basis.width);
    requireRows(weights.rows(), stamps.size(), "weights");
    if (!stamps.empty() && weights.cols() != nPixels) {
        throw std::invalid_argument(std::to_string(weights.cols()) + " weights for regions of " +
                                    std::to_string(nPixels) + " pixels");
    }
    CandidateFitControl const ours = pixelwise(control);
    detail::FitSetup const setup = detail::setupFit(basis, ours, nullptr);
    Index const m = setup.nUnknowns();
    RegionEquations result{RowMatrix(weights.rows(), m * m), RowMatrix(weights.rows(), m)};
    std::vector<detail::Workspace> workspaces(static_cast<std::size_t>(workerCount(weights.rows(), execution)));
    parallelFor(weights.rows(), execution, [&](Index k, int worker) {
        detail::Workspace& workspace = workspaces[static_cast<std::size_t>(worker)];
        detail::prepareColumns(stamps[static_cast<std::size_t>(k)], setup, workspace);
        NormalEquations const equations =
            detail::equationsOf(weights.row(k).cast<double>().matrix().transpose(), setup, workspace);
        result.matrices.row(k) = Eigen::Map<Eigen::RowVectorXd const>(equations.matrix.data(), m * m);
        result.rightHandSides.row(k) = equations.rightHandSide.transpose();
    });
    return result;
}

RegionModels convolveRegions(std::vector<CandidateStamp> const& stamps, KernelBasis const& basis,
                             RowMatrix const& coefficients, CandidateFitControl const& control,
                             Execution const& execution) {
    validate(basis);
    Index const nPixels = fittedPixels(stamps, basis.height, basis.width);
    requireRows(coefficients.rows(), stamps.size(), "coefficients");
    if (coefficients.cols() != basis.size()) {
        throw std::invalid_argument(std::to_string(coefficients.cols()) + " coefficients for " +
                                    std::to_string(basis.size()) + " basis images");
    }
    CandidateFitControl const ours = pixelwise(control);
    detail::RowFunctions const functions = detail::chooseRowFunctions(control.instructionSet);
    RegionModels models{RegionPlane(coefficients.rows(), nPixels), RegionPlane(coefficients.rows(), nPixels)};
    std::vector<PreparedStamp> prepared(static_cast<std::size_t>(workerCount(coefficients.rows(), execution)));
    parallelFor(coefficients.rows(), execution, [&](Index k, int worker) {
        PreparedStamp& stamp = prepared[static_cast<std::size_t>(worker)];
        detail::prepareStamp(stamps[static_cast<std::size_t>(k)], basis.height, basis.width, ours, stamp);
        OwnedImage<double> const kernel = detail::kernelOf(functions, basis, coefficients.row(k).data());
        models.image.row(k) =
            detail::correlated(functions, stamp.templateImage, kernel).cast<float>().transpose().array();
        OwnedImage<double> const squared = kernel.square();
        models.variance.row(k) =
            detail::correlated(functions, stamp.templateVariance, squared).cast<float>().transpose().array();
    });
    return models;
}

}  // namespace psfmatch
