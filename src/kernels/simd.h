/*
 * The vector layer: one real type, one vector width, chosen by the compiler's flags.
 *
 * FL_DOUBLE picks the real type. Arithmetic on `vec` uses the compiler's vector extensions, so a
 * formula reads as in the paper (a * b + c becomes one fused multiply-add where the CPU has it);
 * only what the extensions cannot say well is an intrinsic, all of it in this file.
 */
#ifndef FUSEDLOSS_SIMD_H
#define FUSEDLOSS_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#include <immintrin.h>
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#include <immintrin.h>
#elif defined(__SSE4_1__)
#define VECTOR_BYTES 16
#include <smmintrin.h>
#elif defined(__ARM_NEON)
#define VECTOR_BYTES 16
#include <arm_neon.h>
#else
#define VECTOR_BYTES 16
#endif

#ifdef FL_DOUBLE
typedef double real;
typedef int64_t ireal; /* the integer as wide as real: masks, lane numbers, bit patterns */
#define REAL_DTYPE FL_FLOAT64
#define REAL_MANTISSA_BITS 52
#define REAL_EXPONENT_BIAS 1023
#else
typedef float real;
typedef int32_t ireal;
#define REAL_DTYPE FL_FLOAT32
#define REAL_MANTISSA_BITS 23
#define REAL_EXPONENT_BIAS 127
#endif

#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNUSED __attribute__((unused))

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef ireal ivec __attribute__((vector_size(VECTOR_BYTES))); /* a comparison's mask: -1 or 0 */
typedef vec vec_unaligned __attribute__((aligned(sizeof(real)), may_alias));
typedef vec vec_of_halves __attribute__((aligned(2), may_alias)); /* two values of 16 bits to a lane */

ALWAYS_INLINE vec splat(real x) { return x - (vec){0}; }
ALWAYS_INLINE ivec isplat(ireal x) { return x - (ivec){0}; }

ALWAYS_INLINE vec load(const real *p) { return *(const vec_unaligned *)p; }
ALWAYS_INLINE void store(real *p, vec v) { *(vec_unaligned *)p = v; }

/* 0, 1, 2, ... by lane. */
ALWAYS_INLINE ivec lane_numbers(void) {
    ivec v;
    for (int i = 0; i < LANES; i++) v[i] = i;
    return v;
}

/* The first n lanes from p, the others from fill; reads nothing past p[n-1]. 0 < n < LANES. */
ALWAYS_INLINE vec load_first(const real *p, int64_t n, vec fill) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (vec)_mm512_mask_loadu_pd((__m512d)fill, (__mmask8)((1u << n) - 1), p);
#elif defined(__AVX512F__)
    return (vec)_mm512_mask_loadu_ps((__m512)fill, (__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
    const ivec first = lane_numbers() < isplat((ireal)n);
#ifdef FL_DOUBLE
    return (vec)_mm256_blendv_pd((__m256d)fill, _mm256_maskload_pd(p, (__m256i)first), (__m256d)first);
#else
    return (vec)_mm256_blendv_ps((__m256)fill, _mm256_maskload_ps(p, (__m256i)first), (__m256)first);
#endif
#else
    for (int i = 0; i < LANES - 1; i++)
        if (i < n) fill[i] = p[i];
    return fill;
#endif
}

ALWAYS_INLINE void store_first(real *p, int64_t n, vec v) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    _mm256_maskstore_pd(p, (__m256i)(lane_numbers() < isplat((ireal)n)), (__m256d)v);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(p, (__m256i)(lane_numbers() < isplat((ireal)n)), (__m256)v);
#else
    for (int i = 0; i < LANES - 1; i++)
        if (i < n) p[i] = v[i];
#endif
}

/* A store past the caches, to an address aligned to VECTOR_BYTES; end a run with stream_fence. */
ALWAYS_INLINE void stream(real *p, vec v) {
#if defined(__AVX512F__)
    _mm512_stream_si512((__m512i *)p, (__m512i)v);
#elif defined(__AVX2__)
    _mm256_stream_si256((__m256i *)p, (__m256i)v);
#elif defined(__SSE4_1__)
    _mm_stream_si128((__m128i *)p, (__m128i)v);
#else
    store(p, v);
#endif
}

ALWAYS_INLINE void stream_fence(void) {
#if defined(__SSE4_1__)
    _mm_sfence();
#endif
}

/* v, rounded to its type wherever it is used: never part of a fused multiply-add. */
ALWAYS_INLINE vec rounded(vec v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* Whether a mask is set in any lane. */
ALWAYS_INLINE int any(ivec mask) {
    ireal bits = 0;
    for (int i = 0; i < LANES; i++) bits |= mask[i];
    return bits != 0;
}

/* A bit for each lane, the first lane's the lowest. */
ALWAYS_INLINE unsigned lane_bits(ivec mask) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return _mm512_movepi64_mask((__m512i)mask);
#elif defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (unsigned)_mm256_movemask_pd((__m256d)mask);
#elif defined(__AVX2__)
    return (unsigned)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE4_1__) && defined(FL_DOUBLE)
    return (unsigned)_mm_movemask_pd((__m128d)mask);
#elif defined(__SSE4_1__)
    return (unsigned)_mm_movemask_ps((__m128)mask);
#else
    unsigned bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (mask[i] ? 1u : 0u) << i;
    return bits;
#endif
}

/* Where the mask is set a, else b. */
ALWAYS_INLINE vec blend(ivec mask, vec a, vec b) {
#if defined(__AVX512F__) || !defined(__SSE4_1__) /* the compiler makes mask registers of this */
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (vec)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)mask);
#elif defined(__AVX2__)
    return (vec)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#elif defined(FL_DOUBLE)
    return (vec)_mm_blendv_pd((__m128d)b, (__m128d)a, (__m128d)mask);
#else
    return (vec)_mm_blendv_ps((__m128)b, (__m128)a, (__m128)mask);
#endif
}

/* value, but NaN where x is. */
ALWAYS_INLINE vec nan_of(vec x, vec value) { return blend(x == x, value, x); }

/* Whether any lane of a is at least b. */
ALWAYS_INLINE int any_at_least(vec a, real b) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)splat(b), _CMP_GE_OQ) != 0;
#elif defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)a, (__m512)splat(b), _CMP_GE_OQ) != 0;
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return _mm256_movemask_pd((__m256d)(a >= b)) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)(a >= b)) != 0;
#else
    const ivec at_least = a >= b;
    ireal any = 0;
    for (int i = 0; i < LANES; i++) any |= at_least[i];
    return any != 0;
#endif
}

/* Correctly rounded; NaN below 0. */
ALWAYS_INLINE vec square_root(vec a) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (vec)_mm512_sqrt_pd((__m512d)a);
#elif defined(__AVX512F__)
    return (vec)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (vec)_mm256_sqrt_pd((__m256d)a);
#elif defined(__AVX2__)
    return (vec)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE4_1__) && defined(FL_DOUBLE)
    return (vec)_mm_sqrt_pd((__m128d)a);
#elif defined(__SSE4_1__)
    return (vec)_mm_sqrt_ps((__m128)a);
#else
    for (int i = 0; i < LANES; i++) a[i] = (real)sqrt((double)a[i]);
    return a;
#endif
}

/* The lanes whose bytes, from p on, are not 0. */
ALWAYS_INLINE ivec lanes_where(const uint8_t *p) {
    UNUSED int64_t bytes[2] = {0};
    memcpy(bytes, p, LANES);
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (ivec)_mm512_cvtepu8_epi64(_mm_set_epi64x(0, bytes[0])) != 0;
#elif defined(__AVX512F__)
    return (ivec)_mm512_cvtepu8_epi32(_mm_set_epi64x(bytes[1], bytes[0])) != 0;
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (ivec)_mm256_cvtepu8_epi64(_mm_set_epi64x(0, bytes[0])) != 0;
#elif defined(__AVX2__)
    return (ivec)_mm256_cvtepu8_epi32(_mm_set_epi64x(0, bytes[0])) != 0;
#else
    ivec lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = -(ireal)(p[i] != 0);
    return lanes;
#endif
}

/* The larger by lane; b where either is NaN. */
ALWAYS_INLINE vec max_or_second(vec a, vec b) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE4_1__) && defined(FL_DOUBLE)
    return (vec)_mm_max_pd((__m128d)a, (__m128d)b);
#elif defined(__SSE4_1__)
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    return blend(a > b, a, b);
#endif
}

/* The smaller by lane; b where either is NaN. */
ALWAYS_INLINE vec min_or_second(vec a, vec b) { return -max_or_second(-a, -b); }

ALWAYS_INLINE vec absolute(vec a) { return (vec)((ivec)a & ~(ivec)splat((real)-0.0)); }

/* 1.5 * 2^mantissa bits: x + magic - magic is x rounded to an integer, and the integer is in the low bits
 * of x + magic. */
#define ROUNDING_MAGIC ((real)((int64_t)3 << (REAL_MANTISSA_BITS - 1)))

/* 2^n from n + ROUNDING_MAGIC + REAL_EXPONENT_BIAS, whose low bits are the exponent field to be;
 * n = -REAL_EXPONENT_BIAS gives 0. */
ALWAYS_INLINE vec power_of_two(vec n_plus_magic_and_bias) {
    return (vec)((ivec)n_plus_magic_and_bias << REAL_MANTISSA_BITS);
}

/* p * 2^n for integral n (AVX-512: 2^floor(n) for any n) and p in [1/2, 2] or NaN; |n| < 160 (float), 1100
 * (double). Exact, but for one rounding where the result is subnormal. */
ALWAYS_INLINE vec scale_by_power_of_two(vec p, vec n) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (vec)_mm512_scalef_pd((__m512d)p, (__m512d)n);
#elif defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    /* 2^n itself may be out of range: half of n at a time. */
    const vec half = (n * (real)0.5 + ROUNDING_MAGIC) - ROUNDING_MAGIC;
    const real magic_and_bias = ROUNDING_MAGIC + REAL_EXPONENT_BIAS;
    return p * power_of_two(half + magic_and_bias) * power_of_two(n - half + magic_and_bias);
#endif
}

#if defined(__AVX512F__)
/* table[index mod LANES] by lane: one instruction. */
ALWAYS_INLINE vec lookup(vec table, ivec index) {
#ifdef FL_DOUBLE
    return (vec)_mm512_permutexvar_pd((__m512i)index, (__m512d)table);
#else
    return (vec)_mm512_permutexvar_ps((__m512i)index, (__m512)table);
#endif
}

#ifndef FL_DOUBLE
/* The same for a table of twice as many values in memory. */
ALWAYS_INLINE vec lookup2(const real *table, ivec index) {
    return (vec)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index, (__m512)load(table + LANES));
}
#endif
#endif

/* 1 / x within a unit in the last place, for normal x with a normal inverse, or NaN. */
ALWAYS_INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__) && !defined(FL_DOUBLE)
    const vec y = (vec)_mm512_rcp14_ps((__m512)x);
    return y + y * (1 - x * y);
#else
    return 1 / x;
#endif
}

/* ---- Across the lanes, in a fixed order: the upper half onto the lower, until one is left ---- */

/* The largest; a NaN may be lost. */
ALWAYS_INLINE real lane_max(vec v) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return _mm512_reduce_max_pd((__m512d)v);
#elif defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    real m[LANES];
    memcpy(m, &v, sizeof(v));
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) m[i] = m[i + half] > m[i] ? m[i + half] : m[i];
    return m[0];
#endif
}

/* The sum, in double; NaN where any lane is. */
ALWAYS_INLINE double lane_sum(vec v) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return _mm512_reduce_add_pd((__m512d)v);
#elif defined(__AVX512F__)
    const __m512d lower = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
    return _mm512_reduce_add_pd(lower + _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1)));
#else
    double s[LANES];
    for (int i = 0; i < LANES; i++) s[i] = (double)v[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
#endif
}

#endif
