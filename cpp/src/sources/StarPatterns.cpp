#include "psfmatch/sources/StarPatterns.h"

#include <Eigen/LU>
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "sources/StarMatchRefine.h"

namespace psfmatch {

namespace {

using detail::Positions;
using detail::RefinedPairs;
using Eigen::Index;
using Complex = std::complex<double>;

constexpr std::array<Index, 3> nBright = {20, 35, 60};  // stars of each list that make triangles; the next where needed
constexpr double positionError = 1.0;                   // pixels; of a star in a triangle, with blends and distortions
constexpr double shapeError = 1e-3;                     // of ratios of sides, beside that
constexpr double minSide = 20.0;  // pixels, of the longest; the shapes of smaller ones are too uncertain
constexpr double maxShapeError = 0.06;
constexpr int nCounted = 3;          // times as many stars as make triangles are looked at for each proposed transform
constexpr double nFirstLook = 25.0;  // of them, at which a proposal that is no better than chance is given up
constexpr double minCell = 3.0;
constexpr Index maxCells = 512;  // along a side
constexpr std::size_t nProposals = 12;
constexpr double sameCells = 4.0;     // proposals that differ by no more at all corners are one
constexpr double sureChance = 1e-12;  // of a match that needs no other
constexpr double minShare =
    0.5;  // of the stars that can be seen twice: a match with fewer may be a part of a better one

// Corners in the order of the sides that they face, the longest first; ratios of the two others to that.
struct Triangle {
    std::array<Index, 3> corners;
    double longest;
    double middle;
    double shortest;
    bool isLeft;  // the corners go round counterclockwise
};

std::vector<Complex> pointsOf(Positions const& positions, Index n) {
    std::vector<Complex> points;
    for (Index i = 0; i < std::min(n, positions.rows()); ++i) {
        points.emplace_back(positions(i, 0), positions(i, 1));
    }
    return points;
}

std::vector<Triangle> trianglesOf(std::vector<Complex> const& points) {
    std::vector<Triangle> triangles;
    auto const n = points.size();
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i + 1; j < n; ++j) {
            for (std::size_t k = j + 1; k < n; ++k) {
                std::array<std::pair<double, std::size_t>, 3> sides = {{{std::abs(points[k] - points[j]), i},
                                                                        {std::abs(points[k] - points[i]), j},
                                                                        {std::abs(points[j] - points[i]), k}}};
                std::sort(sides.begin(), sides.end(), std::greater<>());
                if (sides[0].first < minSide) {
                    continue;
                }
                Complex const along = points[sides[1].second] - points[sides[0].second];
                Complex const across = points[sides[2].second] - points[sides[0].second];
                triangles.push_back({{static_cast<Index>(sides[0].second), static_cast<Index>(sides[1].second),
                                      static_cast<Index>(sides[2].second)},
                                     sides[0].first,
                                     sides[1].first / sides[0].first,
                                     sides[2].first / sides[0].first,
                                     (std::conj(along) * across).imag() > 0.0});
            }
        }
    }
    return triangles;
}

// Where stars of the second list lie, in cells that are full if a star is in them or in one beside.
class Occupancy {
public:
    Occupancy(Positions const& stars, Index n)
        : _lowest(stars.colwise().minCoeff()),
          _highest(stars.colwise().maxCoeff()),
          _cell(std::max(minCell, (_highest - _lowest).maxCoeff() / static_cast<double>(maxCells))) {
        _columns = static_cast<Index>((_highest(0) - _lowest(0)) / _cell) + 3;
        _rows = static_cast<Index>((_highest(1) - _lowest(1)) / _cell) + 3;
        _full.assign(static_cast<std::size_t>(_columns * _rows), 0);
        for (Index i = 0; i < std::min(n, stars.rows()); ++i) {
            auto const [row, column] = placeOf(stars(i, 0), stars(i, 1));
            for (Index y = row - 1; y <= row + 1; ++y) {
                std::fill_n(_full.begin() + y * _columns + column - 1, 3, std::uint8_t{1});
            }
        }
        _share = static_cast<double>(std::accumulate(_full.begin(), _full.end(), std::size_t{0})) /
                 static_cast<double>(_full.size());
    }

    [[nodiscard]] double cell() const { return _cell; }
    [[nodiscard]] double share() const { return _share; }

    [[nodiscard]] bool contains(double x, double y) const {
        return x >= _lowest(0) && x <= _highest(0) && y >= _lowest(1) && y <= _highest(1);
    }

    [[nodiscard]] bool isFull(double x, double y) const {
        auto const [row, column] = placeOf(x, y);
        return _full[static_cast<std::size_t>(row * _columns + column)] != 0;
    }

private:
    [[nodiscard]] std::pair<Index, Index> placeOf(double x, double y) const {
        return {static_cast<Index>((y - _lowest(1)) / _cell) + 1, static_cast<Index>((x - _lowest(0)) / _cell) + 1};
    }

    Eigen::RowVector2d _lowest;
    Eigen::RowVector2d _highest;
    double _cell;
    double _share = 0.0;
    Index _columns = 0;
    Index _rows = 0;
    std::vector<std::uint8_t> _full;
};

// q = turn p + shift, or q = turn conj(p) + shift of a mirrored image.
struct Proposal {
    Complex turn;
    Complex shift;
    bool isMirrored;
    double score;

    [[nodiscard]] Complex operator()(Complex p) const { return turn * (isMirrored ? std::conj(p) : p) + shift; }

    [[nodiscard]] AffineMatrix matrix() const {
        double const sign = isMirrored ? -1.0 : 1.0;
        AffineMatrix matrix;
        matrix << turn.real(), -sign * turn.imag(), shift.real(), turn.imag(), sign * turn.real(), shift.imag();
        return matrix;
    }
};

Proposal proposalOf(Triangle const& one, Triangle const& other, std::vector<Complex> const& first,
                    std::vector<Complex> const& second) {
    bool const isMirrored = one.isLeft != other.isLeft;
    std::array<Complex, 3> p;
    std::array<Complex, 3> q;
    for (std::size_t i = 0; i < 3; ++i) {
        Complex const from = first[static_cast<std::size_t>(one.corners[i])];
        p[i] = isMirrored ? std::conj(from) : from;
        q[i] = second[static_cast<std::size_t>(other.corners[i])];
    }
    Complex const middle = (p[0] + p[1] + p[2]) / 3.0;
    Complex const target = (q[0] + q[1] + q[2]) / 3.0;
    Complex product = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < 3; ++i) {
        product += std::conj(p[i] - middle) * (q[i] - target);
        norm += std::norm(p[i] - middle);
    }
    Complex const turn = product / norm;
    return {turn, target - turn * middle, isMirrored, 0.0};
}

// By how much (nats) more stars fall on stars than by accident; 0 for no more than that.
double scoreOf(Proposal const& proposal, std::vector<Complex> const& stars, Occupancy const& occupancy) {
    double inside = 0.0;
    double hits = 0.0;
    for (Complex const star : stars) {
        Complex const q = proposal(star);
        if (occupancy.contains(q.real(), q.imag())) {
            inside += 1.0;
            hits += occupancy.isFull(q.real(), q.imag()) ? 1.0 : 0.0;
            if (inside == nFirstLook && hits <= std::max(3.0, inside * occupancy.share())) {
                return 0.0;
            }
        }
    }
    double const expected = inside * occupancy.share();
    return hits > std::max(expected, 3.0) ? hits * std::log(hits / expected) - (hits - expected) : 0.0;
}

// The best proposals, each place once.
class Shortlist {
public:
    Shortlist(Positions const& first, double reach) : _reach(reach) {
        Eigen::RowVector2d const lowest = first.colwise().minCoeff();
        Eigen::RowVector2d const highest = first.colwise().maxCoeff();
        _corners = {Complex(lowest(0), lowest(1)), Complex(highest(0), lowest(1)), Complex(lowest(0), highest(1))};
    }

    void add(Proposal const& proposal) {
        if (_kept.size() == nProposals && proposal.score <= _kept.back().score) {
            return;
        }
        auto const same = std::find_if(_kept.begin(), _kept.end(), [&](Proposal const& other) {
            return std::all_of(_corners.begin(), _corners.end(),
                               [&](Complex p) { return std::abs(proposal(p) - other(p)) <= _reach; });
        });
        if (same != _kept.end()) {
            if (proposal.score <= same->score) {
                return;
            }
            _kept.erase(same);
        }
        auto const place = std::find_if(_kept.begin(), _kept.end(),
                                        [&](Proposal const& other) { return other.score < proposal.score; });
        _kept.insert(place, proposal);
        if (_kept.size() > nProposals) {
            _kept.pop_back();
        }
    }

    [[nodiscard]] std::vector<Proposal> const& kept() const { return _kept; }

private:
    std::array<Complex, 3> _corners;
    double _reach;
    std::vector<Proposal> _kept;
};

std::vector<Proposal> propose(Positions const& first, Positions const& second, Index n,
                              StarPatternControl const& control) {
    std::vector<Complex> const one = pointsOf(first, n);
    std::vector<Complex> const others = pointsOf(second, n);
    std::vector<Complex> const counted = pointsOf(first, nCounted * n);
    Occupancy const occupancy(second, nCounted * n);
    Shortlist shortlist(first, sameCells * occupancy.cell());
    std::vector<Triangle> triangles = trianglesOf(others);
    std::stable_sort(triangles.begin(), triangles.end(),
                     [](Triangle const& a, Triangle const& b) { return a.middle < b.middle; });
    for (Triangle const& triangle : trianglesOf(one)) {
        double const nearest = positionError / triangle.longest;
        double const most = std::min(maxShapeError, std::hypot(nearest, nearest / control.minScale, shapeError));
        auto at = std::lower_bound(triangles.begin(), triangles.end(), triangle.middle - most,
                                   [](Triangle const& a, double limit) { return a.middle < limit; });
        for (; at != triangles.end() && at->middle <= triangle.middle + most; ++at) {
            double const scale = at->longest / triangle.longest;
            if (scale < control.minScale || scale > control.maxScale) {
                continue;
            }
            double const inMiddle = at->middle - triangle.middle;
            double const inShortest = at->shortest - triangle.shortest;
            double const other = positionError / at->longest;
            double const error = nearest * nearest + other * other + shapeError * shapeError;
            if (inMiddle * inMiddle + inShortest * inShortest > std::min(most * most, error)) {
                continue;
            }
            Proposal proposal = proposalOf(triangle, *at, one, others);
            proposal.score = scoreOf(proposal, counted, occupancy);
            if (proposal.score > 0.0) {
                shortlist.add(proposal);
            }
        }
    }
    return shortlist.kept();
}

struct Candidate {
    PatternMatch found;
    double nSeen = 0.0;  // stars of the list that has fewer of them where both images lie
};

Candidate candidateOf(Positions const& first, Positions const& second, Proposal const& proposal, Index n,
                      StarPatternControl const& control) {
    Positions mirrored = first;
    AffineMatrix guess = proposal.matrix();
    if (proposal.isMirrored) {
        // The fit of a rotation with a scale knows no mirror.
        mirrored.col(1) *= -1.0;
        guess.col(1) *= -1.0;
    }
    RefinedPairs refined = detail::refinePairs(mirrored, second, guess, n, control.area);
    double const scale = std::sqrt(std::abs(refined.matrix.leftCols<2>().determinant()));
    if (scale < control.minScale || scale > control.maxScale || !(refined.matrix.allFinite())) {
        return {};
    }
    auto const countInside = [](Positions const& these, Positions const& those) {
        Eigen::RowVector2d const lowest = those.colwise().minCoeff();
        Eigen::RowVector2d const highest = those.colwise().maxCoeff();
        Index count = 0;
        for (Index i = 0; i < these.rows(); ++i) {
            count += ((these.row(i).array() >= lowest.array()) && (these.row(i).array() <= highest.array())).all();
        }
        return static_cast<double>(count);
    };
    Positions const moved = detail::applied(refined.matrix, mirrored);
    double const inside = countInside(moved, second);
    double const expected = inside * static_cast<double>(second.rows()) * std::numbers::pi * refined.tolerance *
                            refined.tolerance / control.area;
    double const nPairs = static_cast<double>(first.rows()) * static_cast<double>(second.rows());
    // Two pairs fix a proposal at least, and it may be mirrored.
    double const chance =
        2.0 * detail::chanceOf(nPairs, std::max(2, refined.nFixed), refined.pairs.size(), std::max(expected, 1e-9));
    if (proposal.isMirrored) {
        refined.matrix.col(1) *= -1.0;
    }
    StarMatch match = {std::move(refined.pairs.first), std::move(refined.pairs.second), chance};
    return {{std::move(match), refined.matrix}, std::min(inside, countInside(second, moved))};
}

}  // namespace

PatternMatch matchPatterns(Eigen::MatrixX2d const& first, Eigen::MatrixX2d const& second,
                           StarPatternControl const& control) {
    if (!(control.area > 0.0) || !(control.minScale > 0.0) || !(control.maxScale >= control.minScale)) {
        throw std::invalid_argument("stars on an area of " + std::to_string(control.area) +
                                    " square pixels, scales from " + std::to_string(control.minScale) + " to " +
                                    std::to_string(control.maxScale));
    }
    Candidate best;
    StarMatch const& match = best.found.match;
    if (std::min(first.rows(), second.rows()) < 3) {
        return best.found;
    }
    for (Index const n : nBright) {
        for (Proposal const& proposal : propose(first, second, n, control)) {
            Candidate candidate = candidateOf(first, second, proposal, n, control);
            StarMatch const& other = candidate.found.match;
            bool const isLessByChance = other.chance < match.chance ||
                                        (other.chance == match.chance && other.first.size() > match.first.size());
            if (isLessByChance) {
                best = std::move(candidate);
            }
        }
        auto const nFound = static_cast<double>(match.first.size());
        bool const isFound = nFound > 2.0 && match.chance < control.maxChance;
        bool const isSure = nFound >= minShare * best.nSeen || match.chance < sureChance;
        if ((isFound && isSure) || std::max(first.rows(), second.rows()) <= n) {
            break;
        }
    }
    return best.found;
}

}  // namespace psfmatch
