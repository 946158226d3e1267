// Candidates for the tests of KernelCandidateFit, and their fit by definition: a list of equations, one a pixel. Only
// the fill of bad template pixels and the definition of bad are taken from the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/image/badPixels.h"
#include "simulate.h"

namespace fitReference {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::CandidateAssessment;
using psfmatch::CandidateFit;
using psfmatch::CandidateFitControl;
using psfmatch::ResidualStatistics;
using simulate::combine;
using simulate::correlate;
using simulate::Image;
using simulate::imageOf;
using simulate::Index;
using simulate::KernelBasis;
using simulate::leastSquares;
using simulate::makeStar;
using simulate::MaskedImage;
using simulate::MaskPixel;
using simulate::smallBasis;
using simulate::StampPair;
using simulate::StarControl;
using simulate::view;

inline CandidateFit fitOne(StampPair const& pair, psfmatch::PreparedBasis const& basis,
                           CandidateFitControl const& control = {}) {
    return fitCandidates({pair.views()}, basis, control, {}).front();
}

inline CandidateAssessment assessOne(StampPair const& pair, Image<double> const& kernel, double background,
                                     CandidateFitControl const& control) {
    return assessCandidates({pair.views()}, {kernel}, {background}, control, {}).front();
}

// The kernel that makes the science star of most tests: flux ratio 1.6, wider, lopsided.
inline VectorXd trueCoefficients() {
    VectorXd coefficients(9);
    coefficients << 1.6, 0.1, -0.05, 0.02, 0.03, -0.02, 0.8, -0.04, 0.06;
    return coefficients;
}

inline StampPair star(unsigned seed, double background = 0.0, double templateNoise = 3.0) {
    StarControl control;
    control.templateNoise = templateNoise;
    control.background = background;
    return makeStar(combine(smallBasis(), trueCoefficients()), control, seed);
}

// Masked pixels of both stamps, some in the star's wings, that hold the given value.
inline void damage(StampPair& pair, float value) {
    for (auto const& [y, x] : {std::pair<Index, Index>{3, 4}, {9, 22}, {10, 22}, {20, 9}, {17, 19}}) {
        pair.templateStamp.image(y, x) = value;
        pair.templateStamp.mask(y, x) |= pair.templateBadBits;
    }
    for (auto const& [y, x] : {std::pair<Index, Index>{6, 6}, {11, 11}, {18, 13}, {24, 5}, {5, 20}}) {
        pair.scienceStamp.image(y, x) = value;
        pair.scienceStamp.mask(y, x) |= pair.scienceBadBits;
    }
}

inline bool sameBits(CandidateFit const& a, CandidateFit const& b) {
    auto const same = [](auto const& x, auto const& y) {
        return x.size() == y.size() &&
               (x.size() == 0 ||
                std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.size()) * sizeof(double)) == 0);
    };
    return a.outcome == b.outcome && a.message == b.message && same(a.equations.matrix, b.equations.matrix) &&
           same(a.equations.rightHandSide, b.equations.rightHandSide) && same(a.coefficients, b.coefficients) &&
           a.background == b.background && a.kernelSum == b.kernelSum && a.whole.mean == b.whole.mean &&
           a.whole.rms == b.whole.rms && a.core.mean == b.core.mean && a.core.rms == b.core.rms;
}

inline CandidateFitControl ownVariances() {
    CandidateFitControl control;
    control.constantVariance = false;
    return control;
}

struct Reference {
    MatrixXd matrix;
    VectorXd rightHandSide;
    VectorXd coefficients;  // the background last
    double lostFraction = 0.0;
    ResidualStatistics whole;
    ResidualStatistics core;
};

inline ResidualStatistics statisticsOf(std::vector<double> const& chi) {
    VectorXd const values = Eigen::Map<VectorXd const>(chi.data(), static_cast<Index>(chi.size()));
    auto const n = static_cast<double>(chi.size());
    return {values.mean(), (values.array() - values.mean()).matrix().norm() / std::sqrt(n - 1.0), values.size()};
}

// Solved by orthogonal decomposition.
inline Reference fitExactly(StampPair const& pair, KernelBasis const& basis, CandidateFitControl const& control) {
    auto const bad = [](MaskedImage const& stamp, MaskPixel bits, Index y, Index x) {
        return psfmatch::isBad(stamp.image(y, x), stamp.variance(y, x), stamp.mask(y, x), bits);
    };
    auto const anyTemplateBad = [&](Index y0, Index y1, Index x0, Index x1) {
        for (Index y = std::max<Index>(0, y0); y <= std::min(y1, pair.templateStamp.mask.rows() - 1); ++y) {
            for (Index x = std::max<Index>(0, x0); x <= std::min(x1, pair.templateStamp.mask.cols() - 1); ++x) {
                if (bad(pair.templateStamp, pair.templateBadBits, y, x)) {
                    return true;
                }
            }
        }
        return false;
    };
    Index const g = control.growTemplateBad;
    auto const usable = [&](Index y, Index x) {
        return !control.zeroWeightBadPixels ||
               !(bad(pair.scienceStamp, pair.scienceBadBits, y, x) || anyTemplateBad(y - g, y + g, x - g, x + g));
    };
    MaskedImage filled = pair.templateStamp;
    if (control.zeroWeightBadPixels) {
        writeFill(psfmatch::fillBadPixels(pair.templateStamp.views(), pair.templateBadBits), view(filled.image),
                  view(filled.variance));
    }
    Image<float> const& scienceVariance = pair.scienceStamp.variance;
    Index const left = basis.width / 2;
    Index const bottom = basis.height / 2;
    Index const height = filled.image.rows() - basis.height + 1;
    Index const width = filled.image.cols() - basis.width + 1;

    std::vector<double> variances;
    for (Index y = 0; y < filled.image.rows(); ++y) {
        for (Index x = 0; x < filled.image.cols(); ++x) {
            if (usable(y, x)) {
                variances.push_back(static_cast<double>(scienceVariance(y, x)) +
                                    static_cast<double>(pair.templateStamp.variance(y, x)));
            }
        }
    }
    std::vector<std::pair<Index, Index>> pixels;  // of the fitted region
    Reference result;
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            if (usable(y + bottom, x + left)) {
                pixels.emplace_back(y, x);
            }
            if (bad(pair.scienceStamp, pair.scienceBadBits, y + bottom, x + left) ||
                bad(pair.templateStamp, pair.templateBadBits, y + bottom, x + left)) {
                result.lostFraction += 1.0 / static_cast<double>(height * width);
            }
        }
    }
    auto const count = static_cast<Index>(pixels.size());
    MatrixXd design = MatrixXd::Ones(count, basis.size() + (control.fitBackground ? 1 : 0));
    VectorXd data(count);
    VectorXd weights(count);
    for (Index i = 0; i < basis.size(); ++i) {
        Image<double> const column = correlate(filled.image, imageOf(basis, i));
        for (Index k = 0; k < count; ++k) {
            auto const& [y, x] = pixels[static_cast<std::size_t>(k)];
            design(k, i) = column(y, x);
            data[k] = static_cast<double>(pair.scienceStamp.image(y + bottom, x + left));
            double const own = static_cast<double>(scienceVariance(y + bottom, x + left)) +
                               static_cast<double>(filled.variance(y + bottom, x + left));
            weights[k] = 1.0 / (control.constantVariance ? psfmatch::median(variances) : own);
        }
    }
    VectorXd differenceVariance(count);
    for (int pass = 0; pass < (control.iterate && !control.constantVariance ? 2 : 1); ++pass) {
        if (pass == 1) {
            weights = differenceVariance.cwiseInverse();
        }
        result.matrix = design.transpose() * weights.asDiagonal() * design;
        result.rightHandSide = design.transpose() * weights.cwiseProduct(data);
        result.coefficients = leastSquares(design, weights, data);
        Image<double> const kernel = combine(basis, result.coefficients.head(basis.size()));
        Image<double> const propagated = correlate(filled.variance, kernel.square());
        for (Index k = 0; k < count; ++k) {
            auto const& [y, x] = pixels[static_cast<std::size_t>(k)];
            differenceVariance[k] = static_cast<double>(scienceVariance(y + bottom, x + left)) + propagated(y, x);
        }
    }
    VectorXd const chi = (data - design * result.coefficients).cwiseQuotient(differenceVariance.cwiseSqrt());
    std::vector<double> whole;
    std::vector<double> core;
    for (Index k = 0; k < count; ++k) {
        auto const& [y, x] = pixels[static_cast<std::size_t>(k)];
        bool const judged =
            !bad(pair.scienceStamp, pair.scienceBadBits, y + bottom, x + left) &&
            (control.zeroWeightBadPixels || !anyTemplateBad(y, y + basis.height - 1, x, x + basis.width - 1));
        if (judged) {
            whole.push_back(chi[k]);
            if (std::abs(y + bottom - filled.image.rows() / 2) <= control.coreRadius &&
                std::abs(x + left - filled.image.cols() / 2) <= control.coreRadius) {
                core.push_back(chi[k]);
            }
        }
    }
    result.whole = statisticsOf(whole);
    result.core = statisticsOf(core);
    return result;
}

}  // namespace fitReference
