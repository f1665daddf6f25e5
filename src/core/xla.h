/* Kernel calls as XLA's custom calls, on the CPU. */
#ifndef FUSEDLOSS_XLA_H
#define FUSEDLOSS_XLA_H

#include <stdint.h>

/*
 * A recorded call in words of 8 bytes, the attribute "call" of XLA's custom call: these, then a fl_xla_place
 * for each pointer to an array, then the argument struct.
 */
typedef struct fl_xla_call {
    int64_t version; /* fl_recording_version */
    int64_t family;
    int64_t calls;   /* how many, of the same arguments at other places: a batch */
    int64_t threads; /* 0: as many as usual */
    int64_t value;   /* the result that the reduced loss goes to, float32 or float64; -1: none */
    int64_t places;
} fl_xla_call;

typedef struct fl_xla_place {
    int64_t pointer; /* its offset in the argument struct */
    int64_t array;   /* the custom call's operand, or, counted on, its result */
    int64_t offset;  /* in bytes, into that array */
    int64_t step;    /* in bytes, from one call of a batch to the next */
} fl_xla_place;

/* The handler of XLA's typed interface (FFI). */
void *fl_xla_handler(void *call_frame);

/* The version of the interface whose structs the handler reads: major * 1000 + minor. */
int fl_xla_version(void);

#endif
