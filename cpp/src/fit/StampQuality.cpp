#include "psfmatch/fit/StampQuality.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/image/badPixels.h"

namespace psfmatch {

namespace {

constexpr double starSigmaPerSide = 0.1;
constexpr Index boxesPerItem = 64;  // a fraction of a millisecond of work

void requireInside(Box const& box, MaskedImageView const& image) {
    if (box.width < 1 || box.height < 1 || box.x0 < 0 || box.y0 < 0 || box.x0 + box.width > image.image.cols() ||
        box.y0 + box.height > image.image.rows()) {
        throw std::invalid_argument("a stamp of " + std::to_string(box.width) + "x" + std::to_string(box.height) +
                                    " pixels at (" + std::to_string(box.x0) + ", " + std::to_string(box.y0) +
                                    ") does not lie inside the image of " + std::to_string(image.image.cols()) + "x" +
                                    std::to_string(image.image.rows()));
    }
}

bool isBadAt(MaskedImageView const& image, MaskPixel badBits, Index y, Index x) {
    return isBad(image.image(y, x), image.variance(y, x), image.mask(y, x), badBits);
}

int countBad(MaskedImageView const& image, MaskPixel badBits, Box const& box, Index y) {
    float const* const pixels = image.image.data() + y * image.image.outerStride() + box.x0;
    float const* const variances = image.variance.data() + y * image.variance.outerStride() + box.x0;
    MaskPixel const* const planes = image.mask.data() + y * image.mask.outerStride() + box.x0;
    int count = 0;
    for (Index x = 0; x < box.width; ++x) {
        count += isBad(pixels[x], variances[x], planes[x], badBits) ? 1 : 0;
    }
    return count;
}

// Unnormalised profile of the star along one axis, centred on the middle pixel.
Eigen::VectorXd starProfile(Index count, double sigma) {
    Eigen::VectorXd profile(count);
    for (Index i = 0; i < count; ++i) {
        double const offset = static_cast<double>(i - count / 2) / sigma;
        profile[i] = std::exp(-0.5 * offset * offset);
    }
    return profile;
}

}  // namespace

std::vector<double> lostWeights(MaskedImageView const& templateImage, MaskPixel templateBadBits,
                                MaskedImageView const& scienceImage, MaskPixel scienceBadBits,
                                std::vector<Box> const& boxes, Execution const& execution) {
    if (!haveOneShape(templateImage.image, scienceImage.image)) {
        throw std::invalid_argument("template and science image differ in shape");
    }
    std::vector<double> lost(boxes.size(), 0.0);
    auto const assess = [&](Box const& box) {
        requireInside(box, scienceImage);
        double area = 0.0;
        double light = 0.0;
        Eigen::VectorXd alongX;
        Eigen::VectorXd alongY;
        for (Index y = 0; y < box.height; ++y) {
            if (countBad(templateImage, templateBadBits, box, box.y0 + y) == 0 &&
                countBad(scienceImage, scienceBadBits, box, box.y0 + y) == 0) {
                continue;
            }
            for (Index x = 0; x < box.width; ++x) {
                if (!isBadAt(templateImage, templateBadBits, box.y0 + y, box.x0 + x) &&
                    !isBadAt(scienceImage, scienceBadBits, box.y0 + y, box.x0 + x)) {
                    continue;
                }
                if (area == 0.0) {
                    double const sigma = starSigmaPerSide * static_cast<double>(std::max(box.width, box.height));
                    alongX = starProfile(box.width, sigma);
                    alongY = starProfile(box.height, sigma);
                }
                area += 1.0;
                light += alongX[x] * alongY[y];
            }
        }
        if (area == 0.0) {
            return 0.0;
        }
        return std::max(area / static_cast<double>(box.width * box.height), light / (alongX.sum() * alongY.sum()));
    };
    auto const count = static_cast<Index>(boxes.size());
    parallelForBrief((count + boxesPerItem - 1) / boxesPerItem, execution, [&](Index item, int) {
        Index const end = std::min(count, (item + 1) * boxesPerItem);
        for (Index i = item * boxesPerItem; i < end; ++i) {
            lost[static_cast<std::size_t>(i)] = assess(boxes[static_cast<std::size_t>(i)]);
        }
    });
    return lost;
}

std::vector<double> coreSignalToNoise(MaskedImageView const& image, MaskPixel badBits, std::vector<Box> const& boxes,
                                      Index coreRadius) {
    std::vector<double> result;
    result.reserve(boxes.size());
    for (Box const& box : boxes) {
        requireInside(box, image);
        Index const middleX = box.x0 + box.width / 2;
        Index const middleY = box.y0 + box.height / 2;
        double sum = 0.0;
        Index count = 0;
        for (Index y = std::max(box.y0, middleY - coreRadius);
             y < std::min(box.y0 + box.height, middleY + coreRadius + 1); ++y) {
            for (Index x = std::max(box.x0, middleX - coreRadius);
                 x < std::min(box.x0 + box.width, middleX + coreRadius + 1); ++x) {
                if (!isBadAt(image, badBits, y, x) && image.variance(y, x) > 0.0F) {
                    sum +=
                        static_cast<double>(image.image(y, x)) / std::sqrt(static_cast<double>(image.variance(y, x)));
                    ++count;
                }
            }
        }
        result.push_back(count > 0 ? sum / static_cast<double>(count) : -std::numeric_limits<double>::infinity());
    }
    return result;
}

}  // namespace psfmatch
