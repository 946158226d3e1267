// How one stamp is explained: its noise and weights, the kind of kernel that fits best, and the accounts of its middle.
#pragma once

#include <array>
#include <vector>

#include "fit/StampAttempt.h"
#include "psfmatch/fit/StampModel.h"

namespace psfmatch {

inline constexpr double nominalWidth = 1.5;  // px, of a kernel before there is one
inline constexpr std::array<double, 7> modelErrors{0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08};

// Of the sum 1.
[[nodiscard]] OwnedImage<double> gaussianKernel(double sigma, Index half);

class StampFitter {
public:
    StampFitter(StampImages const& images, StampModelControl const& control);
    [[nodiscard]] bool hasLight() const { return model_.referenceHasLight; }
    // The accounts of the middle, best first, of the kind of kernel that fits best.
    std::vector<StampTry> explained();
    // The score of a try, comparable with those of other weights: the noise that a kernel makes of a dark template
    // tells nothing of that kernel, so that its expected share of the evidence is taken off.
    [[nodiscard]] double explainedBy(StampTry const& attempt) const;
    // Whether the light has told a flux ratio where the expected one was possible.
    [[nodiscard]] bool isFreed(StampTry const& attempt) const;
    // The brightest source, beside an alert's middle, where it was rejected; else none.
    [[nodiscard]] std::vector<StampBlob> brightestRejected(StampTry const& attempt) const;
    // Places that are not to be rejected.
    void hold(std::vector<StampBlob> const& sources) { ground_.held = sources; }
    StampModel finished(std::vector<StampTry> const& tries);
    // A template that shows nothing: its noise, smoothed, is taken away, and the sky.
    StampModel withoutLight();

private:
    void measureSkies(StampImages const& images);
    static double square(double value) { return value * value; }
    // Kernels no larger than the stamp bears.
    void limitKernel(Index side);
    void prepare();
    // Science over template, where either is lit, by the median of the light; 0 where too little lies outside the
    // middle.
    [[nodiscard]] double freeRatio() const;
    [[nodiscard]] double varianceAt(Index i, double norm, double light, double photon, double modelError) const;
    void setWeights(Eigen::VectorXd const& kernel, Eigen::VectorXd const& light);
    // Whether a narrow kernel does what one that sharpens is for: it deviates much, or is negative about its core.
    [[nodiscard]] static bool mayBeSharp(StampTry const& attempt);
    // The try with kernels that sharpen, for which the stamp is made ready: what is rejected comes after, for they
    // multiply the template's noise.
    StampTry sharpened(StampTry const& attempt);
    // The accounts of the middle, best first, of a try of which the width is known.
    std::vector<StampTry> settled(StampTry attempt);
    // Noise and weights anew of what a try leaves, and the try with them.
    void reweigh(StampTry& attempt);
    // Noise of dark pixels, photons of the light and the model's error, of the pixels that are kept.
    void fitNoise(StampTry const& attempt);
    void setPlane(Eigen::Vector3d const& terms);
    void finish(Eigen::VectorXd const& light);

    StampModelControl control_;
    OwnedImage<double> science_;
    OwnedImage<double> reference_;
    StampFlags scienceGood_;
    StampFlags referenceGood_;
    StampFlags usable_;
    OwnedImage<double> scienceVariance_;
    OwnedImage<double> referenceVariance_;
    bool hasVariance_ = false;
    double leastNoise_ = 0.0;  // of the science image
    double leastReferenceNoise_ = 0.0;
    double modelError_ = 0.0;
    double firstScience_ = 0.0;  // variances of dark pixels before any fit
    double firstTemplate_ = 0.0;
    StampGround ground_;
    StampModel model_;
};

}  // namespace psfmatch
