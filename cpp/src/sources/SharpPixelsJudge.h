// Whether one pixel is sharper than the PSF, given which others are known to be.
#pragma once

#include <cstdint>
#include <vector>

#include "sources/SharpPixelsCandidates.h"

namespace psfmatch::detail {

// What is known of pixels.
enum class SharpState : std::int8_t { dark = -1, none = 0, bright = 1 };

// Contrasts, pixel over the brighter neighbour: of peaks that stars or galaxies may have made, and of those that are
// lit on all sides and can be nothing else.
struct StarContrasts {
    std::vector<float> all;
    std::vector<float> certain;
};

class SharpPixelsJudge {
public:
    SharpPixelsJudge(MaskedImageView const& input, SharpPixelsControl const& control, SkyTiles const& tiles)
        : input_(input),
          control_(control),
          tiles_(tiles),
          height_(input.image.rows()),
          width_(input.image.cols()),
          states_(tiles.levels.size()) {}

    // Marks the sharp ones of the candidates and what touches them; the contrast is that of pixel and neighbour.
    void mark(SharpCandidates const& candidates, double contrast);
    // Marks what is beside pixels of trails, faint and falling off.
    void markSkirts();
    // Marks pixels that are none of those before: far darker than all four neighbours, in the light of a star.
    void markHoles(std::vector<Index> const& places, double contrast);
    void clear();

    // Of the peaks that are not marked.
    [[nodiscard]] StarContrasts starContrasts(std::vector<Index> const& peaks) const;

    [[nodiscard]] std::vector<Index> const& marked() const { return marked_; }
    [[nodiscard]] SharpState state(Index place) const { return state(place / width_, place % width_); }

private:
    // A pixel with the sky about it: its level, the variance of its noise, and the sign of the light that is looked
    // for.
    struct Place {
        Index y;
        Index x;
        double level;
        double variance;
        double sign;
    };

    // Light above the sky, turned by the sign, and its variance; not usable beyond the border, too.
    struct Light {
        double value = 0.0;
        double variance = 0.0;
        bool isUsable = false;
    };

    // What the light of one pixel is compared with: contrast times that of another, but no less than 0, by so many
    // standard deviations and counts.
    struct Limit {
        double contrast;
        double significance;
        double counts;

        [[nodiscard]] bool isExceeded(Light const& light, Light const& other) const;
    };

    [[nodiscard]] Place placeOf(Index place, double sign) const;
    [[nodiscard]] Light lightAt(Place const& at, Index dy, Index dx) const;
    // Light of whatever sign is looked for, of the pixels within three of one, itself left out.
    [[nodiscard]] double brightestAbout(Place const& at) const;
    [[nodiscard]] bool isSharp(Index place, double sign, double contrast, bool isNear) const;
    [[nodiscard]] bool isSharperThanBeside(Place const& at, Light const& own, Limit const& limit, bool isNear) const;
    [[nodiscard]] bool isLitAbout(Place const& at, Light const& own) const;
    // The pixels and all that touch them, ascending.
    [[nodiscard]] std::vector<Index> nearby(std::vector<Index> const& places) const;
    // Those beside a marked pixel.
    [[nodiscard]] std::vector<Index> besideMarked(std::vector<Index> const& places) const;
    bool markOfSign(std::vector<Index> const& places, double sign, double contrast);
    void set(Index place, double sign);

    // Of pixels within the image.
    [[nodiscard]] SharpState state(Index y, Index x) const {
        std::vector<SharpState> const& tile = states_[tiles_.tileOf(y, x)];
        return tile.empty() ? SharpState::none : tile[placeInTile(y, x)];
    }
    [[nodiscard]] static std::size_t placeInTile(Index y, Index x) {
        return static_cast<std::size_t>(y % tileSide * tileSide + x % tileSide);
    }

    MaskedImageView input_;
    SharpPixelsControl control_;
    SkyTiles const& tiles_;
    Index height_;
    Index width_;
    std::vector<std::vector<SharpState>> states_;  // by tiles; empty where no pixel is marked
    std::vector<Index> marked_;
};

}  // namespace psfmatch::detail
