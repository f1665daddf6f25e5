/* Products of packed pairs of bfloat16 as a shared library for test_gemm.py, by vectors and by tiles. */
#include "../src/kernels/simd.h"
#include "../src/kernels/table.h"

#include "../src/kernels/vmath.inc"

#include "../src/kernels/storage.inc"

#include "../src/kernels/streaming.inc"

#include "../src/kernels/arrays.inc"

#include "../src/kernels/tiles.inc"

#include "../src/kernels/gemm.inc"

#define EXPORT __attribute__((visibility("default")))

/* m x n, of depth k, which are pairs; the strides are those of the packed matrices' panels. */
EXPORT void probe(real *a, int64_t a_stride, real *b, int64_t b_stride, real *c, int64_t c_row, int64_t m,
                  int64_t n, int64_t k, int add, int transposed, int tiles) {
    const panels left = {a, a_stride, 0}, right = {b, b_stride, 0};
    const product to = {c, c_row, PANEL};
    const multiplication how = tiles ? OF_PAIRS_BY_TILES : OF_PAIRS;
    if (transposed)
        multiply_transposed_panels(left, right, to, m, n, k, add, how);
    else
        multiply_panels(left, right, to, m, n, k, add, how);
}

/* What the emulated CPU refused so far, and whether it has tiles in use. */
EXPORT int64_t probe_faults(void) { return tile_faults; }
EXPORT int probe_in_use(void) { return tile_state.configuration.palette; }

/* Sums of pairs with `rows` rows and columns of `bytes` bytes in one of the factors, and 16 x 64 elsewhere.
 */
EXPORT void probe_shapes(int factor, int rows, int bytes) {
    tile_configuration shapes = {.palette = 1};
    for (int i = 0; i < 3; i++) shapes.rows[i] = 16, shapes.row_bytes[i] = 64;
    shapes.rows[factor] = (uint8_t)rows;
    shapes.row_bytes[factor] = (uint16_t)bytes;
    _tile_loadconfig(&shapes);
    _tile_zero(0);
    _tile_dpbf16ps(0, 1, 2);
    _tile_release();
}
