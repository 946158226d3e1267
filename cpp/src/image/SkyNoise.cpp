#include "psfmatch/image/SkyNoise.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

constexpr float largest = std::numeric_limits<float>::max();
constexpr double pi = 3.14159265358979323846;
constexpr double clippingSigmas = 4.0;

// The first pixel of a row.
template <typename Pixel>
Pixel const* rowOf(ConstImageView<Pixel> const& image, Index y) {
    return image.data() + y * image.outerStride();
}

bool isUsable(float image, float variance, MaskPixel mask, MaskPixel badBits) {
    return ((mask & badBits) == 0) & (std::abs(image) <= largest) & (variance > 0.0F) & (variance <= largest);
}

// The first pixels of some cells that do not overlap, the last at `last`.
std::vector<Index> cornersOf(Index last, SkyNoiseControl const& control) {
    Index const count = std::min(control.maxCells, last / control.cellSide + 1);
    std::vector<Index> corners;
    for (Index i = 0; i < count; ++i) {
        corners.push_back(count == 1 ? 0
                                     : static_cast<Index>(static_cast<double>(i) * static_cast<double>(last) /
                                                          static_cast<double>(count - 1)));
    }
    return corners;
}

struct Cell {
    std::vector<float> pulls;           // (side * side), of blank pixels; others 0
    std::vector<std::uint8_t> isBlank;  // (side * side)
    std::vector<float> noise;           // of blank pixels, counts
    double absolute = 0.0;              // sum of |difference| over blank pixels
    double median = 0.0;                // of the pulls
    Index nBlank = 0;
    Index nUsable = 0;
    Index nOutliers = 0;
    Index nMasked = 0;  // unusable ones but for the borders
    Index nNoData = 0;
};

class Measurer {
public:
    Measurer(MaskedImageView const& difference, ConstImageView<float> const& templateImage,
             ConstImageView<float> const& scienceImage, SkyNoiseControl const& control, Index side)
        : difference_(difference), template_(templateImage), science_(scienceImage), control_(control), side_(side) {}

    [[nodiscard]] Cell measure(Index top, Index left) const {
        Cell cell;
        auto const size = static_cast<std::size_t>(side_ * side_);
        cell.pulls.assign(size, 0.0F);
        cell.isBlank.assign(size, 0);
        cell.noise.resize(size + 1);
        std::vector<float> scratch;
        std::vector<float> list(size + 1);
        float const templateLimit = limitOf(template_, top, left, list, scratch);
        float const scienceLimit = limitOf(science_, top, left, list, scratch);
        auto const outlier = static_cast<float>(control_.outlierSigmas);
        Eigen::ArrayXf noise(side_);
        Eigen::ArrayXf pulls(side_);
        Eigen::ArrayXi isBlank(side_);
        Eigen::ArrayXi counts = Eigen::ArrayXi::Zero(4 * side_);  // of each column: usable, outliers, masked, no data
        for (Index y = 0; y < side_; ++y) {
            // Eigen's root, unlike the standard one, vectorises, and so do the loops: no branches, numbers of one
            // width.
            noise = difference_.variance.row(top + y).segment(left, side_).transpose().max(0.0F).sqrt();
            float const* __restrict const values = rowOf(difference_.image, top + y) + left;
            float const* __restrict const variances = rowOf(difference_.variance, top + y) + left;
            MaskPixel const* __restrict const planes = rowOf(difference_.mask, top + y) + left;
            float const* __restrict const before = rowOf(template_, top + y) + left;
            float const* __restrict const other = rowOf(science_, top + y) + left;
            int* __restrict const count = counts.data();
            int* __restrict const blank = isBlank.data();
            float* __restrict const pull = pulls.data();
            float const* __restrict const sigma = noise.data();
            Index const side = side_;
            MaskPixel const bad = control_.badBits;
            MaskPixel const noData = control_.noData;
            MaskPixel const edge = control_.edge;
            for (Index x = 0; x < side; ++x) {
                bool const usable = isUsable(values[x], variances[x], planes[x], bad);
                // NaN compares as false.
                bool const inTemplate = (std::abs(before[x]) <= largest) & (before[x] <= templateLimit);
                bool const inScience = (std::abs(other[x]) <= largest) & (other[x] <= scienceLimit);
                // Borders as wide as the kernel are no fault.
                bool const atEdge = ((planes[x] & edge) != 0) & ((planes[x] & bad & ~noData) == edge);
                pull[x] = usable ? values[x] / sigma[x] : 0.0F;
                count[x] += usable ? 1 : 0;
                // What only one of the two shows is no source that was subtracted badly.
                count[side + x] += ((std::abs(pull[x]) > outlier) & (inTemplate | inScience)) ? 1 : 0;
                count[2 * side + x] += (!usable & !atEdge) ? 1 : 0;
                count[3 * side + x] += (planes[x] & noData) != 0 ? 1 : 0;
                blank[x] = (usable & inTemplate & inScience) ? 1 : 0;
            }
            for (Index x = 0; x < side; ++x) {
                auto const at = static_cast<std::size_t>(y * side + x);
                auto const next = static_cast<std::size_t>(cell.nBlank);
                cell.isBlank[at] = static_cast<std::uint8_t>(blank[x]);
                cell.pulls[at] = static_cast<float>(blank[x]) * pull[x];
                cell.noise[next] = sigma[x];
                list[next] = pull[x];
                cell.absolute += blank[x] != 0 ? std::abs(values[x]) : 0.0F;
                cell.nBlank += blank[x];
            }
        }
        cell.nUsable = counts.head(side_).sum();
        cell.nOutliers = counts.segment(side_, side_).sum();
        cell.nMasked = counts.segment(2 * side_, side_).sum();
        cell.nNoData = counts.tail(side_).sum();
        cell.noise.resize(static_cast<std::size_t>(cell.nBlank));
        list.resize(cell.noise.size());
        cell.median = quantileOf<float>(list, 0.5, scratch);
        return cell;
    }

private:
    // Above it pixels of a cell belong to sources: these raise the median, and little the quantile of -1 sigma. Every
    // second pixel along both axes tells it to a tenth of sigma.
    [[nodiscard]] float limitOf(ConstImageView<float> const& image, Index top, Index left, std::vector<float>& list,
                                std::vector<float>& scratch) const {
        std::size_t n = 0;
        for (Index y = 0; y < side_; y += 2) {
            for (Index x = 0; x < side_; x += 2) {
                float const value = image(top + y, left + x);
                // What is no number sorts to the end.
                list[n++] = std::abs(value) <= largest ? value : std::numeric_limits<float>::infinity();
            }
        }
        std::span<float const> const all = std::span<float const>(list).first(n);
        float const middle = valueOfRank<float>(all, n / 2, scratch);
        float const low = valueOfRank<float>(all, static_cast<std::size_t>(0.159 * static_cast<double>(n)), scratch);
        if (!(middle <= largest && low <= largest)) {
            return std::numeric_limits<float>::infinity();
        }
        double const spread = static_cast<double>(middle) - static_cast<double>(low);
        return static_cast<float>(middle + control_.blankSigmas * spread);
    }

    MaskedImageView difference_;
    ConstImageView<float> template_;
    ConstImageView<float> science_;
    SkyNoiseControl control_;
    Index side_;
};

double medianOf(std::vector<float> const& values) {
    std::vector<float> scratch;
    return quantileOf<float>(values, 0.5, scratch);
}

// Scatter of the cells' medians about zero beyond what the noise makes of them.
double levelOf(std::vector<Cell const*> cells, double robust, double mostExtreme) {
    std::stable_sort(cells.begin(), cells.end(), [](Cell const* a, Cell const* b) { return a->median < b->median; });
    auto const spared = static_cast<std::size_t>(mostExtreme * static_cast<double>(cells.size()));
    double squares = 0.0;
    double expected = 0.0;
    for (std::size_t i = spared; i < cells.size() - spared; ++i) {
        squares += cells[i]->median * cells[i]->median;
        // Variance of a median of n Gaussian values: pi / 2n.
        expected += 0.5 * pi / static_cast<double>(cells[i]->nBlank);
    }
    auto const count = static_cast<double>(cells.size() - 2 * spared);
    return std::sqrt(std::max(squares / count - expected / count * robust * robust, 0.0));
}

// Mean product of the pulls of neighbours, clipped about the median of their cell, over their mean square.
double correlationOf(std::vector<Cell const*> const& cells, double robust, Index side) {
    double products = 0.0;
    double nPairs = 0.0;
    double power = 0.0;
    double count = 0.0;
    auto const limit = static_cast<float>(clippingSigmas * robust);
    OwnedImage<float> clipped(side + 1, side + 1);
    OwnedImage<float> isBlank(side + 1, side + 1);
    for (Cell const* cell : cells) {
        clipped.setZero();
        isBlank.setZero();
        auto const median = static_cast<float>(cell->median);
        for (Index y = 0; y < side; ++y) {
            for (Index x = 0; x < side; ++x) {
                auto const at = static_cast<std::size_t>(y * side + x);
                isBlank(y, x) = cell->isBlank[at];
                clipped(y, x) = isBlank(y, x) * std::clamp(cell->pulls[at] - median, -limit, limit);
            }
        }
        auto const here = clipped.topLeftCorner(side, side);
        auto const blankHere = isBlank.topLeftCorner(side, side);
        products +=
            (here * (clipped.topRightCorner(side, side) + clipped.bottomLeftCorner(side, side))).cast<double>().sum();
        nPairs += (blankHere * (isBlank.topRightCorner(side, side) + isBlank.bottomLeftCorner(side, side)))
                      .cast<double>()
                      .sum();
        power += here.cast<double>().square().sum();
        count += static_cast<double>(cell->nBlank);
    }
    return nPairs > 0.0 && power > 0.0 ? products / nPairs / (power / count) : SkyNoise::unknown;
}

}  // namespace

SkyNoise skyNoise(MaskedImageView const& difference, ConstImageView<float> const& templateImage,
                  ConstImageView<float> const& scienceImage, SkyNoiseControl const& control,
                  Execution const& execution) {
    Index const height = difference.image.rows();
    Index const width = difference.image.cols();
    if (!haveOneShape(difference.image, difference.variance, difference.mask, templateImage, scienceImage)) {
        throw std::invalid_argument("difference, template and science image must have one shape");
    }
    Index const side = std::min({control.cellSide, height, width});
    std::vector<Index> const tops = cornersOf(height - side, control);
    std::vector<Index> const lefts = cornersOf(width - side, control);
    Measurer const measurer(difference, templateImage, scienceImage, control, side);
    std::vector<Cell> cells(tops.size() * lefts.size());
    parallelFor(static_cast<Index>(cells.size()), execution, [&](Index i, int) {
        auto const at = static_cast<std::size_t>(i);
        cells[at] = measurer.measure(tops[at / lefts.size()], lefts[at % lefts.size()]);
    });

    SkyNoise result;
    std::vector<Cell const*> kept;
    Cell total;
    std::vector<float> pulls;
    std::vector<float> offsets;
    std::vector<float> noise;
    double absolute = 0.0;
    for (std::vector<float>* list : {&pulls, &offsets, &noise}) {
        list->reserve(cells.size() * static_cast<std::size_t>(side * side));
    }
    for (Cell const& cell : cells) {
        total.nUsable += cell.nUsable;
        total.nOutliers += cell.nOutliers;
        total.nMasked += cell.nMasked;
        total.nNoData += cell.nNoData;
        // Sources fill the rest of the cells.
        if (cell.nBlank < std::max<Index>(1, std::min(control.leastInCell, side * side / 4))) {
            continue;
        }
        kept.push_back(&cell);
        result.nSkyPixels += cell.nBlank;
        absolute += cell.absolute;
        noise.insert(noise.end(), cell.noise.begin(), cell.noise.end());
        for (std::size_t i = 0; i < cell.pulls.size(); ++i) {
            if (cell.isBlank[i] != 0) {
                pulls.push_back(cell.pulls[i]);
                offsets.push_back(cell.pulls[i] - static_cast<float>(cell.median));
            }
        }
    }
    auto const nAll = static_cast<double>(cells.size()) * static_cast<double>(side * side);
    double const masked = static_cast<double>(total.nMasked) / nAll;
    double const noData = static_cast<double>(total.nNoData) / nAll;
    result.coverage = 1.0 - noData;
    result.maskedFraction = result.coverage > 0.0 ? (masked - noData) / result.coverage : 1.0;
    result.outlierFraction =
        static_cast<double>(total.nOutliers) / static_cast<double>(std::max<Index>(total.nUsable, 1));
    if (kept.empty()) {
        return result;
    }
    std::vector<float> scratch;
    result.noiseRobustStdev = medianAndSigma<float>(offsets, scratch).sigma;
    result.noiseMedian = medianOf(pulls);
    result.pixelNoise = medianOf(noise);
    result.skyAbsolute = absolute / static_cast<double>(result.nSkyPixels);
    result.skyLevel = levelOf(kept, result.noiseRobustStdev, control.mostExtreme);
    result.lag1 = correlationOf(kept, result.noiseRobustStdev, side);
    return result;
}

PullNoise pullNoise(MaskedImageView const& input, MaskPixel badBits, Index step) {
    if (step < 1) {
        throw std::invalid_argument("the step must be positive");
    }
    std::vector<float> pulls;
    pulls.reserve(static_cast<std::size_t>((input.image.rows() / step + 1) * (input.image.cols() / step + 1)));
    for (Index y = 0; y < input.image.rows(); y += step) {
        for (Index x = 0; x < input.image.cols(); x += step) {
            if (isUsable(input.image(y, x), input.variance(y, x), input.mask(y, x), badBits)) {
                pulls.push_back(input.image(y, x) / std::sqrt(input.variance(y, x)));
            }
        }
    }
    std::vector<float> scratch;
    auto const count = static_cast<Index>(pulls.size());
    MedianAndSigma const found = medianAndSigma<float>(pulls, scratch);
    return {found.median, found.sigma, count};
}

}  // namespace psfmatch
