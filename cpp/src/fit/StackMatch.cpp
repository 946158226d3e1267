#include "psfmatch/fit/StackMatch.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

namespace psfmatch {

namespace {

using Complex = std::complex<double>;
using Eigen::MatrixXcd;

constexpr int nParameters = 4;  // ratio, width, dx, dy
using Parameters = Eigen::Matrix<double, nParameters, 1>;
using Curvature = Eigen::Matrix<double, nParameters, nParameters>;

double const fwhmToSigma = 1.0 / (2.0 * std::sqrt(2.0 * std::log(2.0)));

// exp(-(a k^2)^power / 2), and a over the variance of the Gaussian of one FWHM (by Hankel's transform).
struct Shape {
    double power;
    double ofGaussian;
};
constexpr std::array<Shape, 3> shapes = {{{1.0, 1.0}, {5.0 / 6.0, 1.4934}, {3.0 / 4.0, 1.9817}}};

constexpr double leastPower = 1e-12;  // of light over noise in a mode
constexpr double convergedCost = 1e-7;
constexpr double largestDamping = 1e8;

void requireSound(StackPair const& pair) {
    Index const side = pair.first.rows();
    if (side < 5 || side % 2 == 0 || pair.first.cols() != side || pair.second.rows() != side ||
        pair.second.cols() != side) {
        throw std::invalid_argument("stacks of " + std::to_string(pair.first.cols()) + "x" + std::to_string(side) +
                                    " and " + std::to_string(pair.second.cols()) + "x" +
                                    std::to_string(pair.second.rows()) + " pixels must be squares of one odd side");
    }
    for (double const value : {pair.firstVariance, pair.secondVariance, pair.firstFwhm, pair.secondFwhm}) {
        if (!(value > 0.0 && std::isfinite(value))) {
            throw std::invalid_argument("variances and widths of stacks must be positive, not " +
                                        std::to_string(value));
        }
    }
}

// exp(-i k x) of all wave numbers k of a side (rows) and some pixels x about the middle (columns).
MatrixXcd wavesOf(Index side, Index half) {
    MatrixXcd waves(side, 2 * half + 1);
    for (Index u = 0; u < side; ++u) {
        double const k = 2.0 * std::numbers::pi * static_cast<double>(u - side / 2) / static_cast<double>(side);
        for (Index x = -half; x <= half; ++x) {
            waves(u, x + half) = std::polar(1.0, -k * static_cast<double>(x));
        }
    }
    return waves;
}

// A mode of both stacks, in units of the noise of each, with its weight.
struct Mode {
    double kx;
    double ky;
    double power;  // (kx^2 + ky^2)^p
    Complex first;
    Complex second;
    double weight;
};

struct Fit {
    Parameters parameters = Parameters::Zero();
    Curvature curvature = Curvature::Zero();
    double cost = std::numeric_limits<double>::infinity();
};

class Matcher {
public:
    Matcher(StackPair const& pair, StackMatchControl const& control)
        : pair_(pair), control_(control), side_(pair.first.rows()), waves_(wavesOf(side_, side_ / 2)) {
        fade();
        MatrixXcd const first = transformOf(pair.first);
        MatrixXcd const second = transformOf(pair.second);
        readModes(first, second);
    }

    [[nodiscard]] bool hasLight() const { return firstFlux_ > 0.0 && secondFlux_ > 0.0; }

    [[nodiscard]] StackMatch best() {
        StackMatch found;
        Fit fit;
        Shape shape{};
        for (Shape const& each : shapes) {
            Fit const next = fitWith(each);
            if (next.cost < fit.cost) {
                fit = next;
                shape = each;
            }
        }
        if (!std::isfinite(fit.cost)) {
            return found;
        }
        found.power = shape.power;
        // Where the light is faded out there is less noise: its modes are no longer independent.
        double const dependence = std::sqrt(static_cast<double>(side_ * side_) / noiseModes_);
        Parameters const errors = dependence * fit.curvature.inverse().diagonal().cwiseSqrt();
        found.ratio = fit.parameters(0) * secondFlux_ / firstFlux_;
        found.ratioError = errors(0) * secondFlux_ / firstFlux_;
        double const width = std::max(fit.parameters(1), 0.0);
        found.variance = std::pow(width, 1.0 / shape.power) / shape.ofGaussian;
        found.varianceError = std::pow(width + errors(1), 1.0 / shape.power) / shape.ofGaussian - found.variance;
        found.dx = fit.parameters(2);
        found.dy = fit.parameters(3);
        found.shiftError = pair_.isShiftKnown ? 0.0 : std::sqrt(0.5 * (errors(2) * errors(2) + errors(3) * errors(3)));
        found.chiSquare = fit.cost / totalWeight_;
        found.firstSnr = firstSnr_ / dependence;
        found.secondSnr = secondSnr_ / dependence;
        found.kernel = drawn(fit.parameters, shape, found);
        return found;
    }

private:
    // The light is faded out towards the border: what lies beyond belongs to neither stack.
    void fade() {
        Index const half = side_ / 2;
        fading_.resize(side_);
        for (Index i = -half; i <= half; ++i) {
            double const u = static_cast<double>(std::abs(i)) / static_cast<double>(half + 1);
            double const beyond = (u - control_.flatShare) / (1.0 - control_.flatShare);
            double const cosine = beyond > 0.0 ? std::cos(0.5 * std::numbers::pi * beyond) : 1.0;
            fading_(i + half) = cosine * cosine;
        }
        noiseModes_ = fading_.square().sum() * fading_.square().sum();
    }

    [[nodiscard]] MatrixXcd transformOf(ConstImageView<double> const& stack) const {
        MatrixXcd const faded =
            (stack * (fading_.matrix() * fading_.matrix().transpose()).array()).matrix().cast<Complex>();
        return waves_ * faded * waves_.transpose();
    }

    [[nodiscard]] double waveNumber(Index u) const {
        return 2.0 * std::numbers::pi * static_cast<double>(u - side_ / 2) / static_cast<double>(side_);
    }

    void readModes(MatrixXcd const& first, MatrixXcd const& second) {
        double const firstScale = std::pow(pair_.firstFwhm * fwhmToSigma, 2);
        double const secondScale = std::pow(pair_.secondFwhm * fwhmToSigma, 2);
        double firstNorm = 0.0;
        double secondNorm = 0.0;
        for (Index v = 0; v < side_; ++v) {
            for (Index u = 0; u < side_; ++u) {
                double const kx = waveNumber(u);
                double const ky = waveNumber(v);
                double const square = kx * kx + ky * ky;
                if (square == 0.0) {
                    continue;  // the sky
                }
                modes_.push_back({kx, ky, square, first(v, u), second(v, u), 0.0});
                double const one = std::exp(-0.5 * square * firstScale);
                double const other = std::exp(-0.5 * square * secondScale);
                firstFlux_ += first(v, u).real() * one;
                firstNorm += one * one;
                secondFlux_ += second(v, u).real() * other;
                secondNorm += other * other;
            }
        }
        firstFlux_ /= firstNorm;
        secondFlux_ /= secondNorm;
        // (k / longest wave)^2 of what the sky's structure may have as well.
        double const longest =
            std::pow(2.0 * std::numbers::pi / (control_.longestWave * std::max(pair_.firstFwhm, pair_.secondFwhm)), 2);
        double const firstLight = firstFlux_ * firstFlux_ / (noiseModes_ * pair_.firstVariance);
        double const secondLight = secondFlux_ * secondFlux_ / (noiseModes_ * pair_.secondVariance);
        for (Mode& mode : modes_) {
            double const one = firstLight * std::exp(-mode.power * firstScale);
            double const other = secondLight * std::exp(-mode.power * secondScale);
            mode.weight = 1.0 / (1.0 + 1.0 / std::max(one, leastPower) + 1.0 / std::max(other, leastPower));
            mode.weight /= 1.0 + std::pow(longest / mode.power, 2);
            totalWeight_ += mode.weight;
            firstSnr_ += one;
            secondSnr_ += other;
            // In units of the light, so that the ratio is near one.
            mode.first /= firstFlux_;
            mode.second /= secondFlux_;
        }
        firstSnr_ = std::sqrt(firstSnr_);
        secondSnr_ = std::sqrt(secondSnr_);
        firstNoise_ = noiseModes_ * pair_.firstVariance / (firstFlux_ * firstFlux_);
        secondNoise_ = noiseModes_ * pair_.secondVariance / (secondFlux_ * secondFlux_);
    }

    // Cost, and where asked for gradient and curvature, of a kernel of ratio, width (square pixels to the power),
    // dx, dy.
    double evaluate(Parameters const& p, Parameters* gradient, Curvature* curvature) const {
        double cost = 0.0;
        for (Mode const& mode : modes_) {
            double const size = p(0) * std::exp(-0.5 * p(1) * mode.power);
            Complex const wave = std::polar(1.0, -(mode.kx * p(2) + mode.ky * p(3)));
            Complex const matched = size * wave * mode.first;
            Complex const left = mode.second - matched;
            double const noise = secondNoise_ + size * size * firstNoise_;
            cost += mode.weight * std::norm(left) / noise;
            if (gradient == nullptr) {
                continue;
            }
            // Derivatives of (S - G T) / noise^1/2.
            double const root = 1.0 / std::sqrt(noise);
            Complex const bySize = -(wave * mode.first) * root - left * (size * firstNoise_ / noise * root);
            Complex const byPhase = Complex(0.0, 1.0) * matched * root;
            std::array<Complex, nParameters> const derivatives = {
                bySize * (size / p(0)), bySize * (-0.5 * mode.power * size), byPhase * mode.kx, byPhase * mode.ky};
            for (int i = 0; i < nParameters; ++i) {
                auto const& one = derivatives[static_cast<std::size_t>(i)];
                (*gradient)(i) += mode.weight * (std::conj(one) * (left * root)).real();
                for (int j = 0; j <= i; ++j) {
                    (*curvature)(i, j) +=
                        mode.weight * (std::conj(one) * derivatives[static_cast<std::size_t>(j)]).real();
                }
            }
        }
        if (curvature != nullptr) {
            curvature->triangularView<Eigen::StrictlyUpper>() = curvature->transpose();
        }
        return cost;
    }

    // Levenberg and Marquardt's way, the width not below zero.
    Fit fitWith(Shape const& shape) {
        for (Mode& mode : modes_) {
            mode.power = std::pow(mode.kx * mode.kx + mode.ky * mode.ky, shape.power);
        }
        double const between = (pair_.secondFwhm * pair_.secondFwhm - pair_.firstFwhm * pair_.firstFwhm);
        double const variance = std::max(0.0, between * fwhmToSigma * fwhmToSigma);
        Fit fit;
        fit.parameters << 1.0, std::pow(shape.ofGaussian * variance, shape.power), pair_.dx, pair_.dy;
        fit.cost = evaluate(fit.parameters, nullptr, nullptr);
        double damping = 1e-3;
        for (int i = 0; i < control_.maxIterations && damping < largestDamping; ++i) {
            Parameters gradient = Parameters::Zero();
            fit.curvature.setZero();
            evaluate(fit.parameters, &gradient, &fit.curvature);
            if (pair_.isShiftKnown) {
                gradient.tail<2>().setZero();
                fit.curvature.bottomRows<2>().setZero();
                fit.curvature.rightCols<2>().setZero();
                fit.curvature.bottomRightCorner<2, 2>().setIdentity();
            }
            bool hasGained = false;
            double gained = 0.0;
            while (!hasGained && damping < largestDamping) {
                Parameters const next = stepped(fit, gradient, damping);
                double const cost = next(0) > 0.0 ? evaluate(next, nullptr, nullptr) : fit.cost;
                hasGained = cost < fit.cost;
                damping *= hasGained ? 0.3 : 5.0;
                if (hasGained) {
                    gained = fit.cost - cost;
                    fit.parameters = next;
                    fit.cost = cost;
                }
            }
            if (gained < convergedCost * fit.cost) {
                break;
            }
        }
        return fit;
    }

    static Parameters stepped(Fit const& fit, Parameters const& gradient, double damping) {
        Curvature damped = fit.curvature;
        damped.diagonal() *= 1.0 + damping;
        Parameters step = -damped.ldlt().solve(gradient);
        if (fit.parameters(1) + step(1) < 0.0) {
            // To the limit, and the others without it.
            step(1) = -fit.parameters(1);
            Parameters right = -gradient - damped.col(1) * step(1);
            damped.row(1).setZero();
            damped.col(1).setZero();
            damped(1, 1) = 1.0;
            right(1) = step(1);
            step = damped.ldlt().solve(right);
        }
        Parameters next = fit.parameters + step;
        next(1) = std::max(next(1), 0.0);
        return next;
    }

    // The kernel's pixels; of one that is narrower than a pixel only a wider one can be drawn off the middle.
    [[nodiscard]] OwnedImage<double> drawn(Parameters const& p, Shape const& shape, StackMatch const& found) const {
        bool const isMoved = std::max(std::abs(p(2)), std::abs(p(3))) > 0.02;
        double const width =
            isMoved ? std::max(p(1), std::pow(shape.ofGaussian * control_.leastVariance, shape.power)) : p(1);
        double const sigma = std::sqrt(std::max(found.variance, isMoved ? control_.leastVariance : 0.0));
        double const reach = control_.kernelReach * sigma + std::max(std::abs(p(2)), std::abs(p(3)));
        Index const half = std::min(side_ / 2, static_cast<Index>(std::ceil(reach)) + (isMoved || sigma > 0.0 ? 2 : 0));
        MatrixXcd modes(side_, side_);
        for (Index v = 0; v < side_; ++v) {
            for (Index u = 0; u < side_; ++u) {
                double const kx = waveNumber(u);
                double const ky = waveNumber(v);
                modes(v, u) = std::polar(std::exp(-0.5 * width * std::pow(kx * kx + ky * ky, shape.power)),
                                         -(kx * p(2) + ky * p(3)));
            }
        }
        MatrixXcd const waves = wavesOf(side_, half);
        OwnedImage<double> kernel = (waves.adjoint() * modes * waves.conjugate()).real().array();
        return kernel * (found.ratio / kernel.sum());
    }

    StackPair const& pair_;
    StackMatchControl const& control_;
    Index side_;
    MatrixXcd waves_;
    Eigen::ArrayXd fading_;
    double noiseModes_ = 0.0;  // variance of a mode for that of a pixel
    std::vector<Mode> modes_;
    double firstFlux_ = 0.0;
    double secondFlux_ = 0.0;
    double firstNoise_ = 0.0;
    double secondNoise_ = 0.0;
    double firstSnr_ = 0.0;
    double secondSnr_ = 0.0;
    double totalWeight_ = 0.0;
};

}  // namespace

StackMatch matchStacks(StackPair const& pair, StackMatchControl const& control) {
    requireSound(pair);
    Matcher matcher(pair, control);
    return matcher.hasLight() ? matcher.best() : StackMatch{};
}

}  // namespace psfmatch
