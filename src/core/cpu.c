/*
 * Detection and selection of the instruction set.
 *
 * A CPU feature counts only if the CPU has it (cpuid) and the operating system saves its registers
 * on a context switch (XGETBV). Hypervisors and boot options clear the second and leave the
 * first: trusting cpuid alone ends in an illegal instruction. Tiles, whose registers Linux saves for
 * those that ask, count if it agrees.
 */
#include "cpu.h"

#include "table.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#ifndef FL_VARIANTS
#error "define FL_VARIANTS, the instruction sets compiled in, best first: X(avx2, \"avx2\", 0) X(sse4, ...)"
#endif

/* ---- The features of a CPU ---- */

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { EAX, EBX, ECX, EDX };

/* The registers that the operating system must save, as bits of XCR0. */
enum {
    NO_STATE = 0,
    AVX_STATE = 0x6,              /* XMM and the upper halves of YMM */
    AVX512_STATE = 0xE6,          /* and the masks, the upper halves of ZMM, ZMM16 to ZMM31 */
    AMX_STATE = 1 << 17 | 1 << 18 /* tile configuration and tile data */
};

/* One feature a row: its bit in a set of features, its name, and where cpuid tells of it. */
#define FEATURES                                                                                             \
    FEATURE(SSSE3, "ssse3", 1, 0, ECX, 9, NO_STATE)                                                          \
    FEATURE(SSE4_1, "sse4.1", 1, 0, ECX, 19, NO_STATE)                                                       \
    FEATURE(SSE4_2, "sse4.2", 1, 0, ECX, 20, NO_STATE)                                                       \
    FEATURE(POPCNT, "popcnt", 1, 0, ECX, 23, NO_STATE)                                                       \
    FEATURE(AVX, "avx", 1, 0, ECX, 28, AVX_STATE)                                                            \
    FEATURE(F16C, "f16c", 1, 0, ECX, 29, AVX_STATE)                                                          \
    FEATURE(FMA, "fma", 1, 0, ECX, 12, AVX_STATE)                                                            \
    FEATURE(AVX2, "avx2", 7, 0, EBX, 5, AVX_STATE)                                                           \
    FEATURE(AVX512F, "avx512f", 7, 0, EBX, 16, AVX512_STATE)                                                 \
    FEATURE(AVX512DQ, "avx512dq", 7, 0, EBX, 17, AVX512_STATE)                                               \
    FEATURE(AVX512BW, "avx512bw", 7, 0, EBX, 30, AVX512_STATE)                                               \
    FEATURE(AVX512VL, "avx512vl", 7, 0, EBX, 31, AVX512_STATE)                                               \
    FEATURE(AVX512_BF16, "avx512_bf16", 7, 1, EAX, 5, AVX512_STATE)                                          \
    FEATURE(AVX512_FP16, "avx512_fp16", 7, 0, EDX, 23, AVX512_STATE)                                         \
    FEATURE(AMX_TILE, "amx_tile", 7, 0, EDX, 24, AMX_STATE)                                                  \
    FEATURE(AMX_BF16, "amx_bf16", 7, 0, EDX, 22, AMX_STATE)

enum {
#define FEATURE(token, name, leaf, subleaf, reg, bit, state) token##_INDEX,
    FEATURES
#undef FEATURE
};

enum {
#define FEATURE(token, name, leaf, subleaf, reg, bit, state) token = 1 << token##_INDEX,
    FEATURES
#undef FEATURE
};

static const struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    int reg, bit;
    uint64_t state;
} features[] = {
#define FEATURE(token, name, leaf, subleaf, reg, bit, state) {name, leaf, subleaf, reg, bit, state},
    FEATURES
#undef FEATURE
};

/* XCR0: the register states that the operating system has enabled; 0 where it cannot be read. */
static uint64_t enabled_states(void) {
    const uint32_t osxsave = UINT32_C(1) << 27;
    uint32_t regs[4];
    if (!__get_cpuid(1, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX]) || !(regs[ECX] & osxsave)) return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* the intrinsic needs -mxsave */
    return (uint64_t)high << 32 | low;
}

/* Linux gives tiles to a process that asks for them, and to the threads and children that it makes then. */
static int may_use_tiles(void) {
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return 1;
#endif
}

static uint32_t detect(void) {
    const uint64_t states = enabled_states();
    uint32_t found = 0;
    for (int i = 0; i < (int)(sizeof features / sizeof *features); i++) {
        const struct feature *f = &features[i];
        uint32_t regs[4]; /* a leaf that the CPU lacks is refused, a subleaf that it lacks reads 0 */
        if (!__get_cpuid_count(f->leaf, f->subleaf, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX])) continue;
        if ((regs[f->reg] >> f->bit & 1) && (states & f->state) == f->state) found |= UINT32_C(1) << i;
    }
    if ((found & AMX_TILE) && !may_use_tiles()) found &= ~(uint32_t)(AMX_TILE | AMX_BF16);
    return found;
}

#elif defined(__aarch64__)

/* Advanced SIMD is part of every AArch64 CPU that runs a general operating system. */
static const struct feature {
    const char *name;
} features[] = {{"neon"}};

#define NEEDS_TILES 0

static uint32_t detect(void) { return 1; }

#else

static const struct feature {
    const char *name;
} features[] = {{""}};

#define NEEDS_TILES 0

static uint32_t detect(void) { return 0; }

#endif

/* What the code of a variant may use; the flags that it is compiled with allow nothing else. */
#define NEEDS_portable 0
#define NEEDS_neon 0
#define NEEDS_sse4 (SSSE3 | SSE4_1 | SSE4_2 | POPCNT)
#define NEEDS_avx2 (NEEDS_sse4 | AVX | AVX2 | FMA | F16C)
#define NEEDS_avx512 (NEEDS_avx2 | AVX512F | AVX512BW | AVX512DQ | AVX512VL)
#define NEEDS_avx512bf16 (NEEDS_avx512 | AVX512_BF16)

/* What multiplying by tiles takes besides; a build that emulates them defines it as 0. */
#ifndef NEEDS_TILES
#define NEEDS_TILES (AMX_TILE | AMX_BF16)
#endif

/* The features found, as a set. Threads that race to be first find the same. */
static uint32_t found_features(void) {
    static _Atomic uint32_t cached;
    const uint32_t detected = UINT32_C(1) << 31; /* set once the rest is known */
    uint32_t found = atomic_load_explicit(&cached, memory_order_relaxed);
    if (!(found & detected)) {
        found = detect() | detected;
        atomic_store_explicit(&cached, found, memory_order_relaxed);
    }
    return found;
}

/* ---- The variants compiled in ---- */

/* Two may share their kernels, and differ in whether those use tiles. */
#define X(token, name, tiles) extern const fl_kernels fl_kernels_##token##_f32, fl_kernels_##token##_f64;
FL_VARIANTS
#undef X

static const struct variant {
    const char *name;
    const fl_kernels *float32, *float64;
    int has_tiles;
    uint32_t needs;
} variants[] = {
#define X(token, name, tiles)                                                                                \
    {name, &fl_kernels_##token##_f32, &fl_kernels_##token##_f64, tiles,                                      \
     NEEDS_##token | (tiles ? NEEDS_TILES : 0)},
    FL_VARIANTS
#undef X
};

enum { VARIANTS = sizeof variants / sizeof *variants };

const char *fl_isa_name(int index) { return index >= 0 && index < VARIANTS ? variants[index].name : NULL; }

int fl_isa_available(int index) {
    if (index < 0 || index >= VARIANTS) return 0;
    return (found_features() & variants[index].needs) == variants[index].needs;
}

/* ---- The choice ---- */

enum { NONE_RUNS = -1, UNDECIDED = -2 };

static atomic_int choice = UNDECIDED;

int fl_isa_current(void) {
    int index = atomic_load_explicit(&choice, memory_order_relaxed);
    if (index != UNDECIDED) return index;
    int best = NONE_RUNS;
    for (int i = VARIANTS - 1; i >= 0; i--)
        if (fl_isa_available(i)) best = i;
    /* A selection made meanwhile by another thread stands, and is what the failed exchange reads. */
    return atomic_compare_exchange_strong(&choice, &index, best) ? best : index;
}

fl_status fl_isa_select(int index) {
    if (!fl_isa_available(index)) return FL_BAD_ARGUMENT;
    atomic_store_explicit(&choice, index, memory_order_relaxed);
    return FL_OK;
}

const fl_kernels *fl_kernels_for(fl_dtype compute_type) {
    const int index = fl_isa_current();
    if (index == NONE_RUNS) return NULL;
    if (compute_type == FL_FLOAT32) return variants[index].float32;
    if (compute_type == FL_FLOAT64) return variants[index].float64;
    return NULL;
}

int fl_has_tiles(void) {
    const int index = fl_isa_current();
    return index != NONE_RUNS && variants[index].has_tiles;
}

/* ---- The report ---- */

static char feature_text[256];

void fl_cpu_init(void) {
    const uint32_t found = found_features();
    size_t length = 0;
    for (int i = 0; i < (int)(sizeof features / sizeof *features); i++) {
        const size_t name_length = strlen(features[i].name);
        if (!(found >> i & 1) || length + name_length + 2 > sizeof feature_text) continue;
        if (length > 0) feature_text[length++] = ' ';
        memcpy(feature_text + length, features[i].name, name_length + 1);
        length += name_length;
    }
    fl_isa_current();
}

const char *fl_cpu_features(void) { return feature_text; }
