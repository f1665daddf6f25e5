#include "memory.h"

#include <stdlib.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

void *fl_allocate(size_t size) {
    const size_t alignment = size >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
    void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
#ifdef MADV_HUGEPAGE
    if (memory && alignment == HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE); /* a wish */
#endif
    return memory;
}
