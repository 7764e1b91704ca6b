// A fake libcuda.so.1 for machines without a GPU: real PyCUDA runs on it, device memory is malloc, and a kernel
// launch calls the same .cu kernel built as host C++ (cuda_cpu.h) out of the library that $CUDA_CPU_LIB names.
//
//   gcc -O2 -shared -fPIC -pthread -Wl,-soname,libcuda.so.1 -o libcuda.so.1 fakecuda.c -ldl
//
// fake_driver.py appends what PyCUDA links against and nothing here needs: functions that refuse.
//
// It is stricter than it is complete: missing contexts, freed pointers, copies past the end of an allocation, writes
// past it by kernels, impossible launches and calls that a stream capture forbids fail as on a real driver.
// Tests read fakecuda_count(), zero the event counters by fakecuda_reset() and choose the device by fakecuda_set().
// It does not include cuda.h, whose macros rename the symbols differently in each CUDA version.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define API __attribute__((visibility("default")))
#define LENGTH(array) (sizeof(array) / sizeof *(array))

typedef uint64_t DevicePtr;

typedef enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101,
    INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NO_BINARY_FOR_GPU = 209, INVALID_HANDLE = 400, ILLEGAL_STATE = 401,
    NOT_FOUND = 500, CONTEXT_IS_DESTROYED = 709, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901, CAPTURE_WRONG_THREAD = 908,
} Result;

static const struct { Result code; const char *text; } errors[] = {
    {SUCCESS, "no error"},
    {INVALID_VALUE, "invalid argument"},
    {OUT_OF_MEMORY, "out of memory"},
    {NOT_INITIALIZED, "initialization error"},
    {INVALID_DEVICE, "invalid device ordinal"},
    {INVALID_IMAGE, "device kernel image is invalid"},
    {INVALID_CONTEXT, "invalid device context"},
    {NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "invalid resource handle"},
    {ILLEGAL_STATE, "the operation cannot be performed in the present state"},
    {NOT_FOUND, "named symbol not found"},
    {CONTEXT_IS_DESTROYED, "context is destroyed"},
    {NOT_SUPPORTED, "operation not supported"},
    {CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"},
    {CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread"},
};

// ---------------------------------------------------------------------------------------------------------------
// State. One mutex guards all of it and is never held while a kernel runs.

typedef enum { DEVICE_MEMORY, HOST_MEMORY, STREAM, EVENT, MODULE, FUNCTION, GRAPH, EXEC } Kind;

typedef struct { int alive; } Context; // alive counts its users

// Every live thing the caller holds a handle of. A handle is good only while it stands in this list, so that freed
// and foreign handles are refused rather than followed, and while the context is current that it was made in.
typedef struct Object { struct Object *next; Kind kind; Context *context; } Object;

typedef struct { Object object; char *base, *start; size_t bytes; } Memory; // [base | guard | start, bytes | guard]

typedef struct { Object object; void *library; } Module;
typedef void (*Entry)(const unsigned *config, void **parameters, void *packed);
typedef struct { Object object; Module *module; Entry entry; unsigned shared; } Function;

typedef struct Node { // one operation of a stream
    struct Node *next;
    enum { KERNEL, COPY_UP, COPY_DOWN, COPY_DEVICE } kind;
    Function *function;
    unsigned config[7]; // grid x y z, block x y z, dynamic shared bytes
    char *arguments;    // the packed argument buffer, a copy
    size_t argument_bytes;
    char *to;
    const char *from;
    size_t count; // bytes of a copy
} Node;

typedef struct { Node *first, *last; size_t count; } Nodes;
typedef struct { Object object; Nodes nodes; } Graph; // an EXEC is a graph with nodes of its own

typedef struct {
    Object object;
    enum { IDLE, CAPTURING, INVALIDATED } state;
    enum { GLOBAL, THREAD_LOCAL, RELAXED } mode;
    pthread_t thread;
    Nodes captured;
    Nodes pending; // with "lazy"
} Stream;

typedef struct { Object object; int recorded; struct timespec at; } Event;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lazy_mutex = PTHREAD_MUTEX_INITIALIZER; // taken before mutex; held while pending work runs
static int initialized;
static Object *objects;
static Context primary, other;
static __thread Context *stack[32];
static __thread unsigned depth;

static struct {
    long launches, graph_launches, syncs, bytes_up, bytes_down, allocations, overruns, bad_frees;
} counted;
static struct { long memory, integrated, driver_version, devices, no_graphs, break_capture, lazy, idle, ordinal, foreign; } setting = {
    .memory = 4l << 30, .driver_version = 13000, .devices = 1};

static Context *current(void) { return depth ? stack[depth - 1] : NULL; }

static void *add(Kind kind, size_t size) {
    Object *object = calloc(1, size);
    if (!object) abort();
    object->kind = kind;
    object->next = objects;
    object->context = current();
    objects = object;
    return object;
}

static void *find(Kind kind, const void *handle) {
    for (Object *object = objects; object; object = object->next)
        if (object == handle && object->kind == kind && object->context == current()) return object;
    return NULL;
}

static void discard(void *handle) {
    Object **link = &objects;
    while (*link != handle) link = &(*link)->next;
    *link = (*link)->next;
    free(handle);
}

static long live(Kind kind) {
    long count = 0;
    for (Object *object = objects; object; object = object->next) count += object->kind == kind;
    return count;
}

static Result leave(Result result) {
    pthread_mutex_unlock(&mutex);
    return result;
}

// Locks, and refuses as the driver does what needs cuInit (and a current context). Everything that has entered
// returns through leave().
static Result enter_without_context(void) {
    pthread_mutex_lock(&mutex);
    return initialized ? SUCCESS : leave(NOT_INITIALIZED);
}

static Result enter(void) {
    Result result = enter_without_context();
    if (result) return result;
    if (!depth) return leave(INVALID_CONTEXT);
    return stack[depth - 1]->alive ? SUCCESS : leave(CONTEXT_IS_DESTROYED);
}

#define RETURN_IF(call) do { Result failed_ = (call); if (failed_) return failed_; } while (0)
#define ENTER() RETURN_IF(enter())
#define ENTER_WITHOUT_CONTEXT() RETURN_IF(enter_without_context())
#define TRY(call) do { Result tried_ = (call); if (tried_) return leave(tried_); } while (0)

// ---------------------------------------------------------------------------------------------------------------
// What a stream capture forbids.

// Calls that wait for the device or may: illegal while any stream captures in GLOBAL mode, or while this thread
// captures one in THREAD_LOCAL mode. They spoil the capture.
static Result unsafe_call(void) {
    Result result = SUCCESS;
    for (Object *object = objects; object; object = object->next) {
        Stream *stream = (Stream *)object;
        if (object->kind != STREAM || stream->state == IDLE || stream->mode == RELAXED) continue;
        if (stream->mode == THREAD_LOCAL && !pthread_equal(stream->thread, pthread_self())) continue;
        stream->state = INVALIDATED;
        result = CAPTURE_UNSUPPORTED;
    }
    return result;
}

// The driver's own streams, 0 to 2, are not there: nothing may use them.
static Result find_stream(void *handle, Stream **stream) {
    *stream = find(STREAM, handle);
    return *stream ? SUCCESS : INVALID_HANDLE;
}

// ---------------------------------------------------------------------------------------------------------------
// Operations on a stream: run at once, recorded by a capture, or with "lazy" kept back until somebody synchronises.

static void append(Nodes *nodes, const Node *node) {
    Node *copy = malloc(sizeof *copy);
    char *arguments = malloc(node->argument_bytes + 1);
    if (!copy || !arguments) abort();
    *copy = *node;
    copy->next = NULL;
    copy->arguments = memcpy(arguments, node->arguments ? node->arguments : "", node->argument_bytes);
    if (nodes->last) nodes->last->next = copy;
    else nodes->first = copy;
    nodes->last = copy;
    nodes->count++;
}

static void clear(Nodes *nodes) {
    for (Node *node = nodes->first, *next; node; node = next) {
        next = node->next;
        free(node->arguments);
        free(node);
    }
    *nodes = (Nodes){0};
}

static void account(const Node *node) {
    if (node->kind == KERNEL) counted.launches++;
    if (node->kind == COPY_UP) counted.bytes_up += node->count;
    if (node->kind == COPY_DOWN) counted.bytes_down += node->count;
}

static void run(const Node *node, void **parameters) { // without the mutex
    if (node->kind != KERNEL) memmove(node->to, node->from, node->count);
    else if (!setting.idle) node->function->entry(node->config, parameters, node->arguments);
}

// Runs what "lazy" has kept back in one stream, or in all of them.
static void flush(Stream *only) {
    if (!setting.lazy) return;
    pthread_mutex_lock(&lazy_mutex);
    pthread_mutex_lock(&mutex);
    Nodes due = {0};
    for (Object *object = objects; object; object = object->next) {
        Stream *stream = (Stream *)object;
        if (object->kind != STREAM || (only && stream != only) || !stream->pending.first) continue;
        if (due.last) due.last->next = stream->pending.first;
        else due.first = stream->pending.first;
        due.last = stream->pending.last;
        stream->pending = (Nodes){0};
    }
    pthread_mutex_unlock(&mutex);
    for (Node *node = due.first; node; node = node->next) run(node, NULL);
    clear(&due);
    pthread_mutex_unlock(&lazy_mutex);
}

static Memory *memory_at(const char *start, size_t bytes) {
    for (Object *object = objects; object; object = object->next) {
        Memory *memory = (Memory *)object;
        if (object->kind > HOST_MEMORY || start < memory->start) continue;
        size_t offset = start - memory->start;
        if (offset <= memory->bytes && bytes <= memory->bytes - offset) return memory;
    }
    return NULL;
}

static Result check_ranges(const Node *node) {
    size_t bytes = node->count;
    int to_device = node->kind != COPY_DOWN, from_device = node->kind == COPY_DOWN || node->kind == COPY_DEVICE;
    if (node->kind == KERNEL || !bytes) return SUCCESS;
    if (to_device && !memory_at(node->to, bytes)) return INVALID_VALUE;
    return !from_device || memory_at(node->from, bytes) ? SUCCESS : INVALID_VALUE;
}

// Host memory that is not page-locked is read or written before an asynchronous copy returns.
static int pageable(const Node *node) {
    return (node->kind == COPY_UP && !memory_at(node->from, node->count)) ||
           (node->kind == COPY_DOWN && !memory_at(node->to, node->count));
}

// Entered by the caller; leaves. `parameters` are the addresses of a kernel's arguments where they are not packed.
static Result enqueue(void *handle, const Node *node, void **parameters) {
    Stream *stream;
    TRY(find_stream(handle, &stream));
    TRY(check_ranges(node));
    if (stream->state == INVALIDATED) return leave(CAPTURE_INVALIDATED);
    if (stream->state == CAPTURING) {
        if (node->kind == KERNEL && setting.break_capture) {
            setting.break_capture = 0;
            stream->state = INVALIDATED;
            return leave(CAPTURE_UNSUPPORTED);
        }
        if (parameters) return leave(NOT_SUPPORTED); // nobody says how many bytes each argument has
        append(&stream->captured, node);
        return leave(SUCCESS);
    }
    account(node);
    if (setting.lazy && !parameters && !pageable(node)) {
        append(&stream->pending, node);
        return leave(SUCCESS);
    }
    leave(SUCCESS);
    flush(stream);
    run(node, parameters);
    return SUCCESS;
}

static Result asynchronous(void *stream, const Node *node) {
    ENTER();
    return enqueue(stream, node, NULL);
}

// ---------------------------------------------------------------------------------------------------------------
// For tests.

#define GUARD 64
static const unsigned char PATTERN = 0xa5;

static int damaged(const Memory *memory) {
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)memory->start[-1 - i] != PATTERN ||
            (unsigned char)memory->start[memory->bytes + i] != PATTERN)
            return 1;
    return 0;
}

static long device_bytes(void) {
    long bytes = 0;
    for (Object *object = objects; object; object = object->next)
        if (object->kind == DEVICE_MEMORY) bytes += ((Memory *)object)->bytes;
    return bytes;
}

static long count_overruns(void) {
    long count = counted.overruns;
    for (Object *object = objects; object; object = object->next)
        if (object->kind <= HOST_MEMORY) count += damaged((Memory *)object);
    return count;
}

// Live things: live_device, live_host (page-locked, allocated or registered), live_streams, live_events,
// live_modules, live_graphs, live_contexts (uses of the primary one), device_bytes.
// Ever: allocations, overruns (allocations with a damaged guard zone), bad_frees (frees of what is not there).
// Since the last reset: launches, graph_launches, syncs, bytes_up, bytes_down. -1 for an unknown name.
API long fakecuda_count(const char *what) {
    pthread_mutex_lock(&mutex);
    const struct { const char *name; long value; } counts[] = {
        {"live_device", live(DEVICE_MEMORY)},
        {"live_host", live(HOST_MEMORY)},
        {"live_streams", live(STREAM)},
        {"live_events", live(EVENT)},
        {"live_modules", live(MODULE)},
        {"live_graphs", live(GRAPH) + live(EXEC)},
        {"live_contexts", primary.alive},
        {"device_bytes", device_bytes()},
        {"allocations", counted.allocations},
        {"overruns", count_overruns()},
        {"bad_frees", counted.bad_frees},
        {"launches", counted.launches},
        {"graph_launches", counted.graph_launches},
        {"syncs", counted.syncs},
        {"bytes_up", counted.bytes_up},
        {"bytes_down", counted.bytes_down},
    };
    pthread_mutex_unlock(&mutex);
    for (size_t i = 0; i < LENGTH(counts); i++)
        if (!strcmp(what, counts[i].name)) return counts[i].value;
    return -1;
}

API void fakecuda_reset(void) {
    pthread_mutex_lock(&mutex);
    counted.launches = counted.graph_launches = counted.syncs = counted.bytes_up = counted.bytes_down = 0;
    pthread_mutex_unlock(&mutex);
}

// memory: bytes of the device. integrated: 0 or 1. driver_version: 1000 major + 10 minor. devices: 0 or 1.
// no_graphs: 1 refuses stream capture. break_capture: 1 lets the next launch spoil its capture.
// lazy: 1 keeps work back until it is synchronised with, so that a missing synchronisation shows as stale data.
// idle: 1 runs no kernel.
// overruns, bad_frees: 0 forgets those a test made on purpose. Returns -1 for an unknown name, otherwise 0.
API int fakecuda_set(const char *what, long value) {
    const struct { const char *name; long *value; } settings[] = {
        {"memory", &setting.memory},
        {"integrated", &setting.integrated},
        {"driver_version", &setting.driver_version},
        {"devices", &setting.devices},
        {"no_graphs", &setting.no_graphs},
        {"break_capture", &setting.break_capture},
        {"lazy", &setting.lazy},
        {"idle", &setting.idle},
        {"ordinal", &setting.ordinal},
        {"foreign", &setting.foreign},
        {"overruns", &counted.overruns},
        {"bad_frees", &counted.bad_frees},
    };
    flush(NULL); // nothing may stay kept back once lazy is 0
    for (size_t i = 0; i < LENGTH(settings); i++) {
        if (strcmp(what, settings[i].name)) continue;
        pthread_mutex_lock(&mutex);
        *settings[i].value = value;
        pthread_mutex_unlock(&mutex);
        return 0;
    }
    return -1;
}

// ---------------------------------------------------------------------------------------------------------------
// Driver and device.

API Result cuInit(unsigned flags) {
    initialized = 1;
    return flags ? INVALID_VALUE : SUCCESS;
}

API Result cuDriverGetVersion(int *version) {
    *version = (int)setting.driver_version;
    return SUCCESS;
}

API Result cuGetErrorString(Result error, const char **text) {
    *text = "unknown error";
    for (size_t i = 0; i < LENGTH(errors); i++)
        if (errors[i].code == error) *text = errors[i].text;
    return SUCCESS;
}

static Result check_device(int device) {
    if (!initialized) return NOT_INITIALIZED;
    return device >= 0 && device < setting.devices ? SUCCESS : INVALID_DEVICE;
}

API Result cuDeviceGetCount(int *count) {
    if (!initialized) return NOT_INITIALIZED;
    *count = (int)setting.devices;
    return SUCCESS;
}

API Result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return check_device(ordinal);
}

API Result cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "fake device (CPU)");
    return check_device(device);
}

API Result cuCtxGetDevice(int *device) {
    *device = 0;
    return check_device(0);
}

API Result cuGetExportTable(const void **table, const void *id) { // NVRTC calls it without asking whether it is there
    (void)id;
    *table = NULL;
    return NOT_SUPPORTED;
}

API Result cuDeviceGetPCIBusId(char *name, int length, int device) {
    snprintf(name, length, "0000:00:00.0");
    return check_device(device);
}

API Result cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = setting.memory;
    return check_device(device);
}

API Result cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 8;
    *minor = 7;
    return check_device(device);
}

enum { MAX_THREADS = 1024, MAX_BLOCK_Z = 64, MAX_GRID_X = 2147483647, MAX_GRID_YZ = 65535 };
enum { SHARED_BYTES = 48 << 10, SHARED_OPTIN_BYTES = 163 << 10 };

API Result cuDeviceGetAttribute(int *value, int attribute, int device) { // those of an Orin
    static const struct { int attribute, value; } values[] = {
        {1, MAX_THREADS}, {2, MAX_THREADS}, {3, MAX_THREADS}, {4, MAX_BLOCK_Z}, {5, MAX_GRID_X}, {6, MAX_GRID_YZ},
        {7, MAX_GRID_YZ}, {8, SHARED_BYTES}, {9, 65536}, {10, 32 /* warp */}, {12, 65536 /* registers */},
        {13, 1300000 /* kHz */}, {14, 512}, {16, 16 /* multiprocessors */}, {19, 1 /* maps host memory */},
        {31, 1 /* concurrent kernels */}, {38, 4 << 20 /* L2 */}, {39, 1536}, {40, 2 /* copy engines */},
        {41, 1 /* unified addressing */}, {75, 8}, {76, 7}, {81, 164 << 10}, {82, 65536}, {97, SHARED_OPTIN_BYTES},
    };
    *value = attribute == 18 ? (int)setting.integrated : 0;
    for (size_t i = 0; i < LENGTH(values); i++)
        if (values[i].attribute == attribute) *value = values[i].value;
    return check_device(device);
}

// ---------------------------------------------------------------------------------------------------------------
// Contexts: a stack for each thread. Destroying a context frees nothing here, so that what was not freed before
// stays visible in the live counts.

static int known_context(const Context *context) {
    return (context == &primary || context == &other) && context->alive;
}

static Result push_context(Context *context) {
    if (!known_context(context)) return INVALID_CONTEXT;
    if (depth == LENGTH(stack)) return INVALID_VALUE;
    stack[depth++] = context;
    return SUCCESS;
}

API Result cuDevicePrimaryCtxRetain(Context **context, int device) {
    RETURN_IF(check_device(device));
    ENTER_WITHOUT_CONTEXT();
    primary.alive++;
    *context = &primary;
    return leave(SUCCESS);
}

API Result cuCtxCreate_v4(Context **context, void *parameters, unsigned flags, int device) { // one beside the primary
    (void)parameters, (void)flags;
    RETURN_IF(check_device(device));
    ENTER_WITHOUT_CONTEXT();
    if (other.alive) return leave(NOT_SUPPORTED);
    other.alive = 1;
    *context = &other;
    return leave(push_context(&other));
}

API Result cuCtxDetach(Context *context) {
    ENTER_WITHOUT_CONTEXT();
    if (!known_context(context)) return leave(INVALID_CONTEXT);
    context->alive--;
    if (!context->alive && depth && stack[depth - 1] == context) depth--;
    return leave(SUCCESS);
}

API Result cuDevicePrimaryCtxRelease(int device) {
    RETURN_IF(check_device(device));
    ENTER_WITHOUT_CONTEXT();
    if (!primary.alive) return leave(INVALID_CONTEXT);
    primary.alive--;
    return leave(SUCCESS);
}

API Result cuCtxPushCurrent_v2(Context *context) {
    ENTER_WITHOUT_CONTEXT();
    return leave(push_context(context));
}

API Result cuCtxPopCurrent_v2(Context **context) {
    ENTER_WITHOUT_CONTEXT();
    if (!depth) return leave(INVALID_CONTEXT);
    depth--;
    if (context) *context = stack[depth];
    return leave(SUCCESS);
}

// ---------------------------------------------------------------------------------------------------------------
// Memory. New memory is all ones, which is NaN, so that reading before writing shows.

static Result allocate(Kind kind, char **start, size_t bytes, size_t alignment) {
    TRY(unsafe_call());
    if (!bytes) return leave(INVALID_VALUE);
    if (bytes > SIZE_MAX / 2) return leave(OUT_OF_MEMORY);
    if (kind == DEVICE_MEMORY && (long)bytes > setting.memory - device_bytes()) return leave(OUT_OF_MEMORY);
    size_t total = (alignment + bytes + GUARD + alignment - 1) / alignment * alignment;
    char *base = aligned_alloc(alignment, total);
    if (!base) return leave(OUT_OF_MEMORY);
    Memory *memory = add(kind, sizeof *memory);
    memory->base = base;
    memory->start = *start = base + alignment;
    memory->bytes = bytes;
    memset(memory->start - GUARD, PATTERN, GUARD);
    memset(memory->start, 0xff, bytes);
    memset(memory->start + bytes, PATTERN, GUARD);
    counted.allocations++;
    return leave(SUCCESS);
}

static Memory *memory_of(Kind kind, const char *start) {
    for (Object *object = objects; object; object = object->next)
        if (object->kind == kind && ((Memory *)object)->start == start) return (Memory *)object;
    return NULL;
}

static Result release(Kind kind, char *start) {
    TRY(unsafe_call());
    leave(SUCCESS);
    flush(NULL); // freeing waits for the device
    pthread_mutex_lock(&mutex);
    Memory *memory = memory_of(kind, start);
    if (!memory) {
        counted.bad_frees++;
        return leave(INVALID_VALUE);
    }
    counted.overruns += damaged(memory);
    free(memory->base);
    discard(memory);
    return leave(SUCCESS);
}

API Result cuMemAlloc_v2(DevicePtr *pointer, size_t bytes) {
    ENTER();
    return allocate(DEVICE_MEMORY, (char **)pointer, bytes, 256);
}

API Result cuMemFree_v2(DevicePtr pointer) {
    ENTER();
    if (!pointer) return leave(SUCCESS);
    return release(DEVICE_MEMORY, (char *)pointer);
}

API Result cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER();
    *total = setting.memory;
    *available = setting.memory - device_bytes();
    return leave(SUCCESS);
}

API Result cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    ENTER();
    if (flags & ~7u) return leave(INVALID_VALUE);
    return allocate(HOST_MEMORY, (char **)pointer, bytes, 4096);
}

API Result cuMemFreeHost(void *pointer) {
    ENTER();
    return release(HOST_MEMORY, pointer);
}

API Result cuMemHostGetDevicePointer_v2(DevicePtr *device, void *pointer, unsigned flags) {
    ENTER();
    Memory *memory = memory_at(pointer, 1);
    if (flags || !memory || memory->object.kind == DEVICE_MEMORY) return leave(INVALID_VALUE);
    *device = (DevicePtr)pointer;
    return leave(SUCCESS);
}

static Node copy(int kind, const void *to, const void *from, size_t bytes) {
    return (Node){.kind = kind, .to = (char *)to, .from = from, .count = bytes};
}

API Result cuMemcpyHtoDAsync_v2(DevicePtr to, const void *from, size_t bytes, void *stream) {
    Node node = copy(COPY_UP, (void *)to, from, bytes);
    return asynchronous(stream, &node);
}

API Result cuMemcpyDtoHAsync_v2(void *to, DevicePtr from, size_t bytes, void *stream) {
    Node node = copy(COPY_DOWN, to, (void *)from, bytes);
    return asynchronous(stream, &node);
}

API Result cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, void *stream) {
    Node node = copy(COPY_DEVICE, (void *)to, (void *)from, bytes);
    return asynchronous(stream, &node);
}

// ---------------------------------------------------------------------------------------------------------------
// Streams and events.

API Result cuStreamCreate(void **handle, unsigned flags) {
    ENTER();
    if (flags & ~1u) return leave(INVALID_VALUE);
    Stream *stream = add(STREAM, sizeof *stream);
    *handle = stream;
    return leave(SUCCESS);
}

API Result cuStreamDestroy_v2(void *handle) {
    ENTER();
    Stream *stream = find(STREAM, handle);
    counted.bad_frees += !stream;
    if (!stream) return leave(INVALID_HANDLE);
    leave(SUCCESS);
    flush(stream);
    pthread_mutex_lock(&mutex);
    clear(&stream->captured);
    discard(stream);
    return leave(SUCCESS);
}

// Waiting for a stream, or asking whether it is done, spoils its own capture in every mode.
static Result wait_for_stream(void *handle, Stream **stream) {
    Result result = find_stream(handle, stream);
    if (result) return result;
    if ((*stream)->state != IDLE) {
        (*stream)->state = INVALIDATED;
        return CAPTURE_UNSUPPORTED;
    }
    return unsafe_call();
}

API Result cuStreamSynchronize(void *handle) {
    ENTER();
    Stream *stream;
    TRY(wait_for_stream(handle, &stream));
    counted.syncs++;
    leave(SUCCESS);
    flush(stream);
    return SUCCESS;
}

API Result cuPointerGetAttribute(void *value, int attribute, DevicePtr address) {
    ENTER();
    if ((attribute != 9 && attribute != 1) || !memory_at((const char *)address, 1)) return leave(INVALID_VALUE);
    if (attribute == 1) *(void **)value = setting.foreign ? (void *)1 : (void *)&primary; // ..._CONTEXT
    else *(int *)value = setting.ordinal; // CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return leave(SUCCESS);
}

API Result cuEventCreate(void **handle, unsigned flags) {
    ENTER();
    Event *event = add(EVENT, sizeof *event);
    (void)flags;
    *handle = event;
    return leave(SUCCESS);
}

API Result cuEventDestroy_v2(void *handle) {
    ENTER();
    Event *event = find(EVENT, handle);
    counted.bad_frees += !event;
    if (!event) return leave(INVALID_HANDLE);
    discard(event);
    return leave(SUCCESS);
}

// Work that is not "lazy" is done when it is enqueued.
static void note(Event *event) {
    event->recorded = 1;
    clock_gettime(CLOCK_MONOTONIC, &event->at);
}

API Result cuEventRecord(void *handle, void *stream_handle) {
    ENTER();
    Event *event = find(EVENT, handle);
    if (!event) return leave(INVALID_HANDLE);
    Stream *stream;
    if (stream_handle == NULL || stream_handle == (void *)1) { // CU_STREAM_LEGACY
        note(event);
        return leave(SUCCESS);
    }
    TRY(find_stream(stream_handle, &stream));
    if (stream->state == INVALIDATED) return leave(CAPTURE_INVALIDATED);
    if (stream->state == CAPTURING) return leave(SUCCESS); // a mark in the graph
    note(event);
    return leave(SUCCESS);
}

API Result cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    ENTER();
    Event *first = find(EVENT, start), *last = find(EVENT, end);
    if (!first || !last || !first->recorded || !last->recorded) return leave(INVALID_HANDLE);
    *milliseconds = 1e3f * (last->at.tv_sec - first->at.tv_sec) + 1e-6f * (last->at.tv_nsec - first->at.tv_nsec);
    return leave(SUCCESS);
}

API Result cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
    return cuEventElapsedTime(milliseconds, start, end);
}

static Result wait_for_event(void *handle, int synchronize) {
    ENTER();
    if (!find(EVENT, handle)) return leave(INVALID_HANDLE);
    TRY(unsafe_call());
    counted.syncs += synchronize;
    leave(SUCCESS);
    flush(NULL); // an event does not know its stream here
    return SUCCESS;
}

API Result cuEventSynchronize(void *handle) { return wait_for_event(handle, 1); }
API Result cuStreamWaitEvent(void *stream_handle, void *handle, unsigned flags) {
    (void)flags;
    ENTER();
    Stream *stream;
    TRY(find_stream(stream_handle, &stream));
    if (!find(EVENT, handle)) return leave(INVALID_HANDLE);
    leave(SUCCESS);
    flush(NULL); // keeps the order between streams
    return SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------------
// Modules and kernels. The image is not looked at: the kernels are those of $CUDA_CPU_LIB.

static Result load(void **handle) {
    ENTER();
    TRY(unsafe_call());
    const char *path = getenv("CUDA_CPU_LIB");
    if (!path) {
        fprintf(stderr, "fakecuda: CUDA_CPU_LIB is not set; set it to the library of kernels built for the CPU\n");
        return leave(NO_BINARY_FOR_GPU);
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "fakecuda: %s\n", dlerror());
        return leave(INVALID_IMAGE);
    }
    Module *module = add(MODULE, sizeof *module);
    module->library = library;
    *handle = module;
    return leave(SUCCESS);
}

API Result cuModuleLoadData(void **module, const void *image) { return image ? load(module) : INVALID_VALUE; }

API Result cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    (void)count, (void)options, (void)values;
    return cuModuleLoadData(module, image);
}

API Result cuModuleUnload(void *handle) {
    ENTER();
    Module *module = find(MODULE, handle);
    counted.bad_frees += !module;
    if (!module) return leave(INVALID_HANDLE);
    leave(SUCCESS);
    flush(NULL);
    pthread_mutex_lock(&mutex);
    for (Object *object = objects, *next; object; object = next) {
        next = object->next;
        if (object->kind == FUNCTION && ((Function *)object)->module == module) discard(object);
    }
    discard(module); // the library stays open: worker threads may still hold its thread-local storage
    return leave(SUCCESS);
}

API Result cuModuleGetFunction(void **handle, void *module_handle, const char *name) {
    ENTER();
    Module *module = find(MODULE, module_handle);
    if (!module) return leave(INVALID_HANDLE);
    char symbol[256];
    snprintf(symbol, sizeof symbol, "%s__cpu_packed", name);
    void *entry = dlsym(module->library, symbol);
    if (!entry) return leave(NOT_FOUND);
    Function *function = add(FUNCTION, sizeof *function);
    function->module = module;
    function->entry = (Entry)entry;
    function->shared = SHARED_BYTES;
    *handle = function;
    return leave(SUCCESS);
}

API Result cuFuncSetBlockShape(void *handle, int x, int y, int z) { // PyCUDA calls it before each prepared launch
    (void)x, (void)y, (void)z;
    ENTER();
    return leave(find(FUNCTION, handle) ? SUCCESS : INVALID_HANDLE);
}

static Result check_launch(const Node *node) {
    const unsigned *grid = node->config, *block = node->config + 3;
    for (int i = 0; i < 6; i++)
        if (!node->config[i]) return INVALID_VALUE;
    if (grid[0] > MAX_GRID_X || grid[1] > MAX_GRID_YZ || grid[2] > MAX_GRID_YZ) return INVALID_VALUE;
    if (block[0] > MAX_THREADS || block[1] > MAX_THREADS || block[2] > MAX_BLOCK_Z) return INVALID_VALUE;
    if (block[0] * block[1] * block[2] > MAX_THREADS) return INVALID_VALUE;
    return node->config[6] > node->function->shared ? INVALID_VALUE : SUCCESS;
}

API Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters,
                          void **extra) {
    ENTER();
    Node node = {.kind = KERNEL, .function = find(FUNCTION, handle),
                 .config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared}};
    if (!node.function) return leave(INVALID_HANDLE);
    TRY(check_launch(&node));
    for (void **entry = extra; entry && *entry; entry += 2) { // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE
        if (*entry == (void *)1) node.arguments = entry[1];
        if (*entry == (void *)2) node.argument_bytes = *(size_t *)entry[1];
    }
    if (parameters && node.arguments) return leave(INVALID_VALUE);
    return enqueue(stream, &node, parameters);
}

// ---------------------------------------------------------------------------------------------------------------
// Graphs: a captured list of operations, run in order.

API Result cuStreamBeginCapture_v2(void *handle, int mode) {
    ENTER();
    if (setting.no_graphs) return leave(NOT_SUPPORTED);
    Stream *stream;
    TRY(find_stream(handle, &stream));
    if (!stream) return leave(CAPTURE_UNSUPPORTED);
    if (mode < GLOBAL || mode > RELAXED) return leave(INVALID_VALUE);
    if (stream->state != IDLE) return leave(ILLEGAL_STATE);
    stream->state = CAPTURING;
    stream->mode = mode;
    stream->thread = pthread_self();
    return leave(SUCCESS);
}

API Result cuStreamEndCapture(void *handle, void **graph_handle) {
    ENTER();
    *graph_handle = NULL;
    if (setting.no_graphs) return leave(NOT_SUPPORTED);
    Stream *stream = find(STREAM, handle);
    if (!stream) return leave(INVALID_HANDLE);
    if (stream->state == IDLE) return leave(ILLEGAL_STATE);
    if (stream->mode != RELAXED && !pthread_equal(stream->thread, pthread_self())) {
        stream->state = INVALIDATED;
        return leave(CAPTURE_WRONG_THREAD);
    }
    Result result = stream->state == INVALIDATED ? CAPTURE_INVALIDATED : SUCCESS;
    stream->state = IDLE;
    if (result) {
        clear(&stream->captured);
        return leave(result);
    }
    Graph *graph = add(GRAPH, sizeof *graph);
    graph->nodes = stream->captured;
    stream->captured = (Nodes){0};
    *graph_handle = graph;
    return leave(SUCCESS);
}

API Result cuGraphInstantiateWithFlags(void **handle, void *graph_handle, unsigned long long flags) {
    (void)flags;
    ENTER();
    Graph *graph = find(GRAPH, graph_handle);
    if (!graph) return leave(INVALID_HANDLE);
    Graph *exec = add(EXEC, sizeof *exec);
    for (Node *node = graph->nodes.first; node; node = node->next) append(&exec->nodes, node);
    *handle = exec;
    return leave(SUCCESS);
}

static Result find_exec(void *handle, void *stream_handle, Graph **exec, Stream **stream) {
    *exec = find(EXEC, handle);
    if (!*exec) return INVALID_HANDLE;
    Result result = find_stream(stream_handle, stream);
    if (result) return result;
    if ((*stream)->state == IDLE) return SUCCESS;
    (*stream)->state = INVALIDATED; // a graph within a graph is not needed here
    return CAPTURE_UNSUPPORTED;
}

API Result cuGraphLaunch(void *handle, void *stream_handle) {
    ENTER();
    Graph *exec;
    Stream *stream;
    TRY(find_exec(handle, stream_handle, &exec, &stream));
    for (Node *node = exec->nodes.first; node; node = node->next) {
        if (node->kind == KERNEL && !find(FUNCTION, node->function)) return leave(INVALID_HANDLE); // module unloaded
        TRY(check_ranges(node)); // memory freed since the capture
    }
    counted.graph_launches++;
    for (Node *node = exec->nodes.first; node; node = node->next) {
        account(node);
        if (setting.lazy) append(&stream->pending, node);
    }
    leave(SUCCESS);
    if (setting.lazy) return SUCCESS;
    for (Node *node = exec->nodes.first; node; node = node->next) run(node, NULL);
    return SUCCESS;
}

static Result destroy_graph(Kind kind, void *handle) {
    ENTER();
    Graph *graph = find(kind, handle);
    counted.bad_frees += !graph;
    if (!graph) return leave(INVALID_HANDLE);
    clear(&graph->nodes);
    discard(graph);
    return leave(SUCCESS);
}

API Result cuGraphDestroy(void *graph) { return destroy_graph(GRAPH, graph); }
API Result cuGraphExecDestroy(void *exec) { return destroy_graph(EXEC, exec); }
