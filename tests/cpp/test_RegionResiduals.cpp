#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "psfmatch/fit/RegionOutliers.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "regionReference.h"

using namespace psfmatch;
using namespace regionReference;

namespace {

double medianOfAll(std::vector<double> values) {
    return psfmatch::median(values);
}

double spreadOf(std::vector<double> const& values) {
    double const middle = medianOfAll(values);
    std::vector<double> deviations;
    for (double const value : values) {
        deviations.push_back(std::abs(value - middle));
    }
    return 1.4826 * medianOfAll(deviations);
}

// One kernel for the field, near that of the images, and a bit for every region.
struct TrialSolution {
    RowMatrix coefficients;
    Eigen::VectorXd backgrounds;
};

TrialSolution solutionFor(RegionFit const& fit) {
    TrialSolution solution{RowMatrix::Zero(fit.size(), fit.nImages), Eigen::VectorXd(fit.size())};
    for (Index k = 0; k < fit.size(); ++k) {
        solution.coefficients(k, 0) = 1.2;
        for (Index i = 1; i < fit.nImages; ++i) {
            solution.coefficients(k, i) = 0.05 / static_cast<double>(i + k);
        }
        solution.backgrounds[k] = 350.0 - 800.0 * solution.coefficients.row(k).dot(fit.imageSums);
    }
    return solution;
}

// Residuals whose pulls are noise and whose light falls off a star in the middle.
RegionResiduals makeResiduals(Index nRegions, Index side, double brightest) {
    RegionShape const shape = regionShape(side, side);
    RegionResiduals residuals{shape, RegionValues::Zero(nRegions, shape.size()),
                              RegionValues::Zero(nRegions, shape.size()), RegionValues::Ones(nRegions, shape.size()),
                              RegionBytes::Zero(nRegions, shape.size())};
    std::mt19937 random(7);
    std::normal_distribution<double> noise(0.0, 1.0);
    for (Index k = 0; k < nRegions; ++k) {
        double const peak = brightest * std::pow(0.8, static_cast<double>(k));
        for (Index y = 0; y < side; ++y) {
            for (Index x = 0; x < side; ++x) {
                Index const p = y * shape.stride + x;
                auto const d = static_cast<double>((x - side / 2) * (x - side / 2) + (y - side / 2) * (y - side / 2));
                double const light = peak * std::exp(-d / 8.0);
                residuals.signal(k, p) = static_cast<float>(light + noise(random));
                residuals.pull(k, p) = static_cast<float>(noise(random) * (1.0 + 0.02 * light));
                residuals.usable(k, p) = random() % 50U != 0 ? 1 : 0;
                if (residuals.usable(k, p) == 0) {
                    residuals.pull(k, p) = 0.0F;
                }
            }
        }
    }
    return residuals;
}

// findOutliers by definition, for fewer pixels than are sampled.
std::vector<bool> expectedOutliers(RegionResiduals const& residuals, double threshold, Index growth) {
    RegionShape const& shape = residuals.shape;
    Index const n = residuals.size();
    auto const at = [&](Index k, Index y, Index x) {
        return static_cast<std::size_t>((k * shape.height + y) * shape.width + x);
    };
    auto const forBox = [&](Index y, Index x, Index half, auto const& body) {
        for (Index v = std::max<Index>(0, y - half); v <= std::min(shape.height - 1, y + half); ++v) {
            for (Index u = std::max<Index>(0, x - half); u <= std::min(shape.width - 1, x + half); ++u) {
                body(v, u);
            }
        }
    };
    std::size_t const count = static_cast<std::size_t>(n * shape.nPixels());
    std::vector<double> smoothed(count);
    std::vector<std::vector<double>> lights(2, std::vector<double>(count));
    std::vector<bool> usable(count);
    for (Index k = 0; k < n; ++k) {
        for (Index y = 0; y < shape.height; ++y) {
            for (Index x = 0; x < shape.width; ++x) {
                double sum = 0.0;
                double number = 0.0;
                forBox(y, x, 2, [&](Index v, Index u) {
                    sum += static_cast<double>(residuals.pull(k, v * shape.stride + u));
                    number += static_cast<double>(residuals.usable(k, v * shape.stride + u));
                });
                double near = -1e30;
                forBox(y, x, 5, [&](Index v, Index u) {
                    Index const p = v * shape.stride + u;
                    near =
                        std::max(near, residuals.usable(k, p) != 0 ? static_cast<double>(residuals.signal(k, p)) : 0.0);
                });
                smoothed[at(k, y, x)] = sum / std::sqrt(std::max(number, 1.0));
                lights[0][at(k, y, x)] = static_cast<double>(residuals.signal(k, y * shape.stride + x));
                lights[1][at(k, y, x)] = near;
                usable[at(k, y, x)] = residuals.usable(k, y * shape.stride + x) != 0;
            }
        }
    }
    std::vector<double> limit(count, 0.0);
    for (auto const& light : lights) {
        double spread = 1.0;
        double middle = 1.0;
        std::vector<double> const borders{-1e30, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e30};
        for (std::size_t c = 0; c + 1 < borders.size(); ++c) {
            std::vector<double> pulls;
            std::vector<double> own;
            std::vector<bool> regions(static_cast<std::size_t>(n), false);
            std::vector<std::size_t> members;
            for (std::size_t p = 0; p < count; ++p) {
                if (usable[p] && light[p] > borders[c] && light[p] <= borders[c + 1]) {
                    pulls.push_back(smoothed[p]);
                    own.push_back(light[p]);
                    regions[p / static_cast<std::size_t>(shape.nPixels())] = true;
                    members.push_back(p);
                }
            }
            if (members.empty()) {
                continue;
            }
            double const ownMiddle = medianOfAll(own);
            double usual = 0.0;
            if (std::count(regions.begin(), regions.end(), true) >= 4 && members.size() >= 40) {
                usual = spread = spreadOf(pulls);
                middle = ownMiddle;
            } else {
                double const excess =
                    std::sqrt(std::max(0.0, spread * spread - 1.3)) * std::max(1.0, ownMiddle / std::max(middle, 1.0));
                usual = std::sqrt(1.0 + excess * excess + std::pow(0.05 * ownMiddle, 2));
            }
            for (std::size_t const p : members) {
                limit[p] = std::max(limit[p], threshold * std::max(1.0, usual));
            }
        }
    }
    std::vector<bool> outliers(count, false);
    for (Index k = 0; k < n; ++k) {
        for (Index y = 0; y < shape.height; ++y) {
            for (Index x = 0; x < shape.width; ++x) {
                std::size_t const p = at(k, y, x);
                if (usable[p] && std::abs(smoothed[p]) > limit[p]) {
                    forBox(y, x, growth, [&](Index v, Index u) { outliers[at(k, v, u)] = true; });
                }
            }
        }
    }
    return outliers;
}

}  // namespace

TEST_CASE("residuals, their variances and signals by definition") {
    Field const field = makeField(9);
    for (auto const& basis : {simulate::smallBasis(), simulate::randomBasis(3, 9, 9, 2)}) {
        RegionFit const fit = makeRegionFit(cut(field), prepare(basis), {});
        RegionStamps const& stamps = *fit.stamps;
        RegionShape const& shape = stamps.shape;
        TrialSolution const solution = solutionFor(fit);
        RegionResiduals const found = judge(fit, solution.coefficients, solution.backgrounds, {});
        std::vector<double> skies;
        std::vector<Eigen::VectorXd> models;
        std::vector<Eigen::VectorXd> sigmas;
        for (Index k = 0; k < fit.size(); ++k) {
            CAPTURE(k);
            Eigen::VectorXd const model =
                designOf(stamps, basis, k).topRows(basis.size()).transpose() * solution.coefficients.row(k).transpose();
            Eigen::VectorXd const usable = pixelsOf(shape, stamps.usable, k);
            Eigen::VectorXd const own = pixelsOf(shape, stamps.scienceVariance, k);
            double const meanVariance = usable.dot(own) / usable.sum();
            Eigen::VectorXd const deviation =
                usable.cwiseProduct((model.array() - usable.dot(model) / usable.sum()).matrix());
            double const slope =
                std::max(0.0, deviation.dot((own.array() - meanVariance).matrix()) / deviation.squaredNorm());
            Image<double> const kernel = simulate::combine(basis, solution.coefficients.row(k).transpose());
            Image<double> templateVariance(shape.height + 8, shape.width + 8);
            for (Index y = 0; y < templateVariance.rows(); ++y) {
                for (Index x = 0; x < templateVariance.cols(); ++x) {
                    templateVariance(y, x) =
                        static_cast<double>(stamps.templateVariance(k, y * stamps.templateStride + x));
                }
            }
            Image<double> const convolved = simulate::correlate(templateVariance, kernel.square());
            Eigen::VectorXd const variance = (meanVariance + slope * deviation.array()).max(0.3 * meanVariance) +
                                             Eigen::Map<Eigen::ArrayXd const>(convolved.data(), convolved.size());
            Eigen::VectorXd const gotVariance = pixelsOf(shape, found.variance, k);
            // The kernel's share is good to 1e-3 of the sum of its squares times the largest variance near.
            CHECK((gotVariance - variance).cwiseAbs().maxCoeff() <
                  1e-3 * kernel.square().sum() * templateVariance.maxCoeff() + 1e-5 * variance.maxCoeff());
            Eigen::VectorXd const science = pixelsOf(shape, stamps.science, k).array() + stamps.scienceSky;
            Eigen::VectorXd const sigma = (usable.array() != 0.0).select(gotVariance.cwiseSqrt(), 1.0);
            Eigen::VectorXd const pull = usable.cwiseProduct(
                ((science - model).array() - solution.backgrounds[k]).matrix().cwiseQuotient(sigma));
            CHECK((pixelsOf(shape, found.pull, k) - pull).cwiseAbs().maxCoeff() <
                  1e-6 * model.cwiseAbs().maxCoeff() / sigma.minCoeff() + 1e-6 * pull.cwiseAbs().maxCoeff());
            std::vector<double> const light(model.data(), model.data() + model.size());
            skies.push_back(medianOfAll(light));
            models.push_back(model);
            sigmas.push_back(sigma);
        }
        double const highest = medianOfAll(skies) + 3.0 * spreadOf(skies);
        for (Index k = 0; k < fit.size(); ++k) {
            auto const i = static_cast<std::size_t>(k);
            Eigen::VectorXd const signal =
                (models[i].array() - std::min(skies[i], highest)).matrix().cwiseQuotient(sigmas[i]);
            CHECK((pixelsOf(shape, found.signal, k) - signal).cwiseAbs().maxCoeff() <
                  2e-6 * models[i].cwiseAbs().maxCoeff() / sigmas[i].minCoeff());
        }
        RegionResiduals const again = judge(fit, solution.coefficients, solution.backgrounds, {3});
        CHECK((again.pull == found.pull).all());
        CHECK((again.signal == found.signal).all());
        CHECK((again.variance == found.variance).all());
        BrightScatter const scatter = brightScatter(found, stamps, 0.3, 5.0, 5.0);
        CHECK(scatter.nRegions > 3);
        double squares = 0.0;
        double count = 0.0;
        for (Index k = 0; k < fit.size(); ++k) {
            for (Index p = 0; p < shape.size(); ++p) {
                if (found.usable(k, p) != 0 && found.signal(k, p) > 5.0F) {
                    squares += std::min(25.0, std::pow(static_cast<double>(found.pull(k, p)), 2));
                    count += 1.0;
                }
            }
        }
        CHECK(scatter.pull == doctest::Approx(std::sqrt(squares / count)));
        CHECK(std::isnan(brightScatter(found, stamps, 0.3, 1e9).scatter));
    }
}

TEST_CASE("a summary counts the pixels that are kept") {
    RegionResiduals const residuals = makeResiduals(3, 9, 100.0);
    RegionFlags rejected{residuals.shape, RegionBytes::Zero(3, residuals.shape.size())};
    rejected.flags.row(1).head(40).setOnes();
    rejected.flags.row(2).setOnes();
    RegionSummary const summary = summarize(residuals, &rejected);
    Eigen::VectorXd const usable = pixelsOf(residuals.shape, residuals.usable, 1);
    Eigen::VectorXd const kept =
        usable.cwiseProduct((pixelsOf(residuals.shape, rejected.flags, 1).array() == 0.0).cast<double>().matrix());
    Eigen::VectorXd const pull = pixelsOf(residuals.shape, residuals.pull, 1).cwiseProduct(kept);
    CHECK(summary.nPixels[1] == static_cast<std::int64_t>(kept.sum()));
    CHECK(summary.keptFraction[1] == doctest::Approx(kept.sum() / usable.sum()));
    CHECK(summary.mean[1] == doctest::Approx(pull.sum() / kept.sum()));
    CHECK(summary.chiSquare[1] == doctest::Approx(pull.squaredNorm() / kept.sum()));
    CHECK(summary.rms[1] == doctest::Approx(std::sqrt(summary.chiSquare[1] - std::pow(summary.mean[1], 2))));
    CHECK(std::isnan(summary.mean[2]));
    CHECK(summary.keptFraction[2] == 0.0);
    CHECK(summarize(residuals, nullptr).keptFraction[2] == 1.0);
}

TEST_CASE("outliers by definition") {
    for (double const brightest : {2000.0, 20.0}) {
        RegionResiduals residuals = makeResiduals(11, 13, brightest);
        RegionShape const& shape = residuals.shape;
        for (Index p : {3 * shape.stride + 12, 9 * shape.stride + 2}) {
            residuals.pull(4, p) = 60.0F;
            residuals.usable(4, p) = 1;
        }
        for (Index const growth : {0, 2}) {
            RegionFlags const found = findOutliers(residuals, {5.0, growth}, {});
            std::vector<bool> const expected = expectedOutliers(residuals, 5.0, growth);
            Index wrong = 0;
            for (Index k = 0; k < residuals.size(); ++k) {
                for (Index i = 0; i < shape.nPixels(); ++i) {
                    bool const flag = found.flags(k, i / shape.width * shape.stride + i % shape.width) != 0;
                    wrong += flag != expected[static_cast<std::size_t>(k * shape.nPixels() + i)] ? 1 : 0;
                }
            }
            CHECK(wrong == 0);
            CHECK(found.fraction() > 0.0);
            CHECK(found == findOutliers(residuals, {5.0, growth}, {3}));
        }
    }
}

TEST_CASE("a region with another flux is an outlier as a whole") {
    RegionResiduals residuals = makeResiduals(8, 13, 30.0);
    residuals.pull.row(2) += 0.3F * residuals.signal.row(2) * residuals.usable.row(2).cast<float>();
    RegionFlags const found = findOutliers(residuals, {5.0, 0}, {});
    CHECK(pixelsOf(residuals.shape, found.flags, 2).minCoeff() == 1.0);
    CHECK(pixelsOf(residuals.shape, found.flags, 3).minCoeff() == 0.0);
}

TEST_CASE("what cannot be judged is refused") {
    RegionFit const fit = makeRegionFit(cut(makeField(9)), prepare(simulate::smallBasis()), {});
    CHECK_THROWS_WITH_AS((void)judge(fit, RowMatrix(2, 9), Eigen::VectorXd(2), {}), doctest::Contains("for 16 regions"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)judge(fit, RowMatrix(16, 3), Eigen::VectorXd(16), {}),
                         doctest::Contains("3 coefficients for 9"), std::invalid_argument);
    RegionResiduals const residuals = makeResiduals(2, 9, 10.0);
    CHECK_THROWS_WITH_AS((void)findOutliers(residuals, {0.0, 2}, {}), doctest::Contains("beyond 0.0"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)brightScatter(residuals, *fit.stamps, 0.3), doctest::Contains("2 regions"),
                         std::invalid_argument);
}
