/* What every family shares: names, and the single-threaded run of a program. */
#include "program.h"

#include <string.h>

int32_t fl_number_of(const char *(*name_of)(int32_t), const char *name) {
    const char *each;
    for (int32_t number = 0; (each = name_of(number)); number++)
        if (strcmp(each, name) == 0) return number;
    return -1;
}

fl_status fl_first_fault(const fl_partial *partials, int64_t tasks) {
    for (int64_t task = 0; task < tasks; task++)
        if (partials[task].status != FL_OK) return partials[task].status;
    return FL_OK;
}

const char *fl_status_name(fl_status status) {
    switch (status) {
    case FL_OK: return "ok";
    case FL_BAD_ARGUMENT: return "bad argument";
    case FL_BAD_DTYPE: return "bad dtype";
    case FL_BAD_TARGET: return "class index out of range";
    case FL_BAD_VALUE: return "value out of range";
    }
    return "unknown status";
}

static int64_t most_tasks(const fl_program *program) {
    int64_t most = 0;
    for (int32_t s = 0; s < program->stages; s++)
        if (program->stage[s].tasks > most) most = program->stage[s].tasks;
    return most;
}

/* The partials come after one thread's workspace and what is shared. */
size_t fl_workspace_size(const fl_program *program) {
    return program->workspace + program->shared + (size_t)most_tasks(program) * sizeof(fl_partial);
}

int32_t fl_next_stage(const fl_program *program, void *args, int32_t stage) {
    return program->next ? program->next(args, stage) : stage + 1;
}

fl_status fl_run(const fl_program *program, void *args, void *workspace) {
    char *shared = (char *)workspace + program->workspace;
    fl_partial *partials = (fl_partial *)(shared + program->shared);
    if (program->shared) *program->shared_at = shared;
    for (int32_t s = 0; s < program->stages; s = fl_next_stage(program, args, s)) {
        const fl_stage *stage = &program->stage[s];
        for (int64_t task = 0; task < stage->tasks; task++) {
            partials[task].stops = NULL;
            partials[task].status = stage->task(args, task, workspace, &partials[task]);
        }
        fl_status status = stage->combine(args, partials, stage->tasks);
        if (status != FL_OK) return status;
    }
    return FL_OK;
}
