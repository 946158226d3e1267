// The only place where arrays cross between numpy and the core. Images are viewed, never copied or converted:
// the Python layer owns dtype, byte order and contiguity, and a wrong array is a TypeError or ValueError
// here. Small double arrays (matrices, kernels) are copied.
#pragma once

#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/kernel/KernelBasis.h"

namespace psfmatch::python {

namespace py = pybind11;

using DoubleArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

inline std::span<double const> spanOf(DoubleArray const& values) {
    return {values.data(), static_cast<std::size_t>(values.size())};
}

template <typename Pixel>
Index checkedStride(py::array const& array, char const* name) {
    if (!array.dtype().equal(py::dtype::of<Pixel>())) {
        throw py::type_error(std::string(name) + " has dtype " + std::string(py::str(array.dtype())) +
                             ", must be native " + std::string(py::str(py::dtype::of<Pixel>())));
    }
    if (array.ndim() != 2) {
        throw py::value_error(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, must have 2");
    }
    // numpy gives empty arrays strides that mean nothing.
    if (array.size() == 0) {
        throw py::value_error(std::string(name) + " is empty");
    }
    auto const pixelSize = static_cast<py::ssize_t>(sizeof(Pixel));
    bool const rowsContiguous = array.shape(1) == 1 || array.strides(1) == pixelSize;
    bool const rowsApart =
        array.shape(0) == 1 || (array.strides(0) >= array.shape(1) * pixelSize && array.strides(0) % pixelSize == 0);
    if (!rowsContiguous || !rowsApart) {
        throw py::value_error(std::string(name) + " must have contiguous rows");
    }
    return array.shape(0) == 1 ? array.shape(1) : array.strides(0) / pixelSize;
}

template <typename Pixel>
ConstImageView<Pixel> viewOf(py::array const& array, char const* name) {
    Index const stride = checkedStride<Pixel>(array, name);
    return {static_cast<Pixel const*>(array.data()), array.shape(0), array.shape(1), Eigen::OuterStride<>(stride)};
}

template <typename Pixel>
ImageView<Pixel> mutableViewOf(py::array& array, char const* name) {
    Index const stride = checkedStride<Pixel>(array, name);
    return {static_cast<Pixel*>(array.mutable_data()), array.shape(0), array.shape(1), Eigen::OuterStride<>(stride)};
}

inline MaskedImageView maskedViewOf(py::array const& image, py::array const& variance, py::array const& mask) {
    MaskedImageView const view{viewOf<float>(image, "image"), viewOf<float>(variance, "variance"),
                               viewOf<MaskPixel>(mask, "mask")};
    bool const sameShape = view.image.rows() == view.variance.rows() && view.image.cols() == view.variance.cols() &&
                           view.image.rows() == view.mask.rows() && view.image.cols() == view.mask.cols();
    if (!sameShape) {
        throw py::value_error("image, variance and mask differ in shape");
    }
    return view;
}

// The numbers of an array of any shape and strides, in C order: those that are not NaN, and for which the booleans of
// the same shape are true; `good` may be None. Python objects are not touched after the construction.
template <typename Value>
class ValueReader {
public:
    ValueReader(py::array const& values, py::object const& good)
        : data_(static_cast<char const*>(values.data())),
          shape_(values.shape(), values.shape() + values.ndim()),
          strides_(values.strides(), values.strides() + values.ndim()) {
        if (!values.dtype().equal(py::dtype::of<Value>())) {
            throw py::type_error("values have dtype " + std::string(py::str(values.dtype())) + ", must be native " +
                                 std::string(py::str(py::dtype::of<Value>())));
        }
        if (!good.is_none()) {
            auto const flags = py::cast<py::array>(good);
            if (!flags.dtype().equal(py::dtype::of<bool>())) {
                throw py::type_error("good has dtype " + std::string(py::str(flags.dtype())) + ", must be bool");
            }
            if (std::vector<py::ssize_t>(flags.shape(), flags.shape() + flags.ndim()) != shape_) {
                throw py::value_error("values and good differ in shape");
            }
            good_ = static_cast<char const*>(flags.data());
            goodStrides_.assign(flags.strides(), flags.strides() + flags.ndim());
        } else {
            goodStrides_.assign(strides_.size(), 0);
        }
        for (py::ssize_t const side : shape_) {
            size_ *= static_cast<std::size_t>(side);
        }
    }

    [[nodiscard]] std::size_t nRows() const { return shape_.empty() ? 1 : static_cast<std::size_t>(shape_.front()); }

    // Of the whole array.
    void read(std::vector<Value>& found) const {
        found.resize(size_);
        Value* next = found.data();
        if (size_ > 0) {
            readFrom(0, data_, good_, next);
        }
        found.resize(static_cast<std::size_t>(next - found.data()));
    }

    // Of one index of the first axis.
    void readRow(std::size_t row, std::vector<Value>& found) const {
        found.resize(size_ / nRows());
        Value* next = found.data();
        auto const index = static_cast<py::ssize_t>(row);
        if (size_ > 0) {
            readFrom(1, data_ + index * strides_[0], good_ ? good_ + index * goodStrides_[0] : nullptr, next);
        }
        found.resize(static_cast<std::size_t>(next - found.data()));
    }

private:
    void readFrom(std::size_t axis, char const* data, char const* good, Value*& next) const {
        if (axis + 1 < shape_.size()) {
            for (py::ssize_t i = 0; i < shape_[axis]; ++i) {
                readFrom(axis + 1, data + i * strides_[axis], good ? good + i * goodStrides_[axis] : nullptr, next);
            }
            return;
        }
        bool const isLast = axis < shape_.size();
        py::ssize_t const count = isLast ? shape_[axis] : 1;
        py::ssize_t const step = isLast ? strides_[axis] : 0;
        py::ssize_t const goodStep = isLast ? goodStrides_[axis] : 0;
        for (py::ssize_t i = 0; i < count; ++i) {
            Value value;
            std::memcpy(&value, data + i * step, sizeof(Value));
            bool const counts = good == nullptr || good[i * goodStep] != 0;
            *next = value;
            next += static_cast<py::ssize_t>(counts & (value == value));
        }
    }

    char const* data_;
    char const* good_ = nullptr;
    std::vector<py::ssize_t> shape_;
    std::vector<py::ssize_t> strides_;
    std::vector<py::ssize_t> goodStrides_;
    std::size_t size_ = 1;
};

// (n, height, width), or one kernel (height, width)
inline KernelBasis basisOf(DoubleArray const& array) {
    if (array.ndim() != 2 && array.ndim() != 3) {
        throw py::value_error("a kernel basis has shape (n, height, width), not " + std::to_string(array.ndim()) +
                              " dimensions");
    }
    py::ssize_t const d = array.ndim() - 2;
    KernelBasis basis;
    basis.height = array.shape(d);
    basis.width = array.shape(d + 1);
    Index const count = d == 1 ? array.shape(0) : 1;
    basis.images = Eigen::Map<RowMatrix const>(array.data(), count, basis.height * basis.width);
    return basis;
}

inline py::array_t<double> arrayOf(KernelBasis const& basis) {
    py::array_t<double> array({basis.size(), basis.height, basis.width});
    Eigen::Map<RowMatrix>(array.mutable_data(), basis.size(), basis.height * basis.width) = basis.images;
    return array;
}

inline py::array_t<double> arrayOf(Eigen::MatrixXd const& matrix) {
    py::array_t<double> array({matrix.rows(), matrix.cols()});
    Eigen::Map<RowMatrix>(array.mutable_data(), matrix.rows(), matrix.cols()) = matrix;
    return array;
}

inline py::array_t<double> arrayOf(Eigen::VectorXd const& vector) {
    py::array_t<double> array(vector.size());
    Eigen::Map<Eigen::VectorXd>(array.mutable_data(), vector.size()) = vector;
    return array;
}

template <typename Pixel>
py::array_t<Pixel> arrayOf(OwnedImage<Pixel> const& image) {
    py::array_t<Pixel> array({image.rows(), image.cols()});
    std::copy_n(image.data(), image.size(), array.mutable_data());
    return array;
}

inline Eigen::MatrixXd matrixOf(DoubleArray const& array, char const* name) {
    if (array.ndim() != 2) {
        throw py::value_error(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, must have 2");
    }
    return Eigen::Map<RowMatrix const>(array.data(), array.shape(0), array.shape(1));
}

inline Eigen::VectorXd vectorOf(DoubleArray const& array, char const* name) {
    if (array.ndim() != 1) {
        throw py::value_error(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, must have 1");
    }
    return Eigen::Map<Eigen::VectorXd const>(array.data(), array.shape(0));
}

}  // namespace psfmatch::python
