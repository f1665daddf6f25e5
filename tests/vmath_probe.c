/*
 * The vector functions as a shared library for test_vmath.py, which compiles this file once for each
 * instruction set and real type.
 */
#include "../src/kernels/simd.h"

#include "../src/kernels/vmath.inc"

#define EXPORT __attribute__((visibility("default")))

typedef enum probe_function {
    VEXP,
    VEXP_NONPOSITIVE,
    VLOG,
    VLOG1P,
    VLOG1P_OF_FRACTION,
    VTANH,
    VPOW_OF_FRACTION,
} probe_function;

EXPORT const double probe_power = 2.7;

EXPORT const int64_t probe_lanes = LANES;

/* y[i] = function(x[i]), function numbered as above. */
EXPORT void probe(int function, const real *x, real *y, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t left = n - i;
        const vec v = left < LANES ? load_first(x + i, left, splat(0)) : load(x + i);
        vec result = {0};
        switch ((probe_function)function) {
        case VEXP: result = vexp(v); break;
        case VEXP_NONPOSITIVE: result = vexp_nonpositive(v); break;
        case VLOG: result = vlog(v); break;
        case VLOG1P: result = vlog1p(v); break;
        case VLOG1P_OF_FRACTION: result = vlog1p_of_fraction(v); break;
        case VTANH: result = vtanh(v); break;
        case VPOW_OF_FRACTION: result = vpow_of_fraction(v, (real)probe_power); break;
        }
        if (left < LANES)
            store_first(y + i, left, result);
        else
            store(y + i, result);
    }
}

/* x: probe_lanes values */
EXPORT double probe_lane_sum(const real *x) { return lane_sum(load(x)); }
EXPORT real probe_lane_max(const real *x) { return lane_max(load(x)); }
