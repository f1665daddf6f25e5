/*
 * The OpenMP runtime of torch and others.
 *
 * GCC's runtime, libgomp, keeps a pool of workers for each calling thread. In the child of a fork,
 * where the workers are gone, the next region waits for them for ever: torch's, too.
 */
#include "openmp.h"

#include <stddef.h>

#if defined(_OPENMP) && defined(__ELF__)

#include <omp.h>

/* Both may be absent: the first came with GCC 9, the second tells LLVM's runtime from GCC's. */
extern int pause_resources(int kind) __asm__("omp_pause_resource_all") __attribute__((weak));
extern void llvm_fork_call(void) __asm__("__kmpc_fork_call") __attribute__((weak));

bool fl_openmp_inside(void) { return omp_get_level() > 0; }

/*
 * End the workers of the forking thread, the only thread that lives on in the child; both processes
 * make new ones when they need them. For libgomp, "all" resources are this thread's pool alone, so
 * threads that are inside a region at this moment are not touched; it refuses inside a region of
 * this thread. LLVM's runtime has fork handlers of its own, and pausing it would end the teams of
 * all threads.
 *
 * This takes no lock: LLVM's handler runs before this one and holds locks.
 */
void fl_openmp_before_fork(void) {
    const int hard = 2; /* omp_pause_hard; omp.h has it since GCC 9 */
    if (!llvm_fork_call && pause_resources) pause_resources(hard);
}

#else

bool fl_openmp_inside(void) { return false; }
void fl_openmp_before_fork(void) {}

#endif
