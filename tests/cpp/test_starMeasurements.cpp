// Light in boxes, shifts left in differences, and moments and fluxes of sources, against their definitions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "psfmatch/sources/BoxLight.h"
#include "psfmatch/sources/SourceMeasurement.h"
#include "psfmatch/sources/StarShifts.h"
#include "starReference.h"

using namespace psfmatch;
using convolveReference::MaskedImage;
using starReference::StarField;

TEST_CASE("light in a box is what the pixels have above the median beside it") {
    StarField field = starReference::makeStars(1.5, 4.0F, 7);
    field.pixels.mask(24, 24) = 4;
    auto const found = boxLight(field.pixels.views(), 4, field.x, field.y);
    for (std::size_t i = 0; i < found.size(); ++i) {
        double sum = 0.0;
        double variance = 0.0;
        double count = 0.0;
        std::vector<double> beside;
        for (Index y = 0; y < 130; ++y) {
            for (Index x = 0; x < 170; ++x) {
                double const distance = std::max(std::abs(static_cast<double>(x) - std::floor(field.x[i] + 0.5)),
                                                 std::abs(static_cast<double>(y) - std::floor(field.y[i] + 0.5)));
                if (distance <= 12.0 && field.pixels.mask(y, x) == 0) {
                    bool const isInside = distance <= 7.0;
                    sum += isInside ? field.pixels.image(y, x) : 0.0;
                    variance += isInside ? field.pixels.variance(y, x) : 0.0;
                    count += isInside ? 1.0 : 0.0;
                    if (!isInside) {
                        beside.push_back(field.pixels.image(y, x));
                    }
                }
            }
        }
        std::sort(beside.begin(), beside.end());
        double const sky = 0.5 * (beside[(beside.size() - 1) / 2] + beside[beside.size() / 2]);
        CHECK(found[i].light == doctest::Approx(sum - count * sky).epsilon(1e-12));
        CHECK(found[i].error == doctest::Approx(std::sqrt(variance)).epsilon(1e-12));
    }
    std::vector<double> const off = {-30.0, std::nan("")};
    for (BoxLight const& none : boxLight(field.pixels.views(), 4, off, off)) {
        CHECK(std::isnan(none.light));
    }
}

TEST_CASE("shifts, scales and levels of a difference are found") {
    StarField const field = starReference::makeStars(1.6, 0.0F, 8);
    StarField moved = field;
    moved.pixels.image.setZero();
    for (std::size_t i = 0; i < field.x.size(); ++i) {
        starReference::addStar(moved.pixels, field.x[i] + 0.01, field.y[i] - 0.02, 1.6, 1.03e5);
    }
    moved.pixels.image += 107.0F - field.pixels.image;
    StarShifts const found =
        starShifts(moved.pixels.views(), convolveReference::view(field.pixels.image), 1, field.x, field.y);
    for (Index i = 0; i < found.values.rows(); ++i) {
        // Second order of the shift, and float32 pixels of 6e3.
        CHECK(found.values(i, 0) == doctest::Approx(-0.01 * 1.03).epsilon(0.02));
        CHECK(found.values(i, 1) == doctest::Approx(0.02 * 1.03).epsilon(0.02));
        CHECK(found.values(i, 2) == doctest::Approx(0.03).epsilon(0.01));
        CHECK((found.errors.row(i).array() > 0.0).all());
    }
    moved.pixels.mask.setOnes();
    StarShifts const none =
        starShifts(moved.pixels.views(), convolveReference::view(field.pixels.image), 1, field.x, field.y);
    CHECK(none.values.array().isNaN().all());
    CHECK_THROWS_AS(static_cast<void>(starShifts(moved.pixels.views(), convolveReference::view(MaskedImage(3, 3).image),
                                                 1, field.x, field.y)),
                    std::invalid_argument);
}

TEST_CASE("moments of Gaussian sources are theirs, and fluxes of both kinds") {
    StarField field = starReference::makeStars(1.8, 0.0F, 9);
    field.pixels.image -= 100.0F;
    MeasurementControl control;
    control.sigma = 1.8;
    control.radius = 9;
    auto const found = measureSources(field.pixels.views(), 1, field.x, field.y, {}, control);
    auto const threaded = measureSources(field.pixels.views(), 1, field.x, field.y, {}, control, {3, {}});
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i].ixx == threaded[i].ixx);
        // Beyond five sigma there is 1e-6 of the light; float32 pixels.
        CHECK(found[i].ixx == doctest::Approx(1.8 * 1.8).epsilon(1e-4));
        CHECK(found[i].iyy == doctest::Approx(1.8 * 1.8).epsilon(1e-4));
        CHECK(std::abs(found[i].ixy) < 1e-3);
        CHECK(found[i].psfFlux == doctest::Approx(1e5).epsilon(1e-4));
        CHECK(found[i].gaussianFlux == doctest::Approx(1e5).epsilon(1e-3));
        // sigma_F^2 = 4 pi sigma^2 of the mean variance.
        CHECK(found[i].psfFluxErr == doctest::Approx(std::sqrt(12.566 * 1.8 * 1.8 * 1.03)).epsilon(0.02));
    }
    // The image of the PSF, shifted to the sources, gives what its formula does.
    StarField psf{MaskedImage(19, 19), {}, {}};
    starReference::addStar(psf.pixels, 9.0, 9.0, 1.8, 1.0);
    convolveReference::Image<double> const image = psf.pixels.image.cast<double>();
    std::vector<Index> const number(field.x.size(), 0);
    PsfImages const images{{image.data(), 361}, 19, number};
    auto const withImage = measureSources(field.pixels.views(), 1, field.x, field.y, images, control);
    for (MeasuredSource const& source : withImage) {
        CHECK(source.psfFlux == doctest::Approx(1e5).epsilon(1e-2));  // Lanczos of order 3
    }
    PsfImages const wrong{{image.data(), 360}, 19, number};
    CHECK_THROWS_AS(static_cast<void>(measureSources(field.pixels.views(), 1, field.x, field.y, wrong, control)),
                    std::invalid_argument);
}

TEST_CASE("bits of the pixels near are found") {
    MaskedImage field(9, 9);
    field.mask(4, 6) = 3;
    field.mask(0, 0) = 8;
    std::vector<double> const x = {4.0, 4.0, -20.0, std::nan("")};
    std::vector<double> const y = {4.0, 4.0, -3.0, 0.0};
    CHECK(bitsNear(convolveReference::view(std::as_const(field.mask)), x, y, 2) == std::vector<MaskPixel>{3, 3, 8, 0});
    CHECK(bitsNear(convolveReference::view(std::as_const(field.mask)), x, y, 1) == std::vector<MaskPixel>{0, 0, 8, 0});
}
