#include "psfmatch/sources/Clumps.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

// Sets that are joined; the least member stands for its set.
class Sets {
public:
    explicit Sets(std::size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), std::size_t{0}); }

    std::size_t root(std::size_t member) {
        while (parents_[member] != member) {
            parents_[member] = parents_[parents_[member]];
            member = parents_[member];
        }
        return member;
    }

    void join(std::size_t one, std::size_t other) {
        std::size_t const first = root(one);
        std::size_t const second = root(other);
        parents_[std::max(first, second)] = std::min(first, second);
    }

private:
    std::vector<std::size_t> parents_;
};

}  // namespace

std::vector<Index> clumpSizes(std::vector<Index> const& places, Index width,
                              std::vector<std::uint8_t> const& isChosen) {
    if (isChosen.size() != places.size()) {
        throw std::invalid_argument("there are " + std::to_string(isChosen.size()) + " choices for " +
                                    std::to_string(places.size()) + " pixels");
    }
    if (width < 1 && !places.empty()) {
        throw std::invalid_argument("width is " + std::to_string(width) + ", must be 1 or more pixels");
    }
    Sets sets(places.size());
    std::size_t above = 0;  // first pixel that may touch from the row above
    for (std::size_t i = 0; i < places.size(); ++i) {
        if (isChosen[i] == 0) {
            continue;
        }
        Index const column = places[i] % width;
        if (i > 0 && column > 0 && isChosen[i - 1] != 0 && places[i - 1] == places[i] - 1) {
            sets.join(i, i - 1);
        }
        Index const first = places[i] - width - (column > 0 ? 1 : 0);
        Index const last = places[i] - width + (column + 1 < width ? 1 : 0);
        while (places[above] < first) {
            ++above;
        }
        for (std::size_t j = above; j < i && places[j] <= last; ++j) {
            if (isChosen[j] != 0) {
                sets.join(i, j);
            }
        }
    }
    std::vector<Index> counts(places.size(), 0);
    for (std::size_t i = 0; i < places.size(); ++i) {
        counts[sets.root(i)] += isChosen[i] != 0 ? 1 : 0;
    }
    std::vector<Index> sizes(places.size(), 0);
    for (std::size_t i = 0; i < places.size(); ++i) {
        sizes[i] = isChosen[i] != 0 ? counts[sets.root(i)] : 0;
    }
    return sizes;
}

Index areaAbout(ConstImageView<float> const& image, Index place, float value) {
    Index const width = image.cols();
    if (place < 0 || place >= image.size()) {
        throw std::invalid_argument("pixel " + std::to_string(place) + " is not in the image");
    }
    std::vector<bool> isSeen(static_cast<std::size_t>(image.size()), false);
    std::vector<Index> waiting{place};
    isSeen[static_cast<std::size_t>(place)] = true;
    Index area = 0;
    while (!waiting.empty()) {
        Index const y = waiting.back() / width;
        Index const x = waiting.back() % width;
        waiting.pop_back();
        if (!(image(y, x) >= value)) {
            continue;
        }
        ++area;
        for (Index j = std::max<Index>(0, y - 1); j <= std::min(image.rows() - 1, y + 1); ++j) {
            for (Index i = std::max<Index>(0, x - 1); i <= std::min(width - 1, x + 1); ++i) {
                auto const next = static_cast<std::size_t>(j * width + i);
                if (!isSeen[next]) {
                    isSeen[next] = true;
                    waiting.push_back(j * width + i);
                }
            }
        }
    }
    return area;
}

}  // namespace psfmatch
