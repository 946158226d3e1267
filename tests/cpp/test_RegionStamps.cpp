#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "psfmatch/fit/RegionStamps.h"
#include "regionReference.h"

using namespace psfmatch;
using namespace regionReference;

TEST_CASE("stamps hold the pixels of the images, less a sky near theirs") {
    Field field = makeField(7);
    field.control.saturatedBits = 16;
    field.templateImage.mask(field.y[5] + 9, field.x[5] - 2) |= 16;
    field.science.variance(field.y[6], field.x[6]) = std::numeric_limits<float>::infinity();
    auto const stamps = cut(field);
    CHECK(stamps->size() == 16);
    CHECK(stamps->templateSky == doctest::Approx(800.0).epsilon(0.02));
    CHECK(stamps->scienceSky == doctest::Approx(350.0).epsilon(0.05));
    RegionShape const& shape = stamps->shape;
    CHECK(shape.height == 17);
    CHECK(shape.stride == 24);
    for (Index k = 0; k < stamps->size(); ++k) {
        Index const x0 = field.x[static_cast<std::size_t>(k)] - 8;
        Index const y0 = field.y[static_cast<std::size_t>(k)] - 8;
        for (Index y = 0; y < shape.height; ++y) {
            for (Index x = 0; x < shape.stride; ++x) {
                Index const p = y * shape.stride + x;
                if (x >= shape.width) {
                    CHECK(stamps->usable(k, p) == 0);
                    continue;
                }
                auto const any = [&](MaskPixel bits, Index reach) {
                    auto const part =
                        field.templateImage.mask.block(y0 + y - reach, x0 + x - reach, 2 * reach + 1, 2 * reach + 1);
                    return part.unaryExpr([bits](MaskPixel m) { return (m & bits) != 0; }).any();
                };
                bool const usable = (field.science.mask(y0 + y, x0 + x) & 2) == 0 && !any(1, 2) && !any(16, 3) &&
                                    field.science.variance(y0 + y, x0 + x) < 1e30F;
                CHECK((stamps->usable(k, p) != 0) == usable);
                float const science = field.science.image(y0 + y, x0 + x) - static_cast<float>(stamps->scienceSky);
                CHECK(stamps->science(k, p) == doctest::Approx(usable ? science : 0.0F).epsilon(1e-6));
                if (usable) {
                    float const middle = stamps->templateImage(k, (y + 3) * stamps->templateStride + x + 3);
                    CHECK(middle + static_cast<float>(stamps->templateSky) ==
                          doctest::Approx(field.templateImage.image(y0 + y, x0 + x)).epsilon(1e-6));
                    CHECK(stamps->varianceHere(k, p) == field.templateImage.variance(y0 + y, x0 + x));
                }
            }
        }
    }
    double const fraction = stamps->usableFraction()[5];
    CHECK(fraction == doctest::Approx(pixelsOf(shape, stamps->usable, 5).mean()));
    CHECK((cut(field, 3)->templateImage == stamps->templateImage).all());
}

TEST_CASE("stamps that leave the images, and kernels without a middle, are refused") {
    Field field = makeField(7);
    field.x[2] = 10;
    CHECK_THROWS_WITH_AS((void)cut(field), doctest::Contains("the stamp about x = 10"), std::invalid_argument);
    field = makeField(7);
    field.control.kernelWidth = 6;
    CHECK_THROWS_WITH_AS((void)cut(field), doctest::Contains("kernel sides must be odd"), std::invalid_argument);
    field = makeField(7);
    field.y.pop_back();
    CHECK_THROWS_WITH_AS((void)cut(field), doctest::Contains("16 positions x and 15 y"), std::invalid_argument);
    field.x.clear();
    field.y.clear();
    CHECK(cut(field)->size() == 0);
}

TEST_CASE("light of tiles by definition") {
    Field field = makeField(7);
    field.science.mask.block(field.y[3] - 8, field.x[3] - 8, 17, 16).setConstant(2);
    Eigen::VectorXd const light = tileLight(field.science.views(), 2, field.x, field.y, 8, {});
    for (std::size_t k = 0; k < field.x.size(); ++k) {
        std::vector<float> pixels;
        std::vector<double> variances;
        for (Index y = field.y[k] - 8; y <= field.y[k] + 8; y += 2) {
            for (Index x = field.x[k] - 8; x <= field.x[k] + 8; x += 2) {
                if ((field.science.mask(y, x) & 2) == 0) {
                    pixels.push_back(field.science.image(y, x));
                    variances.push_back(static_cast<double>(field.science.variance(y, x)));
                }
            }
        }
        double const found = light[static_cast<Index>(k)];
        if (pixels.size() < 16) {
            CHECK(std::isnan(found));
            continue;
        }
        std::sort(pixels.begin(), pixels.end());
        auto const count = static_cast<double>(pixels.size());
        double const above = static_cast<double>(pixels[static_cast<std::size_t>(0.98 * count)]) -
                             static_cast<double>(pixels[pixels.size() / 2]);
        CHECK(found == doctest::Approx(above / std::sqrt(psfmatch::median(variances))).epsilon(1e-5));
    }
    CHECK_THROWS_WITH_AS((void)tileLight(field.science.views(), 2, field.x, field.y, 40, {}),
                         doctest::Contains("the tile about"), std::invalid_argument);
}
