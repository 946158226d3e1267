#include "psfmatch/image/LagProducts.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace psfmatch {

std::vector<OwnedImage<double>> lagProducts(ConstImageView<float> const& first, ConstImageView<float> const& second,
                                            Index reach, Index nCells, Execution const& execution) {
    if (!haveOneShape(first, second) || reach < 0 || nCells < 1) {
        throw std::invalid_argument("products of images of one shape, up to " + std::to_string(reach) +
                                    " pixels apart, in " + std::to_string(nCells) + " cells along each side");
    }
    Index const height = first.rows();
    Index const width = first.cols();
    std::vector<OwnedImage<double>> sums(static_cast<std::size_t>(nCells * nCells),
                                         OwnedImage<double>::Zero(2 * reach + 1, 2 * reach + 1));
    parallelFor(nCells * nCells, execution, [&](Index cell, int) {
        auto const begin = [nCells](Index i, Index size) { return i * size / nCells; };
        Index const y0 = begin(cell / nCells, height);
        Index const y1 = begin(cell / nCells + 1, height);
        Index const x0 = begin(cell % nCells, width);
        Index const x1 = begin(cell % nCells + 1, width);
        OwnedImage<double>& own = sums[static_cast<std::size_t>(cell)];
        for (Index y = y0; y < y1; ++y) {
            for (Index dy = std::max(-reach, -y); dy <= std::min(reach, height - 1 - y); ++dy) {
                for (Index dx = -reach; dx <= reach; ++dx) {
                    float const* const one = first.data() + y * first.outerStride();
                    float const* const other = second.data() + (y + dy) * second.outerStride() + dx;
                    double sum = 0.0;
                    for (Index x = std::max(x0, -dx); x < std::min(x1, width - dx); ++x) {
                        double const product = static_cast<double>(one[x]) * static_cast<double>(other[x]);
                        sum += std::isfinite(product) ? product : 0.0;
                    }
                    own(dy + reach, dx + reach) += sum;
                }
            }
        }
    });
    return sums;
}

}  // namespace psfmatch
