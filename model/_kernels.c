/* The inner loops of training on a CPU in bfloat16, run without the GIL: batch norm with what follows it (model/norm.py),
   and the copies around a convolution that is done as a matrix product (model/conv.py).

   Those files document what is computed. Without a compiler torch's own operations do the work.

   Activations are rows of channels: [pixels of all images, channels], as channels-last memory has them. Sums are made of
   blocks of rows whose size does not depend on the number of threads, so neither does any result.
*/

#include "_kernels.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && (!defined(__clang__) || __clang_major__ >= 14)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

/* Before a loop whose arrays do not overlap. */
#if defined(__GNUC__) && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep")
#elif defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT
#endif

/* Threads: torch's OpenMP runtime, so that its threads do this work too. A second set of threads would take turns with
   torch's, which spin for a while after each of its operations. */

static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_number)(void), (*thread_count)(void);

static void find_openmp(void)
{
#if !defined(_WIN32)
    void *found[] = {dlsym(RTLD_DEFAULT, "GOMP_parallel"), dlsym(RTLD_DEFAULT, "omp_get_thread_num"),
                     dlsym(RTLD_DEFAULT, "omp_get_num_threads")};
    if (found[0] && found[1] && found[2]) { /* ISO C has no cast from an object's address to a function's */
        memcpy(&parallel, &found[0], sizeof(parallel));
        memcpy(&thread_number, &found[1], sizeof(thread_number));
        memcpy(&thread_count, &found[2], sizeof(thread_count));
    }
#endif
}

typedef struct {
    void (*range)(const void *work, Py_ssize_t first, Py_ssize_t last);
    const void *work;
    Py_ssize_t blocks;
} Job;

static void run_share(void *argument)
{
    const Job *job = argument;
    const Py_ssize_t number = thread_number(), threads = thread_count(); /* there may be fewer than requested */
    job->range(job->work, job->blocks * number / threads, job->blocks * (number + 1) / threads);
}

void run_blocks(void (*range)(const void *, Py_ssize_t, Py_ssize_t), const void *work, Py_ssize_t blocks, int threads)
{
    Job job = {range, work, blocks};
    Py_BEGIN_ALLOW_THREADS
    if (parallel && threads > 1 && blocks > 1)
        parallel(run_share, &job, (unsigned)threads, 0);
    else
        range(work, 0, blocks);
    Py_END_ALLOW_THREADS
}

static inline float to_float(bf16 value)
{
    const uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

/* Round to nearest, ties to even; a nan stays one. */
static inline bf16 to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)(value == value ? rounded : 0x7FC0u);
}

/* Rows in a block: 64 KiB of activations, so that a second pass over a block finds it in the cache. */
static Py_ssize_t block_rows(Py_ssize_t channels)
{
    const Py_ssize_t rows = 32768 / channels;
    return rows < 1 ? 1 : rows;
}

typedef struct {
    Py_ssize_t rows, channels;
    const bf16 *x, *residual; /* [rows, channels] */
    const bf16 *dy, *dy2;     /* gradients of the output; the second may be NULL */
    bf16 *y, *dx, *dresidual;
    const float *a, *b, *c;    /* [channels] each */
    const float *scale, *shift; /* [channels] each: the output before the ReLU was x scale + shift */
    float *sums;               /* [blocks, 2, channels] */
    int relu;
} Norm;

/* Mean and sum of squared deviations of each block: two passes, since one would lose digits. */
WIDE static void stats_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Norm *work = argument;
    const Py_ssize_t channels = work->channels, size = block_rows(channels);
    for (Py_ssize_t block = first; block < last; block++) {
        const Py_ssize_t start = block * size, stop = start + size < work->rows ? start + size : work->rows;
        float *restrict mean = work->sums + 2 * block * channels, *restrict squares = mean + channels;
        memset(mean, 0, sizeof(float) * 2 * (size_t)channels);
        for (Py_ssize_t row = start; row < stop; row++) {
            const bf16 *restrict x = work->x + row * channels;
            for (Py_ssize_t c = 0; c < channels; c++)
                mean[c] += to_float(x[c]);
        }
        const float share = 1.0f / (float)(stop - start);
        for (Py_ssize_t c = 0; c < channels; c++)
            mean[c] *= share;
        for (Py_ssize_t row = start; row < stop; row++) {
            const bf16 *restrict x = work->x + row * channels;
            for (Py_ssize_t c = 0; c < channels; c++) {
                const float deviation = to_float(x[c]) - mean[c];
                squares[c] += deviation * deviation;
            }
        }
    }
}

/* y = x a + b, plus the residual, then ReLU. */
WIDE static void apply_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Norm *work = argument;
    const Py_ssize_t channels = work->channels, size = block_rows(channels);
    const Py_ssize_t start = first * size, stop = last * size < work->rows ? last * size : work->rows;
    const float *restrict a = work->a, *restrict b = work->b;
    const float floor = work->relu ? 0.0f : -__builtin_inff();
    for (Py_ssize_t row = start; row < stop; row++) {
        const bf16 *restrict x = work->x + row * channels;
        bf16 *restrict y = work->y + row * channels;
        if (work->residual) {
            const bf16 *restrict residual = work->residual + row * channels;
            for (Py_ssize_t c = 0; c < channels; c++) {
                const float value = to_float(x[c]) * a[c] + b[c] + to_float(residual[c]);
                y[c] = to_bf16(value < floor ? floor : value);
            }
        } else
            for (Py_ssize_t c = 0; c < channels; c++) {
                const float value = to_float(x[c]) * a[c] + b[c];
                y[c] = to_bf16(value < floor ? floor : value);
            }
    }
}

/* The value where the condition is not 0, else 0; without a branch, so that loops are vectorised. */
static inline float where(int condition, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits &= -(uint32_t)(condition != 0);
    memcpy(&value, &bits, 4);
    return value;
}

/* What the backward passes do with a row, for each way to know the gradient g that passes the ReLU: from the output, with
   one gradient or two (a block's output is used twice); from the input, where no residual was added; without a ReLU. */
#define FOR_EACH_G(statements)                                                                                          \
    if (!work->relu)                                                                                                   \
        INDEPENDENT for (Py_ssize_t c = 0; c < channels; c++) {                                                        \
            const float g = to_float(dy[c]);                                                                           \
            statements                                                                                                 \
        }                                                                                                              \
    else if (y && dy2)                                                                                                 \
        INDEPENDENT for (Py_ssize_t c = 0; c < channels; c++) {                                                        \
            const float g = where(y[c] & 0x7FFF, to_float(dy[c]) + to_float(dy2[c]));                                  \
            statements                                                                                                 \
        }                                                                                                              \
    else if (y)                                                                                                        \
        INDEPENDENT for (Py_ssize_t c = 0; c < channels; c++) {                                                        \
            const float g = where(y[c] & 0x7FFF, to_float(dy[c]));                                                     \
            statements                                                                                                 \
        }                                                                                                              \
    else                                                                                                               \
        INDEPENDENT for (Py_ssize_t c = 0; c < channels; c++) {                                                        \
            const float g = where(to_float(x[c]) * scale[c] + shift[c] > 0.0f, to_float(dy[c]));                       \
            statements                                                                                                 \
        }

#define ROW_POINTERS                                                                                                   \
    const bf16 *restrict x = work->x + row * channels, *restrict dy = work->dy + row * channels;                       \
    const bf16 *restrict y = work->y ? work->y + row * channels : NULL;                                                \
    const bf16 *restrict dy2 = work->dy2 ? work->dy2 + row * channels : NULL;

/* Sums of g and of g (x - mean) over each block; a is the mean. */
WIDE static void sums_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Norm *work = argument;
    const Py_ssize_t channels = work->channels, size = block_rows(channels);
    const float *restrict mean = work->a, *restrict scale = work->scale, *restrict shift = work->shift;
    for (Py_ssize_t block = first; block < last; block++) {
        const Py_ssize_t start = block * size, stop = start + size < work->rows ? start + size : work->rows;
        float *restrict g_sum = work->sums + 2 * block * channels, *restrict gx_sum = g_sum + channels;
        memset(g_sum, 0, sizeof(float) * 2 * (size_t)channels);
        for (Py_ssize_t row = start; row < stop; row++) {
            ROW_POINTERS
            FOR_EACH_G(g_sum[c] += g; gx_sum[c] += g * (to_float(x[c]) - mean[c]);)
        }
    }
}

/* dx = a g + b x + c; the residual's gradient is g. */
WIDE static void gradient_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Norm *work = argument;
    const Py_ssize_t channels = work->channels, size = block_rows(channels);
    const Py_ssize_t start = first * size, stop = last * size < work->rows ? last * size : work->rows;
    const float *restrict a = work->a, *restrict b = work->b, *restrict offset = work->c;
    const float *restrict scale = work->scale, *restrict shift = work->shift;
    for (Py_ssize_t row = start; row < stop; row++) {
        ROW_POINTERS
        bf16 *restrict dx = work->dx + row * channels;
        if (work->dresidual) {
            bf16 *restrict dresidual = work->dresidual + row * channels;
            FOR_EACH_G(dresidual[c] = to_bf16(g); dx[c] = to_bf16(a[c] * g + b[c] * to_float(x[c]) + offset[c]);)
        } else {
            FOR_EACH_G(dx[c] = to_bf16(a[c] * g + b[c] * to_float(x[c]) + offset[c]);)
        }
    }
}

/* Arguments: every array is a contiguous buffer; None is allowed where `z*` stands. */

static int fits(const Norm *work, const Py_buffer *buffers, int count, Py_ssize_t bytes)
{
    for (int i = 0; i < count; i++)
        if (buffers[i].buf && buffers[i].len != bytes) {
            PyErr_Format(PyExc_ValueError, "norm: array %d has %zd bytes, not %zd (%zd rows of %zd channels)", i,
                         buffers[i].len, bytes, work->rows, work->channels);
            return 0;
        }
    return 1;
}

static void release(Py_buffer *buffers, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&buffers[i]);
}

static Py_ssize_t count_blocks(const Norm *work)
{
    const Py_ssize_t size = block_rows(work->channels);
    return (work->rows + size - 1) / size;
}

/* norm_stats(x, mean, variance, threads) */
static PyObject *norm_stats(PyObject *self, PyObject *args)
{
    Py_buffer buffers[3] = {{0}};
    Norm work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*w*w*i", &buffers[0], &buffers[1], &buffers[2], &threads))
        return NULL;
    work.channels = buffers[1].len / (Py_ssize_t)sizeof(float);
    work.rows = work.channels ? buffers[0].len / (Py_ssize_t)sizeof(bf16) / work.channels : 0;
    work.x = buffers[0].buf;
    if (work.rows < 1 || work.channels < 1)
        PyErr_SetString(PyExc_ValueError, "norm: no rows or no channels");
    else if (fits(&work, buffers, 1, work.rows * work.channels * (Py_ssize_t)sizeof(bf16)) &&
             fits(&work, buffers + 1, 2, work.channels * (Py_ssize_t)sizeof(float))) {
        const Py_ssize_t blocks = count_blocks(&work), size = block_rows(work.channels), channels = work.channels;
        float *mean = buffers[1].buf, *variance = buffers[2].buf;
        work.sums = malloc(sizeof(float) * 2 * (size_t)(blocks * channels));
        if (!work.sums)
            PyErr_NoMemory();
        else {
            run_blocks(stats_range, &work, blocks, threads);
            /* Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances". */
            for (Py_ssize_t c = 0; c < channels; c++) {
                double total_mean = 0, squares = 0, count = 0;
                for (Py_ssize_t block = 0; block < blocks; block++) {
                    const float *sums = work.sums + 2 * block * channels;
                    const double rows = (double)(block < blocks - 1 ? size : work.rows - block * size);
                    const double delta = sums[c] - total_mean;
                    count += rows;
                    total_mean += delta * rows / count;
                    squares += sums[channels + c] + delta * delta * (count - rows) * rows / count;
                }
                mean[c] = (float)total_mean;
                variance[c] = (float)(squares / count);
            }
            free(work.sums);
            result = Py_NewRef(Py_None);
        }
    }
    release(buffers, 3);
    return result;
}

/* norm_apply(x, residual, y, scale, shift, relu, threads) */
static PyObject *norm_apply(PyObject *self, PyObject *args)
{
    Py_buffer buffers[5] = {{0}};
    Norm work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*z*w*y*y*pi", &buffers[0], &buffers[1], &buffers[2], &buffers[3], &buffers[4], &work.relu,
                          &threads))
        return NULL;
    work.channels = buffers[3].len / (Py_ssize_t)sizeof(float);
    work.rows = work.channels ? buffers[0].len / (Py_ssize_t)sizeof(bf16) / work.channels : 0;
    work.x = buffers[0].buf, work.residual = buffers[1].buf, work.y = buffers[2].buf;
    work.a = buffers[3].buf, work.b = buffers[4].buf;
    if (work.channels < 1)
        PyErr_SetString(PyExc_ValueError, "norm: no channels");
    else if (fits(&work, buffers, 3, work.rows * work.channels * (Py_ssize_t)sizeof(bf16)) &&
             fits(&work, buffers + 3, 2, work.channels * (Py_ssize_t)sizeof(float))) {
        run_blocks(apply_range, &work, count_blocks(&work), threads);
        result = Py_NewRef(Py_None);
    }
    release(buffers, 5);
    return result;
}

/* The first arguments of both backward passes: dy, dy2, y, x, relu, scale, shift. */
static int read_gradients(Norm *work, const Py_buffer *buffers)
{
    work->channels = buffers[4].len / (Py_ssize_t)sizeof(float);
    work->rows = work->channels ? buffers[0].len / (Py_ssize_t)sizeof(bf16) / work->channels : 0;
    work->dy = buffers[0].buf, work->dy2 = buffers[1].buf, work->y = buffers[2].buf, work->x = buffers[3].buf;
    work->scale = buffers[4].buf, work->shift = buffers[5].buf;
    if (work->rows < 1 || (work->dy2 && (!work->relu || !work->y))) {
        PyErr_SetString(PyExc_ValueError, "norm: no rows, or a second gradient without an output");
        return 0;
    }
    return fits(work, buffers, 4, work->rows * work->channels * (Py_ssize_t)sizeof(bf16)) &&
           fits(work, buffers + 4, 2, work->channels * (Py_ssize_t)sizeof(float));
}

/* norm_sums(dy, dy2, y, x, scale, shift, relu, mean, sum_g, sum_gx, threads) */
static PyObject *norm_sums(PyObject *self, PyObject *args)
{
    Py_buffer buffers[9] = {{0}};
    Norm work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*z*z*y*y*y*py*w*w*i", &buffers[0], &buffers[1], &buffers[2], &buffers[3], &buffers[4],
                          &buffers[5], &work.relu, &buffers[6], &buffers[7], &buffers[8], &threads))
        return NULL;
    work.a = buffers[6].buf;
    if (read_gradients(&work, buffers) && fits(&work, buffers + 6, 3, work.channels * (Py_ssize_t)sizeof(float))) {
        const Py_ssize_t blocks = count_blocks(&work), channels = work.channels;
        float *g = buffers[7].buf, *gx = buffers[8].buf;
        work.sums = malloc(sizeof(float) * 2 * (size_t)(blocks * channels));
        if (!work.sums)
            PyErr_NoMemory();
        else {
            run_blocks(sums_range, &work, blocks, threads);
            for (Py_ssize_t c = 0; c < channels; c++) {
                double g_sum = 0, gx_sum = 0;
                for (Py_ssize_t block = 0; block < blocks; block++) {
                    g_sum += work.sums[2 * block * channels + c];
                    gx_sum += work.sums[(2 * block + 1) * channels + c];
                }
                g[c] = (float)g_sum;
                gx[c] = (float)gx_sum;
            }
            free(work.sums);
            result = Py_NewRef(Py_None);
        }
    }
    release(buffers, 9);
    return result;
}

/* norm_gradient(dy, dy2, y, x, scale, shift, relu, a, b, c, dx, dresidual, threads) */
static PyObject *norm_gradient(PyObject *self, PyObject *args)
{
    Py_buffer buffers[11] = {{0}};
    Norm work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*z*z*y*y*y*py*y*y*w*z*i", &buffers[0], &buffers[1], &buffers[2], &buffers[3], &buffers[4],
                          &buffers[5], &work.relu, &buffers[6], &buffers[7], &buffers[8], &buffers[9], &buffers[10],
                          &threads))
        return NULL;
    work.a = buffers[6].buf, work.b = buffers[7].buf, work.c = buffers[8].buf;
    work.dx = buffers[9].buf, work.dresidual = buffers[10].buf;
    if (read_gradients(&work, buffers) && fits(&work, buffers + 6, 3, work.channels * (Py_ssize_t)sizeof(float)) &&
        fits(&work, buffers + 9, 2, work.rows * work.channels * (Py_ssize_t)sizeof(bf16))) {
        run_blocks(gradient_range, &work, count_blocks(&work), threads);
        result = Py_NewRef(Py_None);
    }
    release(buffers, 11);
    return result;
}

/* Convolutions as matrix products */

typedef struct {
    Py_ssize_t images, height, width, channels, kernel, stride, out_height, out_width;
    const bf16 *from;
    bf16 *to;
} Columns;

/* The kernel * kernel pixels around each output pixel: [images, out_height, out_width, kernel, kernel, channels]. Pixels
   outside the image are zero. A block is one row of the output. */
static void gather_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Columns *work = argument;
    const Py_ssize_t kernel = work->kernel, pad = kernel / 2, channels = work->channels;
    const size_t pixel = sizeof(bf16) * (size_t)channels;
    for (Py_ssize_t row = first; row < last; row++) {
        const Py_ssize_t image = row / work->out_height, oy = row % work->out_height;
        const bf16 *from = work->from + image * work->height * work->width * channels;
        bf16 *to = work->to + row * work->out_width * kernel * kernel * channels;
        for (Py_ssize_t ox = 0; ox < work->out_width; ox++)
            for (Py_ssize_t ky = 0; ky < kernel; ky++, to += kernel * channels) {
                const Py_ssize_t y = oy * work->stride + ky - pad, x = ox * work->stride - pad;
                const Py_ssize_t left = x < 0 ? -x : 0, right = x + kernel > work->width ? work->width - x : kernel;
                if (y < 0 || y >= work->height || left >= right) {
                    memset(to, 0, pixel * (size_t)kernel);
                    continue;
                }
                if (left)
                    memset(to, 0, pixel * (size_t)left);
                memcpy(to + left * channels, from + (y * work->width + x + left) * channels, pixel * (size_t)(right - left));
                if (right < kernel)
                    memset(to + right * channels, 0, pixel * (size_t)(kernel - right));
            }
    }
}

/* The reverse: adds up what each input pixel has in all windows. A block is one row of the input. */
WIDE static void scatter_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Columns *work = argument;
    const Py_ssize_t kernel = work->kernel, pad = kernel / 2, channels = work->channels, stride = work->stride;
    enum { PART = 64 };
    for (Py_ssize_t row = first; row < last; row++) {
        const Py_ssize_t image = row / work->height, y = row % work->height;
        for (Py_ssize_t x = 0; x < work->width; x++)
            for (Py_ssize_t part = 0; part < channels; part += PART) {
                const Py_ssize_t size = channels - part < PART ? channels - part : PART;
                float sum[PART] = {0};
                for (Py_ssize_t ky = 0; ky < kernel; ky++) {
                    const Py_ssize_t sy = y + pad - ky, oy = sy / stride;
                    if (sy < 0 || sy % stride || oy >= work->out_height)
                        continue;
                    for (Py_ssize_t kx = 0; kx < kernel; kx++) {
                        const Py_ssize_t sx = x + pad - kx, ox = sx / stride;
                        if (sx < 0 || sx % stride || ox >= work->out_width)
                            continue;
                        const bf16 *from = work->from + part +
                            ((((image * work->out_height + oy) * work->out_width + ox) * kernel + ky) * kernel + kx) * channels;
                        for (Py_ssize_t c = 0; c < size; c++)
                            sum[c] += to_float(from[c]);
                    }
                }
                bf16 *to = work->to + (row * work->width + x) * channels + part;
                for (Py_ssize_t c = 0; c < size; c++)
                    to[c] = to_bf16(sum[c]);
            }
    }
}

static PyObject *columns(PyObject *args, int scatter)
{
    Py_buffer from = {0}, to = {0};
    Columns work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*w*(nnnn)nni", &from, &to, &work.images, &work.height, &work.width, &work.channels,
                          &work.kernel, &work.stride, &threads))
        return NULL;
    const int sane = work.height > 0 && work.width > 0 && work.kernel > 0 && work.kernel % 2 && work.stride > 0;
    if (sane) {
        work.out_height = (work.height - 1) / work.stride + 1;
        work.out_width = (work.width - 1) / work.stride + 1;
    }
    const Py_ssize_t rows = multiplied(work.images, multiplied(work.channels, sizeof(bf16)));
    const Py_ssize_t image = multiplied(rows, multiplied(work.height, work.width));
    const Py_ssize_t kernel = multiplied(work.kernel, work.kernel);
    const Py_ssize_t windows = multiplied(multiplied(rows, multiplied(work.out_height, work.out_width)), kernel);
    if (!sane || (scatter ? to.len != image || from.len != windows : from.len != image || to.len != windows))
        PyErr_SetString(PyExc_ValueError, "columns: array lengths do not fit together");
    else {
        work.from = from.buf;
        work.to = to.buf;
        if (scatter)
            run_blocks(scatter_range, &work, work.images * work.height, threads);
        else
            run_blocks(gather_range, &work, work.images * work.out_height, threads);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return result;
}

/* gather(image, windows, (images, height, width, channels), kernel, stride, threads) */
static PyObject *gather(PyObject *self, PyObject *args)
{
    return columns(args, 0);
}

/* scatter(windows, image, (images, height, width, channels), kernel, stride, threads) */
static PyObject *scatter(PyObject *self, PyObject *args)
{
    return columns(args, 1);
}

static PyMethodDef methods[] = {
    {"norm_stats", norm_stats, METH_VARARGS, "norm_stats(x, mean, variance, threads)\n\nSee model.norm."},
    {"norm_apply", norm_apply, METH_VARARGS, "norm_apply(x, residual, y, scale, shift, relu, threads)\n\nSee model.norm."},
    {"norm_sums", norm_sums, METH_VARARGS, "norm_sums(dy, dy2, y, x, scale, shift, relu, mean, sum_g, sum_gx, threads)\n\nSee model.norm."},
    {"norm_gradient", norm_gradient, METH_VARARGS,
     "norm_gradient(dy, dy2, y, x, scale, shift, relu, a, b, c, dx, dresidual, threads)\n\nSee model.norm."},
    {"gather", gather, METH_VARARGS,
     "gather(image, windows, (images, height, width, channels), kernel, stride, threads)\n\nSee model.conv."},
    {"scatter", scatter, METH_VARARGS,
     "scatter(windows, image, (images, height, width, channels), kernel, stride, threads)\n\nSee model.conv."},
#if defined(WINOGRAD)
    {"winograd_works", winograd_works, METH_NOARGS, "winograd_works() -> bool\n\nSee model.winograd."},
    {"winograd_filters", winograd_filters, METH_VARARGS,
     "winograd_filters(filters, panels, (outputs, channels), reverse, threads)\n\nSee model.winograd."},
    {"winograd_output", winograd_output, METH_VARARGS,
     "winograd_output(x, panels, y, (images, height, width, channels), outputs, threads)\n\nSee model.winograd."},
    {"winograd_gradient", winograd_gradient, METH_VARARGS,
     "winograd_gradient(x, dy, dfilters, (images, height, width, channels), outputs, threads)\n\nSee model.winograd."},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    find_openmp();
    return PyModule_Create(&module);
}
