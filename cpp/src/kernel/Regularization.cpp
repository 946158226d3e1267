#include "psfmatch/kernel/Regularization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

using Eigen::MatrixXd;

void addCentralDifferences(Index width, Index height, RegularizationMatrixControl const& control, MatrixXd& rows) {
    if (control.stencil != 5 && control.stencil != 9) {
        throw std::invalid_argument("the Laplacian of the regularisation has a stencil of 5 or 9 points, not " +
                                    std::to_string(control.stencil));
    }
    double const centre = control.stencil == 5 ? -4.0 : -20.0 / 6.0;
    double const edge = control.stencil == 5 ? 1.0 : 4.0 / 6.0;
    double const corner = control.stencil == 5 ? 0.0 : 1.0 / 6.0;
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            Index const i = x + y * width;
            if (x == 0 || x == width - 1 || y == 0 || y == height - 1) {
                rows(i, i) += control.borderPenalty;
                continue;
            }
            rows(i, i) += centre;
            for (Index const step : {Index{1}, width}) {
                rows(i, i - step) += edge;
                rows(i, i + step) += edge;
            }
            for (Index const step : {width - 1, width + 1}) {
                rows(i, i - step) += corner;
                rows(i, i + step) += corner;
            }
        }
    }
}

void addForwardDifferences(Index width, Index height, RegularizationMatrixControl const& control, MatrixXd& rows) {
    if (control.orders.empty()) {
        throw std::invalid_argument("the forward differences of the regularisation need at least one order");
    }
    for (int const order : control.orders) {
        if (order < 1 || order > 3) {
            throw std::invalid_argument("forward differences of the regularisation have orders 1 to 3, not " +
                                        std::to_string(order));
        }
        // Coefficients by the derivative that still fits before the far edge.
        std::array<std::array<double, 4>, 4> const coefficients{{{control.borderPenalty, 0.0, 0.0, 0.0},
                                                                 {-1.0, 1.0, 0.0, 0.0},
                                                                 {-1.0, 2.0, -1.0, 0.0},
                                                                 {-1.0, 3.0, -3.0, 1.0}}};
        for (Index y = 0; y < height; ++y) {
            for (Index x = 0; x < width; ++x) {
                Index const i = x + y * width;
                auto const addAlong = [&](Index distance, Index step) {
                    Index const fitting = std::min<Index>(distance, order);
                    for (Index k = 0; k <= fitting; ++k) {
                        rows(i, i + k * step) +=
                            coefficients[static_cast<std::size_t>(fitting)][static_cast<std::size_t>(k)];
                    }
                };
                addAlong(width - 1 - x, 1);
                addAlong(height - 1 - y, width);
            }
        }
    }
}

}  // namespace

MatrixXd makeRegularizationMatrix(Index width, Index height, RegularizationMatrixControl const& control) {
    if (width < 1 || height < 1) {
        throw std::invalid_argument("a regularisation matrix for a kernel of " + std::to_string(width) + "x" +
                                    std::to_string(height) + " pixels; both sides must be at least 1");
    }
    if (!(control.borderPenalty >= 0.0) || !std::isfinite(control.borderPenalty)) {
        throw std::invalid_argument("border penalty of the regularisation is " + std::to_string(control.borderPenalty) +
                                    ", must be at least 0");
    }
    MatrixXd rows = MatrixXd::Zero(width * height, width * height);
    if (control.kind == RegularizationKind::centralDifference) {
        addCentralDifferences(width, height, control, rows);
    } else {
        addForwardDifferences(width, height, control, rows);
    }
    return rows.transpose() * rows;
}

void validate(Regularization const& regularization, Index nBasis) {
    MatrixXd const& matrix = regularization.matrix;
    if (matrix.rows() != nBasis || matrix.cols() != nBasis) {
        throw std::invalid_argument("a regularisation matrix of " + std::to_string(matrix.rows()) + "x" +
                                    std::to_string(matrix.cols()) + " for " + std::to_string(nBasis) +
                                    " basis functions");
    }
    if (!matrix.allFinite()) {
        throw std::invalid_argument("the regularisation matrix holds NaN or infinity");
    }
    auto const requireStrength = [](double value, char const* name) {
        if (!(value >= 0.0) || !std::isfinite(value)) {
            throw std::invalid_argument(std::string(name) + " of the regularisation is " + std::to_string(value) +
                                        ", must be at least 0");
        }
    };
    switch (regularization.lambdaType) {
        case LambdaType::absolute:
            requireStrength(regularization.lambdaValue, "lambdaValue");
            break;
        case LambdaType::relative:
            requireStrength(regularization.lambdaScaling, "lambdaScaling");
            if (!(matrix.trace() > 0.0)) {
                throw std::invalid_argument("a relative lambda needs a regularisation matrix with a positive trace");
            }
            break;
        case LambdaType::minimizeBiasedRisk:
        case LambdaType::minimizeUnbiasedRisk:
            if (regularization.lambdas.empty()) {
                throw std::invalid_argument("the lambda of least risk has no value to be chosen from");
            }
            for (double const lambda : regularization.lambdas) {
                requireStrength(lambda, "a lambda");
            }
            break;
    }
}

MatrixXd regularized(MatrixXd matrix, Regularization const& regularization, double strength) {
    Index const n = regularization.matrix.rows();
    matrix.topLeftCorner(n, n) += strength * regularization.matrix;
    return matrix;
}

}  // namespace psfmatch
