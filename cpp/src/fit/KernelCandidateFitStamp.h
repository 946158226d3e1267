// One candidate's stamps made ready to be fitted or judged: bad pixels, the fitted region, variances.
#pragma once

#include <Eigen/Core>
#include <utility>
#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/image/statistics.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

// The template without bad pixels, and per fitted pixel the data and whether it
// counts. The fitted pixels are those whose kernel footprint lies inside the stamp, row by row.
struct PreparedStamp {
    OwnedImage<float> templateImage;
    OwnedImage<float> templateVariance;
    Index width = 0;  // of the fitted region
    Index height = 0;
    Index left = 0;  // its first pixel in the stamp
    Index bottom = 0;
    std::vector<char> good;    // counts in the fit
    std::vector<char> judged;  // counts in the statistics
    Eigen::VectorXd science;   // 0 where not good
    Eigen::VectorXd scienceVariance;
    Eigen::VectorXd templateVarianceHere;  // at the same pixels, unconvolved
    OwnedImage<bool> unusable;             // of the whole stamp, like the next two
    OwnedImage<bool> templateBad;
    OwnedImage<bool> scienceBad;
    Index nGood = 0;
    Index nBad = 0;  // bad in either image themselves, not by growing
};

// Overwrites `result`, whose memory is used again.
void prepareStamp(CandidateStamp const& stamp, Index kernelHeight, Index kernelWidth,
                  CandidateFitControl const& control, PreparedStamp& result);

// Median of var_S + var_T over the usable pixels of the whole stamp; 1 if it is not positive.
[[nodiscard]] double medianVariance(CandidateStamp const& candidate, PreparedStamp const& stamp, bool leaveOutUnusable,
                                    std::vector<double>& memory);

// 1 / variance where good, else 0. A good pixel without a positive variance is a NumericalError.
[[nodiscard]] Eigen::VectorXd weightsOf(PreparedStamp const& stamp, Eigen::VectorXd const& variance);

// The plane of a stamp correlated with a kernel, at the fitted pixels, in float32: for judging residuals and
// their variance that is exact enough, and several times quicker than in float64.
[[nodiscard]] Eigen::VectorXd correlated(RowFunctions const& functions, OwnedImage<float> const& plane,
                                         OwnedImage<double> const& kernel);

// var_S + sum K^2 var_T at the fitted pixels
[[nodiscard]] Eigen::VectorXd differenceVarianceOf(RowFunctions const& functions, PreparedStamp const& stamp,
                                                   OwnedImage<double> const& kernel);

// Statistics of residual / sqrt(variance) over the judged pixels, and over those of the core among them.
[[nodiscard]] std::pair<ResidualStatistics, ResidualStatistics> judge(PreparedStamp const& stamp,
                                                                      Eigen::VectorXd const& residual,
                                                                      Eigen::VectorXd const& variance,
                                                                      Index coreRadius);

}  // namespace psfmatch::detail
