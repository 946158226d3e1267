#include "fit/RegionFitColumns.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace psfmatch::detail {

namespace {

// Of the largest tap: what is smaller is lost in the rounding of float32.
constexpr double negligibleTap = 1e-8;
// Of the largest tap: factors found by a decomposition are even or odd to so much.
constexpr double parityTolerance = 1e-9;
// Sets are made together where none is longer than the first by more than this part.
constexpr double alikeLength = 1.25;

struct Folded {
    Parity parity = Parity::even;
    std::vector<float> taps;  // from the middle outwards, those that count
    Index target = 0;
};

std::optional<Folded> fold(double const* factor, Index length, Index target) {
    Index const middle = length / 2;
    double largest = 0.0;
    double differences = 0.0;
    double sums = 0.0;
    for (Index k = 0; k <= middle; ++k) {
        double const right = factor[middle + k];
        double const left = factor[middle - k];
        largest = std::max({largest, std::abs(right), std::abs(left)});
        differences = std::max(differences, std::abs(right - left));
        sums = std::max(sums, std::abs(right + left));
    }
    if (std::min(differences, sums) > parityTolerance * largest) {
        return std::nullopt;
    }
    Folded folded{differences <= sums ? Parity::even : Parity::odd, {}, target};
    Index nTaps = 1;
    for (Index k = 0; k <= middle; ++k) {
        folded.taps.push_back(static_cast<float>(factor[middle + k]));
        nTaps = std::abs(factor[middle + k]) > negligibleTap * largest ? k + 1 : nTaps;
    }
    folded.taps.resize(static_cast<std::size_t>(nTaps));
    return folded;
}

// Sets of one parity and like length together.
std::vector<FoldedSets> group(std::vector<Folded> factors) {
    std::stable_sort(factors.begin(), factors.end(), [](Folded const& a, Folded const& b) {
        return std::pair(a.parity, a.taps.size()) < std::pair(b.parity, b.taps.size());
    });
    std::vector<FoldedSets> groups;
    std::size_t first = 0;
    for (std::size_t end = 1; end <= factors.size(); ++end) {
        bool const isFull = end - first == static_cast<std::size_t>(maxFoldedSets);
        if (end < factors.size() && !isFull && factors[end].parity == factors[first].parity &&
            static_cast<double>(factors[end].taps.size()) <=
                alikeLength * static_cast<double>(factors[first].taps.size()) + 1.0) {
            continue;
        }
        FoldedSets sets;
        sets.parity = factors[first].parity;
        std::size_t const nTaps = factors[end - 1].taps.size();
        sets.nTaps = static_cast<int>(nTaps);
        for (std::size_t k = first; k < end; ++k) {
            factors[k].taps.resize(nTaps, 0.0F);
            sets.taps.insert(sets.taps.end(), factors[k].taps.begin(), factors[k].taps.end());
            sets.targets.push_back(factors[k].target);
        }
        groups.push_back(std::move(sets));
        first = end;
    }
    return groups;
}

// Where the taps of each set begin.
std::vector<float const*> tapsOf(FoldedSets const& sets) {
    std::vector<float const*> taps;
    for (std::size_t s = 0; s < sets.targets.size(); ++s) {
        taps.push_back(sets.taps.data() + s * static_cast<std::size_t>(sets.nTaps));
    }
    return taps;
}

void convolveFolded(RegionFunctions const& functions, RowFunctions const& rowFunctions, ColumnPlan const& plan,
                    RegionStamps const& stamps, Index k, ColumnScratch& scratch, float* columns) {
    RegionShape const& shape = stamps.shape;
    auto const stride = static_cast<int>(shape.stride);
    auto const height = static_cast<int>(shape.height);
    Index const left = stamps.kernelWidth / 2;
    Index const bottom = stamps.kernelHeight / 2;
    Index const planeSize = (shape.height + stamps.kernelHeight) * shape.stride;
    scratch.rows.resize(static_cast<std::size_t>(maxFoldedSets * planeSize));
    std::vector<float*> results;
    for (FoldedPass const& pass : plan.passes) {
        results.clear();
        for (std::size_t s = 0; s < pass.rows.targets.size(); ++s) {
            results.push_back(scratch.rows.data() + static_cast<Index>(s) * planeSize);
        }
        float const* const pixels =
            stamps.templateImage.row(k).data() + (bottom - pass.reach) * stamps.templateStride + left;
        functions.correlateFolded(tapsOf(pass.rows).data(), static_cast<int>(results.size()), pass.rows.nTaps,
                                  pass.rows.parity, {pixels, 1, static_cast<int>(stamps.templateStride)},
                                  height + 2 * static_cast<int>(pass.reach), stride, results.data(), stride);
        for (std::size_t s = 0; s < pass.columns.size(); ++s) {
            float const* const middle = scratch.rows.data() + static_cast<Index>(s) * planeSize + pass.reach * stride;
            for (FoldedSets const& sets : pass.columns[s]) {
                results.clear();
                for (Index const image : sets.targets) {
                    results.push_back(columns + image * shape.size());
                }
                functions.correlateFolded(tapsOf(sets).data(), static_cast<int>(results.size()), sets.nTaps,
                                          sets.parity, {middle, stride, stride}, height, stride, results.data(),
                                          stride);
            }
        }
    }
    for (std::size_t i = 1; i < plan.firstImageWeight.size(); ++i) {
        if (plan.firstImageWeight[i] != 0.0F) {
            rowFunctions.accumulate({&plan.firstImageWeight[i], 1}, 1, 1, 1, 1, {columns, 1},
                                    static_cast<int>(shape.size()), columns + static_cast<Index>(i) * shape.size(), 1);
        }
    }
}

}  // namespace

std::optional<ColumnPlan> planColumns(PreparedBasis const& basis) {
    if (!basis.separable) {
        return std::nullopt;
    }
    SeparableBasis const& factors = *basis.separable;
    Index const nRows = factors.rowFactors.rows();
    std::vector<Folded> rows;
    std::vector<std::vector<Folded>> columns(static_cast<std::size_t>(nRows));
    for (Index r = 0; r < nRows; ++r) {
        auto folded = fold(factors.rowFactors.row(r).data(), factors.rowFactors.cols(), r);
        if (!folded) {
            return std::nullopt;
        }
        rows.push_back(std::move(*folded));
    }
    for (Index i = 0; i < factors.columnFactors.rows(); ++i) {
        auto folded = fold(factors.columnFactors.row(i).data(), factors.columnFactors.cols(), i);
        if (!folded) {
            return std::nullopt;
        }
        columns[static_cast<std::size_t>(factors.rowOf[static_cast<std::size_t>(i)])].push_back(std::move(*folded));
    }
    ColumnPlan plan;
    for (FoldedSets& sets : group(std::move(rows))) {
        FoldedPass pass;
        for (Index const r : sets.targets) {
            pass.columns.push_back(group(std::move(columns[static_cast<std::size_t>(r)])));
            for (FoldedSets const& ofRow : pass.columns.back()) {
                pass.reach = std::max<Index>(pass.reach, ofRow.nTaps - 1);
            }
        }
        pass.rows = std::move(sets);
        plan.passes.push_back(std::move(pass));
    }
    for (Index i = 0; i < factors.firstImageWeight.size(); ++i) {
        plan.firstImageWeight.push_back(static_cast<float>(factors.firstImageWeight[i]));
    }
    return plan;
}

void makeColumns(RegionFunctions const& functions, RowFunctions const& rowFunctions,
                 std::optional<ColumnPlan> const& plan, PreparedBasis const& basis, RegionStamps const& stamps, Index k,
                 ColumnScratch& scratch, float* columns, InstructionSet instructionSet) {
    if (plan) {
        convolveFolded(functions, rowFunctions, *plan, stamps, k, scratch, columns);
        return;
    }
    RegionShape const& shape = stamps.shape;
    ConstImageView<float> const stamp(stamps.templateImage.row(k).data(), shape.height + stamps.kernelHeight - 1,
                                      shape.width + stamps.kernelWidth - 1,
                                      Eigen::OuterStride<>(stamps.templateStride));
    convolveStamp(basis, stamp, scratch.pixels, scratch.columns, instructionSet);
    for (Index i = 0; i < basis.basis.size(); ++i) {
        Eigen::Map<OwnedImage<float>> column(columns + i * shape.size(), shape.height, shape.stride);
        column.leftCols(shape.width) =
            Eigen::Map<RowMatrix const>(scratch.columns.row(i).data(), shape.height, shape.width).cast<float>();
        column.rightCols(shape.stride - shape.width).setZero();
    }
}

}  // namespace psfmatch::detail
