#include "memory.h"
#include "buffers.h"

#include <stdint.h>
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

void fl_wish_huge_pages(void *memory, size_t size) {
#ifdef MADV_HUGEPAGE
    const uintptr_t first = ((uintptr_t)memory + FL_HUGE_PAGE - 1) / FL_HUGE_PAGE * FL_HUGE_PAGE;
    const uintptr_t end = ((uintptr_t)memory + size) / FL_HUGE_PAGE * FL_HUGE_PAGE;
    if (end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)size;
#endif
}
