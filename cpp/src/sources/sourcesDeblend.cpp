#include "sources/sourcesDeblend.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numbers>

#include "sources/sourcesMoments.h"

namespace psfmatch::detail {

namespace {

constexpr int none = -1;
// Natural logarithm of a peak over its lowest level, below which it says nothing about a width.
constexpr double minLogContrast = 0.1;

// Finds the pixels of a footprint by their place.
class PixelGrid {
public:
    explicit PixelGrid(std::span<PixelRun const> runs) : runs_(runs), y0_(runs.front().y) {
        rowStart_.assign(static_cast<std::size_t>(runs.back().y - y0_) + 2, 0);
        int count = 0;
        for (PixelRun const& run : runs) {
            ++rowStart_[static_cast<std::size_t>(run.y - y0_) + 1];
            first_.push_back(count);
            for (std::int32_t x = run.x0; x < run.x1; ++x) {
                x_.push_back(x);
                y_.push_back(run.y);
            }
            count += run.x1 - run.x0;
        }
        for (std::size_t i = 1; i < rowStart_.size(); ++i) {
            rowStart_[i] += rowStart_[i - 1];
        }
    }

    [[nodiscard]] int size() const { return static_cast<int>(x_.size()); }
    [[nodiscard]] std::int32_t x(int pixel) const { return x_[static_cast<std::size_t>(pixel)]; }
    [[nodiscard]] std::int32_t y(int pixel) const { return y_[static_cast<std::size_t>(pixel)]; }

    // Calls visit with each of the pixels that touch a pixel.
    template <typename Visit>
    void forNeighbours(int pixel, Visit const& visit) const {
        std::int32_t const px = x(pixel);
        for (std::int32_t row = y(pixel) - 1; row <= y(pixel) + 1; ++row) {
            auto const i = static_cast<std::size_t>(row - y0_);
            if (row < y0_ || i + 1 >= rowStart_.size()) {
                continue;
            }
            auto const end = runs_.begin() + rowStart_[i + 1];
            auto run = std::partition_point(runs_.begin() + rowStart_[i], end,
                                            [px](PixelRun const& other) { return other.x1 < px; });
            for (; run != end && run->x0 <= px + 1; ++run) {
                int const start = first_[static_cast<std::size_t>(run - runs_.begin())];
                for (std::int32_t at = std::max(px - 1, run->x0); at < std::min(px + 2, run->x1); ++at) {
                    if (row != y(pixel) || at != px) {
                        visit(start + (at - run->x0));
                    }
                }
            }
        }
    }

private:
    std::span<PixelRun const> runs_;
    std::int32_t y0_;
    std::vector<int> rowStart_;  // number of the first run of each row
    std::vector<int> first_;     // number of the first pixel of each run
    std::vector<std::int32_t> x_;
    std::vector<std::int32_t> y_;
};

// Whether the values rise to one pixel only. Of equal neighbours the later one counts as higher.
bool hasOnePeak(PixelGrid const& grid, std::span<float const> values) {
    int nPeaks = 0;
    for (int pixel = 0; pixel < grid.size() && nPeaks < 2; ++pixel) {
        float const value = values[static_cast<std::size_t>(pixel)];
        bool isPeak = true;
        grid.forNeighbours(pixel, [&](int other) {
            float const its = values[static_cast<std::size_t>(other)];
            isPeak = isPeak && (other < pixel ? value >= its : value > its);
        });
        nPeaks += isPeak ? 1 : 0;
    }
    return nPeaks < 2;
}

// The pixels of a part above some level, as a stretch of a linked list.
struct Stretch {
    int head = none;
    int tail = none;
    int level = 0;
};

// A connected set of pixels above a level, and the sources that it was found to hold already.
struct Branch {
    Stretch pixels;
    int count = 0;
    double flux = 0.0;
    std::vector<Stretch> seeds;
};

// The tree of connected parts over all levels, from the tips to the trunk. Parts are kept as a forest over the pixels;
// each has its branches of the level before in a list.
class LevelTree {
public:
    LevelTree(PixelGrid const& grid, std::span<float const> values, SourceControl const& control)
        : grid_(grid), values_(values), control_(control) {
        auto const n = static_cast<std::size_t>(grid.size());
        parent_.assign(n, none);
        next_.assign(n, none);
        tail_.assign(n, none);
        flux_.assign(n, 0.0);
        count_.assign(n, 0);
        branches_.resize(n);
        doneAt_.assign(n, none);
        auto const [low, high] = std::minmax_element(values.begin(), values.end());
        low_ = *low;
        logRange_ = std::log(static_cast<double>(*high) / *low);
        for (float const value : values) {
            total_ += static_cast<double>(value);
        }
    }

    // The brightest parts of the sources of a blend, two or more; none if it is no blend.
    std::vector<Stretch> seeds() {
        if (!(logRange_ > 0.0) || !std::isfinite(logRange_)) {
            return {};
        }
        std::vector<int> const order = byLevel();
        auto pixel = order.begin();
        for (int level = control_.nLevels - 1; level >= 0; --level) {
            auto const begin = pixel;
            while (pixel != order.end() && levelOf(*pixel) == level) {
                activate(*pixel);
                ++pixel;
            }
            for (auto changed = begin; changed != pixel; ++changed) {
                finish(rootOf(*changed), level);
            }
        }
        return branches_[static_cast<std::size_t>(rootOf(0))].front().seeds;
    }

    [[nodiscard]] int next(int pixel) const { return next_[static_cast<std::size_t>(pixel)]; }

    [[nodiscard]] double valueOf(int level) const {
        return low_ * std::exp(logRange_ * static_cast<double>(level) / static_cast<double>(control_.nLevels));
    }

private:
    [[nodiscard]] int levelOf(int pixel) const {
        double const height = std::log(values_[static_cast<std::size_t>(pixel)] / low_) / logRange_;
        return std::clamp(static_cast<int>(height * control_.nLevels), 0, control_.nLevels - 1);
    }

    std::vector<int> byLevel() const {
        std::vector<std::vector<int>> levels(static_cast<std::size_t>(control_.nLevels));
        for (int pixel = 0; pixel < grid_.size(); ++pixel) {
            levels[static_cast<std::size_t>(levelOf(pixel))].push_back(pixel);
        }
        std::vector<int> order;
        order.reserve(values_.size());
        for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
            order.insert(order.end(), level->begin(), level->end());
        }
        return order;
    }

    int rootOf(int pixel) {
        int root = pixel;
        while (parent_[static_cast<std::size_t>(root)] != root) {
            int& up = parent_[static_cast<std::size_t>(root)];
            up = parent_[static_cast<std::size_t>(up)];
            root = up;
        }
        return root;
    }

    void activate(int pixel) {
        auto const i = static_cast<std::size_t>(pixel);
        parent_[i] = pixel;
        tail_[i] = pixel;
        flux_[i] = values_[i];
        count_[i] = 1;
        grid_.forNeighbours(pixel, [&](int other) {
            if (parent_[static_cast<std::size_t>(other)] != none) {
                join(rootOf(other), rootOf(pixel));
            }
        });
    }

    // The list of a part begins with its root.
    void join(int one, int other) {
        if (one == other) {
            return;
        }
        auto a = static_cast<std::size_t>(one);
        auto b = static_cast<std::size_t>(other);
        if (count_[a] < count_[b]) {
            std::swap(a, b);
        }
        parent_[b] = static_cast<int>(a);
        next_[static_cast<std::size_t>(tail_[a])] = static_cast<int>(b);
        tail_[a] = tail_[b];
        flux_[a] += flux_[b];
        count_[a] += count_[b];
        std::move(branches_[b].begin(), branches_[b].end(), std::back_inserter(branches_[a]));
        branches_[b].clear();
    }

    // Judges a junction of branches if a part is one, and makes it the one branch that goes on.
    void finish(int root, int level) {
        auto const i = static_cast<std::size_t>(root);
        if (doneAt_[i] == level) {
            return;
        }
        doneAt_[i] = level;
        std::vector<Branch>& branches = branches_[i];
        std::vector<Stretch> seeds;
        if (branches.size() > 1) {
            double const above = valueOf(level + 1);
            auto const counts = [&](Branch const& branch) {
                return branch.count >= control_.minPixels &&
                       branch.flux - above * branch.count > control_.minContrast * total_;
            };
            bool const isBlend = std::count_if(branches.begin(), branches.end(), counts) > 1;
            for (Branch& branch : branches) {
                if (!branch.seeds.empty()) {
                    seeds.insert(seeds.end(), branch.seeds.begin(), branch.seeds.end());
                } else if (isBlend && counts(branch)) {
                    seeds.push_back({branch.pixels.head, branch.pixels.tail, level + 1});
                }
            }
        } else if (branches.size() == 1) {
            seeds = std::move(branches.front().seeds);
        }
        branches.clear();
        branches.push_back({{root, tail_[i], level}, count_[i], flux_[i], std::move(seeds)});
    }

    PixelGrid const& grid_;
    std::span<float const> values_;
    SourceControl const& control_;
    double low_ = 0.0;
    double logRange_ = 0.0;
    double total_ = 0.0;
    std::vector<int> parent_;
    std::vector<int> next_;
    std::vector<int> tail_;
    std::vector<double> flux_;
    std::vector<int> count_;
    std::vector<std::vector<Branch>> branches_;
    std::vector<int> doneAt_;
};

// Logarithm of the Gaussian that the brightest pixels of a source belong to. Its shape is that of their moments, its
// size that of the isophote they fill: n pixels at `level` under a peak P cover 2 pi sigma^2 ln(P / level).
class Profile {
public:
    Profile(Sums const& sums, double level) {
        Moments const m = momentsOf(sums);
        double const determinant = std::max(m.xx * m.yy - m.xy * m.xy, std::numeric_limits<double>::min());
        double const contrast = std::max(std::log(static_cast<double>(sums.peak) / level), minLogContrast);
        double const scale = std::sqrt(determinant) * 2.0 * std::numbers::pi * contrast / sums.count;
        x_ = m.x;
        y_ = m.y;
        xx_ = scale * m.yy / determinant;
        yy_ = scale * m.xx / determinant;
        xy_ = -scale * m.xy / determinant;
        logPeak_ = std::log(static_cast<double>(sums.peak));
    }

    [[nodiscard]] double at(double x, double y) const {
        double const dx = x - x_;
        double const dy = y - y_;
        return logPeak_ - 0.5 * (xx_ * dx * dx + yy_ * dy * dy) - xy_ * dx * dy;
    }

private:
    double x_;
    double y_;
    double xx_;
    double yy_;
    double xy_;
    double logPeak_;
};

// Number of the source that each pixel belongs to: its own where it is one of the brightest, else the one that is
// expected to be the brightest there.
std::vector<int> ownersOf(PixelGrid const& grid, std::span<float const> values, LevelTree const& tree,
                          std::vector<Stretch> const& seeds) {
    std::vector<int> owner(values.size(), none);
    std::vector<Profile> profiles;
    for (std::size_t s = 0; s < seeds.size(); ++s) {
        Sums sums;
        for (int pixel = seeds[s].head; pixel != none; pixel = pixel == seeds[s].tail ? none : tree.next(pixel)) {
            owner[static_cast<std::size_t>(pixel)] = static_cast<int>(s);
            sums.add(pixel, grid.x(pixel) - grid.x(0), grid.y(pixel) - grid.y(0),
                     values[static_cast<std::size_t>(pixel)]);
        }
        profiles.emplace_back(sums, tree.valueOf(seeds[s].level));
    }
    for (int pixel = 0; pixel < grid.size(); ++pixel) {
        int& own = owner[static_cast<std::size_t>(pixel)];
        if (own != none) {
            continue;
        }
        double best = -std::numeric_limits<double>::infinity();
        own = 0;
        for (std::size_t s = 0; s < profiles.size(); ++s) {
            double const expected = profiles[s].at(grid.x(pixel) - grid.x(0), grid.y(pixel) - grid.y(0));
            if (expected > best) {
                best = expected;
                own = static_cast<int>(s);
            }
        }
    }
    return owner;
}

// A larger footprint is a nebula, or the image itself: taking it apart costs 64 bytes a pixel and tells nothing of
// stars.
constexpr int maxDeblendedPixels = 1 << 20;

}  // namespace

void addSources(FootprintPixels const& footprint, SourceControl const& control, Box const& searched,
                std::vector<Source>& sources) {
    PixelGrid const grid(footprint.runs);
    std::vector<int> owner;
    std::size_t nSources = 1;
    if (grid.size() <= maxDeblendedPixels && !hasOnePeak(grid, footprint.values)) {
        LevelTree tree(grid, footprint.values, control);
        std::vector<Stretch> const seeds = tree.seeds();
        if (!seeds.empty()) {
            owner = ownersOf(grid, footprint.values, tree, seeds);
            nSources = seeds.size();
        }
    }
    std::vector<Sums> sums(nSources);
    std::vector<std::int32_t> flags(nSources, nSources > 1 ? sourceDeblended : 0);
    for (int pixel = 0; pixel < grid.size(); ++pixel) {
        auto const i = static_cast<std::size_t>(pixel);
        std::size_t const own = owner.empty() ? 0 : static_cast<std::size_t>(owner[i]);
        sums[own].add(pixel, grid.x(pixel) - grid.x(0), grid.y(pixel) - grid.y(0), footprint.values[i]);
        bool const isInside = grid.x(pixel) > searched.x0 && grid.x(pixel) < searched.x0 + searched.width - 1 &&
                              grid.y(pixel) > searched.y0 && grid.y(pixel) < searched.y0 + searched.height - 1;
        flags[own] |= isInside ? 0 : sourceTruncated;
    }
    for (std::size_t s = 0; s < nSources; ++s) {
        Moments const m = momentsOf(sums[s]);
        double const half = 0.5 * (m.xx + m.yy);
        double const root = std::sqrt(0.25 * (m.xx - m.yy) * (m.xx - m.yy) + m.xy * m.xy);
        Source source;
        source.x = m.x + grid.x(0);
        source.y = m.y + grid.y(0);
        source.flux = sums[s].flux;
        source.peak = sums[s].peak;
        auto const peakPixel = static_cast<std::size_t>(sums[s].peakPixel);
        source.threshold = footprint.thresholds.empty() ? control.threshold : footprint.thresholds[peakPixel];
        source.a = std::sqrt(half + root);
        source.b = std::sqrt(std::max(half - root, 0.0));
        source.xPeak = grid.x(sums[s].peakPixel);
        source.yPeak = grid.y(sums[s].peakPixel);
        source.nPixels = sums[s].count;
        source.footprint = footprint.runs.front().footprint;
        source.flags = flags[s] | (m.singular ? sourceSingular : 0);
        sources.push_back(source);
    }
}

}  // namespace psfmatch::detail
