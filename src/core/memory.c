#include "memory.h"
#include "buffers.h"

#include <stdlib.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

void *fl_allocate(size_t size) {
    const size_t alignment = size >= 2 * FL_HUGE_PAGE ? FL_HUGE_PAGE : 64;
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded);
    if (!memory) {
        fl_buffers_empty();
        memory = aligned_alloc(alignment, rounded);
    }
#ifdef MADV_HUGEPAGE
    if (memory && alignment == FL_HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE); /* a wish */
#endif
    return memory;
}
