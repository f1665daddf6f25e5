/* Preloaded or linked in: pthread_create refuses every thread after the first FUSEDLOSS_TEST_THREADS. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int created;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument) {
    static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!create) *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_fetch_add(&created, 1) >= atoi(getenv("FUSEDLOSS_TEST_THREADS"))) return EAGAIN;
    return create(thread, attributes, start, argument);
}
