// Rows of an image smoothed by the product of a profile along x and y, bad pixels filled first.
#pragma once

#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch::detail {

// Widest part of a row that is smoothed at a time: 2 r + 1 rows of it stay in the caches.
inline constexpr Index smoothedWidth = 1024;

enum class SmoothedPlane { image, variance };

// Smooths rows of a plane, or of its variance with the squared profile, one thread's scratch space within. Rows are
// fastest in ascending order.
class RowSmoother {
public:
    RowSmoother(ConstImageView<float> const& plane, FilledPixels const& filled, std::vector<double> const& profile,
                SmoothedPlane kind);

    // Chooses the columns x0 .. x0 + count - 1, count <= smoothedWidth, of the rows that follow. Neither they nor the
    // rows may be nearer to the border than the radius.
    void startColumns(Index x0, Index count);

    // sum over rows, of the columns from half a profile before the chosen ones to half a profile after them
    [[nodiscard]] float const* sumRows(Index y);

    // The smoothed pixels of the chosen columns.
    void smooth(Index y, float* result);

    // One smoothed pixel, from the result of sumRows; i counts from the first chosen column.
    [[nodiscard]] float smoothedAt(float const* sums, Index i) const;

private:
    [[nodiscard]] float const* rowOf(Index y);

    ConstImageView<float> plane_;
    FilledPixels const& filled_;
    SmoothedPlane kind_;
    Index radius_ = 0;
    Index x0_ = 0;
    Index count_ = 0;
    std::vector<float> taps_;           // from the middle outwards
    std::vector<float> copies_;         // of the rows that hold filled pixels
    std::vector<float const*> rows_;    // pointers to the first column, row y at y modulo 2 radius + 1
    std::vector<Index> numbers_;        // of those rows; -1: none
    std::vector<float const*> nearby_;  // of the rows about the one that is smoothed
    std::vector<float> sums_;
};

}  // namespace psfmatch::detail
