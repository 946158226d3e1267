// Both stamps of a candidate as Python holds them.
#pragma once

#include <tuple>
#include <vector>

#include "arrays.h"
#include "psfmatch/fit/KernelCandidateFit.h"

namespace psfmatch::python {

// image, variance, mask, bits of the bad planes in that mask
using StampTuple = std::tuple<py::array, py::array, py::array, MaskPixel>;

inline MaskedImageView viewsOf(StampTuple const& stamp) {
    return maskedViewOf(std::get<0>(stamp), std::get<1>(stamp), std::get<2>(stamp));
}

inline MaskPixel badBitsOf(StampTuple const& stamp) {
    return std::get<3>(stamp);
}

// A candidate's stamps as the core sees them, checked once for all passes, and the arrays that hold their pixels.
struct StampPair {
    StampPair(StampTuple templateTuple, StampTuple scienceTuple)
        : templateArrays(std::move(templateTuple)), scienceArrays(std::move(scienceTuple)) {}

    StampTuple templateArrays;
    StampTuple scienceArrays;
    CandidateStamp view{viewsOf(templateArrays), viewsOf(scienceArrays), badBitsOf(templateArrays),
                        badBitsOf(scienceArrays)};
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
