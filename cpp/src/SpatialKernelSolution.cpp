#include "psfmatch/SpatialKernelSolution.h"

#include <stdexcept>
#include <string>

#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

// The unknowns of coefficient i (or of the background) stand together: this is where, and how many.
struct Block {
    Index start = 0;
    Eigen::VectorXd functions;  // values at a candidate's centre
};

}  // namespace

SpatialKernelSolution solveSpatialKernel(std::vector<CandidateEquations> const& candidates, Index nBasis,
                                         SpatialFunction const& kernelFunction,
                                         std::optional<SpatialFunction> const& backgroundFunction,
                                         SpatialKernelControl const& control) {
    if (candidates.empty()) {
        throw SolutionError("the spatial kernel has no candidate to be fitted to");
    }
    if (nBasis < 1) {
        throw std::invalid_argument("the spatial kernel has " + std::to_string(nBasis) +
                                    " basis images, needs at least 1");
    }
    Index const p = kernelFunction.size();
    Index const q = backgroundFunction ? backgroundFunction->size() : 0;
    Index const nCoefficients = nBasis + (backgroundFunction ? 1 : 0);
    Index const nFirst = control.constantFirstTerm ? 1 : p;
    Index const nUnknowns = nFirst + (nBasis - 1) * p + q;

    Eigen::MatrixXd matrix = Eigen::MatrixXd::Zero(nUnknowns, nUnknowns);
    Eigen::VectorXd rightHandSide = Eigen::VectorXd::Zero(nUnknowns);
    std::vector<Block> blocks(static_cast<std::size_t>(nCoefficients));
    for (CandidateEquations const& candidate : candidates) {
        NormalEquations const& equations = *candidate.equations;
        if (equations.matrix.rows() != nCoefficients || equations.matrix.cols() != nCoefficients ||
            equations.rightHandSide.size() != nCoefficients) {
            throw std::invalid_argument("a candidate has equations of " + std::to_string(equations.matrix.rows()) +
                                        " unknowns, the spatial model wants " + std::to_string(nCoefficients));
        }
        Eigen::VectorXd const kernelValues = kernelFunction.evaluate(candidate.x, candidate.y);
        Index start = 0;
        for (Index i = 0; i < nCoefficients; ++i) {
            Block& block = blocks[static_cast<std::size_t>(i)];
            block.start = start;
            if (i == nBasis) {
                block.functions = backgroundFunction->evaluate(candidate.x, candidate.y);
            } else if (i == 0 && control.constantFirstTerm) {
                block.functions = Eigen::VectorXd::Ones(1);
            } else {
                block.functions = kernelValues;
            }
            start += block.functions.size();
        }
        for (Index i = 0; i < nCoefficients; ++i) {
            Block const& row = blocks[static_cast<std::size_t>(i)];
            rightHandSide.segment(row.start, row.functions.size()) += equations.rightHandSide[i] * row.functions;
            for (Index j = 0; j <= i; ++j) {
                Block const& column = blocks[static_cast<std::size_t>(j)];
                matrix.block(row.start, column.start, row.functions.size(), column.functions.size()).noalias() +=
                    (equations.matrix(i, j) * row.functions) * column.functions.transpose();
            }
        }
    }
    matrix.triangularView<Eigen::StrictlyUpper>() = matrix.transpose();

    Solution const solution = solveSymmetric(matrix, rightHandSide, control.solver);
    SpatialKernelSolution result;
    result.method = solution.method;
    result.conditionNumber = conditionNumber(matrix, control.conditionNumberType);
    result.nUnknowns = nUnknowns;
    result.kernelParameters = Eigen::MatrixXd::Zero(nBasis, p);
    for (Index i = 0; i < nBasis; ++i) {
        Block const& block = blocks[static_cast<std::size_t>(i)];
        result.kernelParameters.row(i).head(block.functions.size()) =
            solution.coefficients.segment(block.start, block.functions.size()).transpose();
    }
    result.backgroundParameters =
        backgroundFunction ? Eigen::VectorXd(solution.coefficients.tail(q)) : Eigen::VectorXd(Eigen::VectorXd::Zero(1));
    return result;
}

}  // namespace psfmatch
