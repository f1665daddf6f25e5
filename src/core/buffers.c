/*
 * A short list of idle buffers, oldest first, under one lock that is held for comparisons only.
 *
 * What bounds it:
 *   - buffers in use and idle are together never more than were in use at once;
 *   - idle ones are at most an eighth of the memory that this process may have;
 *   - one that a hundred others were preferred to goes back to the system;
 *   - idle huge pages are the system's to take as soon as it needs them, by MADV_FREE. That takes
 *     tens of microseconds, since all cores of the process are interrupted: too much for buffers
 *     that are small. On small pages it would cost half of what it saves, since each is marked on
 *     its own, and marked again when it is next written.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* madvise, MAP_ANONYMOUS */
#endif

#include "buffers.h"
#include "cgroup.h"
#include "memory.h"

#if defined(__unix__) || defined(__APPLE__)

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_IDLE = 64, PREFERRED = 100, SHARE_OF_MEMORY = 8 };

/* A multiple of any system's page size. */
static const size_t GRANULE = (size_t)64 << 10;

/* Bytes from which an idle buffer is the system's to take. */
static const size_t OFFERED_FROM = (size_t)16 << 20;

typedef struct idle_buffer {
    fl_buffer buffer;
    int64_t since; /* the number of buffers taken until it was given */
} idle_buffer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static idle_buffer idle[MOST_IDLE];
static int idle_count;
static size_t most_in_use; /* bytes, at any time so far */
static fl_buffer_counts counts;
static atomic_size_t from = SIZE_MAX;

/* ---- Pages of the system ---- */

static void *map(size_t size) {
    /* The system aligns to small pages: map one huge page more, and keep the aligned part. */
    if (size > SIZE_MAX / 2) return NULL;
    char *whole = mmap(NULL, size + FL_HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) return NULL;
    const size_t head = -(uintptr_t)whole % FL_HUGE_PAGE;
    if (head > 0) munmap(whole, head);
    munmap(whole + head + size, FL_HUGE_PAGE - head);
#ifdef MADV_HUGEPAGE
    madvise(whole + head, size, MADV_HUGEPAGE); /* a wish */
#endif
    return whole + head;
}

static void unmap(const fl_buffer *buffers, int count) {
    for (int i = 0; i < count; i++) munmap(buffers[i].memory, buffers[i].size);
}

/* Let the system take the pages of an idle buffer when it needs them. */
static void offer(fl_buffer buffer) {
#if defined(MADV_FREE) && defined(MADV_HUGEPAGE)
    if (buffer.size >= OFFERED_FROM)
        madvise(buffer.memory, buffer.size / FL_HUGE_PAGE * FL_HUGE_PAGE, MADV_FREE);
#else
    (void)buffer;
#endif
}

/* ---- The list; with the lock held ---- */

static fl_buffer take_out(int at) {
    const fl_buffer buffer = idle[at].buffer;
    memmove(&idle[at], &idle[at + 1], (size_t)(--idle_count - at) * sizeof *idle);
    counts.idle -= buffer.size;
    return buffer;
}

/* Take out the oldest buffers until `most` bytes are left; return their number. */
static int take_oldest(size_t most, fl_buffer *out) {
    int count = 0;
    while (counts.idle > most) out[count++] = take_out(0);
    return count;
}

/* The smallest idle buffer that fits, the latest of several: its pages are likeliest in a cache. */
static int best_fit(size_t size) {
    int best = -1;
    for (int i = 0; i < idle_count; i++) {
        const size_t had = idle[i].buffer.size;
        if (had >= size && had - size <= size / 4 && (best < 0 || had <= idle[best].buffer.size)) best = i;
    }
    return best;
}

static void use(size_t size) {
    counts.in_use += size;
    if (most_in_use < counts.in_use) most_in_use = counts.in_use;
}

/* ---- What the arrays call ---- */

fl_buffer fl_buffer_take(size_t size) {
    fl_buffer buffer = {NULL, (size + GRANULE - 1) / GRANULE * GRANULE}, gone[MOST_IDLE];
    int leaving = 0;
    pthread_mutex_lock(&lock);
    const int fit = best_fit(size);
    if (fit >= 0) {
        buffer = take_out(fit);
        use(buffer.size);
        counts.reused++;
    } else {
        const size_t wanted = counts.in_use + buffer.size;
        leaving = take_oldest(most_in_use > wanted ? most_in_use - wanted : 0, gone);
    }
    if (idle_count > 0 && counts.reused + counts.made - idle[0].since > PREFERRED)
        gone[leaving++] = take_out(0);
    pthread_mutex_unlock(&lock);
    unmap(gone, leaving);
    if (buffer.memory) return buffer;

    buffer.memory = map(buffer.size);
    if (!buffer.memory) {
        fl_buffers_empty();
        buffer.memory = map(buffer.size);
        if (!buffer.memory) return buffer;
    }
    pthread_mutex_lock(&lock);
    use(buffer.size);
    counts.made++;
    pthread_mutex_unlock(&lock);
    return buffer;
}

void fl_buffer_give(fl_buffer buffer) {
    if (!buffer.memory) return;
    fl_buffer gone[MOST_IDLE + 1];
    int leaving = 0;
    offer(buffer); /* before another thread can take and write it */
    pthread_mutex_lock(&lock);
    counts.in_use -= buffer.size;
    if (idle_count == MOST_IDLE) gone[leaving++] = take_out(0);
    idle[idle_count++] = (idle_buffer){buffer, counts.reused + counts.made};
    counts.idle += buffer.size;
    leaving += take_oldest(counts.limit, gone + leaving);
    pthread_mutex_unlock(&lock);
    unmap(gone, leaving);
}

void fl_buffers_empty(void) {
    fl_buffer gone[MOST_IDLE];
    pthread_mutex_lock(&lock);
    const int leaving = take_oldest(0, gone);
    pthread_mutex_unlock(&lock);
    unmap(gone, leaving);
}

fl_buffer_counts fl_buffers_count(void) {
    pthread_mutex_lock(&lock);
    const fl_buffer_counts now = counts;
    pthread_mutex_unlock(&lock);
    return now;
}

/* ---- Forking ---- */

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork_in_parent(void) { pthread_mutex_unlock(&lock); }

/* Idle pages are shared with the parent now: whoever wrote one first would have to copy it. */
static void after_fork_in_child(void) {
    fl_buffer gone[MOST_IDLE];
    unmap(gone, take_oldest(0, gone));
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

/* The bytes that this process may have: what the machine has, or its control group's limit. */
static size_t memory_limit(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const unsigned long long physical =
        pages > 0 && page > 0 ? (unsigned long long)pages * (unsigned long long)page : 0;
    const long long group = fl_cgroup_memory();
    const unsigned long long bytes =
        group > 0 && (unsigned long long)group < physical ? (unsigned long long)group : physical;
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

void fl_buffers_init(void) {
    if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) return;
    counts.limit = memory_limit() / SHARE_OF_MEMORY;
    fl_buffers_set_from(FL_BUFFERS_FROM);
}

size_t fl_buffers_from(void) { return atomic_load_explicit(&from, memory_order_relaxed); }

void fl_buffers_set_from(size_t size) { atomic_store_explicit(&from, size, memory_order_relaxed); }

#else

void fl_buffers_init(void) {}

size_t fl_buffers_from(void) { return SIZE_MAX; }

void fl_buffers_set_from(size_t size) { (void)size; }

fl_buffer fl_buffer_take(size_t size) { return (fl_buffer){NULL, size}; }

void fl_buffer_give(fl_buffer buffer) { (void)buffer; }

void fl_buffers_empty(void) {}

fl_buffer_counts fl_buffers_count(void) { return (fl_buffer_counts){0, 0, 0, 0, 0}; }

#endif
