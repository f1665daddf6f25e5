/*
 * Threads that take, write, pass on and give buffers, beside forks; and the bounds on what is idle.
 * Run under ThreadSanitizer. With "race" as its argument it plants a race, which has to be found.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffers.h"
#include "cgroup.h"

enum { THREADS = 4, STEPS = 2000, PASSED = 8, GROUP_LIMIT = 64 << 20 };

/* Instead of that of cgroup.c. */
long long fl_cgroup_memory(void) { return GROUP_LIMIT; }

static pthread_mutex_t passing = PTHREAD_MUTEX_INITIALIZER;
static fl_buffer passed[PASSED];
static int planted, unguarded;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void *work(void *number) {
    unsigned random = 1 + *(unsigned char *)number;
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525u + 1013904223u;
        const size_t size = (size_t)(1 + (random >> 16) % 24) << 16;
        fl_buffer made = fl_buffer_take(size);
        if (!made.memory || made.size < size) fail("no buffer");
        memset(made.memory, *(char *)number, 4096);
        if (((char *)made.memory)[4095] != *(char *)number) fail("another thread's bytes");
        const int at = (int)(random >> 8) % PASSED;
        pthread_mutex_lock(&passing);
        const fl_buffer before = passed[at];
        passed[at] = made;
        pthread_mutex_unlock(&passing);
        fl_buffer_give(before); /* most often that of another thread */
        if (step % 100 == 0) fl_buffers_empty();
        if (fl_buffers_count().idle > GROUP_LIMIT / 8) fail("too much is idle");
        if (planted) unguarded++;
    }
    return NULL;
}

int main(int count, char **arguments) {
    planted = count > 1 && strcmp(arguments[1], "race") == 0;
    fl_buffers_init();
    pthread_t threads[THREADS];
    char numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = (char)(i + 1);
        if (pthread_create(&threads[i], NULL, work, &numbers[i]) != 0) fail("no thread");
    }
    for (int i = 0; i < 20 && !planted; i++) {
        const pid_t child = fork();
        if (child == 0) {
            if (fl_buffers_count().idle != 0) _exit(2);
            const fl_buffer made = fl_buffer_take(1 << 20);
            memset(made.memory, 1, made.size);
            fl_buffer_give(made);
            _exit(fl_buffers_count().idle == made.size ? 0 : 3);
        }
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("a child");
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < PASSED; i++) fl_buffer_give(passed[i]);
    fl_buffers_empty();
    const fl_buffer_counts now = fl_buffers_count();
    if (now.in_use || now.idle) fail("bytes are left");
    if (now.reused < THREADS * STEPS / 4) fail("buffers are hardly used again");
    if (now.limit != GROUP_LIMIT / 8) fail("the limit is not an eighth of the group's");
    return 0;
}
