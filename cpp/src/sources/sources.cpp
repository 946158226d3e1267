#include "psfmatch/sources/sources.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "sources/sourcesDeblend.h"
#include "sources/sourcesFootprints.h"
#include "sources/sourcesSmoothing.h"

namespace psfmatch {

namespace {

using detail::Detected;
using detail::FootprintPixels;
using detail::Footprints;
using detail::RowSmoother;
using detail::SmoothedPlane;
using detail::smoothedWidth;

constexpr Index tileHeight = 128;
constexpr Index scanWidth = 32;  // pixels that are looked at together: few of them hold a source
constexpr Index footprintsPerItem = 16;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct DetectedOfBothSigns {
    Detected positive;
    Detected negative;
};

// Where the tiles of an image lie; the border that is not smoothed belongs to none.
struct Tiling {
    Index radius;
    Index height;
    Index width;

    [[nodiscard]] Index rows() const { return std::max<Index>(0, (height - 2 * radius + tileHeight - 1) / tileHeight); }
    [[nodiscard]] Index columns() const {
        return std::max<Index>(0, (width - 2 * radius + smoothedWidth - 1) / smoothedWidth);
    }
    [[nodiscard]] Box searched() const { return {radius, radius, width - 2 * radius, height - 2 * radius}; }
    [[nodiscard]] Box box(Index tile) const {
        Index const y0 = radius + tile / columns() * tileHeight;
        Index const x0 = radius + tile % columns() * smoothedWidth;
        return {x0, y0, std::min(smoothedWidth, width - radius - x0), std::min(tileHeight, height - radius - y0)};
    }
};

void requireProfile(std::vector<double> const& profile, ConstImageView<float> const& image,
                    FilledPixels const& filled) {
    auto const size = static_cast<Index>(profile.size());
    if (size % 2 == 0 || size > image.rows() || size > image.cols()) {
        throw std::invalid_argument("a profile of " + std::to_string(size) + " pixels cannot smooth an image of " +
                                    std::to_string(image.cols()) + "x" + std::to_string(image.rows()) +
                                    "; its length must be odd and not above the image's sides");
    }
    for (std::size_t i = 0; i < profile.size() / 2; ++i) {
        if (profile[i] != profile[profile.size() - 1 - i]) {
            throw std::invalid_argument("the profile is not symmetric");
        }
    }
    if (static_cast<Index>(filled.rowStart.size()) != image.rows() + 1) {
        throw std::invalid_argument("bad pixels of " + std::to_string(filled.rowStart.size()) +
                                    " - 1 rows do not belong to an image of " + std::to_string(image.rows()));
    }
}

void requirePossible(SourceControl const& control, ConstImageView<float> const& image,
                     ConstImageView<float> const& variance) {
    if (!(control.threshold >= 0.0) || !(control.minStdev >= 0.0) || control.nLevels < 2 || control.minPixels < 1 ||
        !(control.minContrast >= 0.0)) {
        throw std::invalid_argument(
            "threshold, minStdev and minContrast must not be negative; nLevels must be 2 or more, minPixels 1 or more");
    }
    if (control.perPixel && !haveOneShape(image, variance)) {
        throw std::invalid_argument("image and variance differ in shape");
    }
}

// The bad pixels of a row become NaN, which no comparison finds.
void blankBad(FilledPixels const& filled, Index y, Index x0, Index count, float* row) {
    for (FilledPixel const& pixel : filled.row(y)) {
        if (pixel.x >= x0 && pixel.x < x0 + count) {
            row[pixel.x - x0] = nan;
        }
    }
}

// Finds the runs of a row of `count` pixels where sign * row > limit.
template <typename Report>
void findRuns(float const* row, float const* limit, float sign, Index count, Report const& report) {
    Index start = -1;
    for (Index block = 0; block < count; block += scanWidth) {
        Index const end = std::min(count, block + scanWidth);
        int nAbove = 0;
        for (Index x = block; x < end; ++x) {
            nAbove += sign * row[x] > limit[x] ? 1 : 0;
        }
        if (nAbove == 0 && start < 0) {
            continue;
        }
        for (Index x = block; x < end; ++x) {
            bool const isAbove = sign * row[x] > limit[x];
            if (isAbove && start < 0) {
                start = x;
            } else if (!isAbove && start >= 0) {
                report(start, x);
                start = -1;
            }
        }
    }
    if (start >= 0) {
        report(start, count);
    }
}

class TileSearch {
public:
    TileSearch(ConstImageView<float> const& image, ConstImageView<float> const& variance, FilledPixels const& filled,
               SourceControl const& control)
        : filled_(filled), control_(control), image_(image, filled, control.profile, SmoothedPlane::image) {
        if (control.perPixel) {
            variance_ = std::make_unique<RowSmoother>(variance, filled, control.profile, SmoothedPlane::variance);
        } else {
            limit_.fill(static_cast<float>(control.threshold));
        }
    }

    DetectedOfBothSigns search(Box const& tile) {
        DetectedOfBothSigns found;
        image_.startColumns(tile.x0, tile.width);
        if (variance_ != nullptr) {
            variance_->startColumns(tile.x0, tile.width);
        }
        for (Index y = tile.y0; y < tile.y0 + tile.height; ++y) {
            image_.smooth(y, row_.data());
            blankBad(filled_, y, tile.x0, tile.width, row_.data());
            if (variance_ != nullptr) {
                variance_->smooth(y, limit_.data());
                auto const nSigma = static_cast<float>(control_.threshold);
                auto const least = static_cast<float>(control_.minStdev);
                for (Index x = 0; x < tile.width; ++x) {
                    float& limit = limit_[static_cast<std::size_t>(x)];
                    limit = nSigma * std::max(std::sqrt(std::max(limit, 0.0F)), least);
                }
            }
            if (control_.findPositive) {
                searchRow(y, tile, 1.0F, found.positive);
            }
            if (control_.findNegative) {
                searchRow(y, tile, -1.0F, found.negative);
            }
        }
        return found;
    }

private:
    void searchRow(Index y, Box const& tile, float sign, Detected& found) {
        findRuns(row_.data(), limit_.data(), sign, tile.width, [&](Index begin, Index end) {
            found.append(static_cast<std::int32_t>(y), tile.x0 + begin, tile.x0 + end, row_.data(), limit_.data(),
                         tile.x0, sign, control_.perPixel);
        });
    }

    FilledPixels const& filled_;
    SourceControl const& control_;
    RowSmoother image_;
    std::unique_ptr<RowSmoother> variance_;
    std::array<float, smoothedWidth> row_ = {};
    std::array<float, smoothedWidth> limit_ = {};
};

FoundSources sourcesOf(Detected detected, SourceControl const& control, Tiling const& tiling,
                       Execution const& execution) {
    Footprints footprints = detail::sortByFootprint(std::move(detected), control.minPixels);
    auto const count = static_cast<Index>(footprints.firstRun.size()) - 1;
    Index const nItems = (count + footprintsPerItem - 1) / footprintsPerItem;
    std::vector<std::vector<Source>> parts(static_cast<std::size_t>(nItems));
    parallelForBrief(nItems, execution, [&](Index item, int) {
        for (Index i = item * footprintsPerItem; i < std::min(count, (item + 1) * footprintsPerItem); ++i) {
            auto const f = static_cast<std::size_t>(i);
            auto const part = [f](auto const& values, std::vector<std::size_t> const& first) {
                return std::span(values).subspan(first[f], first[f + 1] - first[f]);
            };
            Detected const& pixels = footprints.pixels;
            FootprintPixels footprint{
                part(pixels.runs, footprints.firstRun), part(pixels.values, footprints.firstValue), {}};
            if (control.perPixel) {
                footprint.thresholds = part(pixels.thresholds, footprints.firstValue);
            }
            detail::addSources(footprint, control, tiling.searched(), parts[static_cast<std::size_t>(item)]);
        }
    });
    FoundSources found;
    for (std::vector<Source> const& part : parts) {
        found.sources.insert(found.sources.end(), part.begin(), part.end());
    }
    found.runs = std::move(footprints.pixels.runs);
    found.footprintCount = count;
    return found;
}

}  // namespace

FoundSourcesOfBothSigns findSources(ConstImageView<float> const& image, ConstImageView<float> const& variance,
                                    FilledPixels const& filled, SourceControl const& control,
                                    Execution const& execution) {
    requireProfile(control.profile, image, filled);
    requirePossible(control, image, variance);
    Tiling const tiling{static_cast<Index>(control.profile.size()) / 2, image.rows(), image.cols()};
    Index const nColumns = tiling.columns();
    Index const nTiles = tiling.rows() * nColumns;
    std::vector<DetectedOfBothSigns> tiles(static_cast<std::size_t>(nTiles));
    // Made here: memory that a thread asks for itself is fresh and must be cleared by the system first.
    std::vector<std::unique_ptr<TileSearch>> searches(static_cast<std::size_t>(workerCount(nTiles, execution)));
    for (auto& search : searches) {
        search = std::make_unique<TileSearch>(image, variance, filled, control);
    }
    parallelFor(nTiles, execution, [&](Index tile, int worker) {
        tiles[static_cast<std::size_t>(tile)] = searches[static_cast<std::size_t>(worker)]->search(tiling.box(tile));
    });
    searches.clear();
    DetectedOfBothSigns all;
    for (Index strip = 0; strip < tiling.rows(); ++strip) {
        std::vector<Detected> positive;
        std::vector<Detected> negative;
        for (Index tile = strip * nColumns; tile < (strip + 1) * nColumns; ++tile) {
            positive.push_back(std::move(tiles[static_cast<std::size_t>(tile)].positive));
            negative.push_back(std::move(tiles[static_cast<std::size_t>(tile)].negative));
        }
        detail::appendStrip(positive, all.positive);
        detail::appendStrip(negative, all.negative);
    }
    FoundSourcesOfBothSigns found;
    found.positive = sourcesOf(std::move(all.positive), control, tiling, execution);
    found.negative = sourcesOf(std::move(all.negative), control, tiling, execution);
    return found;
}

OwnedImage<float> smoothedSamples(ConstImageView<float> const& image, FilledPixels const& filled,
                                  std::vector<double> const& profile, Index rowStep, Index columnStep,
                                  Execution const& execution) {
    requireProfile(profile, image, filled);
    if (rowStep < 1 || columnStep < 1) {
        throw std::invalid_argument("steps between samples must be positive");
    }
    auto const nSamples = [](Index size, Index step) {
        return std::max<Index>(1, (size - step / 2 + step - 1) / step);
    };
    auto const place = [](Index i, Index step, Index size) { return std::min(step / 2 + i * step, size - 1); };
    Index const radius = static_cast<Index>(profile.size()) / 2;
    Index const nRows = nSamples(image.rows(), rowStep);
    Index const nColumns = nSamples(image.cols(), columnStep);
    OwnedImage<float> samples = OwnedImage<float>::Constant(nRows, nColumns, nan);
    std::vector<std::unique_ptr<RowSmoother>> smoothers(static_cast<std::size_t>(workerCount(nRows, execution)));
    for (auto& smoother : smoothers) {
        smoother = std::make_unique<RowSmoother>(image, filled, profile, SmoothedPlane::image);
    }
    parallelForBrief(nRows, execution, [&](Index row, int worker) {
        auto& smoother = smoothers[static_cast<std::size_t>(worker)];
        Index const y = place(row, rowStep, image.rows());
        if (y < radius || y >= image.rows() - radius) {
            return;
        }
        Index i = 0;
        for (Index x0 = radius; x0 < image.cols() - radius; x0 += smoothedWidth) {
            Index const count = std::min(smoothedWidth, image.cols() - radius - x0);
            smoother->startColumns(x0, count);
            float const* const sums = smoother->sumRows(y);
            for (; i < nColumns && place(i, columnStep, image.cols()) < x0 + count; ++i) {
                Index const x = place(i, columnStep, image.cols());
                if (x >= x0) {
                    samples(row, i) = smoother->smoothedAt(sums, x - x0);
                }
            }
        }
        for (FilledPixel const& pixel : filled.row(y)) {
            Index const sample = pixel.x / columnStep;
            if (sample < nColumns && place(sample, columnStep, image.cols()) == pixel.x) {
                samples(row, sample) = nan;
            }
        }
    });
    return samples;
}

}  // namespace psfmatch
