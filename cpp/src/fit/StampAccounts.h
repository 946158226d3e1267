// The accounts of a stamp's middle, each fitted with its own rejections.
#pragma once

#include <vector>

#include "fit/StampAttempt.h"

namespace psfmatch {

// Pixels where the flux of the middle is summed.
[[nodiscard]] std::vector<Index> middleDisc(StampGround const& ground);

// What an account leaves out from the beginning.
[[nodiscard]] std::vector<StampBlob> middleBlobs(StampGround const& ground, StampAccount account);

// Where sources are brightest, an alert's middle left aside.
[[nodiscard]] std::vector<StampBlob> brightSources(StampGround const& ground, Eigen::VectorXd const& light);

// Every account once, best first; those that are not possible have a score of minus infinity. Where the best had to
// reject something, a thorough search tries each again without the brightest sources in turn.
[[nodiscard]] std::vector<StampTry> bestAccounts(StampGround const& ground, StampTry const& base, bool isThorough);

}  // namespace psfmatch
