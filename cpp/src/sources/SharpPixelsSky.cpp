#include "sources/SharpPixelsSky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "psfmatch/image/RobustStatistics.h"
#include "simd/pixelFunctions.h"

namespace psfmatch::detail {

namespace {

// One of so many pixels of a tile's rows and columns is looked at; of few tiles more.
constexpr Index coarseStep = 4;
constexpr Index fineStep = 2;
constexpr std::size_t fewTiles = 4;
constexpr std::size_t fewValues = 40;
constexpr double mostCrowded = 1.2;  // times the noise of neighbours
constexpr float clip = 5.0F;         // standard deviations
constexpr Index partSide = 8;        // pixels of a tile's column or row that show where a line ends
constexpr double brightness = 7.0;   // of lines, standard deviations of their means
constexpr double significance = 4.0;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

float medianOf(std::vector<float>& values, std::vector<float>& scratch) {
    return static_cast<float>(quantileOf<float>(values, 0.5, scratch));
}

// Clipped means over one tile along an axis, in counts: of each column of a row of tiles, or each row of a column of
// tiles. Their tiles' levels and noise lie beside them.
struct Segments {
    Segments(Index along, Index across)
        : nAlong(along),
          nAcross(across),
          means(static_cast<std::size_t>(along * across), nan),
          levels(means),
          sigmas(means) {}

    void set(Index along, Index across, float mean, float level, float sigma) {
        auto const i = static_cast<std::size_t>(along * nAcross + across);
        means[i] = level + sigma * mean;
        levels[i] = level;
        sigmas[i] = sigma;
    }

    // NaN beyond the border.
    [[nodiscard]] double mean(Index along, Index across) const {
        return across < 0 || across >= nAcross ? nan : means[static_cast<std::size_t>(along * nAcross + across)];
    }

    Index nAlong;
    Index nAcross;
    std::vector<float> means;
    std::vector<float> levels;
    std::vector<float> sigmas;
};

// Noise of the means in units of that of a pixel, from what they differ from their neighbours by; 0 of too few.
double noiseOf(Segments const& segments) {
    std::vector<float> differences;
    for (Index along = 0; along < segments.nAlong; ++along) {
        for (Index across = 1; across + 1 < segments.nAcross; ++across) {
            double const beside = 0.5 * (segments.mean(along, across - 1) + segments.mean(along, across + 1));
            double const difference = std::abs(segments.mean(along, across) - beside) /
                                      segments.sigmas[static_cast<std::size_t>(along * segments.nAcross + across)];
            if (difference == difference) {
                differences.push_back(static_cast<float>(difference));
            }
        }
    }
    if (differences.size() < fewValues) {
        return 0.0;
    }
    std::vector<float> scratch;
    return sigmaPerMad * medianOf(differences, scratch) / std::sqrt(1.5);
}

template <typename Add>
void findSharp(Segments const& segments, double contrast, Add const& add) {
    double const perPixel = noiseOf(segments);
    if (!(perPixel > 0.0)) {
        return;
    }
    for (Index along = 0; along < segments.nAlong; ++along) {
        for (Index across = 0; across < segments.nAcross; ++across) {
            auto const i = static_cast<std::size_t>(along * segments.nAcross + across);
            double const light = segments.mean(along, across) - segments.levels[i];
            double const sign = light < 0.0 ? -1.0 : 1.0;
            auto const beside = [&](Index offset) {
                return sign * (segments.mean(along, across + offset) - segments.levels[i]);
            };
            double const noise = perPixel * segments.sigmas[i];
            auto const exceeds = [&](double own, double one, double other, double factor) {
                double const limit = significance * noise * std::sqrt(1.0 + factor * factor);
                return one == one && other == other && own - factor * std::max({one, other, 0.0}) > limit;
            };
            double const own = sign * light;
            double const square = contrast * contrast;
            if (own > brightness * noise && (exceeds(own, beside(-1), beside(1), contrast) ||
                                             exceeds(std::min(own, beside(1)), beside(-1), beside(2), square) ||
                                             exceeds(std::min(own, beside(-1)), beside(-2), beside(1), square))) {
                add(along, across, light);
            }
        }
    }
}

}  // namespace

SkyTiles skyTiles(MaskedImageView const& input, MaskPixel badBits, Execution const& execution) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    SkyTiles tiles;
    Index const nRows = (height + tileSide - 1) / tileSide;
    tiles.nColumns = (width + tileSide - 1) / tileSide;
    auto const count = static_cast<std::size_t>(nRows * tiles.nColumns);
    tiles.levels.assign(count, nan);
    tiles.sigmas.assign(count, nan);
    std::vector<float> ratios(count, nan);
    Index const step = count > fewTiles ? coarseStep : fineStep;
    parallelForBrief(nRows, execution, [&](Index row, int) {
        std::vector<float> values;
        std::vector<float> differences;
        std::vector<float> variances;
        std::vector<float> scratch;
        for (Index column = 0; column < tiles.nColumns; ++column) {
            values.clear();
            differences.clear();
            variances.clear();
            Index const right = std::min(width, (column + 1) * tileSide);
            for (Index y = row * tileSide; y < std::min(height, (row + 1) * tileSide); y += step) {
                for (Index x = column * tileSide; x < right; x += step) {
                    if (!isUsable(input, badBits, y, x)) {
                        continue;
                    }
                    values.push_back(input.image(y, x));
                    float const variance = input.variance(y, x);
                    if (variance > 0.0F) {
                        variances.push_back(variance);
                    }
                    if (x + 1 < right && isUsable(input, badBits, y, x + 1)) {
                        differences.push_back(std::abs(input.image(y, x) - input.image(y, x + 1)));
                    }
                }
            }
            if (values.size() < fewValues || differences.size() < fewValues) {
                continue;
            }
            auto const i = static_cast<std::size_t>(row * tiles.nColumns + column);
            MedianAndSigma const found = medianAndSigma<float>(values, scratch);
            double const noise = sigmaPerMad * medianOf(differences, scratch) / std::sqrt(2.0);
            tiles.levels[i] = static_cast<float>(found.median);
            tiles.sigmas[i] = static_cast<float>(std::clamp(found.sigma, noise, mostCrowded * noise));
            if (variances.size() >= fewValues) {
                ratios[i] = static_cast<float>(noise * noise / medianOf(variances, scratch));
            }
        }
    });
    auto const typical = [](std::vector<float> const& all) {
        std::vector<float> known;
        std::vector<float> scratch;
        std::copy_if(all.begin(), all.end(), std::back_inserter(known), [](float value) { return value == value; });
        return known.empty() ? 0.0F : medianOf(known, scratch);
    };
    float const level = typical(tiles.levels);
    float const sigma = typical(tiles.sigmas);
    tiles.isEmpty = !(sigma > 0.0F);
    tiles.perVariance = typical(ratios);
    for (std::size_t i = 0; i < count; ++i) {
        tiles.levels[i] = tiles.levels[i] == tiles.levels[i] ? tiles.levels[i] : level;
        tiles.sigmas[i] = tiles.sigmas[i] > 0.0F ? tiles.sigmas[i] : sigma;
    }
    return tiles;
}

std::vector<Index> faintLines(MaskedImageView const& input, SharpPixelsControl const& control, SkyTiles const& tiles,
                              double contrast, Execution const& execution) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    Index const nTileRows = (height + tileSide - 1) / tileSide;
    Segments columns(nTileRows, width);
    Segments rows(tiles.nColumns, height);
    PixelFunctions const functions = choosePixelFunctions(InstructionSet::automatic);
    parallelForBrief(nTileRows, execution, [&](Index tileRow, int) {
        std::vector<float> sums(static_cast<std::size_t>(width), 0.0F);
        std::vector<float> counts(sums);
        Index const last = std::min(height, (tileRow + 1) * tileSide);
        for (Index y = tileRow * tileSide; y < last; ++y) {
            for (Index column = 0; column < tiles.nColumns; ++column) {
                auto const tile = static_cast<std::size_t>(tileRow * tiles.nColumns + column);
                float const level = tiles.levels[tile];
                float const scale = 1.0F / tiles.sigmas[tile];
                Index const left = column * tileSide;
                auto const size = static_cast<int>(std::min(width, left + tileSide) - left);
                PixelRows const tileRows{input.image.data() + y * input.image.outerStride() + left,
                                         input.variance.data() + y * input.variance.outerStride() + left,
                                         input.mask.data() + y * input.mask.outerStride() + left};
                ClippedSum const all = functions.addClipped(tileRows, control.badBits, level, scale, clip, size,
                                                            sums.data() + left, counts.data() + left);
                if (2.0F * all.count >= static_cast<float>(tileSide)) {
                    rows.set(column, y, all.sum / all.count, level, tiles.sigmas[tile]);
                }
            }
        }
        for (Index x = 0; x < width; ++x) {
            auto const i = static_cast<std::size_t>(x);
            if (2.0F * counts[i] >= static_cast<float>(tileSide)) {
                std::size_t const tile = tiles.tileOf(tileRow * tileSide, x);
                columns.set(tileRow, x, sums[i] / counts[i], tiles.levels[tile], tiles.sigmas[tile]);
            }
        }
    });
    std::vector<Index> places;
    // From the first to the last part of a segment that is as bright, or dark, as half of it, and on as long as the
    // parts beyond its ends are.
    auto const add = [&](Index first, Index last, Index size, double light, auto const& placeOf) {
        auto const isPart = [&](Index start) {
            double sum = 0.0;
            double count = 0.0;
            for (Index i = start; i < std::min(size, start + partSide); ++i) {
                auto const [y, x] = placeOf(i);
                if (isUsable(input, control.badBits, y, x)) {
                    std::size_t const tile = tiles.tileOf(y, x);
                    double const most = clip * tiles.sigmas[tile];
                    sum += std::clamp(static_cast<double>(input.image(y, x)) - tiles.levels[tile], -most, most);
                    count += 1.0;
                }
            }
            return sum / light > 0.5 * count;
        };
        Index from = first;
        while (from < last && !isPart(from)) {
            from += partSide;
        }
        Index to = last;
        while (to > from && !isPart(to - partSide)) {
            to -= partSide;
        }
        while (from <= first && from > 0 && isPart(from - partSide)) {
            from -= partSide;
        }
        while (to >= last && to < size && isPart(to)) {
            to += partSide;
        }
        for (Index i = from; i < std::min(to, size); ++i) {
            auto const [y, x] = placeOf(i);
            if (isUsable(input, control.badBits, y, x)) {
                places.push_back(y * width + x);
            }
        }
    };
    findSharp(columns, contrast, [&](Index tileRow, Index x, double light) {
        Index const first = tileRow * tileSide;
        add(first, first + tileSide, height, light, [x](Index y) { return std::pair{y, x}; });
    });
    findSharp(rows, contrast, [&](Index column, Index y, double light) {
        Index const first = column * tileSide;
        add(first, first + tileSide, width, light, [y](Index x) { return std::pair{y, x}; });
    });
    return places;
}

}  // namespace psfmatch::detail
