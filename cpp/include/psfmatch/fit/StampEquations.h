// The normal equations of many stamps, what every solution of the field is summed from. The last unknown is the
// background where one is fitted.
#pragma once

#include <Eigen/Core>

#include "psfmatch/kernel/KernelBasis.h"

namespace psfmatch {

struct StampEquations {
    RowMatrix matrices;        // (stamps, m * m), sums of w c_i c_j, symmetric
    RowMatrix rightHandSides;  // (stamps, m), sums of w c_i d
    Eigen::VectorXd squares;   // (stamps), sums of w d^2: they make a chi-square of the others
    Eigen::VectorXd noise;     // (stamps), sums of w var_T: what the noise of the convolved image adds

    [[nodiscard]] Index size() const { return rightHandSides.rows(); }
    [[nodiscard]] Index nUnknowns() const { return rightHandSides.cols(); }
};

}  // namespace psfmatch
