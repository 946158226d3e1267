// One way to explain a stamp: an account of its middle, what is left out, and the solution of the rest.
#pragma once

#include <vector>

#include "fit/StampModelNoise.h"
#include "psfmatch/fit/StampModel.h"

namespace psfmatch {

struct StampBlob {
    Index x = 0;
    Index y = 0;
    double radius = 0.0;
    bool isMiddle = false;  // costs nothing
};

struct StampTry {
    StampAccount account = StampAccount::none;
    StampExtra extra;
    std::vector<StampBlob> blobs;
    StampSums sums;
    StampSolution solution;
    double cost = 0.0;  // of the flux ratio's kind, nats
    double score = 0.0;
};

struct StampRatio {
    double value = 1.0;
    double error = 0.05;
    double cost = 0.0;
};

// What all tries have in common.
struct StampGround {
    StampProblem problem;
    StampModelControl control;
    std::vector<StampRatio> ratios;
    std::vector<StampBlob> held;      // places that are not rejected
    Eigen::VectorXd variance;         // (pixels), of the difference
    Eigen::VectorXd weights;          // 0 where not usable
    StampSums sums;                   // of all usable pixels
    Eigen::VectorXd lit;              // (pixels): light of the template, without its noise
    OwnedImage<double> scienceLight;  // without its noise
    double scienceNoise = 0.0;        // of a dark pixel
    Index middleX = 0;
    Index middleY = 0;

    [[nodiscard]] Index height() const { return problem.columns.height; }
    [[nodiscard]] Index width() const { return problem.columns.width; }
    [[nodiscard]] double fromMiddle(Index x, Index y) const;
};

[[nodiscard]] StampTry startTry(StampGround const& ground, StampAccount account, StampExtra extra,
                                std::vector<StampBlob> const& leftOut);

// Best width, deviation and flux ratio by coordinate ascent on the evidence, from what the try has; of all widths
// at first, else from the choice that the try has, which may be solved already.
enum class StampStart : std::uint8_t { allWidths, choice, solved };
void ascend(StampGround const& ground, StampTry& attempt, StampStart start);

// Rejects peaks of the residuals that a solution without them does not explain, and takes back those that it does. The
// try is solved then.
void rejectBlobs(StampGround const& ground, StampTry& attempt);

[[nodiscard]] double scoreOf(StampGround const& ground, StampTry const& attempt);

// The convolved template without its sky, at every pixel.
[[nodiscard]] Eigen::VectorXd lightOf(StampGround const& ground, StampSolution const& solution);

// Error of the model's sum over some pixels.
[[nodiscard]] double modelErrorAt(StampGround const& ground, StampTry const& attempt, std::vector<Index> const& pixels);

}  // namespace psfmatch
