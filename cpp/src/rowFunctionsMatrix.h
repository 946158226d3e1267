// Products and Cholesky factors of matrices whose rows are contiguous; included by rowFunctionsBody.h for each
// instruction set.
#pragma once

#include <cmath>

namespace psfmatch::detail {

namespace {

double sumOf(DoubleLanes lanes) {
    double values[doubleLaneCount];
    store(values, lanes);
    double sum = 0.0;
    for (double const value : values) {
        sum += value;
    }
    return sum;
}

// Twelve sums, one row's piece and three of the other side fill sixteen registers.
constexpr int blockHeight = 4;
constexpr int blockWidth = 3;

// Products of rows firstRow .. firstRow + 3 with firstColumn .. firstColumn + 2; rows beyond the last are the last.
// Every product is summed in one sequence, wherever in a block it stands.
void productBlock(double const* rows, int nRows, int stride, int count, int firstRow, int firstColumn,
                  double (&products)[blockHeight][blockWidth]) {
    double const* a[blockHeight];
    double const* b[blockWidth];
    for (int i = 0; i < blockHeight; ++i) {
        a[i] = rows + static_cast<std::ptrdiff_t>(firstRow + i < nRows ? firstRow + i : nRows - 1) * stride;
    }
    for (int j = 0; j < blockWidth; ++j) {
        b[j] = rows + static_cast<std::ptrdiff_t>(firstColumn + j < nRows ? firstColumn + j : nRows - 1) * stride;
    }
    DoubleLanes sum[blockHeight][blockWidth] = {};
    int x = 0;
    for (; x + doubleLaneCount <= count; x += doubleLaneCount) {
        DoubleLanes right[blockWidth];
        for (int j = 0; j < blockWidth; ++j) {
            right[j] = load(b[j] + x);
        }
        for (int i = 0; i < blockHeight; ++i) {
            DoubleLanes const left = load(a[i] + x);
            for (int j = 0; j < blockWidth; ++j) {
                sum[i][j] = multiplyAdd(sum[i][j], left, right[j]);
            }
        }
    }
    for (int i = 0; i < blockHeight; ++i) {
        for (int j = 0; j < blockWidth; ++j) {
            double total = sumOf(sum[i][j]);
            for (int rest = x; rest < count; ++rest) {
                total += a[i][rest] * b[j][rest];
            }
            products[i][j] = total;
        }
    }
}

// The rows of a group, of a piece of pixels each, stay in the cache nearest to the processor while all others pass by.
constexpr int groupWidth = 8 * blockWidth;

void addProducts(double const* rows, int nRows, int stride, int count, double* result) {
    double products[blockHeight][blockWidth];
    for (int group = 0; group < nRows; group += groupWidth) {
        int const groupEnd = group + groupWidth < nRows ? group + groupWidth : nRows;
        for (int firstRow = group; firstRow < nRows; firstRow += blockHeight) {
            for (int firstColumn = group; firstColumn < groupEnd && firstColumn < firstRow + blockHeight;
                 firstColumn += blockWidth) {
                productBlock(rows, nRows, stride, count, firstRow, firstColumn, products);
                for (int i = 0; i < blockHeight && firstRow + i < nRows; ++i) {
                    for (int j = 0; j < blockWidth && firstColumn + j <= firstRow + i; ++j) {
                        result[static_cast<std::ptrdiff_t>(firstRow + i) * nRows + firstColumn + j] += products[i][j];
                    }
                }
            }
        }
    }
}

// to[x] = from[x] * factors[x] for x < n, and zeros up to `padded`, both whole vectors
void weightRow(double const* from, double const* factors, int n, int padded, double* to) {
    int x = 0;
    for (; x + doubleLaneCount <= n; x += doubleLaneCount) {
        store(to + x, load(from + x) * load(factors + x));
    }
    for (; x < padded; ++x) {
        to[x] = x < n ? from[x] * factors[x] : 0.0;
    }
}

double dot(double const* a, double const* b, int count) {
    DoubleLanes sum[2] = {};
    int x = 0;
    for (; x + 2 * doubleLaneCount <= count; x += 2 * doubleLaneCount) {
        sum[0] = multiplyAdd(sum[0], load(a + x), load(b + x));
        sum[1] = multiplyAdd(sum[1], load(a + x + doubleLaneCount), load(b + x + doubleLaneCount));
    }
    for (; x < count; x += doubleLaneCount) {
        sum[0] = multiplyAdd(sum[0], load(a + x), load(b + x));
    }
    return sumOf(sum[0] + sum[1]);
}

void weightedProducts(double const* rows, int nRows, int stride, double const* factors, int count, double const* data,
                      double* buffer, double* products, double* sums) {
    // Pieces of one length, in whole cache lines.
    int const nPieces = (count + productPiece - 1) / productPiece;
    int const length = nPieces > 0 ? ((count + nPieces - 1) / nPieces + 7) / 8 * 8 : 0;
    double* const weightedData = buffer + static_cast<std::ptrdiff_t>(nRows) * length;
    for (int first = 0; first < count; first += length) {
        int const n = count - first < length ? count - first : length;
        int const padded = (n + doubleLaneCount - 1) / doubleLaneCount * doubleLaneCount;
        if (data != nullptr) {
            weightRow(data + first, factors + first, n, padded, weightedData);
        }
        for (int i = 0; i < nRows; ++i) {
            double* const row = buffer + static_cast<std::ptrdiff_t>(i) * length;
            weightRow(rows + static_cast<std::ptrdiff_t>(i) * stride + first, factors + first, n, padded, row);
            if (data != nullptr) {
                sums[i] += dot(row, weightedData, padded);
            }
        }
        addProducts(buffer, nRows, length, padded, products);
    }
}

// Columns of a panel of the Cholesky factor: few enough that its rows, however long, stay in the second cache.
constexpr int panelWidth = 48;

// The panel's own square, column after column; false at a pivot that is not above minPivot.
bool factorSquare(double* square, int width, int stride, double minPivot) {
    for (int j = 0; j < width; ++j) {
        double* const row = square + static_cast<std::ptrdiff_t>(j) * stride;
        for (int k = 0; k < j; ++k) {
            double const* const other = square + static_cast<std::ptrdiff_t>(k) * stride;
            double sum = row[k];
            for (int x = 0; x < k; ++x) {
                sum -= row[x] * other[x];
            }
            row[k] = sum / other[k];
        }
        double pivot = row[j];
        for (int x = 0; x < j; ++x) {
            pivot -= row[x] * row[x];
        }
        if (!(pivot > minPivot)) {
            return false;
        }
        row[j] = std::sqrt(pivot);
    }
    return true;
}

// Rows below the square, a block of them at a time turned into columns, so that whole vectors are substituted.
void substituteRows(double const* square, int width, int stride, double* rows, int nRows) {
    constexpr int nVectors = 6;
    constexpr int height = nVectors * doubleLaneCount;
    double turned[panelWidth * height] = {};
    for (int first = 0; first < nRows; first += height) {
        int const count = nRows - first < height ? nRows - first : height;
        double* const block = rows + static_cast<std::ptrdiff_t>(first) * stride;
        for (int i = 0; i < count; ++i) {
            for (int j = 0; j < width; ++j) {
                turned[j * height + i] = block[static_cast<std::ptrdiff_t>(i) * stride + j];
            }
        }
        for (int j = 0; j < width; ++j) {
            double const* const factors = square + static_cast<std::ptrdiff_t>(j) * stride;
            DoubleLanes sum[nVectors];
            for (int v = 0; v < nVectors; ++v) {
                sum[v] = load(turned + j * height + v * doubleLaneCount);
            }
            for (int k = 0; k < j; ++k) {
                DoubleLanes const factor = splat(-factors[k]);
                for (int v = 0; v < nVectors; ++v) {
                    sum[v] = multiplyAdd(sum[v], factor, load(turned + k * height + v * doubleLaneCount));
                }
            }
            DoubleLanes const inverse = splat(1.0 / factors[j]);
            for (int v = 0; v < nVectors; ++v) {
                store(turned + j * height + v * doubleLaneCount, sum[v] * inverse);
            }
        }
        for (int i = 0; i < count; ++i) {
            for (int j = 0; j < width; ++j) {
                block[static_cast<std::ptrdiff_t>(i) * stride + j] = turned[j * height + i];
            }
        }
    }
}

bool factorCholesky(double* matrix, int n, double minPivot) {
    double products[blockHeight][blockWidth];
    for (int start = 0; start < n; start += panelWidth) {
        int const width = n - start < panelWidth ? n - start : panelWidth;
        double* const rows = matrix + static_cast<std::ptrdiff_t>(start) * n;
        // What the columns before take off the panel.
        for (int i = 0; start > 0 && i < n - start; i += blockHeight) {
            for (int j = 0; j < width && j < i + blockHeight; j += blockWidth) {
                productBlock(rows, n - start, n, start, i, j, products);
                for (int a = 0; a < blockHeight && i + a < n - start; ++a) {
                    for (int b = 0; b < blockWidth && j + b < width; ++b) {
                        rows[static_cast<std::ptrdiff_t>(i + a) * n + start + j + b] -= products[a][b];
                    }
                }
            }
        }
        if (!factorSquare(rows + start, width, n, minPivot)) {
            return false;
        }
        substituteRows(rows + start, width, n, rows + static_cast<std::ptrdiff_t>(width) * n + start,
                       n - start - width);
    }
    return true;
}

}  // namespace

}  // namespace psfmatch::detail
