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
    Eigen::ArrayXf count, value, row, rowSquared, rowValue;
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
        for (auto* plane : {&sky.image, &sky.values, &sky.variances, &sky.pulls, &image_, &sigmas_, &smoothed_}) {
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
            Scatter const wide = scatterOf(smoothed_);
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
            float const* const image = rowOf(input_.image, top + y) + left;
            float const* const variance = rowOf(input_.variance, top + y) + left;
            MaskPixel const* const mask = rowOf(input_.mask, top + y) + left;
            for (std::size_t x = 0; x < static_cast<std::size_t>(sky_.width); ++x) {
                bool const isGood = ((mask[x] & badBits_) == 0) & (std::abs(image[x]) <= largest) &
                                    (variance[x] >= 0.0F) & (variance[x] <= largest);
                isGood_[row + x] = isGood ? 1 : 0;
                sky_.image[row + x] = image[x];
                sky_.variances[row + x] = variance[x];
            }
            if (subtrahend_ != nullptr) {
                takeRowOff(top + y, left, row);
            }
            for (std::size_t x = row; x < row + static_cast<std::size_t>(sky_.width); ++x) {
                bool const isGood = (isGood_[x] != 0) & (std::abs(sky_.image[x]) <= largest) &
                                    (sky_.variances[x] > 0.0F) & (sky_.variances[x] <= largest);
                isGood_[x] = isGood ? 1 : 0;
                sky_.image[x] = isGood ? sky_.image[x] : 0.0F;
                sky_.variances[x] = isGood ? sky_.variances[x] : 1.0F;
                image_[x] = sky_.image[x];
                sigmas_[x] = std::sqrt(sky_.variances[x]);
            }
        }
        std::copy_n(isGood_.begin() + static_cast<std::ptrdiff_t>(first(window)), sky_.windowSize(),
                    sky_.isBlank.begin() + static_cast<std::ptrdiff_t>(first(window)));
    }

    void takeRowOff(Index y, Index left, std::size_t row) {
        float const* const image = rowOf(subtrahend_->image, y) + left;
        float const* const variance = rowOf(subtrahend_->variance, y) + left;
        MaskPixel const* const mask = rowOf(subtrahend_->mask, y) + left;
        for (std::size_t x = 0; x < static_cast<std::size_t>(sky_.width); ++x) {
            bool const isGood = ((mask[x] & subtrahendBits_) == 0) & (std::abs(image[x]) <= largest) &
                                (variance[x] >= 0.0F) & (variance[x] <= largest);
            isGood_[row + x] &= isGood ? 1 : 0;
            sky_.image[row + x] -= image[x];
            sky_.variances[row + x] += variance[x];
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
                    list[count] = image_[row + x];
                    count += isGood_[row + x];
                }
            }
            float const middle =
                count == 0 ? 0.0F
                           : valueOfRank<float>(std::span<float const>(list).first(count), (count - 1) / 2, scratch);
            for (Index y = 0; y < cell.height; ++y) {
                std::size_t const row = start(window, cell, y);
                for (std::size_t x = 0; x < static_cast<std::size_t>(cell.width); ++x) {
                    image_[row + x] = isGood_[row + x] != 0 ? image_[row + x] - middle : 0.0F;
                    sky_.pulls[row + x] = image_[row + x] / sigmas_[row + x];
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

    // Sums of the pulls over boxes; one pixel, however bright, is no source.
    void smooth(Index window, Scatter const& scatter) {
        Index const half = control_.smoothingHalf;
        float const limit = static_cast<float>(control_.pixelSigmas) * scatter.width;
        // Beyond the window there is nothing.
        OwnedImage<float> padded = OwnedImage<float>::Zero(sky_.height + 2 * half, sky_.width + 2 * half);
        for (Index y = 0; y < sky_.height; ++y) {
            std::size_t const row = first(window) + static_cast<std::size_t>(y * sky_.width);
            float* const to = &padded(y + half, half);
            for (std::size_t x = 0; x < static_cast<std::size_t>(sky_.width); ++x) {
                float const pull = sky_.pulls[row + x] - scatter.middle;
                isSingle_[row + x] = std::abs(pull) > limit ? 1 : 0;
                to[x] = std::min(std::max(pull, -limit), limit);
            }
        }
        OwnedImage<float> const along = overBox(padded, half, [](float a, float b) { return a + b; });
        std::copy_n(along.data(), sky_.windowSize(), smoothed_.begin() + static_cast<std::ptrdiff_t>(first(window)));
    }

    // Combines the (2 half + 1)^2 pixels about each pixel of an image with a margin of `half`.
    template <typename Pixel, typename Combine>
    [[nodiscard]] OwnedImage<Pixel> overBox(OwnedImage<Pixel> const& padded, Index half, Combine const& combine) const {
        OwnedImage<Pixel> along(padded.rows(), sky_.width);
        for (Index y = 0; y < padded.rows(); ++y) {
            Pixel* const to = &along(y, 0);
            Pixel const* const from = &padded(y, 0);
            std::copy_n(from, sky_.width, to);
            for (Index step = 1; step <= 2 * half; ++step) {
                for (Index x = 0; x < sky_.width; ++x) {
                    to[x] = static_cast<Pixel>(combine(to[x], from[x + step]));
                }
            }
        }
        OwnedImage<Pixel> result = along.topRows(sky_.height);
        for (Index step = 1; step <= 2 * half; ++step) {
            for (Index y = 0; y < sky_.height; ++y) {
                Pixel* const to = &result(y, 0);
                Pixel const* const from = &along(y + step, 0);
                for (Index x = 0; x < sky_.width; ++x) {
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
            std::uint8_t* const to = &padded(y + grow, grow);
            for (std::size_t x = 0; x < static_cast<std::size_t>(sky_.width); ++x) {
                to[x] = std::abs(smoothed_[row + x] - scatter.middle) > limit ? 1 : 0;
            }
        }
        OwnedImage<std::uint8_t> const grown =
            overBox(padded, grow, [](std::uint8_t a, std::uint8_t b) { return a | b; });
        for (std::size_t i = 0; i < sky_.windowSize(); ++i) {
            std::size_t const at = first(window) + i;
            sky_.isBlank[at] = isGood_[at] & static_cast<std::uint8_t>((grown.data()[i] | isSingle_[at]) ^ 1U);
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
                for (Index x = 0; x < cell.width; ++x) {
                    float const weight = sky_.isBlank[at + static_cast<std::size_t>(x)];
                    float const value = weight * image_[at + static_cast<std::size_t>(x)];
                    sums.count[x] += weight;
                    sums.value[x] += value;
                    sums.row[x] += place * weight;
                    sums.rowSquared[x] += place * place * weight;
                    sums.rowValue[x] += place * value;
                }
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
                for (Index x = 0; x < cell.width; ++x) {
                    std::size_t const i = at + static_cast<std::size_t>(x);
                    float const left = image_[i] - along[x] - level;
                    sky_.values[i] = sky_.isBlank[i] != 0 ? left : 0.0F;
                    // In the next pass what is not blank may show to be.
                    sky_.pulls[i] = isGood_[i] != 0 ? left / sigmas_[i] : 0.0F;
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
    std::vector<float> smoothed_;
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
