#include "convolve/convolveMask.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>

namespace psfmatch::detail {

namespace {

// sum |K| is evaluated once for so many columns; between them it is bounded.
constexpr int chunkWidth = 32;

constexpr MaskPixel everything = ~MaskPixel{0};

// row[x] |= row[x + 1] | ... | row[x + width - 1]; the last width - 1 values are left unfinished.
void orAlongRow(MaskPixel* row, int count, int width) {
    int length = 1;
    for (; 2 * length <= width; length *= 2) {
        for (int x = 0; x + length < count; ++x) {
            row[x] |= row[x + length];
        }
    }
    for (int x = 0; length < width && x + width - length < count; ++x) {
        row[x] |= row[x + width - length];
    }
}

void orRows(MaskRows rows, int to, int from, int count) {
    MaskPixel* const target = rows.data + to * rows.stride;
    MaskPixel const* const source = rows.data + from * rows.stride;
    for (int x = 0; x < count; ++x) {
        target[x] |= source[x];
    }
}

void spreadRectangle(Footprint const& footprint, MaskRows input, Tile const& tile) {
    int const nRows = tile.height + footprint.height - 1;
    MaskRows const rows{input.data + footprint.v0 * input.stride + footprint.u0, input.stride};
    for (int y = 0; y < nRows; ++y) {
        orAlongRow(rows.data + y * rows.stride, tile.width + footprint.width - 1, footprint.width);
    }
    int length = 1;
    for (; 2 * length <= footprint.height; length *= 2) {
        for (int y = 0; y + length < nRows; ++y) {
            orRows(rows, y, y + length, tile.width);
        }
    }
    for (int y = 0; length < footprint.height && y < tile.height; ++y) {
        orRows(rows, y, y + footprint.height - length, tile.width);
    }
}

// Every span is covered by two runs of 2^k pixels, whose ORs along the row are made once for all k.
void spreadSpans(Footprint const& footprint, MaskRows input, int kernelHeight, int inputWidth, Tile const& tile,
                 MaskRows output, std::vector<MaskPixel>& scratch) {
    int const nLevels = std::bit_width(static_cast<unsigned>(footprint.width));
    scratch.resize(static_cast<std::size_t>(nLevels * inputWidth));
    for (int y = 0; y < tile.height + kernelHeight - 1; ++y) {
        std::copy_n(input.data + y * input.stride, inputWidth, scratch.data());
        for (int level = 1; level < nLevels; ++level) {
            MaskPixel const* const shorter = scratch.data() + (level - 1) * inputWidth;
            MaskPixel* const longer = scratch.data() + level * inputWidth;
            int const half = 1 << (level - 1);
            for (int x = 0; x < inputWidth; ++x) {
                longer[x] = shorter[x] | (x + half < inputWidth ? shorter[x + half] : 0);
            }
        }
        for (Footprint::Span const& span : footprint.spans) {
            int const row = y - span.v;
            if (row < 0 || row >= tile.height) {
                continue;
            }
            int const level = std::bit_width(static_cast<unsigned>(span.width)) - 1;
            MaskPixel const* const left = scratch.data() + level * inputWidth + span.u;
            MaskPixel const* const right = left + span.width - (1 << level);
            MaskPixel* const target = output.data + row * output.stride;
            for (int x = 0; x < tile.width; ++x) {
                target[x] |= left[x] | right[x];
            }
        }
    }
}

// A set of filled pixels that is weighed together, and what an output pixel gets that they outweigh.
struct Group {
    MaskPixel members;  // pixels with any of these planes; `everything`: all
    MaskPixel marks;
    bool withSafe;    // pixels that are filled safely, too
    double fraction;  // of sum |K| that they may hold

    [[nodiscard]] bool holds(FilledPixel const& pixel, MaskPixel planes) const {
        return (members == everything || (planes & members) != 0) && (withSafe || !pixel.isSafe);
    }
};

class FractionRule {
public:
    FractionRule(MaskContext const& context, TileKernel const& kernel, Tile const& tile, TileFactors const& factors,
                 std::vector<std::span<FilledPixel const>> const& filled)
        : context_(context),
          tile_(tile),
          factors_(factors),
          filled_(filled),
          height_(static_cast<int>(context.kernel.basis.height)),
          width_(static_cast<int>(context.kernel.basis.width)),
          firstColumn_(tile.x0 - (width_ - 1) / 2),
          rowStride_(padded(width_)),
          tapStride_(height_ * rowStride_),
          sumStride_(padded(tile.width + 2 * (width_ - 1)) + rowPadding),
          taps_(static_cast<std::size_t>(kernel.xTerms() * tapStride_)),
          weights_(static_cast<std::size_t>(kernel.xTerms())),
          columnFactors_(static_cast<std::size_t>(kernel.xTerms() * sumStride_), 0.0F) {
        reverseKernel(kernel);
        for (int a = 0; a < kernel.xTerms(); ++a) {
            std::copy_n(factors.x.data() + a * factors.xStride, tile.width,
                        columnFactors_.data() + a * sumStride_ + width_ - 1);
        }
        findGroups();
        sums_.resize(groups_.size() * static_cast<std::size_t>(sumStride_));
    }

    void markRow(int row, MaskPixel* output) {
        MaskPixel covering = 0;
        switch (coverage(row, covering)) {
            case Coverage::none:
                return;
            case Coverage::complete:
                prepareTaps(row);
                if (absoluteSum(0) > 0.0F) {
                    std::for_each(output, output + tile_.width, [&](MaskPixel& pixel) { pixel |= covering; });
                }
                return;
            case Coverage::partial:
                break;
        }
        prepareTaps(row);
        sumWeights(row);
        float const columnStep = 2.0F / static_cast<float>(std::max(tile_.width - 1, 1));
        for (int begin = 0; begin < tile_.width; begin += chunkWidth) {
            int const end = std::min(begin + chunkWidth, tile_.width);
            int const middle = (begin + end) / 2;
            float const total = absoluteSum(middle);
            float const spread = slope_ * columnStep * static_cast<float>(middle - begin);
            for (std::size_t g = 0; g < groups_.size(); ++g) {
                Bounds const bounds = boundsOf(groups_[g], total, spread);
                float const* const sums = sums_.data() + g * static_cast<std::size_t>(sumStride_) + width_ - 1;
                for (int x = begin; x < end; ++x) {
                    if (sums[x] >= bounds.lower &&
                        (sums[x] > bounds.upper || outweighs(groups_[g], row, x, sums[x], bounds))) {
                        output[x] |= groups_[g].marks;
                    }
                }
            }
        }
    }

private:
    enum class Coverage { none, partial, complete };

    void findGroups() {
        MaskPixel any = 0;
        MaskPixel common = everything;
        bool anySafe = false;
        bool anyOther = false;
        for (auto const& row : filled_) {
            for (FilledPixel const& pixel : row) {
                any |= context_.planesOf(pixel);
                common &= context_.planesOf(pixel);
                anySafe |= pixel.isSafe;
                anyOther |= !pixel.isSafe;
            }
        }
        ConvolutionControl const& control = context_.control;
        bool const isApart = anySafe && control.safeKernelFraction > control.maskedKernelFraction;
        auto const add = [&](MaskPixel members, MaskPixel marks) {
            groups_.push_back(
                {members, marks, true, isApart ? control.safeKernelFraction : control.maskedKernelFraction});
            if (isApart && anyOther) {
                groups_.push_back({members, marks, false, control.maskedKernelFraction});
            }
        };
        hasOneKind_ = any == common;
        add(everything, (hasOneKind_ ? any : 0) | control.interpolatedBit);
        auto const bits = static_cast<std::uint32_t>(hasOneKind_ ? 0 : any);
        for (int i = 0; i < 32; ++i) {
            auto const plane = static_cast<MaskPixel>(bits & (1U << i));
            if (plane != 0) {
                add(plane, plane);
            }
        }
    }

    // Whether filled pixels with the same planes cover all of the row's input, or there is none.
    Coverage coverage(int row, MaskPixel& covering) const {
        std::size_t count = 0;
        for (int v = 0; v < height_; ++v) {
            count += filled_[static_cast<std::size_t>(row + v)].size();
        }
        if (count == 0) {
            return Coverage::none;
        }
        if (count < static_cast<std::size_t>(height_ * (tile_.width + width_ - 1))) {
            return Coverage::partial;
        }
        covering = groups_[0].marks;
        return hasOneKind_ ? Coverage::complete : Coverage::partial;
    }

    // Each row of taps backwards and padded. How fast sum |K| can change with t follows from |T_a'| <= a^2.
    void reverseKernel(TileKernel const& kernel) {
        kernel_.tapStride = tapStride_;
        kernel_.yTerms = kernel.yTerms;
        float const* from = kernel.coefficients.data();
        for (int a = 0; a < kernel.xTerms(); ++a) {
            for (int b = 0; b < kernel.yTerms[static_cast<std::size_t>(a)]; ++b, from += kernel.tapStride) {
                for (int v = 0; v < height_; ++v) {
                    std::reverse_copy(from + v * width_, from + (v + 1) * width_,
                                      std::back_inserter(kernel_.coefficients));
                    kernel_.coefficients.insert(kernel_.coefficients.end(),
                                                static_cast<std::size_t>(rowStride_ - width_), 0.0F);
                }
                for (int k = 0; k < height_ * width_; ++k) {
                    slope_ += static_cast<float>(a * a) * std::abs(from[k]);
                }
            }
        }
    }

    void prepareTaps(int row) { kernel_.collapse(context_.functions, factors_.yRow(row), taps_.data(), tapStride_); }

    // For each group: sum of |K| over its pixels under the kernel, for every output pixel of the row. A pixel in
    // column c of the tile's input lies under the kernels of the output pixels c - width + 1 .. c.
    void sumWeights(int row) {
        std::fill(sums_.begin(), sums_.end(), 0.0F);
        for (int v = 0; v < height_; ++v) {
            FloatRows const taps{taps_.data() + v * rowStride_, tapStride_};
            for (FilledPixel const& pixel : filled_[static_cast<std::size_t>(row + v)]) {
                auto const column = static_cast<int>(pixel.x - firstColumn_);
                FloatRows const factors{columnFactors_.data() + column, sumStride_};
                for (std::size_t g = 0; g < groups_.size(); ++g) {
                    if (groups_[g].holds(pixel, context_.planesOf(pixel))) {
                        context_.functions.addAbsolute(
                            taps, factors, kernel_.xTerms(), rowStride_,
                            sums_.data() + g * static_cast<std::size_t>(sumStride_) + column);
                    }
                }
            }
        }
    }

    // sum |K| at column x of the row
    float absoluteSum(int x) {
        for (int a = 0; a < kernel_.xTerms(); ++a) {
            weights_[static_cast<std::size_t>(a)] = factors_.x[static_cast<std::size_t>(a * factors_.xStride + x)];
        }
        return context_.functions.absoluteSum({taps_.data(), tapStride_}, weights_.data(), kernel_.xTerms(),
                                              tapStride_);
    }

    // What the weight of filled pixels is compared with, where sum |K| = total +- spread.
    struct Bounds {
        float lower;
        float upper;
        float rounding;
    };

    [[nodiscard]] Bounds boundsOf(Group const& group, float total, float spread) const {
        auto const fraction = static_cast<float>(group.fraction);
        // Rounding of the two sums: 1e-4 of each is more than the 441 additions of a 21x21 kernel can lose, and
        // taps near a change of sign are uncertain by 1e-7 of their terms.
        float const rounding = (2e-4F * fraction + 2e-7F) * (total + spread + slope_);
        return {std::max(fraction * (total - spread) - rounding, std::numeric_limits<float>::min()),
                fraction * (total + spread) + rounding, rounding};
    }

    // For a weight between the bounds.
    bool outweighs(Group const& group, int row, int x, float weight, Bounds const& bounds) {
        float const limit = static_cast<float>(group.fraction) * absoluteSum(x);
        if (std::abs(weight - limit) > bounds.rounding) {
            return weight > limit;
        }
        return outweighsExactly(group, row, x);
    }

    bool outweighsExactly(Group const& group, int row, int x) const {
        OwnedImage<double> const taps = kernelImage(context_.kernel, static_cast<double>(context_.x0 + tile_.x0 + x),
                                                    static_cast<double>(context_.y0 + tile_.y0 + row))
                                            .abs();
        double weight = 0.0;
        for (int v = 0; v < height_; ++v) {
            for (FilledPixel const& pixel : filled_[static_cast<std::size_t>(row + v)]) {
                Index const u = pixel.x - firstColumn_ - x;
                if (u >= 0 && u < width_ && group.holds(pixel, context_.planesOf(pixel))) {
                    weight += taps(v, u);
                }
            }
        }
        return weight > group.fraction * taps.sum();
    }

    MaskContext const& context_;
    Tile const& tile_;
    TileFactors const& factors_;
    std::vector<std::span<FilledPixel const>> const& filled_;
    int height_;
    int width_;
    Index firstColumn_;
    int rowStride_;
    int tapStride_;
    int sumStride_;
    TileKernel kernel_;                 // every row of taps backwards, in rowStride floats
    float slope_ = 0.0F;                // bounds |d sum |K| / dt| over the tile
    std::vector<float> taps_;           // (terms, tapStride): the kernels of the row
    std::vector<float> weights_;        // (terms)
    std::vector<float> columnFactors_;  // (terms, sumStride), width - 1 zeros before the first column
    std::vector<float> sums_;           // (groups, sumStride), likewise
    std::vector<Group> groups_;
    bool hasOneKind_ = false;  // all filled pixels of the tile carry the same planes
};

}  // namespace

void prepareMaskRow(MaskContext const& context, std::span<FilledPixel const> filled, Index xFirst, MaskPixel* row) {
    ConvolutionControl const& control = context.control;
    for (FilledPixel const& pixel : filled) {
        MaskPixel& mask = row[pixel.x - xFirst];
        if (context.byFraction()) {
            mask &= ~(control.badBits | control.interpolatedBit | context.planesOf(pixel));
        } else {
            mask |= context.planesOf(pixel) | control.interpolatedBit;
        }
    }
}

void spreadMask(Footprint const& footprint, int kernelHeight, int kernelWidth, MaskRows input, Tile const& tile,
                MaskRows output, std::vector<MaskPixel>& scratch) {
    int const inputWidth = tile.width + kernelWidth - 1;
    MaskPixel any = 0;
    for (int y = 0; y < tile.height + kernelHeight - 1; ++y) {
        MaskPixel const* const row = input.data + y * input.stride;
        for (int x = 0; x < inputWidth; ++x) {
            any |= row[x];
        }
    }
    for (int y = 0; y < tile.height; ++y) {
        std::fill_n(output.data + y * output.stride, tile.width, 0);
    }
    if (any == 0 || footprint.height == 0) {
        return;
    }
    if (!footprint.spans.empty()) {
        spreadSpans(footprint, input, kernelHeight, inputWidth, tile, output, scratch);
        return;
    }
    spreadRectangle(footprint, input, tile);
    for (int y = 0; y < tile.height; ++y) {
        std::copy_n(input.data + (y + footprint.v0) * input.stride + footprint.u0, tile.width,
                    output.data + y * output.stride);
    }
}

void markFilledFraction(MaskContext const& context, TileKernel const& kernel, Tile const& tile,
                        TileFactors const& factors, std::vector<std::span<FilledPixel const>> const& filled,
                        MaskRows output) {
    bool const anyFilled = std::any_of(filled.begin(), filled.end(), [](auto const& row) { return !row.empty(); });
    if (!anyFilled) {
        return;
    }
    FractionRule rule(context, kernel, tile, factors, filled);
    for (int row = 0; row < tile.height; ++row) {
        rule.markRow(row, output.data + row * output.stride);
    }
}

}  // namespace psfmatch::detail
