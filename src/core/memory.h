/* Memory for the workspace of a call. */
#ifndef FUSEDLOSS_MEMORY_H
#define FUSEDLOSS_MEMORY_H

#include <stddef.h>

#define FL_HUGE_PAGE ((size_t)2 << 20)

/* size bytes aligned to 64, for free(); NULL where there are none, idle buffers (buffers.h) given up.
 * Large ones in huge pages, if the system gives any: clearing 64 MiB of small ones takes 15 ms,
 * every call. */
void *fl_allocate(size_t size);

/* Ask for huge pages where large memory of someone else's is about to be written for the first time. */
void fl_wish_huge_pages(void *memory, size_t size);

#endif
