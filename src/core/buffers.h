/*
 * Memory for large results. What the array of one call leaves, the next call of a like size takes:
 * fresh pages cost as much as computing what goes into them.
 */
#ifndef FUSEDLOSS_BUFFERS_H
#define FUSEDLOSS_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct fl_buffer {
    void *memory; /* aligned to a huge page, of undefined content; NULL where there is none */
    size_t size;  /* at least what was asked for */
} fl_buffer;

typedef struct fl_buffer_counts {
    size_t in_use, idle, limit; /* bytes; idle ones are never more than the limit */
    int64_t reused, made;       /* how often a buffer was there already, and was not */
} fl_buffer_counts;

/* Read the limit on memory, and make forking safe. Call it when the library is loaded. */
void fl_buffers_init(void);

/*
 * Bytes from which results get a buffer: FL_BUFFERS_FROM, unless that is changed; SIZE_MAX: none
 * does, as where there are none. Below it malloc, and arrays of NumPy's own, are quicker.
 */
#define FL_BUFFERS_FROM ((size_t)4 << 20)
size_t fl_buffers_from(void);
void fl_buffers_set_from(size_t size);

/* A buffer of size bytes or up to a quarter more, until fl_buffer_give. Any thread may do either. */
fl_buffer fl_buffer_take(size_t size);
void fl_buffer_give(fl_buffer buffer);

/* Give idle buffers back to the system. */
void fl_buffers_empty(void);

fl_buffer_counts fl_buffers_count(void);

#endif
