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

static_assert(panelWidth % (blockWidth * doubleLaneCount) == 0);

// The panel's own square; false at a pivot that is not above minPivot. It is copied to rows of whole vectors, and each
// column, once made, is taken off all that follow.
bool factorSquare(double* square, int width, int stride, double minPivot) {
    double rows[panelWidth * panelWidth] = {};
    double column[panelWidth] = {};
    for (int i = 0; i < width; ++i) {
        for (int k = 0; k <= i; ++k) {
            rows[i * panelWidth + k] = square[static_cast<std::ptrdiff_t>(i) * stride + k];
        }
    }
    for (int j = 0; j < width; ++j) {
        double const pivot = rows[j * panelWidth + j];
        if (!(pivot > minPivot)) {
            return false;
        }
        double const root = std::sqrt(pivot);
        double const inverse = 1.0 / root;
        rows[j * panelWidth + j] = root;
        column[j] = 0.0;  // vectors may begin before the next column
        for (int i = j + 1; i < width; ++i) {
            column[i] = rows[i * panelWidth + j] *= inverse;
        }
        for (int i = j + 1; i < width; ++i) {
            DoubleLanes const factor = splat(-column[i]);
            for (int k = (j + 1) / doubleLaneCount * doubleLaneCount; k <= i; k += doubleLaneCount) {
                double* const to = rows + i * panelWidth + k;
                store(to, multiplyAdd(load(to), factor, load(column + k)));
            }
        }
    }
    for (int i = 0; i < width; ++i) {
        for (int k = 0; k <= i; ++k) {
            square[static_cast<std::ptrdiff_t>(i) * stride + k] = rows[i * panelWidth + k];
        }
    }
    return true;
}

// Takes off a panel, from its diagonal on, what the columns before it say. A piece of the panel's own rows is turned
// into columns, so that whole vectors are summed.
void updatePanel(double* matrix, int n, int start, int width) {
    constexpr int depth = 96;
    constexpr int tileWidth = blockWidth * doubleLaneCount;
    double turned[depth * tileWidth];
    double products[blockHeight][tileWidth];
    for (int first = 0; first < start; first += depth) {
        int const count = start - first < depth ? start - first : depth;
        for (int j = start; j < start + width; j += tileWidth) {
            int const columns = start + width - j < tileWidth ? start + width - j : tileWidth;
            for (int c = 0; c < tileWidth; ++c) {
                double const* const row = matrix + static_cast<std::ptrdiff_t>(j + (c < columns ? c : 0)) * n + first;
                for (int k = 0; k < count; ++k) {
                    turned[k * tileWidth + c] = row[k];
                }
            }
            for (int i = j; i < n; i += blockHeight) {
                double const* rows[blockHeight];
                for (int a = 0; a < blockHeight; ++a) {
                    rows[a] = matrix + static_cast<std::ptrdiff_t>(i + a < n ? i + a : n - 1) * n + first;
                }
                DoubleLanes sum[blockHeight][blockWidth] = {};
                for (int k = 0; k < count; ++k) {
                    DoubleLanes right[blockWidth];
                    for (int b = 0; b < blockWidth; ++b) {
                        right[b] = load(turned + k * tileWidth + b * doubleLaneCount);
                    }
                    for (int a = 0; a < blockHeight; ++a) {
                        DoubleLanes const left = splat(rows[a][k]);
                        for (int b = 0; b < blockWidth; ++b) {
                            sum[a][b] = multiplyAdd(sum[a][b], left, right[b]);
                        }
                    }
                }
                for (int a = 0; a < blockHeight; ++a) {
                    for (int b = 0; b < blockWidth; ++b) {
                        store(products[a] + b * doubleLaneCount, sum[a][b]);
                    }
                }
                for (int a = 0; a < blockHeight && i + a < n; ++a) {
                    double* const to = matrix + static_cast<std::ptrdiff_t>(i + a) * n + j;
                    int const end = i + a - j < columns ? i + a - j + 1 : columns;
                    for (int c = 0; c < end; ++c) {
                        to[c] -= products[a][c];
                    }
                }
            }
        }
    }
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
    for (int start = 0; start < n; start += panelWidth) {
        int const width = n - start < panelWidth ? n - start : panelWidth;
        double* const rows = matrix + static_cast<std::ptrdiff_t>(start) * n;
        updatePanel(matrix, n, start, width);
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
