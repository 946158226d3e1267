// Errors of the core. A caller's slip (wrong shape, impossible option) is std::invalid_argument; data that
// cannot be solved is a NumericalError, whose message holds the numbers.
#pragma once

#include <stdexcept>

namespace psfmatch {

class NumericalError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A system of equations without a finite solution.
class SolutionError : public NumericalError {
public:
    using NumericalError::NumericalError;
};

}  // namespace psfmatch
