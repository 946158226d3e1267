#include "psfmatch/image/BlankSky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>

#include "image/BlankSkyWorkspace.h"
#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

using detail::addRow;
using detail::BlankSkyWorkspace;
using detail::Cell;
using detail::ColumnSums;
using detail::finishRow;
using detail::overBox;

namespace {

constexpr double sigmaPerQuartiles = 0.7413;

std::vector<Index> firstOfWindows(Index size, Index side, double share) {
    auto const wanted = static_cast<Index>(std::ceil(share * static_cast<double>(size) / static_cast<double>(side)));
    Index const count = std::max<Index>(1, std::min(size / side, wanted));
    std::vector<Index> starts;
    for (Index i = 0; i < count; ++i) {
        double const middle = (static_cast<double>(i) + 0.5) * static_cast<double>(size) / static_cast<double>(count);
        starts.push_back(
            std::clamp<Index>(static_cast<Index>(middle - 0.5 * static_cast<double>(side)), 0, size - side));
    }
    return starts;
}

// Median, and standard deviation by quartiles, of every eighth blank pixel; infinitely wide without two.
struct Scatter {
    float middle = 0.0F;
    float width = std::numeric_limits<float>::infinity();
};

class Finder {
public:
    // `subtrahend` may be null.
    Finder(MaskedImageView const& input, MaskPixel badBits, MaskedImageView const* subtrahend, MaskPixel subtrahendBits,
           BlankSkyControl const& control, Execution const& execution, BlankSky& sky)
        : input_(input),
          badBits_(badBits),
          subtrahend_(subtrahend),
          subtrahendBits_(subtrahendBits),
          control_(control),
          execution_(execution),
          sky_(sky) {
        Index const size = sky.nWindows() * sky.windowSize();
        for (Eigen::ArrayXf* plane : {&sky.image, &sky.values, &sky.variances, &sky.pulls}) {
            plane->resize(size);
        }
        sky.isBlank.resize(size);
        isGood_.resize(size);
        for (Index top = 0; top < sky.height; top += control.cellSide) {
            for (Index left = 0; left < sky.width; left += control.cellSide) {
                cells_.push_back({top, left, std::min(control.cellSide, sky.height - top),
                                  std::min(control.cellSide, sky.width - left)});
            }
        }
        medians_.resize(sky.nWindows(), static_cast<Index>(cells_.size()));
        for (int worker = 0; worker < workerCount(sky.nWindows(), execution); ++worker) {
            workspaces_.emplace_back(sky, control);
        }
    }

    void find() {
        forWindows([&](Index window, BlankSkyWorkspace& work) {
            take(window, work);
            takeMediansOff(window, work);
        });
        for (int pass = 0; pass < control_.nPasses; ++pass) {
            Scatter const single = scatterOf(sky_.pulls);
            forWindows([&](Index window, BlankSkyWorkspace& work) { smooth(window, single, work); });
            Scatter const wide = scatterOf(sky_.values);
            forWindows([&](Index window, BlankSkyWorkspace& work) {
                leaveSourcesOut(window, single, wide, work);
                takePlanesOff(window, pass + 1 == control_.nPasses, work);
            });
        }
        count();
    }

    // What is blank is known, of every step-th row of windows.
    void follow(BlankSky const& where, Index step) {
        auto const nColumns = static_cast<Index>(sky_.lefts.size());
        forWindows([&](Index window, BlankSkyWorkspace& work) {
            take(window, work);
            takeMediansOff(window, work);
            Index const from = first(window / nColumns * step * nColumns + window % nColumns);
            std::uint8_t const* __restrict const known = where.isBlank.data() + from;
            std::uint8_t const* __restrict const isGood = isGood_.data() + first(window);
            std::uint8_t* __restrict const isBlank = sky_.isBlank.data() + first(window);
            float* __restrict const weight = work.weights.data();
            for (Index i = 0; i < sky_.windowSize(); ++i) {
                isBlank[i] = isGood[i] & known[i];
                weight[i] = isBlank[i];
            }
            takePlanesOff(window, true, work);
        });
        count();
    }

private:
    template <typename Body>
    void forWindows(Body const& body) {
        parallelForBrief(sky_.nWindows(), execution_, [&](Index window, int worker) {
            body(window, workspaces_[static_cast<std::size_t>(worker)]);
        });
    }

    void count() {
        sky_.nPixels = sky_.isBlank.cast<Index>().sum();
        auto const nNumbers = static_cast<double>(3 * sky_.nWindows() * static_cast<Index>(cells_.size()));
        sky_.freedom = std::max(0.5, 1.0 - nNumbers / static_cast<double>(std::max<Index>(1, sky_.nPixels)));
    }

    [[nodiscard]] Index first(Index window) const { return window * sky_.windowSize(); }

    void take(Index window, BlankSkyWorkspace& work) {
        auto const nColumns = static_cast<Index>(sky_.lefts.size());
        Index const top = sky_.tops[static_cast<std::size_t>(window / nColumns)];
        Index const left = sky_.lefts[static_cast<std::size_t>(window % nColumns)];
        for (Index y = 0; y < sky_.height; ++y) {
            Index const row = first(window) + y * sky_.width;
            float* const weight = work.weights.data() + y * sky_.width;
            float* const image = sky_.image.data() + row;
            float* const variance = sky_.variances.data() + row;
            std::fill_n(image, sky_.width, 0.0F);
            std::fill_n(variance, sky_.width, 0.0F);
            std::fill_n(weight, sky_.width, 1.0F);
            addRow(input_, badBits_, top + y, left, 1.0F, sky_.width, image, variance, weight);
            if (subtrahend_ != nullptr) {
                addRow(*subtrahend_, subtrahendBits_, top + y, left, -1.0F, sky_.width, image, variance, weight);
            }
            finishRow(sky_.width, image, variance, weight);
        }
        std::uint8_t* __restrict const isGood = isGood_.data() + first(window);
        float const* __restrict const weight = work.weights.data();
        for (Index i = 0; i < sky_.windowSize(); ++i) {
            isGood[i] = static_cast<std::uint8_t>(weight[i]);
        }
        std::copy_n(isGood, sky_.windowSize(), sky_.isBlank.data() + first(window));
    }

    // What is not good has no pull.
    void sigmasOf(Index window, BlankSkyWorkspace& work) const {
        Index const size = sky_.windowSize();
        // Eigen's root, unlike the standard one, vectorises.
        work.sigmas = sky_.variances.segment(first(window), size).sqrt();
        std::uint8_t const* __restrict const isGood = isGood_.data() + first(window);
        float* __restrict const sigma = work.sigmas.data();
        for (Index i = 0; i < size; ++i) {
            sigma[i] = isGood[i] != 0 ? sigma[i] : std::numeric_limits<float>::infinity();
        }
    }

    // Of each cell the median of every fourth good pixel, of even numbers the lower of the two in the middle: good
    // enough to begin with.
    void takeMediansOff(Index window, BlankSkyWorkspace& work) {
        sigmasOf(window, work);
        for (std::size_t number = 0; number < cells_.size(); ++number) {
            Cell const& cell = cells_[number];
            std::size_t count = 0;
            for (Index y = 0; y < cell.height; y += 2) {
                Index const row = first(window) + start(cell, y);
                for (Index x = 0; x < cell.width; x += 2) {
                    work.list[count] = sky_.image[row + x];
                    count += isGood_[row + x];
                }
            }
            float const middle = count == 0 ? 0.0F
                                            : valueOfRank<float>(std::span<float const>(work.list).first(count),
                                                                 (count - 1) / 2, work.scratch);
            medians_(window, static_cast<Index>(number)) = middle;
            for (Index y = 0; y < cell.height; ++y) {
                float const* __restrict const image = sky_.image.data() + first(window) + start(cell, y);
                float const* __restrict const sigma = work.sigmas.data() + start(cell, y);
                float* __restrict const pull = sky_.pulls.data() + first(window) + start(cell, y);
                for (Index x = 0; x < cell.width; ++x) {
                    pull[x] = (image[x] - middle) / sigma[x];
                }
            }
        }
    }

    // Of a row of a cell, in its window.
    [[nodiscard]] Index start(Cell const& cell, Index y) const { return (cell.top + y) * sky_.width + cell.left; }

    [[nodiscard]] Scatter scatterOf(Eigen::ArrayXf const& plane) {
        sample_.resize(static_cast<std::size_t>(plane.size() + 1));
        std::size_t count = 0;
        for (Index window = 0; window < sky_.nWindows(); ++window) {
            for (Index y = window % 4; y < sky_.height; y += 4) {
                Index const row = first(window) + y * sky_.width;
                for (Index x = 0; x < sky_.width; x += 2) {
                    sample_[count] = plane[row + x];
                    count += sky_.isBlank[row + x];
                }
            }
        }
        if (count < 2) {
            return {};
        }
        std::span<float const> const values = std::span<float const>(sample_).first(count);
        double const low = quantileOf<float>(values, 0.25, scratch_);
        double const high = quantileOf<float>(values, 0.75, scratch_);
        return {static_cast<float>(quantileOf<float>(values, 0.5, scratch_)),
                static_cast<float>(sigmaPerQuartiles * (high - low))};
    }

    // Puts sums of the pulls over boxes in the place of the values; one pixel, however bright, is no source.
    void smooth(Index window, Scatter const& single, BlankSkyWorkspace& work) {
        Index const half = control_.smoothingHalf;
        float const limit = static_cast<float>(control_.pixelSigmas) * single.width;
        // Beyond the window there is nothing.
        for (Index y = 0; y < sky_.height; ++y) {
            float* __restrict const to = &work.paddedPulls(y + half, half);
            float const* __restrict const pulls = sky_.pulls.data() + first(window) + y * sky_.width;
            Index const width = sky_.width;
            float const middle = single.middle;
            for (Index x = 0; x < width; ++x) {
                to[x] = std::min(std::max(pulls[x] - middle, -limit), limit);
            }
        }
        overBox(work.paddedPulls, half, [](float a, float b) { return a + b; }, work.pullsAlong, work.smoothed);
        std::copy_n(work.smoothed.data(), sky_.windowSize(), sky_.values.data() + first(window));
    }

    void leaveSourcesOut(Index window, Scatter const& single, Scatter const& wide, BlankSkyWorkspace& work) {
        Index const grow = control_.growth;
        float const limit = static_cast<float>(control_.sourceSigmas) * wide.width;
        for (Index y = 0; y < sky_.height; ++y) {
            std::uint8_t* __restrict const to = &work.paddedSources(y + grow, grow);
            float const* __restrict const smoothed = sky_.values.data() + first(window) + y * sky_.width;
            Index const width = sky_.width;
            float const middle = wide.middle;
            for (Index x = 0; x < width; ++x) {
                to[x] = std::abs(smoothed[x] - middle) > limit ? 1 : 0;
            }
        }
        overBox(
            work.paddedSources, grow, [](std::uint8_t a, std::uint8_t b) { return a | b; }, work.sourcesAlong,
            work.sources);
        float const pixelLimit = static_cast<float>(control_.pixelSigmas) * single.width;
        float const pixelMiddle = single.middle;
        std::uint8_t const* __restrict const isSource = work.sources.data();
        std::uint8_t const* __restrict const isGood = isGood_.data() + first(window);
        float const* __restrict const pulls = sky_.pulls.data() + first(window);
        std::uint8_t* __restrict const isBlank = sky_.isBlank.data() + first(window);
        float* __restrict const weight = work.weights.data();
        Index const size = sky_.windowSize();
        for (Index i = 0; i < size; ++i) {
            bool const isSingle = std::abs(pulls[i] - pixelMiddle) > pixelLimit;
            isBlank[i] = isGood[i] & static_cast<std::uint8_t>((isSource[i] | (isSingle ? 1U : 0U)) ^ 1U);
        }
        for (Index i = 0; i < size; ++i) {
            weight[i] = isBlank[i];
        }
    }

    // Takes the mean and the slopes, along x and y, of the blank pixels off each cell. One slope after the other: gaps
    // leave the two nearly independent, and the passes see to the rest. At the end what is not blank becomes zero.
    void takePlanesOff(Index window, bool isLast, BlankSkyWorkspace& work) {
        sigmasOf(window, work);
        for (std::size_t number = 0; number < cells_.size(); ++number) {
            Cell const& cell = cells_[number];
            // Less it, single precision is enough for the sums.
            float const median = medians_(window, static_cast<Index>(number));
            ColumnSums& sums = work.sums;
            sums.clear();
            for (Index y = 0; y < cell.height; ++y) {
                sums.add(work.weights.data() + start(cell, y), sky_.image.data() + first(window) + start(cell, y),
                         median, static_cast<float>(y), cell.width);
            }
            auto const places = Eigen::ArrayXd::LinSpaced(cell.width, 0.0, static_cast<double>(cell.width - 1)).eval();
            auto const of = [&](Eigen::ArrayXf const& part) { return part.head(cell.width).cast<double>().eval(); };
            Eigen::ArrayXd const weight = of(sums.count);
            Eigen::ArrayXd const value = of(sums.value);
            Eigen::ArrayXd const row = of(sums.row);
            double const count = std::max(weight.sum(), 1.0);
            double const mean = value.sum() / count;
            double const middleX = (weight * places).sum() / count;
            double const middleY = row.sum() / count;
            double const powerX = (weight * (places - middleX).square()).sum();
            double const powerY = of(sums.rowSquared).sum() - count * middleY * middleY;
            double const both = ((places - middleX) * row).sum();
            double const slopeX = ((places - middleX) * value).sum() / std::max(powerX, 1.0);
            double const slopeY =
                (of(sums.rowValue).sum() - middleY * value.sum() - slopeX * both) / std::max(powerY, 1.0);
            Eigen::ArrayXf const along = (mean + slopeX * (places - middleX)).cast<float>();
            for (Index y = 0; y < cell.height; ++y) {
                auto const level = static_cast<float>(slopeY * (static_cast<double>(y) - middleY));
                float const* __restrict const weights = work.weights.data() + start(cell, y);
                float const* __restrict const image = sky_.image.data() + first(window) + start(cell, y);
                float const* __restrict const sigma = work.sigmas.data() + start(cell, y);
                float const* __restrict const plane = along.data();
                float* __restrict const offset = sky_.values.data() + first(window) + start(cell, y);
                float* __restrict const pull = sky_.pulls.data() + first(window) + start(cell, y);
                float const others = isLast ? 0.0F : 1.0F;  // in the next pass what is not blank may show to be
                for (Index x = 0; x < cell.width; ++x) {
                    float const left = (image[x] - median) - plane[x] - level;
                    offset[x] = weights[x] * left;
                    pull[x] = std::max(weights[x], others) * left / sigma[x];
                }
            }
        }
    }

    MaskedImageView input_;
    MaskPixel badBits_;
    MaskedImageView const* subtrahend_;
    MaskPixel subtrahendBits_;
    BlankSkyControl control_;
    Execution const& execution_;
    BlankSky& sky_;
    std::vector<Cell> cells_;
    OwnedImage<float> medians_;  // (windows, cells)
    Eigen::Array<std::uint8_t, Eigen::Dynamic, 1> isGood_;
    std::vector<BlankSkyWorkspace> workspaces_;
    std::vector<float> sample_;
    std::vector<float> scratch_;
};

BlankSky find(MaskedImageView const& input, MaskPixel badBits, MaskedImageView const* subtrahend,
              MaskPixel subtrahendBits, BlankSkyControl const& control, Execution const& execution) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    auto const isAlike = [&](MaskedImageView const& planes) {
        return haveOneShape(input.image, planes.image, planes.variance, planes.mask);
    };
    if (!isAlike(input) || (subtrahend != nullptr && !isAlike(*subtrahend)) || height < 1 || width < 1) {
        throw std::invalid_argument("image, variance and mask must have one shape with pixels");
    }
    if (control.maxPixels < 1 || control.windowSide < 1 || control.cellSide < 1) {
        throw std::invalid_argument("pixels to look at and sides of windows and cells must be positive");
    }
    double const share = std::sqrt(static_cast<double>(control.maxPixels) / static_cast<double>(height * width));
    BlankSky sky;
    sky.height = std::min(control.windowSide, height);
    sky.width = std::min(control.windowSide, width);
    sky.cellSide = control.cellSide;
    sky.tops = firstOfWindows(height, sky.height, share);
    sky.lefts = firstOfWindows(width, sky.width, share);
    Finder(input, badBits, subtrahend, subtrahendBits, control, execution, sky).find();
    return sky;
}

BlankSky follow(MaskedImageView const& input, MaskPixel badBits, BlankSky const& where, Index step,
                std::vector<Index> const& tops, BlankSkyControl const& control, Execution const& execution) {
    bool const isInside = !tops.empty() && tops.back() + where.height <= input.image.rows() &&
                          where.lefts.back() + where.width <= input.image.cols();
    if (!haveOneShape(input.image, input.variance, input.mask) || !isInside) {
        throw std::invalid_argument("windows of blank sky reach beyond the image, or its planes differ in shape");
    }
    BlankSky sky;
    sky.tops = tops;
    sky.lefts = where.lefts;
    sky.height = where.height;
    sky.width = where.width;
    sky.cellSide = where.cellSide;
    BlankSkyControl own = control;
    own.cellSide = where.cellSide;
    Finder(input, badBits, nullptr, 0, own, execution, sky).follow(where, step);
    return sky;
}

}  // namespace

BlankSky findBlankSky(MaskedImageView const& input, MaskPixel badBits, BlankSkyControl const& control,
                      Execution const& execution) {
    return find(input, badBits, nullptr, 0, control, execution);
}

BlankSky findBlankSky(MaskedImageView const& minuend, MaskPixel badBits, MaskedImageView const& subtrahend,
                      MaskPixel subtrahendBits, BlankSkyControl const& control, Execution const& execution) {
    return find(minuend, badBits, &subtrahend, subtrahendBits, control, execution);
}

BlankSky blankSkyAt(MaskedImageView const& input, MaskPixel badBits, BlankSky const& where,
                    BlankSkyControl const& control, Execution const& execution) {
    return follow(input, badBits, where, 1, where.tops, control, execution);
}

BlankSky blankSkyInRows(MaskedImageView const& input, MaskPixel badBits, BlankSky const& where, Index step,
                        BlankSkyControl const& control, Execution const& execution) {
    if (step < 1) {
        throw std::invalid_argument("one of " + std::to_string(step) + " rows of windows: must be at least 1");
    }
    std::vector<Index> tops((where.tops.size() + static_cast<std::size_t>(step) - 1) / static_cast<std::size_t>(step));
    for (std::size_t row = 0; row < tops.size(); ++row) {
        tops[row] = static_cast<Index>(row) * where.height;
    }
    return follow(input, badBits, where, step, tops, control, execution);
}

}  // namespace psfmatch
