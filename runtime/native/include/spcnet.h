/*
 * spcnet.h - the SPCNet tracker as a C library.
 *
 *     char why[SPCNET_MESSAGE];
 *     spcnet *tracker;
 *     if (spcnet_open("nano.spcnet", 1, &tracker, why, sizeof why)) { puts(why); return 1; }
 *     spcnet_frame frame = {{pixels}, {stride}, 1280, 720, SPCNET_BGR, SPCNET_HOST};
 *     spcnet_box box = {x, y, w, h};
 *     int id;
 *     if (spcnet_add(tracker, &frame, box, &id)) { puts(spcnet_last_error(tracker)); return 1; }
 *     while (next_frame(&frame)) {
 *         spcnet_result result;
 *         if (spcnet_update(tracker, &frame, &result, 1, NULL)) break;
 *         draw(result.box);
 *     }
 *     spcnet_close(tracker);
 *
 * A model file (.spcnet) comes from "spcnet export CHECKPOINT_OR_MODEL --native". Every function that can fail
 * returns a spcnet_code, 0 where it succeeded; after another, nothing has changed, and spcnet_last_error() says in one
 * sentence what was given, what is needed and what to do. Different trackers may be used from different threads at the
 * same time, one tracker by one thread at a time. The library has no global state, writes nothing to the console and
 * calls neither exit nor abort. Memory is allocated by spcnet_open, spcnet_add and spcnet_reset alone. No frame is
 * converted: of every format only the pixels that a target's patch samples are read.
 *
 * Coordinates are in pixels, x before y, from 0. A box (x, y, w, h) names its top-left pixel and covers the pixels
 * x .. x + w - 1 and y .. y + h - 1, as in OpenCV.
 */
#ifndef SPCNET_H
#define SPCNET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) || defined(SPCNET_STATIC)
#define SPCNET_API
#else
#define SPCNET_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SPCNET_ABI 1         /* changes when this header does in a way that old programs do not fit */
#define SPCNET_MESSAGE 512   /* bytes that hold every message */

typedef struct spcnet spcnet; /* a tracker: one model and any number of targets */

typedef enum spcnet_code {
    SPCNET_OK = 0,
    SPCNET_BAD_ARGUMENT = 1, /* a pointer, a number, a frame or a box that cannot be used */
    SPCNET_BAD_FILE = 2,     /* a model file that is not there, is cut off, altered or of another kind */
    SPCNET_NO_TARGET = 3,    /* no target of this id, or no target at all */
    SPCNET_NO_MEMORY = 4,
    SPCNET_NO_GPU = 5, /* no GPU that can be used, or it has failed: close the tracker */
    SPCNET_NETWORK_FAILED = 6 /* the caller's network: reset the targets */
} spcnet_code;

typedef enum spcnet_format {
    SPCNET_BGR = 0, /* three bytes a pixel */
    SPCNET_RGB = 1,
    SPCNET_BGRA = 2, /* four bytes a pixel; the fourth is not looked at */
    SPCNET_RGBA = 3,
    SPCNET_GREY = 4,
    SPCNET_NV12 = 5, /* data[0] luma; data[1] U, V interleaved at half the size. BT.601, limited range, as OpenCV */
    SPCNET_I420 = 6, /* data[0] luma; data[1] U and data[2] V at half the size. The same colours */
    SPCNET_YUYV = 7  /* Y0 U Y1 V: two pixels in four bytes. The same colours */
} spcnet_format;

typedef enum spcnet_memory {
    SPCNET_HOST = 0,
    SPCNET_DEVICE = 1 /* of the tracker's GPU and its primary context, which CUDA's runtime uses; for spcnet_open_cuda */
} spcnet_memory;

/* A picture, in the caller's memory; it is read during the call only. */
typedef struct spcnet_frame {
    const uint8_t *data[3]; /* the first byte of each plane that the format has; the others are not looked at */
    ptrdiff_t stride[3];    /* bytes from a row to the next, for each plane; at least the bytes of a row */
    int width, height;      /* pixels; even for NV12 and I420, an even width for YUYV */
    int format;             /* an spcnet_format */
    int memory;             /* an spcnet_memory */
} spcnet_frame;

typedef struct spcnet_box {
    double x, y, w, h;
} spcnet_box;

typedef enum spcnet_status {
    SPCNET_TRACKING = 0,
    SPCNET_UNCERTAIN = 1, /* followed, but not learnt */
    SPCNET_LOST = 2       /* not found; it is searched around where it was last seen */
} spcnet_status;

typedef struct spcnet_result {
    int id; /* of the target */
    spcnet_status status;
    spcnet_box box;
    double score; /* the filter's response at the peak; about 1 on the frame that was learnt */
    double psr;   /* peak-to-sidelobe ratio of the response */
} spcnet_result;

/*
 * Seconds that each stage of the latest add, reset, update, localize or learn took, all targets together. With several
 * threads a stage is the sum over them, total the time that passed. On a GPU there is total alone.
 */
typedef struct spcnet_times {
    double crop, features, dft, respond, locate, learn, colour, regress, total;
} spcnet_times;

/* What may be changed between frames; the model file has the values to begin with. */
typedef enum spcnet_parameter {
    SPCNET_UNCERTAIN_SCORE = 0, /* a peak below it is UNCERTAIN ... */
    SPCNET_LOST_SCORE = 1,      /* ... and below this one LOST */
    SPCNET_RECOVERY_RADIUS = 2, /* a lost target is searched so many of its sides around; 0: peaks are followed */
    SPCNET_UPDATE_INTERVAL = 3, /* learn on every so many frames, from 1 on */
    SPCNET_INTERP_FACTOR = 4,   /* learning rate of the filter; 0: nothing is learnt */
    SPCNET_BOX_GAIN = 5,        /* share of the box regression; 0: width and height keep their ratio */
    SPCNET_SCALE_PENALTY = 6,   /* the response of the s-th scale from the middle is weighted by the s-th power of it */
    SPCNET_FAST_INTERP_FACTOR = 7 /* learning rate of the second filter; 0 where the model has none, else above 0 */
} spcnet_parameter;

/* The SPCNET_ABI that the library was built with; a program may compare it with the header's. */
SPCNET_API int spcnet_abi(void);

/* The library's version, such as "0.5.0", and below it the instructions it has chosen, such as "avx2". */
SPCNET_API const char *spcnet_version(void);
SPCNET_API const char *spcnet_instructions(void);

/*
 * Open a model, from a file or from memory, which is copied. threads is the number to use, from 1 to 64. On success
 * *tracker is a tracker to be closed; else it is NULL and message, if not NULL, has the reason, cut to size bytes.
 * BAD_ARGUMENT, BAD_FILE, NO_MEMORY.
 */
SPCNET_API spcnet_code spcnet_open(const char *path, int threads, spcnet **tracker, char *message, size_t size);
SPCNET_API spcnet_code spcnet_open_memory(
    const void *data, size_t bytes, int threads, spcnet **tracker, char *message, size_t size);

/*
 * The same on an NVIDIA GPU, by its number, for a model file with code for it ("spcnet export MODEL --native --cuda").
 * Nothing but the driver is needed, and that only by these two functions: NO_GPU with the reason where it, the GPU or
 * the code is missing; a program may then call spcnet_open with the same file. stream is the CUstream or cudaStream_t
 * on which frames in device memory are written, NULL the default stream: a call waits for what was begun on it, and
 * returns when its own work is done. Targets stay on the GPU; of a frame in host memory only the part that they reach
 * is copied. Memory is also allocated by the first two calls after targets have changed, and for larger frames. The
 * code in the file runs on the GPU as it is: open files of your own.
 */
SPCNET_API spcnet_code spcnet_open_cuda(
    const char *path, int gpu, void *stream, spcnet **tracker, char *message, size_t size);
SPCNET_API spcnet_code spcnet_open_cuda_memory(
    const void *data, size_t bytes, int gpu, void *stream, spcnet **tracker, char *message, size_t size);

/* Free a tracker; NULL is none. */
SPCNET_API void spcnet_close(spcnet *tracker);

/* One sentence about the latest call of this tracker that failed; "" where none has. It is valid until the next. */
SPCNET_API const char *spcnet_last_error(const spcnet *tracker);

/*
 * Begin to track what is in box, cut to the frame. All targets live on frames of one size. *id is a number of its own
 * among this tracker's targets. BAD_ARGUMENT: also a box without texture. NO_MEMORY.
 */
SPCNET_API spcnet_code spcnet_add(spcnet *tracker, const spcnet_frame *frame, spcnet_box box, int *id);

/*
 * Begin a target anew under its id, such as where a detector found it. As spcnet_add, and NO_TARGET. The frame of the
 * only target may have another size than before.
 */
SPCNET_API spcnet_code spcnet_reset(spcnet *tracker, int id, const spcnet_frame *frame, spcnet_box box);

/* Forget a target. With the last one, frames may have another size. NO_TARGET. */
SPCNET_API spcnet_code spcnet_remove(spcnet *tracker, int id);

/* The number of targets. */
SPCNET_API int spcnet_count(const spcnet *tracker);

/*
 * Find all targets in the next frame, and learn them where they were found. results receives one entry a target, in
 * the order in which they were added; capacity is its length, at least spcnet_count(). *count, if not NULL, is the
 * number written. BAD_ARGUMENT, NO_TARGET where there is none, NO_MEMORY.
 */
SPCNET_API spcnet_code spcnet_update(
    spcnet *tracker, const spcnet_frame *frame, spcnet_result *results, int capacity, int *count);

/* The same without learning. A learn after it, or none, is the caller's choice. */
SPCNET_API spcnet_code spcnet_localize(
    spcnet *tracker, const spcnet_frame *frame, spcnet_result *results, int capacity, int *count);

/* Learn all targets from a frame, where they were last found. */
SPCNET_API spcnet_code spcnet_learn(spcnet *tracker, const spcnet_frame *frame);

/*
 * The response map of a target in the latest update or localize: at the best scale, of the filter and the colour model
 * together, *side x *side points, the middle of the patch in the middle, into response, of capacity numbers. With
 * response NULL only *side is set. NO_TARGET: also before the first update.
 */
SPCNET_API spcnet_code spcnet_response(const spcnet *tracker, int id, float *response, size_t capacity, int *side);

/* The same at a scale of the model, from 0, where the target is searched at its smallest. BAD_ARGUMENT: also scale. */
SPCNET_API spcnet_code spcnet_response_at(
    const spcnet *tracker, int id, int scale, float *response, size_t capacity, int *side);

/*
 * A target as bytes, to go on with it later or in another process, by a tracker on a CPU of the same model file; they are
 * of this machine's byte order. *size is their number; with data NULL only that is set. spcnet_restore adds the target;
 * all targets live on frames of one size. BAD_ARGUMENT: also a tracker on a GPU, and bytes that cannot be a target of
 * this model. NO_MEMORY.
 */
SPCNET_API spcnet_code spcnet_save(const spcnet *tracker, int id, void *data, size_t capacity, size_t *size);
SPCNET_API spcnet_code spcnet_restore(spcnet *tracker, const void *data, size_t size, int *id);

/*
 * A network of the caller in place of the model's, such as a TensorRT engine or that of an NPU: from patches (images, 3,
 * N, N), B, G, R less the pixel mean, to features (images, C, M, M), both float without gaps, as the model in ONNX has
 * them. On a GPU both are device addresses, and the work is enqueued on stream, a CUstream. On the CPU it is done when
 * the function returns, images is 1, stream is NULL, and a tracker of several threads calls it from each. It returns 0,
 * else the call that needed it fails with NETWORK_FAILED, half done.
 */
typedef int (*spcnet_network)(void *user, const float *patches, float *features, int images, void *stream);

/* Use a network from now on, called with user; NULL is the model's own. NO_MEMORY. */
SPCNET_API spcnet_code spcnet_set_network(spcnet *tracker, spcnet_network network, void *user);

SPCNET_API spcnet_code spcnet_get(const spcnet *tracker, int parameter, double *value);
SPCNET_API spcnet_code spcnet_set(spcnet *tracker, int parameter, double value);

/* The times of the latest call. */
SPCNET_API void spcnet_last_times(const spcnet *tracker, spcnet_times *times);

#ifdef __cplusplus
}
#endif
#endif
