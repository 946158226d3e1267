// One line that may be a streak, laid on the pixels themselves: where exactly it lies, how far it goes, how wide it is,
// and whether it is one.
#pragma once

#include <optional>

#include "sources/StreakStrip.h"

namespace psfmatch::detail {

// Of a line found on bins of `slack` pixels; none if it is no streak.
[[nodiscard]] std::optional<Streak> measureStreak(Course const& found, double slack, StreakImages const& images,
                                                  StreakControl const& control, StreakField const& field);

}  // namespace psfmatch::detail
