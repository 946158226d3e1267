// Makes a kernel, convolves an image with it, and checks that flux is kept.
#include <cmath>
#include <cstdio>

#include "psfmatch/KernelBasis.h"
#include "psfmatch/convolve.h"

int main() {
    using namespace psfmatch;
    LinearCombinationKernel kernel;
    kernel.basis = renormalize(makeAlardLuptonBasis(10, {1.5}, {0}));
    kernel.parameters = Eigen::MatrixXd::Constant(1, 1, 1.25);
    OwnedImage<float> image = OwnedImage<float>::Zero(64, 64);
    image(32, 32) = 1000.0F;
    OwnedImage<float> output(64, 64);
    ConvolutionControl control;
    control.copyEdge = true;
    convolve({image.data(), 64, 64, Eigen::OuterStride<>(64)}, kernel, 0, 0, control, {},
             {output.data(), 64, 64, Eigen::OuterStride<>(64)});
    double const flux = output.cast<double>().sum();
    std::printf("flux %.6f of 1250\n", flux);
    return std::abs(flux - 1250.0) < 0.01 ? 0 : 1;
}
