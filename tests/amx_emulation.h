/*
 * Tiles (AMX) in plain C, after the pseudocode of Intel's manual, for machines without them: to be included
 * before anything else (-include) where the kernels are compiled for tiles. A thread has tiles of its own.
 *
 * What the CPU refuses is counted in tile_faults: tiles used without a configuration, a configuration that is
 * not palette 1's or leaves bytes set that are reserved, and operands that do not fit each other.
 */
#if defined(__AMX_BF16__) && !defined(AMX_EMULATION_H)
#define AMX_EMULATION_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { TILES = 8, TILE_ROWS_MOST = 16, TILE_BYTES_MOST = 64 };

typedef struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_configuration;

static _Thread_local struct {
    tile_configuration configuration;
    uint8_t at[TILES][TILE_ROWS_MOST][TILE_BYTES_MOST];
} tile_state;

static _Thread_local int64_t tile_faults;

static inline int tile_is_configured(int tile) {
    return tile_state.configuration.palette == 1 && tile_state.configuration.rows[tile] > 0 &&
           tile_state.configuration.row_bytes[tile] > 0;
}

static inline int tile_rows(int tile) { return tile_state.configuration.rows[tile]; }

static inline int tile_row_bytes(int tile) { return tile_state.configuration.row_bytes[tile]; }

/* A refused configuration leaves none. */
static inline void emulated_loadconfig(const void *memory) {
    tile_configuration asked;
    memset(&tile_state, 0, sizeof(tile_state));
    memcpy(&asked, memory, sizeof(asked));
    int fits = asked.palette <= 1 && asked.start_row == 0;
    for (int i = 0; i < 14; i++) fits &= asked.reserved[i] == 0;
    for (int i = 0; i < 16; i++) {
        fits &= asked.rows[i] <= (i < TILES ? TILE_ROWS_MOST : 0);
        fits &= asked.row_bytes[i] <= (i < TILES ? TILE_BYTES_MOST : 0) && asked.row_bytes[i] % 4 == 0;
        fits &= !asked.rows[i] == !asked.row_bytes[i];
    }
    if (fits && asked.palette == 1) tile_state.configuration = asked;
    tile_faults += !fits;
}

static inline void emulated_release(void) { memset(&tile_state, 0, sizeof(tile_state)); }

static inline void emulated_zero(int tile) {
    tile_faults += !tile_is_configured(tile);
    memset(tile_state.at[tile], 0, sizeof(tile_state.at[tile]));
}

static inline void emulated_loadd(int tile, const void *memory, int64_t stride) {
    tile_faults += !tile_is_configured(tile);
    memset(tile_state.at[tile], 0, sizeof(tile_state.at[tile]));
    for (int i = 0; i < tile_rows(tile); i++)
        memcpy(tile_state.at[tile][i], (const char *)memory + i * stride, (size_t)tile_row_bytes(tile));
}

static inline void emulated_stored(int tile, void *memory, int64_t stride) {
    tile_faults += !tile_is_configured(tile);
    for (int i = 0; i < tile_rows(tile); i++)
        memcpy((char *)memory + i * stride, tile_state.at[tile][i], (size_t)tile_row_bytes(tile));
}

/* Subnormals are zeros, those read and those made. */
static inline float without_subnormal(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

static inline float of_tile(int tile, int row, int i) {
    uint16_t half;
    memcpy(&half, tile_state.at[tile][row] + 2 * i, sizeof(half));
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof(x));
    return without_subnormal(x);
}

/* Of a row's pairs the first halves are summed apart from the second ones, by fused multiply-adds. */
static inline void emulated_dpbf16ps(int sums, int a, int b) {
    const int pairs = tile_row_bytes(a) / 4, columns = tile_row_bytes(sums) / 4;
    tile_faults += !tile_is_configured(sums) || !tile_is_configured(a) || !tile_is_configured(b) ||
                   sums == a || sums == b || a == b || tile_rows(sums) != tile_rows(a) ||
                   tile_row_bytes(sums) != tile_row_bytes(b) || pairs != tile_rows(b);
    float right[TILE_ROWS_MOST][2][TILE_BYTES_MOST / 4] = {0};
    for (int k = 0; k < pairs; k++)
        for (int half = 0; half < 2; half++)
            for (int j = 0; j < columns; j++) right[k][half][j] = of_tile(b, k, 2 * j + half);
    for (int i = 0; i < tile_rows(sums); i++) {
        float halves[2][TILE_BYTES_MOST / 4] = {0}, row[TILE_BYTES_MOST / 4] = {0};
        for (int k = 0; k < pairs; k++)
            for (int half = 0; half < 2; half++) {
                const float left = of_tile(a, i, 2 * k + half);
                for (int j = 0; j < TILE_BYTES_MOST / 4; j++)
                    halves[half][j] = without_subnormal(fmaf(left, right[k][half][j], halves[half][j]));
            }
        memcpy(row, tile_state.at[sums][i], (size_t)tile_row_bytes(sums));
        for (int j = 0; j < columns; j++)
            row[j] =
                without_subnormal(without_subnormal(row[j]) + without_subnormal(halves[0][j] + halves[1][j]));
        memcpy(tile_state.at[sums][i], row, (size_t)tile_row_bytes(sums));
    }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated_loadconfig
#define _tile_release emulated_release
#define _tile_zero emulated_zero
#define _tile_loadd emulated_loadd
#define _tile_stored emulated_stored
#define _tile_dpbf16ps emulated_dpbf16ps

#endif
