/*
 * The thread pool from plain C, for ThreadSanitizer: several callers at once, each task run once and its
 * writes seen by the caller, in the caller's rounding mode. -DPLANTED_RACE adds a race that has to be
 * reported.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "engine.h"
#include "pool.h"

#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Some calls have more tasks than a job has blocks (4096), so that the last block is a part of one. */
enum { CALLERS = 4, CALLS = 400, FEW_TASKS = 300, MOST_TASKS = 9000 };

typedef struct call {
    int runs[MOST_TASKS];
    int mode; /* of rounding: what the caller's sums show of it */
    int threads;
    long total; /* of the planted race */
} call;

static int rounding_mode(void) {
    volatile double one = 1, tiny = 1e-30;
    return (one + tiny > 1) + 2 * (-one - tiny < -1) + 4 * (one - tiny < 1);
}

static void body(void *context, int64_t task, int participant) {
    call *c = context;
    c->runs[task]++;
    if (rounding_mode() != c->mode || participant < 0 || participant >= c->threads) c->runs[task] += 100;
    for (volatile int i = 0; i < 200; i++) continue;
#ifdef PLANTED_RACE
    c->total++;
#endif
}

static void *calls(void *number) {
    const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO, FE_DOWNWARD};
    call *c = malloc(sizeof *c);
    long faults = 0;
    for (int k = 0; k < CALLS; k++) {
        const int64_t few = 1 + (k * 37 + 11 * *(int *)number) % FEW_TASKS;
        const int64_t tasks = k % 40 == 0 ? MOST_TASKS - few : few;
        memset(c, 0, sizeof *c);
        fesetround(roundings[(k + *(int *)number) % 4]);
        c->mode = rounding_mode();
        c->threads = 2 + k % 6;
        if (fl_parallel(tasks, c->threads, body, c, NULL) != 0) faults++;
        for (int64_t task = 0; task < MOST_TASKS; task++) faults += c->runs[task] != (task < tasks);
    }
    free(c);
    return (void *)faults;
}

int main(void) {
    fl_engine_init();
    pthread_t threads[CALLERS];
    int numbers[CALLERS];
    long faults = 0;
    for (int i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, calls, &numbers[i]) != 0) return 2;
    }
    for (int i = 0; i < CALLERS; i++) {
        void *found;
        pthread_join(threads[i], &found);
        faults += (long)found;
    }
    printf("faults %ld workers %d\n", faults, fl_pool_size());
    return faults != 0;
}
