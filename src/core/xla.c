/*
 * The handler of XLA's typed custom calls. XLA's C interface is declared here by its layout, as far as it is
 * used: nothing of XLA is needed to build or to run this. XLA asks the handler for the interface's version
 * before it takes it, and refuses another one than its own.
 */
#include "xla.h"

#include "memory.h"
#include "recording.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- XLA's FFI, version 0.3: structs grow at their ends, and say how long they are ---- */

enum { XLA_MAJOR = 0, XLA_MINOR = 3 };
enum { XLA_METADATA_EXTENSION = 1 };
enum { XLA_BUFFER = 1 };
enum { XLA_ARRAY = 1 };
enum { XLA_S64 = 5, XLA_F32 = 11, XLA_F64 = 12 };
enum { XLA_INVALID_ARGUMENT = 3, XLA_RESOURCE_EXHAUSTED = 8, XLA_FAILED_PRECONDITION = 9 };
enum { XLA_EXECUTE = 3 };

typedef struct xla_extension {
    size_t struct_size;
    int type;
    struct xla_extension *next;
} xla_extension;

typedef struct xla_version {
    size_t struct_size;
    xla_extension *extensions;
    int major, minor;
} xla_version;

typedef struct xla_metadata {
    size_t struct_size;
    xla_version version;
    uint32_t traits;
    int64_t state_type;
} xla_metadata;

typedef struct xla_metadata_extension {
    xla_extension extension;
    xla_metadata *metadata;
} xla_metadata_extension;

typedef struct xla_buffer {
    size_t struct_size;
    xla_extension *extensions;
    int dtype;
    void *data;
    int64_t rank;
    int64_t *dims;
} xla_buffer;

typedef struct xla_span {
    const char *at;
    size_t size;
} xla_span;

typedef struct xla_array {
    int dtype;
    size_t size;
    void *data;
} xla_array;

typedef struct xla_arrays { /* operands, and results */
    size_t struct_size;
    xla_extension *extensions;
    int64_t size;
    int *types;
    void **each;
} xla_arrays;

typedef struct xla_attributes {
    size_t struct_size;
    xla_extension *extensions;
    int64_t size;
    int *types;
    xla_span **names;
    void **each;
} xla_attributes;

typedef struct xla_error_args {
    size_t struct_size;
    xla_extension *extensions;
    const char *message;
    int code;
} xla_error_args;

typedef struct xla_api {
    size_t struct_size;
    xla_extension *extensions;
    xla_version version;
    const void *internal;
    void *(*make_error)(xla_error_args *);
} xla_api;

typedef struct xla_call_frame {
    size_t struct_size;
    xla_extension *extensions;
    const xla_api *api;
    void *context;
    int stage;
    xla_arrays operands, results;
    xla_attributes attributes;
} xla_call_frame;

/* ---- The handler ---- */

static void *error_of(const xla_api *api, int code, const char *message) {
    xla_error_args args = {sizeof args, NULL, message, code};
    return api->make_error(&args);
}

/* The recorded call; NULL if there is none of such a name and dtype. */
static const xla_array *attribute_of(const xla_attributes *attributes, const char *name) {
    for (int64_t i = 0; i < attributes->size; i++) {
        const xla_span *own = attributes->names[i];
        if (attributes->types[i] != XLA_ARRAY || own->size != strlen(name)) continue;
        if (memcmp(own->at, name, own->size)) continue;
        const xla_array *array = attributes->each[i];
        return array->dtype == XLA_S64 ? array : NULL;
    }
    return NULL;
}

static char *data_of(const xla_call_frame *frame, int64_t number, int *dtype) {
    const xla_arrays *of = &frame->operands;
    if (number >= of->size) {
        number -= of->size;
        of = &frame->results;
    }
    if (number < 0 || number >= of->size || of->types[number] != XLA_BUFFER) return NULL;
    const xla_buffer *buffer = of->each[number];
    *dtype = buffer->dtype;
    return buffer->data;
}

/* XLA allocates large results anew for each call: most of the time may be that of their pages. */
static void wish_huge_pages(const xla_arrays *results) {
    for (int64_t i = 0; i < results->size; i++) {
        if (results->types[i] != XLA_BUFFER) continue;
        const xla_buffer *buffer = results->each[i];
        size_t size = 2; /* bytes of an element, at least */
        for (int64_t d = 0; d < buffer->rank; d++) size *= (size_t)buffer->dims[d];
        if (size >= 2 * FL_HUGE_PAGE)
            fl_wish_huge_pages(buffer->data, size * (buffer->dtype == XLA_F64   ? 4
                                                     : buffer->dtype == XLA_F32 ? 2
                                                                                : 1));
    }
}

static const char *run(const xla_call_frame *frame, const xla_array *recorded, int *code) {
    *code = XLA_INVALID_ARGUMENT;
    const size_t words = recorded->size, head = sizeof(fl_xla_call) / 8, each = sizeof(fl_xla_place) / 8;
    fl_xla_call call;
    if (words < head) return "fusedloss: the attribute \"call\" is no recorded call";
    memcpy(&call, recorded->data, sizeof call);
    if (call.version != fl_recording_version())
        return "fusedloss: this program was exported with another version of fusedloss";
    if (call.family < 0 || call.family >= FL_FAMILIES || call.places < 0 || call.places > 64)
        return "fusedloss: the attribute \"call\" is no recorded call";
    const fl_family family = (fl_family)call.family;
    const size_t size = fl_args_size(family);
    _Alignas(64) char args[4096];
    fl_xla_place places[64];
    if (size > sizeof args || words != head + (size_t)call.places * each + (size + 7) / 8)
        return "fusedloss: the attribute \"call\" is no recorded call";
    memcpy(places, (const int64_t *)recorded->data + head, (size_t)call.places * sizeof *places);
    const char *template =
        (const char *)((const int64_t *)recorded->data + head + (size_t)call.places * each);

    wish_huge_pages(&frame->results);
    int dtype = 0;
    char *value = call.value < 0 ? NULL : data_of(frame, frame->operands.size + call.value, &dtype);
    if (call.value >= 0 && dtype != XLA_F32 && dtype != XLA_F64)
        return "fusedloss: the reduced loss is neither float32 nor float64";
    for (int64_t i = 0; i < call.calls; i++) {
        memcpy(args, template, size);
        for (int64_t k = 0; k < call.places; k++) {
            int ignored;
            char *data = data_of(frame, places[k].array, &ignored);
            if (places[k].pointer < 0 || (size_t)places[k].pointer > size - sizeof data)
                return "fusedloss: the attribute \"call\" is no recorded call";
            data += places[k].offset + i * places[k].step;
            memcpy(args + places[k].pointer, &data, sizeof data);
        }
        const int status = fl_run_call(family, args, (int)call.threads);
        if (status == FL_NO_MEMORY) {
            *code = XLA_RESOURCE_EXHAUSTED;
            return "fusedloss: no memory for the workspace of a call";
        }
        if (status != FL_OK && status != FL_BAD_VALUE) return fl_status_name((fl_status)status);
        if (!value) continue;
        double loss;
        memcpy(&loss, args + fl_args_value(family), sizeof loss);
        if (dtype == XLA_F32)
            ((float *)value)[i] = (float)loss;
        else
            ((double *)value)[i] = loss;
    }
    return NULL;
}

int fl_xla_version(void) { return XLA_MAJOR * 1000 + XLA_MINOR; }

void *fl_xla_handler(void *call_frame) {
    const xla_call_frame *frame = call_frame;
    for (const xla_extension *each = frame->extensions; each; each = each->next) {
        if (each->type != XLA_METADATA_EXTENSION) continue;
        xla_metadata *metadata = ((const xla_metadata_extension *)each)->metadata;
        metadata->version = (xla_version){sizeof(xla_version), NULL, XLA_MAJOR, XLA_MINOR};
        metadata->traits = 0;
        if (metadata->struct_size >= sizeof *metadata) metadata->state_type = 0;
        return NULL;
    }
    const xla_api *api = frame->api;
    if (frame->struct_size < sizeof *frame || api->struct_size < sizeof *api ||
        api->version.major != XLA_MAJOR || api->version.minor != XLA_MINOR)
        return error_of(api, XLA_FAILED_PRECONDITION,
                        "fusedloss: XLA's FFI has another version than that of its registration");
    if (frame->stage != XLA_EXECUTE)
        return error_of(api, XLA_INVALID_ARGUMENT, "fusedloss: XLA's FFI asks for a stage that there is not");
    const xla_array *recorded = attribute_of(&frame->attributes, "call");
    if (!recorded) return error_of(api, XLA_INVALID_ARGUMENT, "fusedloss: there is no attribute \"call\"");
    int code;
    const char *fault = run(frame, recorded, &code);
    return fault ? error_of(api, code, fault) : NULL;
}
