#include "psfmatch/image/BlankSky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

// The first pixel of a row.
template <typename Pixel>
Pixel const* rowOf(ConstImageView<Pixel> const& image, Index y) {
    return image.data() + y * image.outerStride();
}

constexpr double sigmaPerQuartiles = 0.7413;
constexpr float largest = std::numeric_limits<float>::max();

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

// Without short circuits: this must vectorise.
bool isUsable(float image, float variance, MaskPixel badPlanes) {
    return (badPlanes == 0) & (std::abs(image) <= largest) & (variance >= 0.0F) & (variance <= largest);
}

// Median, and standard deviation by quartiles, of every fourth blank pixel; infinitely wide without two.
struct Scatter {
    float middle = 0.0F;
    float width = std::numeric_limits<float>::infinity();
};

struct Cell {
    Index top;
    Index left;
    Index height;
    Index width;
};

// Weighted sums down each column of a cell; the widest cell sets how many there are.
struct ColumnSums {
    explicit ColumnSums(Index side) : count(side), value(side), row(side), rowSquared(side), rowValue(side) {}
    void clear() {
        for (Eigen::ArrayXf* sums : {&count, &value, &row, &rowSquared, &rowValue}) {
            sums->setZero();
        }
    }
    // One row, `place` rows below the first.
    void add(float const* weights, float const* image, float place, Index width) {
        addRow(weights, image, place, width, count.data(), value.data(), row.data(), rowSquared.data(),
               rowValue.data());
    }

    Eigen::ArrayXf count, value, row, rowSquared, rowValue;

private:
    static void addRow(float const* __restrict weights, float const* __restrict image, float place, Index width,
                       float* __restrict counts, float* __restrict values, float* __restrict rows,
                       float* __restrict rowsSquared, float* __restrict rowValues) {
        for (Index x = 0; x < width; ++x) {
            float const weighted = weights[x] * image[x];
            counts[x] += weights[x];
            values[x] += weighted;
            rows[x] += place * weights[x];
            rowsSquared[x] += place * place * weights[x];
            rowValues[x] += place * weighted;
        }
    }
};

class Finder {
public:
    // `subtrahend` may be null.
    Finder(MaskedImageView const& input, MaskPixel badBits, MaskedImageView const* subtrahend, MaskPixel subtrahendBits,
           BlankSkyControl const& control, BlankSky& sky)
        : input_(input),
          badBits_(badBits),
          subtrahend_(subtrahend),
          subtrahendBits_(subtrahendBits),
          control_(control),
          sky_(sky) {
        std::size_t const size = static_cast<std::size_t>(sky.nWindows()) * sky.windowSize();
        for (auto* plane : {&sky.image, &sky.values, &sky.variances, &sky.pulls, &image_, &sigmas_, &weights_}) {
            plane->resize(size);
        }
        for (auto* flags : {&sky.isBlank, &isGood_, &isSingle_}) {
            flags->resize(size);
        }
        for (Index top = 0; top < sky.height; top += control.cellSide) {
            for (Index left = 0; left < sky.width; left += control.cellSide) {
                cells_.push_back({top, left, std::min(control.cellSide, sky.height - top),
                                  std::min(control.cellSide, sky.width - left)});
            }
        }
    }

    void find(Execution const& execution) {
        auto const forWindows = [&](auto const& body) {
            parallelFor(sky_.nWindows(), execution, [&](Index window, int) { body(window); });
        };
        forWindows([&](Index window) {
            take(window);
            takeMediansOff(window);
        });
        for (int pass = 0; pass < control_.nPasses; ++pass) {
            Scatter const single = scatterOf(sky_.pulls);
            forWindows([&](Index window) { smooth(window, single); });
            Scatter const wide = scatterOf(sky_.values);
            forWindows([&](Index window) {
                leaveSourcesOut(window, wide);
                takePlanesOff(window);
            });
        }
        sky_.nPixels = std::count(sky_.isBlank.begin(), sky_.isBlank.end(), std::uint8_t{1});
        auto const nNumbers = static_cast<double>(3 * sky_.nWindows() * static_cast<Index>(cells_.size()));
        sky_.freedom = std::max(0.5, 1.0 - nNumbers / static_cast<double>(std::max<Index>(1, sky_.nPixels)));
    }

private:
    [[nodiscard]] std::size_t first(Index window) const { return static_cast<std::size_t>(window) * sky_.windowSize(); }

    void take(Index window) {
        auto const nColumns = static_cast<Index>(sky_.lefts.size());
        Index const top = sky_.tops[static_cast<std::size_t>(window / nColumns)];
        Index const left = sky_.lefts[static_cast<std::size_t>(window % nColumns)];
        for (Index y = 0; y < sky_.height; ++y) {
            std::size_t const row = first(window) + static_cast<std::size_t>(y * sky_.width);
            takeRow(input_, badBits_, top + y, left, row);
            if (subtrahend_ != nullptr) {
                takeRowOff(*subtrahend_, subtrahendBits_, top + y, left, row);
            }
            finishRow(row);
        }
        std::copy_n(isGood_.begin() + static_cast<std::ptrdiff_t>(first(window)), sky_.windowSize(),
                    sky_.isBlank.begin() + static_cast<std::ptrdiff_t>(first(window)));
    }

    // Bytes may be part of anything, so the compiler must be told that they are not.
    void takeRow(MaskedImageView const& from, MaskPixel badBits, Index y, Index left, std::size_t row) {
        float const* __restrict const image = rowOf(from.image, y) + left;
        float const* __restrict const variance = rowOf(from.variance, y) + left;
        MaskPixel const* __restrict const mask = rowOf(from.mask, y) + left;
        float* __restrict const toImage = sky_.image.data() + row;
        float* __restrict const toVariance = sky_.variances.data() + row;
        std::uint8_t* __restrict const isGood = isGood_.data() + row;
        Index const width = sky_.width;
        for (Index x = 0; x < width; ++x) {
            isGood[x] = isUsable(image[x], variance[x], mask[x] & badBits) ? 1 : 0;
            toImage[x] = image[x];
            toVariance[x] = variance[x];
        }
    }

    void takeRowOff(MaskedImageView const& from, MaskPixel badBits, Index y, Index left, std::size_t row) {
        float const* __restrict const image = rowOf(from.image, y) + left;
        float const* __restrict const variance = rowOf(from.variance, y) + left;
        MaskPixel const* __restrict const mask = rowOf(from.mask, y) + left;
        float* __restrict const toImage = sky_.image.data() + row;
        float* __restrict const toVariance = sky_.variances.data() + row;
        std::uint8_t* __restrict const isGood = isGood_.data() + row;
        Index const width = sky_.width;
        for (Index x = 0; x < width; ++x) {
            isGood[x] &= isUsable(image[x], variance[x], mask[x] & badBits) ? 1 : 0;
            toImage[x] -= image[x];
            toVariance[x] += variance[x];
        }
    }

    void finishRow(std::size_t row) {
        float* __restrict const image = sky_.image.data() + row;
        float* __restrict const variance = sky_.variances.data() + row;
        float* __restrict const sigma = sigmas_.data() + row;
        float* __restrict const weight = weights_.data() + row;
        std::uint8_t* __restrict const isGood = isGood_.data() + row;
        Index const width = sky_.width;
        for (Index x = 0; x < width; ++x) {
            bool const isUsed = (isGood[x] != 0) & isUsable(image[x], variance[x], 0) & (variance[x] > 0.0F);
            isGood[x] = isUsed ? 1 : 0;
        }
        for (Index x = 0; x < width; ++x) {
            weight[x] = isGood[x];
        }
        for (Index x = 0; x < width; ++x) {
            image[x] = weight[x] > 0.0F ? image[x] : 0.0F;
            variance[x] = weight[x] > 0.0F ? variance[x] : 1.0F;
            sigma[x] = std::sqrt(variance[x]);
        }
        for (Index x = 0; x < width; ++x) {
            // What is not good has no pull.
            sigma[x] = weight[x] > 0.0F ? sigma[x] : std::numeric_limits<float>::infinity();
        }
    }

    // Of each cell the median of its good pixels, of even numbers the lower of the two in the middle.
    void takeMediansOff(Index window) {
        std::vector<float> list(static_cast<std::size_t>(control_.cellSide * control_.cellSide));
        std::vector<float> scratch;
        for (Cell const& cell : cells_) {
            std::size_t count = 0;
            for (Index y = 0; y < cell.height; ++y) {
                std::size_t const row = start(window, cell, y);
                for (std::size_t x = 0; x < static_cast<std::size_t>(cell.width); ++x) {
                    list[count] = sky_.image[row + x];
                    count += isGood_[row + x];
                }
            }
            float const middle =
                count == 0 ? 0.0F
                           : valueOfRank<float>(std::span<float const>(list).first(count), (count - 1) / 2, scratch);
            for (Index y = 0; y < cell.height; ++y) {
                std::size_t const row = start(window, cell, y);
                float const* __restrict const image = sky_.image.data() + row;
                float const* __restrict const sigma = sigmas_.data() + row;
                float const* __restrict const good = weights_.data() + row;
                float* __restrict const offset = image_.data() + row;
                float* __restrict const pull = sky_.pulls.data() + row;
                for (Index x = 0; x < cell.width; ++x) {
                    offset[x] = good[x] * (image[x] - middle);
                    pull[x] = offset[x] / sigma[x];
                }
            }
        }
    }

    [[nodiscard]] std::size_t start(Index window, Cell const& cell, Index y) const {
        return first(window) + static_cast<std::size_t>((cell.top + y) * sky_.width + cell.left);
    }

    [[nodiscard]] Scatter scatterOf(std::vector<float> const& plane) {
        sample_.resize(plane.size() / 2 + 1);
        std::size_t count = 0;
        for (Index window = 0; window < sky_.nWindows(); ++window) {
            for (Index y = 0; y < sky_.height; y += 2) {
                std::size_t const row = first(window) + static_cast<std::size_t>(y * sky_.width);
                for (std::size_t x = 0; x < static_cast<std::size_t>(sky_.width); x += 2) {
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
    void smooth(Index window, Scatter const& scatter) {
        Index const half = control_.smoothingHalf;
        float const limit = static_cast<float>(control_.pixelSigmas) * scatter.width;
        // Beyond the window there is nothing.
        OwnedImage<float> padded = OwnedImage<float>::Zero(sky_.height + 2 * half, sky_.width + 2 * half);
        for (Index y = 0; y < sky_.height; ++y) {
            std::size_t const row = first(window) + static_cast<std::size_t>(y * sky_.width);
            float* __restrict const to = &padded(y + half, half);
            float const* __restrict const pulls = sky_.pulls.data() + row;
            std::uint8_t* __restrict const isSingle = isSingle_.data() + row;
            Index const width = sky_.width;
            float const middle = scatter.middle;
            for (Index x = 0; x < width; ++x) {
                float const pull = pulls[x] - middle;
                isSingle[x] = std::abs(pull) > limit ? 1 : 0;
                to[x] = std::min(std::max(pull, -limit), limit);
            }
        }
        OwnedImage<float> const along = overBox(padded, half, [](float a, float b) { return a + b; });
        std::copy_n(along.data(), sky_.windowSize(), sky_.values.begin() + static_cast<std::ptrdiff_t>(first(window)));
    }

    // Combines the (2 half + 1)^2 pixels about each pixel of an image with a margin of `half`.
    template <typename Pixel, typename Combine>
    [[nodiscard]] OwnedImage<Pixel> overBox(OwnedImage<Pixel> const& padded, Index half, Combine const& combine) const {
        Index const width = sky_.width;
        OwnedImage<Pixel> along(padded.rows(), width);
        for (Index y = 0; y < padded.rows(); ++y) {
            Pixel* __restrict const to = &along(y, 0);
            Pixel const* __restrict const from = &padded(y, 0);
            std::copy_n(from, width, to);
            for (Index step = 1; step <= 2 * half; ++step) {
                for (Index x = 0; x < width; ++x) {
                    to[x] = static_cast<Pixel>(combine(to[x], from[x + step]));
                }
            }
        }
        OwnedImage<Pixel> result = along.topRows(sky_.height);
        for (Index step = 1; step <= 2 * half; ++step) {
            for (Index y = 0; y < sky_.height; ++y) {
                Pixel* __restrict const to = &result(y, 0);
                Pixel const* __restrict const from = &along(y + step, 0);
                for (Index x = 0; x < width; ++x) {
                    to[x] = static_cast<Pixel>(combine(to[x], from[x]));
                }
            }
        }
        return result;
    }

    void leaveSourcesOut(Index window, Scatter const& scatter) {
        Index const grow = control_.growth;
        float const limit = static_cast<float>(control_.sourceSigmas) * scatter.width;
        OwnedImage<std::uint8_t> padded = OwnedImage<std::uint8_t>::Zero(sky_.height + 2 * grow, sky_.width + 2 * grow);
        for (Index y = 0; y < sky_.height; ++y) {
            std::size_t const row = first(window) + static_cast<std::size_t>(y * sky_.width);
            std::uint8_t* __restrict const to = &padded(y + grow, grow);
            float const* __restrict const smoothed = sky_.values.data() + row;
            Index const width = sky_.width;
            float const middle = scatter.middle;
            for (Index x = 0; x < width; ++x) {
                to[x] = std::abs(smoothed[x] - middle) > limit ? 1 : 0;
            }
        }
        OwnedImage<std::uint8_t> const grown =
            overBox(padded, grow, [](std::uint8_t a, std::uint8_t b) { return a | b; });
        std::uint8_t const* __restrict const isSource = grown.data();
        std::uint8_t const* __restrict const isGood = isGood_.data() + first(window);
        std::uint8_t const* __restrict const isSingle = isSingle_.data() + first(window);
        std::uint8_t* __restrict const isBlank = sky_.isBlank.data() + first(window);
        float* __restrict const weight = weights_.data() + first(window);
        std::size_t const size = sky_.windowSize();
        for (std::size_t i = 0; i < size; ++i) {
            isBlank[i] = isGood[i] & static_cast<std::uint8_t>((isSource[i] | isSingle[i]) ^ 1U);
            weight[i] = isBlank[i];
        }
    }

    // Takes the mean and the slopes, along x and y, of the blank pixels off each cell. One slope after the other: gaps
    // leave the two nearly independent, and the passes see to the rest.
    void takePlanesOff(Index window) {
        ColumnSums sums(control_.cellSide);
        for (Cell const& cell : cells_) {
            sums.clear();
            for (Index y = 0; y < cell.height; ++y) {
                std::size_t const at = start(window, cell, y);
                auto const place = static_cast<float>(y);
                sums.add(weights_.data() + at, image_.data() + at, place, cell.width);
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
                std::size_t const at = start(window, cell, y);
                auto const level = static_cast<float>(slopeY * (static_cast<double>(y) - middleY));
                float const* __restrict const weights = weights_.data() + at;
                float const* __restrict const image = image_.data() + at;
                float const* __restrict const sigma = sigmas_.data() + at;
                float const* __restrict const plane = along.data();
                float* __restrict const offset = sky_.values.data() + at;
                float* __restrict const pull = sky_.pulls.data() + at;
                // In the next pass what is not blank may show to be.
                for (Index x = 0; x < cell.width; ++x) {
                    float const left = image[x] - plane[x] - level;
                    offset[x] = weights[x] * left;
                    pull[x] = left / sigma[x];
                }
            }
        }
    }

    MaskedImageView input_;
    MaskPixel badBits_;
    MaskedImageView const* subtrahend_;
    MaskPixel subtrahendBits_;
    BlankSkyControl control_;
    BlankSky& sky_;
    std::vector<Cell> cells_;
    std::vector<float> image_;  // less the median of its cell
    std::vector<float> sigmas_;
    std::vector<float> weights_;  // 1 where a pixel is good at first, then where it is blank
    std::vector<std::uint8_t> isGood_;
    std::vector<std::uint8_t> isSingle_;
    std::vector<float> sample_;
    std::vector<float> scratch_;
};

bool hasShape(MaskedImageView const& input, Index height, Index width) {
    auto const fits = [&](auto const& plane) { return plane.rows() == height && plane.cols() == width; };
    return fits(input.image) && fits(input.variance) && fits(input.mask);
}

BlankSky find(MaskedImageView const& input, MaskPixel badBits, MaskedImageView const* subtrahend,
              MaskPixel subtrahendBits, BlankSkyControl const& control, Execution const& execution) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    if (!hasShape(input, height, width) || (subtrahend != nullptr && !hasShape(*subtrahend, height, width)) ||
        height < 1 || width < 1) {
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
    Finder(input, badBits, subtrahend, subtrahendBits, control, sky).find(execution);
    for (std::size_t i = 0; i < sky.pulls.size(); ++i) {
        sky.pulls[i] = sky.isBlank[i] != 0 ? sky.pulls[i] : 0.0F;
    }
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

}  // namespace psfmatch
