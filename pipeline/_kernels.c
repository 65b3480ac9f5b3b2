/* The inner loops of loading, run without the GIL: cutting windows of images into a batch (pipeline/cropper.py), decoding
   a block of JPEGs (pipeline/dataset/turbojpeg.py), and the plan's random numbers (pipeline/plan/philox.py,
   permutation.py).

   Those files document what is computed. Without a compiler they compute the same bits with numpy and torch.
*/

#include "_kernels.h"

#include <sys/stat.h>

typedef struct {
    const uint8_t *images; /* [N, height, width, 3] */
    Py_ssize_t height, width;
    const int64_t *ids;     /* [count] */
    const int32_t *windows; /* [count, 4], or [1, 4] for all images: y, x, height, width */
    const uint8_t *flips;   /* [count] */
    Py_ssize_t count, window_step;
    Py_ssize_t out_height, out_width;
    const float *scale, *shift; /* [out_width * 3] each; NULL for uint8 output */
    void *out;                  /* [count, out_height, out_width, 3] */
} Work;

static Py_ssize_t clamp(Py_ssize_t value, Py_ssize_t low, Py_ssize_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Loads the next image into the cache while this one is processed. The processor cannot predict the address of the next
   image; within a page of 4 KiB its own prefetcher does the rest. */
static void prefetch(const uint8_t *image, Py_ssize_t length)
{
    for (Py_ssize_t offset = 0; offset < length; offset += 4096)
        PREFETCH(image + offset);
}

/* Copies pixels in reverse order. A pixel is copied as 4 bytes, which is one instruction; the next pixel overwrites the
   fourth byte. The first and the last pixel are copied as 3 bytes: the fourth may lie outside the source, or would
   overwrite something after the target. */
static void mirror(uint8_t *restrict to, const uint8_t *restrict from, Py_ssize_t pixels)
{
    const uint8_t *source = from + 3 * (pixels - 1);
    if (pixels <= 0)
        return;
    memcpy(to, source, 3);
    for (Py_ssize_t i = 1; i < pixels; i++) {
        to += 3;
        source -= 3;
        memcpy(to, source, i < pixels - 1 ? 4 : 3);
    }
}

WIDE void normalise(float *restrict to, const uint8_t *restrict from, const float *restrict scale,
                    const float *restrict shift, Py_ssize_t values)
{
    for (Py_ssize_t i = 0; i < values; i++)
        to[i] = shift[i] + (float)from[i] * scale[i];
}

/* Cuts the window of one image. `row` is working memory for a row of the output. */
static void cut(const Work *work, Py_ssize_t number, uint8_t *row)
{
    const int32_t *window = work->windows + number * work->window_step;
    const Py_ssize_t height = work->height, width = work->width, values = 3 * work->out_width;
    const Py_ssize_t y = window[0], x = window[1], h = work->out_height, w = work->out_width;
    const uint8_t *image = work->images + work->ids[number] * height * width * 3;
    const int flip = work->flips[number];
    /* The columns of the window that are inside the image. */
    const Py_ssize_t first = clamp(-x, 0, w), last = clamp(width - x, first, w);
    const Py_ssize_t before = flip ? w - last : first, inside = last - first;
    uint8_t *bytes = (uint8_t *)work->out + number * h * values;
    float *floats = (float *)work->out + number * h * values;

    if (!work->scale && !flip && !x && w == width && y >= 0 && y + h <= height) {
        memcpy(bytes, image + y * values, (size_t)(h * values));
        return;
    }
    memset(row, 0, (size_t)values);
    for (Py_ssize_t r = 0; r < h; r++, bytes += values, floats += values) {
        const uint8_t *ready = row;
        if (y + r < 0 || y + r >= height || !inside) {
            if (work->scale)
                memcpy(floats, work->shift, sizeof(float) * (size_t)values); /* a normalised zero */
            else
                memset(bytes, 0, (size_t)values);
            continue;
        }
        const uint8_t *source = image + ((y + r) * width + x + first) * 3;
        if (!flip && inside == w)
            ready = source;
        else if (!flip)
            memcpy(row + 3 * before, source, (size_t)(3 * inside));
        else
            mirror(row + 3 * before, source, inside);
        if (work->scale)
            normalise(floats, ready, work->scale, work->shift, values);
        else
            memcpy(bytes, ready, (size_t)values);
    }
}

static int run(const Work *work)
{
    const Py_ssize_t length = work->height * work->width * 3;
    uint8_t *row = malloc((size_t)work->out_width * 3);
    if (!row)
        return -1;
    for (Py_ssize_t i = 0; i < work->count; i++) {
        if (i + 1 < work->count)
            prefetch(work->images + work->ids[i + 1] * length, length);
        cut(work, i, row);
    }
    free(row);
    return 0;
}

/* Checks all arguments before anything is written. */
static int check(const Work *work, const Py_buffer *images, const Py_buffer *windows, const Py_buffer *flips,
                 const Py_buffer *scale, const Py_buffer *shift, const Py_buffer *out)
{
    const Py_ssize_t count = work->count, size = work->scale ? (Py_ssize_t)sizeof(float) : 1;
    const Py_ssize_t row = (Py_ssize_t)sizeof(float) * 3 * work->out_width;
    if (work->height < 1 || work->width < 1 || work->out_height < 1 || work->out_width < 1 ||
        (windows->len != 16 * count && windows->len != 16) || flips->len != count || !scale->buf != !shift->buf ||
        (work->scale && (scale->len != row || shift->len != row)) ||
        out->len != count * work->out_height * work->out_width * 3 * size) {
        PyErr_SetString(PyExc_ValueError, "crop: array lengths do not fit together");
        return -1;
    }
    const Py_ssize_t image_count = images->len / (work->height * work->width * 3);
    for (Py_ssize_t i = 0; i < count; i++) {
        const int32_t *window = work->windows + i * work->window_step;
        if (work->ids[i] < 0 || work->ids[i] >= image_count) {
            PyErr_Format(PyExc_IndexError, "crop: image %lld of %zd", (long long)work->ids[i], image_count);
            return -1;
        }
        if (window[2] != work->out_height || window[3] != work->out_width) {
            PyErr_Format(PyExc_ValueError, "crop: a window of %dx%d in a batch of %zdx%zd", window[2], window[3],
                         work->out_height, work->out_width);
            return -1;
        }
    }
    return 0;
}

static PyObject *crop(PyObject *self, PyObject *args)
{
    Py_buffer images = {0}, ids = {0}, windows = {0}, flips = {0}, out = {0}, scale = {0}, shift = {0};
    Work work = {0};
    PyObject *result = NULL;
    int failed;

    if (!PyArg_ParseTuple(args, "y*(nn)y*y*y*w*(nn)z*z*", &images, &work.height, &work.width, &ids, &windows, &flips,
                          &out, &work.out_height, &work.out_width, &scale, &shift))
        return NULL;
    work.images = images.buf;
    work.ids = ids.buf;
    work.count = ids.len / (Py_ssize_t)sizeof(int64_t);
    work.windows = windows.buf;
    work.window_step = windows.len == 16 ? 0 : 4;
    work.flips = flips.buf;
    work.scale = scale.buf;
    work.shift = shift.buf;
    work.out = out.buf;
    if (check(&work, &images, &windows, &flips, &scale, &shift, &out) == 0) {
        Py_BEGIN_ALLOW_THREADS
        failed = run(&work);
        Py_END_ALLOW_THREADS
        if (failed)
            PyErr_NoMemory();
        else
            result = Py_NewRef(Py_None);
    }
    Py_buffer *const given[] = {&images, &ids, &windows, &flips, &out, &scale, &shift};
    release(given, sizeof(given) / sizeof(*given));
    return result;
}

/* The plan */

static PyObject *philox(PyObject *self, PyObject *args)
{
    Py_buffer ids, words;
    unsigned int k0, k1, epoch, stream;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*w*IIII", &ids, &words, &k0, &k1, &epoch, &stream))
        return NULL;
    if (words.len != 4 * ids.len)
        PyErr_SetString(PyExc_ValueError, "philox: array lengths do not fit together");
    else {
        const uint64_t *id = ids.buf;
        uint64_t *to = words.buf;
        const Py_ssize_t count = ids.len / 8;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            uint32_t c0 = (uint32_t)id[i], c1 = (uint32_t)(id[i] >> 32), c2 = epoch, c3 = stream, a = k0, b = k1;
            for (int round = 0; round < 10; round++) {
                const uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
                c0 = (uint32_t)(p1 >> 32) ^ c1 ^ a;
                c1 = (uint32_t)p1;
                c2 = (uint32_t)(p0 >> 32) ^ c3 ^ b;
                c3 = (uint32_t)p0;
                a += 0x9E3779B9u;
                b += 0xBB67AE85u;
            }
            to[i] = c0;
            to[count + i] = c1;
            to[2 * count + i] = c2;
            to[3 * count + i] = c3;
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&ids);
    PyBuffer_Release(&words);
    return result;
}

#define LANES 64 /* ids processed together, so that the rounds of different ids overlap in the processor */

/* half = (half + F(other)) mod modulus, where F is MurmurHash3's 32-bit finaliser with two keys mixed in. */
static inline void shift_halves(uint64_t *restrict half, const uint64_t *restrict other, uint64_t modulus,
                         const uint32_t *keys)
{
    const uint32_t first = keys[0], second = keys[1];
    for (int i = 0; i < LANES; i++) {
        uint32_t x = (uint32_t)other[i] ^ first;
        x ^= x >> 16;
        x *= 0x85EBCA6Bu;
        x ^= x >> 13;
        x += second;
        x *= 0xC2B2AE35u;
        x ^= x >> 16;
        const uint64_t sum = half[i] + (((uint64_t)x * modulus) >> 32), less = sum - modulus;
        half[i] = sum < less ? sum : less; /* if sum < modulus, less wraps around */
    }
}

/* One pass through the network, for LANES values below a * b. */
WIDE static void pass_through(uint64_t *values, uint64_t a, uint64_t b, const uint32_t *keys, Py_ssize_t rounds)
{
    uint64_t left[LANES], right[LANES];
    for (int i = 0; i < LANES; i++) {
        left[i] = values[i] / b;
        right[i] = values[i] % b;
    }
    for (Py_ssize_t round = 0; round < rounds; round += 2, keys += 4) {
        shift_halves(left, right, a, keys);
        shift_halves(right, left, b, keys + 2);
    }
    for (int i = 0; i < LANES; i++)
        values[i] = left[i] * b + right[i];
}

static void permute_lanes(const uint64_t *slots, uint64_t *to, Py_ssize_t count, uint64_t n, uint64_t a, uint64_t b,
                          const uint32_t *keys, Py_ssize_t rounds)
{
    uint64_t values[LANES] = {0}, again[LANES];
    memcpy(values, slots, 8 * (size_t)count);
    pass_through(values, a, b, keys, rounds);
    for (;;) { /* results of n or more go through the network again */
        Py_ssize_t outside[LANES], count_outside = 0;
        memset(again, 0, sizeof(again));
        for (Py_ssize_t i = 0; i < count; i++)
            if (values[i] >= n && slots[i] < n) {
                again[count_outside] = values[i];
                outside[count_outside++] = i;
            }
        if (!count_outside)
            break;
        pass_through(again, a, b, keys, rounds);
        for (Py_ssize_t i = 0; i < count_outside; i++)
            values[outside[i]] = again[i];
    }
    memcpy(to, values, 8 * (size_t)count);
}

static PyObject *permute(PyObject *self, PyObject *args)
{
    Py_buffer slots, keys, out;
    unsigned long long n, a, b;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*w*KKKy*", &slots, &out, &n, &a, &b, &keys))
        return NULL;
    const Py_ssize_t rounds = keys.len / 8;
    if (out.len != slots.len || !a || !b || a * b < n || rounds % 2)
        PyErr_SetString(PyExc_ValueError, "permute: array lengths do not fit together");
    else {
        const uint64_t *slot = slots.buf;
        uint64_t *to = out.buf;
        const Py_ssize_t count = slots.len / 8;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i += LANES)
            permute_lanes(slot + i, to + i, count - i < LANES ? count - i : LANES, n, a, b, keys.buf, rounds);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    Py_buffer *const given[] = {&slots, &keys, &out};
    release(given, sizeof(given) / sizeof(*given));
    return result;
}

/* libturbojpeg's functions, whose addresses pipeline/dataset/turbojpeg.py finds. Its interface has been the same since
   libjpeg-turbo 1.4; the header is not needed to call it. */
typedef struct {
    void *(*init)(void);
    int (*header)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *);
    int (*decompress)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int, int);
    int (*destroy)(void *);
} TurboJpeg;

enum { TURBO_RGB = 0, TURBO_NO_REALLOC = 1024 };

/* Decodes images one behind the other into `out`, uint8 [count, height, width, 3], until one fails or has another size.
   Returns how many were decoded. */
static Py_ssize_t decode_all(const TurboJpeg *turbo, const uint64_t *addresses, const uint32_t *lengths, Py_ssize_t count,
                             uint8_t *out, int height, int width)
{
    Py_ssize_t done = 0;
    void *decoder = turbo->init();
    for (; decoder && done < count; done++) {
        const unsigned char *data = (const unsigned char *)(uintptr_t)addresses[done];
        const unsigned long length = lengths[done];
        int w, h, sampling, colours;
        if (turbo->header(decoder, data, length, &w, &h, &sampling, &colours) || w != width || h != height ||
            turbo->decompress(decoder, data, length, out, width, 3 * width, height, TURBO_RGB, TURBO_NO_REALLOC))
            break;
        out += 3 * (size_t)width * height;
    }
    if (decoder)
        turbo->destroy(decoder);
    return done;
}

static PyObject *decode(PyObject *self, PyObject *args)
{
    unsigned long long init, header, decompress, destroy;
    Py_buffer addresses, lengths, out;
    int height, width;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "(KKKK)y*y*w*(ii)", &init, &header, &decompress, &destroy, &addresses, &lengths, &out,
                          &height, &width))
        return NULL;
    const Py_ssize_t count = addresses.len / 8;
    if (height < 1 || width < 1 || lengths.len != 4 * count || out.len / 3 / height / width != count)
        PyErr_SetString(PyExc_ValueError, "decode: array lengths do not fit together");
    else {
        const TurboJpeg turbo = {(void *(*)(void))(uintptr_t)init,
                                 (int (*)(void *, const unsigned char *, unsigned long, int *, int *, int *,
                                          int *))(uintptr_t)header,
                                 (int (*)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int,
                                          int))(uintptr_t)decompress,
                                 (int (*)(void *))(uintptr_t)destroy};
        Py_ssize_t done;
        Py_BEGIN_ALLOW_THREADS
        done = decode_all(&turbo, addresses.buf, lengths.buf, count, out.buf, height, width);
        Py_END_ALLOW_THREADS
        result = PyLong_FromSsize_t(done);
    }
    Py_buffer *const given[] = {&addresses, &lengths, &out};
    release(given, sizeof(given) / sizeof(*given));
    return result;
}

/* The length of an open file in bytes. Unlike os.fstat it does not release the GIL: while other threads wait for the
   GIL, getting it back takes far longer than the call itself. */
static PyObject *file_size(PyObject *self, PyObject *args)
{
    int descriptor;
    struct stat status;

    if (!PyArg_ParseTuple(args, "i", &descriptor))
        return NULL;
    if (fstat(descriptor, &status))
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLongLong((long long)status.st_size);
}

/* Copies files into rows of one length. 0xff behind their ends: a JPEG that was cut off still fails to decode. */
static PyObject *pad(PyObject *self, PyObject *args)
{
    Py_buffer addresses, lengths, out;
    Py_ssize_t row;
    PyObject *result = NULL;

    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*w*n", &addresses, &lengths, &out, &row))
        return NULL;
    const Py_ssize_t count = addresses.len / 8;
    const uint64_t *from = addresses.buf;
    const uint32_t *length = lengths.buf;
    int fits = row > 0 && lengths.len == 4 * count && out.len % row == 0 && out.len / row == count;
    for (Py_ssize_t i = 0; fits && i < count; i++)
        fits = length[i] <= row;
    if (!fits)
        PyErr_SetString(PyExc_ValueError, "pad: array lengths do not fit together");
    else {
        uint8_t *to = out.buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++, to += row) {
            memcpy(to, (const void *)(uintptr_t)from[i], length[i]);
            memset(to + length[i], 0xff, (size_t)row - length[i]);
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    Py_buffer *const given[] = {&addresses, &lengths, &out};
    release(given, sizeof(given) / sizeof(*given));
    return result;
}

static PyMethodDef methods[] = {
    {"crop", crop, METH_VARARGS,
     "crop(images, (height, width), ids, windows, flips, out, (out_height, out_width), scale, shift)\n\n"
     "See pipeline.cropper.Cropper."},
    {"permute", permute, METH_VARARGS,
     "permute(slots, out, n, a, b, keys)\n\nSee pipeline.plan.permutation.Permutation."},
    {"decode", decode, METH_VARARGS,
     "decode(functions, addresses, lengths, out, (height, width))\n\nSee pipeline.dataset.turbojpeg.decode_at."},
    {"pad", pad, METH_VARARGS,
     "pad(addresses, lengths, out, row)\n\nSee pipeline.stores.EncodedStore.rows."},
    {"resize", resize, METH_VARARGS,
     "resize(addresses, sizes, windows, flips, out, (height, width), scale, shift)\n\nSee pipeline.resizer.Resizer."},
    {"file_size", file_size, METH_VARARGS,
     "file_size(descriptor)\n\nSee pipeline.dataset.mapping.MappedFiles.check_lengths."},
    {"philox", philox, METH_VARARGS, "philox(ids, words, k0, k1, epoch, stream)\n\nSee pipeline.plan.philox.philox."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&module);
}
