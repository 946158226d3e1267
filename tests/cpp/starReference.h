// Fields of stars for the tests of what is measured at them.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "convolveReference.h"

namespace starReference {

using convolveReference::MaskedImage;
using psfmatch::Index;

struct StarField {
    MaskedImage pixels;
    std::vector<double> x;
    std::vector<double> y;
};

inline void addStar(MaskedImage& field, double x, double y, double sigma, double flux) {
    for (Index row = 0; row < field.image.rows(); ++row) {
        for (Index column = 0; column < field.image.cols(); ++column) {
            double const dx = static_cast<double>(column) - x;
            double const dy = static_cast<double>(row) - y;
            field.image(row, column) += static_cast<float>(flux / (2.0 * 3.141592653589793 * sigma * sigma) *
                                                           std::exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma)));
        }
    }
}

// Twelve stars of 1e5 counts on a sky of 100, 40 pixels apart, with noise of one sigma.
inline StarField makeStars(double sigma, float noise, unsigned seed) {
    StarField field{MaskedImage(130, 170), {}, {}};
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> offset(-0.5, 0.5);
    std::normal_distribution<float> deviate(0.0F, 1.0F);
    for (Index i = 0; i < field.pixels.image.size(); ++i) {
        field.pixels.image(i) = 100.0F + noise * deviate(random);
        field.pixels.variance(i) = 1.0F + 0.01F * static_cast<float>(i % 7);
    }
    for (int i = 0; i < 12; ++i) {
        field.x.push_back(25.0 + 40.0 * (i % 4) + offset(random));
        field.y.push_back(25.0 + 40.0 * (i / 4) + offset(random));
        addStar(field.pixels, field.x.back(), field.y.back(), sigma, 1e5);
    }
    return field;
}

}  // namespace starReference
