// Both stamps of a candidate as Python holds them.
#pragma once

#include <tuple>
#include <vector>

#include "arrays.h"
#include "psfmatch/KernelCandidateFit.h"

namespace psfmatch::python {

// image, variance, mask, bits of the bad planes in that mask
using StampTuple = std::tuple<py::array, py::array, py::array, MaskPixel>;

// A candidate's stamps as the core sees them, checked once for all passes, and the arrays that hold their pixels.
struct StampPair {
    StampPair(StampTuple templateTuple, StampTuple scienceTuple)
        : templateArrays(std::move(templateTuple)), scienceArrays(std::move(scienceTuple)) {}

    StampTuple templateArrays;
    StampTuple scienceArrays;
    CandidateStamp view = viewsOf(templateArrays, scienceArrays);

private:
    static CandidateStamp viewsOf(StampTuple const& templateTuple, StampTuple const& scienceTuple) {
        auto const& [tImage, tVariance, tMask, tBits] = templateTuple;
        auto const& [sImage, sVariance, sMask, sBits] = scienceTuple;
        return {maskedViewOf(tImage, tVariance, tMask), maskedViewOf(sImage, sVariance, sMask), tBits, sBits};
    }
};

inline std::vector<CandidateStamp> stampsOf(std::vector<StampPair const*> const& pairs) {
    std::vector<CandidateStamp> stamps;
    stamps.reserve(pairs.size());
    for (StampPair const* const pair : pairs) {
        if (pair == nullptr) {
            throw py::type_error("a list of stamps holds None");
        }
        stamps.push_back(pair->view);
    }
    return stamps;
}

}  // namespace psfmatch::python
