#include "sources/StreakField.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"
#include "sources/StreakMatch.h"

namespace psfmatch::detail {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float largest = std::numeric_limits<float>::max();
// Bins along a side of the cells whose sky and scatter are measured: wider than a streak, narrower than a nebula.
constexpr Index cellSide = 32;
constexpr std::size_t fewestBins = 24;
// Light of the other image counts from so many sigma on, in the brightest of the bins about it.
constexpr float lightSigmas = 3.0F;
// Share of that light that PSFs which do not match may leave, where too little of it tells how much they do leave.
constexpr float unknownMismatch = 0.5F;
// A crowd tells it: so large a share of the bins shows light in either image. There the difference is that of matched
// bins. Of those with light of so many sigma of it, the quantile of what is left there, and the least that is believed.
constexpr double crowdedShare = 0.4;
constexpr float tellingSigmas = 10.0F;
constexpr double mismatchQuantile = 0.75;
constexpr float leastMismatch = 0.03F;
constexpr std::size_t fewestTelling = 200;
// Bins with less of it than this, in sigma of the difference, are clean.
constexpr float cleanSigmas = 1.0F;
// Of the scatter of all cells, the least that a cell may have.
constexpr float leastScatter = 0.3F;

// Means over bins, NaN where less than half of the pixels are good.
OwnedImage<float> binned(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask, MaskPixel badBits,
                         Index bin, Execution const& execution) {
    Index const height = image.rows() / bin;
    Index const width = image.cols() / bin;
    OwnedImage<float> means(height, width);
    struct Space {
        std::vector<float> sums;
        std::vector<float> counts;
    };
    std::vector<Space> spaces(static_cast<std::size_t>(workerCount(std::max<Index>(height, 1), execution)));
    parallelForBrief(height, execution, [&](Index row, int worker) {
        Space& space = spaces[static_cast<std::size_t>(worker)];
        space.sums.assign(static_cast<std::size_t>(width * bin), 0.0F);
        space.counts.assign(static_cast<std::size_t>(width * bin), 0.0F);
        float* const sums = space.sums.data();
        float* const counts = space.counts.data();
        for (Index y = row * bin; y < (row + 1) * bin; ++y) {
            float const* const pixels = image.data() + y * image.outerStride();
            MaskPixel const* const planes = mask.data() + y * mask.outerStride();
            for (Index x = 0; x < width * bin; ++x) {
                bool const isGood = (planes[x] & badBits) == 0 && std::abs(pixels[x]) <= largest;
                sums[x] += isGood ? pixels[x] : 0.0F;
                counts[x] += isGood ? 1.0F : 0.0F;
            }
        }
        auto const least = 0.5F * static_cast<float>(bin * bin);
        for (Index x = 0; x < width; ++x) {
            float sum = 0.0F;
            float count = 0.0F;
            for (Index i = x * bin; i < (x + 1) * bin; ++i) {
                sum += sums[i];
                count += counts[i];
            }
            means(row, x) = count >= least ? sum / count : nan;
        }
    });
    return means;
}

// Median and scatter of the cells of a coarse image, between the cells' middles by straight lines.
class Cells {
public:
    Cells(OwnedImage<float> const& values, Execution const& execution)
        : nRows_(std::max<Index>(1, values.rows() / cellSide)),
          nColumns_(std::max<Index>(1, values.cols() / cellSide)),
          height_(values.rows()),
          width_(values.cols()),
          medians_(nRows_, nColumns_),
          scatters_(nRows_, nColumns_) {
        parallelForBrief(nRows_ * nColumns_, execution, [&](Index cell, int) {
            Index const row = cell / nColumns_;
            Index const column = cell % nColumns_;
            std::vector<float> sample;
            std::vector<float> scratch;
            for (Index y = row * height_ / nRows_; y < (row + 1) * height_ / nRows_; ++y) {
                for (Index x = column * width_ / nColumns_; x < (column + 1) * width_ / nColumns_; ++x) {
                    if (std::isfinite(values(y, x))) {
                        sample.push_back(values(y, x));
                    }
                }
            }
            bool const isEnough = sample.size() >= fewestBins;
            auto const found = isEnough ? medianAndSigma<float>(sample, scratch) : MedianAndSigma{};
            medians_(row, column) = static_cast<float>(found.median);
            scatters_(row, column) = static_cast<float>(found.sigma);
        });
        for (Index x = 0; x < width_; ++x) {
            auto const [left, share] = between(x, width_, nColumns_);
            lefts_.push_back(left);
            shares_.push_back(share);
        }
        usualScatter_ = usual(scatters_);
        fill(medians_, usual(medians_));
        fill(scatters_, usualScatter_);
    }

    // Whether there is any scatter to compare with.
    [[nodiscard]] bool isSound() const { return usualScatter_ > 0.0F && usualScatter_ <= largest; }

    // One row of bins.
    void medianRow(Index y, std::vector<float>& row) const { interpolate(medians_, y, row); }
    void scatterRow(Index y, std::vector<float>& row) const {
        interpolate(scatters_, y, row);
        for (float& value : row) {
            value = std::max(value, leastScatter * usualScatter_);
        }
    }

private:
    static float usual(OwnedImage<float> const& cells) {
        std::vector<float> known;
        std::vector<float> scratch;
        std::copy_if(cells.data(), cells.data() + cells.size(), std::back_inserter(known),
                     [](float value) { return std::isfinite(value); });
        return static_cast<float>(quantileOf<float>(known, 0.5, scratch));
    }

    static void fill(OwnedImage<float>& cells, float value) {
        std::replace_if(
            cells.data(), cells.data() + cells.size(), [](float own) { return !std::isfinite(own); }, value);
    }

    // Cell before a place and the share of the next one; beyond the outer middles lines go straight on.
    static std::pair<Index, float> between(Index place, Index size, Index count) {
        float const at =
            (static_cast<float>(place) + 0.5F) * static_cast<float>(count) / static_cast<float>(size) - 0.5F;
        auto const first = std::clamp<Index>(static_cast<Index>(std::floor(at)), 0, std::max<Index>(0, count - 2));
        return {first, count > 1 ? at - static_cast<float>(first) : 0.0F};
    }

    void interpolate(OwnedImage<float> const& cells, Index y, std::vector<float>& row) const {
        auto const [top, down] = between(y, height_, nRows_);
        Eigen::ArrayXf const knots =
            (1.0F - down) * cells.row(top).transpose() + down * cells.row(std::min(top + 1, nRows_ - 1)).transpose();
        row.resize(static_cast<std::size_t>(width_));
        for (Index x = 0; x < width_; ++x) {
            auto const i = static_cast<std::size_t>(x);
            float const left = knots[lefts_[i]];
            row[i] = left + shares_[i] * (knots[std::min(lefts_[i] + 1, nColumns_ - 1)] - left);
        }
    }

    Index nRows_;
    Index nColumns_;
    Index height_;
    Index width_;
    OwnedImage<float> medians_;
    OwnedImage<float> scatters_;
    float usualScatter_ = 0.0F;
    // Of each column of bins: cell before it, and the share of the next one.
    std::vector<Index> lefts_;
    std::vector<float> shares_;
};

// What of an image stands out of its sky, the most of 3 x 3 bins; 0 where nothing does.
OwnedImage<float> lightOf(OwnedImage<float> const& values, Cells const& cells) {
    OwnedImage<float> light = OwnedImage<float>::Zero(values.rows(), values.cols());
    std::vector<float> sky;
    std::vector<float> scatter;
    for (Index y = 0; y < values.rows(); ++y) {
        cells.medianRow(y, sky);
        cells.scatterRow(y, scatter);
        for (Index x = 0; x < values.cols(); ++x) {
            auto const i = static_cast<std::size_t>(x);
            float const excess = values(y, x) - sky[i];
            if (!(excess > lightSigmas * scatter[i])) {
                continue;
            }
            for (Index j = std::max<Index>(0, y - 1); j <= std::min(values.rows() - 1, y + 1); ++j) {
                for (Index k = std::max<Index>(0, x - 1); k <= std::min(values.cols() - 1, x + 1); ++k) {
                    light(j, k) = std::max(light(j, k), excess);
                }
            }
        }
    }
    return light;
}

bool isCrowded(OwnedImage<float> const& light) {
    return static_cast<double>((light > 0.0F).count()) >= crowdedShare * static_cast<double>(light.size());
}

// What is left of light in the difference, as a share of the light.
float mismatchOf(OwnedImage<float> const& difference, OwnedImage<float> const& light, Cells const& cells) {
    std::vector<float> shares;
    std::vector<float> sky;
    std::vector<float> scatter;
    for (Index y = 0; y < light.rows(); ++y) {
        cells.medianRow(y, sky);
        cells.scatterRow(y, scatter);
        for (Index x = 0; x < light.cols(); ++x) {
            auto const i = static_cast<std::size_t>(x);
            float const left = std::abs(difference(y, x) - sky[i]);
            if (light(y, x) > tellingSigmas * scatter[i] && left <= largest) {
                shares.push_back(left / light(y, x));
            }
        }
    }
    if (shares.size() < fewestTelling) {
        return unknownMismatch;
    }
    std::vector<float> scratch;
    return std::clamp(static_cast<float>(quantileOf<float>(shares, mismatchQuantile, scratch)), leastMismatch,
                      unknownMismatch);
}

}  // namespace

StreakFields makeStreakFields(StreakImages const& images, StreakControl const& control, Index bin,
                              Execution const& execution) {
    auto const ratio = static_cast<float>(control.fluxRatio);
    OwnedImage<float> const image = binned(images.image, images.mask, control.badBits, bin, execution);
    OwnedImage<float> const other =
        binned(images.other, images.otherMask, control.otherBadBits, bin, execution) * ratio;
    OwnedImage<float> const ownLight = lightOf(image, Cells(image, execution));
    OwnedImage<float> const otherLight = lightOf(other, Cells(other, execution));
    OwnedImage<float> difference = image - other;
    StreakFields fields;
    bool const isCrowd = isCrowded(ownLight) || isCrowded(otherLight);
    if (isCrowd) {
        if (auto matched = matchedDifference(image, other, execution)) {
            fields.image.scale = matched->scale;
            fields.other.scale = 1.0F / matched->scale;
            OwnedImage<float> const excess = image - matched->scale * other - matched->left;
            fields.image.excess = excess.isFinite().select(excess, 0.0F);
            fields.other.excess = fields.image.excess / (-ratio * matched->scale);
            difference = std::move(matched->left);
        }
    }
    Cells const cells(difference, execution);
    for (StreakField* const field : {&fields.image, &fields.other}) {
        field->bin = bin;
        field->pulls = OwnedImage<float>::Zero(image.rows(), image.cols());
        field->isClean = OwnedImage<std::uint8_t>::Zero(image.rows(), image.cols());
    }
    if (!cells.isSound()) {
        return fields;
    }
    float const ofImage = isCrowd ? mismatchOf(difference, otherLight, cells) : unknownMismatch;
    float const ofOther = isCrowd ? mismatchOf(difference, ownLight, cells) : unknownMismatch;
    std::vector<float> sky;
    std::vector<float> scatter;
    for (Index y = 0; y < image.rows(); ++y) {
        cells.medianRow(y, sky);
        cells.scatterRow(y, scatter);
        for (Index x = 0; x < image.cols(); ++x) {
            float const value = difference(y, x) - sky[static_cast<std::size_t>(x)];
            if (!std::isfinite(value)) {
                continue;
            }
            float const sigma = scatter[static_cast<std::size_t>(x)];
            auto const settle = [&](StreakField& field, float excess, float left) {
                field.pulls(y, x) = std::clamp(excess / std::hypot(sigma, left), -largestPull, largestPull);
                field.isClean(y, x) = left < cleanSigmas * sigma ? 1 : 0;
            };
            settle(fields.image, value, ofImage * otherLight(y, x));
            settle(fields.other, -value, ofOther * ownLight(y, x));
        }
    }
    return fields;
}

}  // namespace psfmatch::detail
