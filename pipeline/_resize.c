/* Resizing windows of images (pipeline/resizer.py), bilinear with antialiasing: torch's interpolate for uint8, to the bit.

   As there (and in Pillow, from which it comes) a weighted sum of pixels in each row, rounded to bytes, and then one of
   rows, with weights as whole numbers of 16 bits. Whole numbers give the same sums in any order.
*/

#include "_kernels.h"

#include <math.h>

/* With AVX2 four rows are squeezed at a time, and two pixels are weighed in one instruction. */
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define AVX2
#include <immintrin.h>
#endif

#define ROWS 4     /* that are squeezed together */
#define SLACK 4    /* bytes behind a row that was squeezed, of which one may be written */
#define OVERRUN 16 /* bytes that may be read behind the last pixel of a sum, and behind more pixels without weight */

/* The weights of one axis. */
typedef struct {
    Py_ssize_t taps;    /* the most that a pixel has */
    int32_t *first;     /* [output], the first pixel of each sum */
    int32_t *count;     /* [output], how many pixels it has */
    int32_t *weights;   /* [output, taps]; 0 behind the last pixel of a sum */
    int32_t *pairs;     /* [output, (taps + 1) / 2], two weights of 16 bits each */
    int most;           /* the most pixels that a sum has */
    double *exact;      /* [output, taps], working memory */
    int precision;      /* a weight of 1 is 1 << precision */
    Py_ssize_t room;    /* taps for which there is memory */
} Axis;

static void free_axis(Axis *axis)
{
    free(axis->first);
    free(axis->count);
    free(axis->weights);
    free(axis->pairs);
    free(axis->exact);
}

/* Returns -1 if there is no memory. */
static int make_room(Axis *axis, Py_ssize_t output, Py_ssize_t taps)
{
    if (!axis->first) {
        axis->first = malloc(sizeof(int32_t) * (size_t)output);
        axis->count = malloc(sizeof(int32_t) * (size_t)output);
    }
    if (taps > axis->room) {
        free(axis->weights);
        free(axis->pairs);
        free(axis->exact);
        axis->weights = malloc(sizeof(int32_t) * (size_t)(output * taps));
        axis->pairs = malloc(sizeof(int32_t) * (size_t)(output * ((taps + 1) / 2)));
        axis->exact = malloc(sizeof(double) * (size_t)(output * taps));
        axis->room = axis->weights && axis->pairs && axis->exact ? taps : 0;
    }
    axis->taps = taps;
    return axis->first && axis->count && axis->room ? 0 : -1;
}

/* The weights for an axis of `input` pixels that becomes `output`. */
static int weigh(Axis *axis, Py_ssize_t input, Py_ssize_t output)
{
    const double scale = (double)input / (double)output, support = scale >= 1 ? scale : 1;
    const double inverse = scale >= 1 ? 1 / scale : 1;
    const Py_ssize_t taps = (Py_ssize_t)ceil(support) * 2 + 1;
    double largest = 0;

    axis->most = 0;
    if (make_room(axis, output, taps))
        return -1;
    for (Py_ssize_t i = 0; i < output; i++) {
        const double centre = scale * ((double)i + 0.5);
        double *exact = axis->exact + i * taps, total = 0;
        Py_ssize_t first = (Py_ssize_t)(centre - support + 0.5), last = (Py_ssize_t)(centre + support + 0.5);
        first = first > 0 ? first : 0;
        last = last < input ? last : input;
        const Py_ssize_t count = last - first < taps ? last - first : taps;
        for (Py_ssize_t j = 0; j < count; j++) {
            const double distance = fabs(((double)(j + first) - centre + 0.5) * inverse);
            exact[j] = distance < 1 ? 1 - distance : 0;
            total += exact[j];
        }
        for (Py_ssize_t j = 0; j < count; j++) {
            exact[j] = total != 0 ? exact[j] / total : exact[j];
            largest = exact[j] > largest ? exact[j] : largest;
        }
        axis->first[i] = (int32_t)first;
        axis->count[i] = (int32_t)count;
        axis->most = count > axis->most ? (int)count : axis->most;
    }
    for (axis->precision = 0; axis->precision < 22; axis->precision++)
        if ((int)(0.5 + largest * (double)(1 << (axis->precision + 1))) >= 1 << 15)
            break;
    for (Py_ssize_t i = 0; i < output; i++)
        for (Py_ssize_t j = 0; j < axis->most; j++) {
            const double exact = j < axis->count[i] ? axis->exact[i * taps + j] : 0;
            axis->weights[i * taps + j] = (int32_t)(0.5 + exact * (double)(1 << axis->precision));
        }
    return 0;
}

static inline uint8_t to_byte(int32_t sum, int precision)
{
    const int32_t level = sum >> precision;
    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}

/* A row of `input` pixels to `output` pixels, mirrored if asked for. Both have bytes of slack, the input for `most` more
   pixels. */
#if defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 9)
typedef uint8_t Bytes __attribute__((vector_size(4)));
typedef int32_t Sums __attribute__((vector_size(16)));

/* All sums with the same number of pixels: as many rounds for each, which the processor can predict. */
static inline __attribute__((always_inline)) void squeeze(uint8_t *to, const uint8_t *from, const Axis *axis,
                                                          Py_ssize_t output, int flip, int most)
{
    const int precision = axis->precision;
    const int32_t half = precision ? 1 << (precision - 1) : 0;
    for (Py_ssize_t place = 0; place < output; place++, to += 3) {
        const Py_ssize_t i = flip ? output - 1 - place : place;
        const uint8_t *pixel = from + 3 * axis->first[i];
        const int32_t *weight = axis->weights + i * axis->taps;
        Sums sum = {half, half, half, half};
        for (int j = 0; j < most; j++, pixel += 3) {
            Bytes bytes;
            memcpy(&bytes, pixel, 4);
            sum += __builtin_convertvector(bytes, Sums) * weight[j];
        }
        sum >>= precision; /* never negative, as no weight is */
        sum |= sum > 255;
        const Bytes done = __builtin_convertvector(sum & 255, Bytes);
        memcpy(to, &done, 4); /* the next pixel overwrites the fourth byte */
    }
}

WIDE static void squeeze_row(uint8_t *to, const uint8_t *from, const Axis *axis, Py_ssize_t output, int flip)
{
    switch (axis->most) {
    case 1:
        squeeze(to, from, axis, output, flip, 1);
        break;
    case 2:
        squeeze(to, from, axis, output, flip, 2);
        break;
    case 3:
        squeeze(to, from, axis, output, flip, 3);
        break;
    case 4:
        squeeze(to, from, axis, output, flip, 4);
        break;
    default:
        squeeze(to, from, axis, output, flip, axis->most);
    }
}
#else
static void squeeze_row(uint8_t *to, const uint8_t *from, const Axis *axis, Py_ssize_t output, int flip)
{
    const int32_t half = axis->precision ? 1 << (axis->precision - 1) : 0;
    for (Py_ssize_t i = 0; i < output; i++)
        for (int c = 0; c < 3; c++) {
            int32_t sum = half;
            for (int32_t j = 0; j < axis->count[i]; j++)
                sum += from[3 * (axis->first[i] + j) + c] * axis->weights[i * axis->taps + j];
            to[3 * (flip ? output - 1 - i : i) + c] = to_byte(sum, axis->precision);
        }
}
#endif

#ifdef AVX2
/* Pairs of weights below 1 << 15, in the order in which `squeeze_four` takes them. */
static void pair_weights(Axis *axis, Py_ssize_t output)
{
    const Py_ssize_t pairs = (axis->most + 1) / 2;
    for (Py_ssize_t i = 0; i < output; i++) {
        const int32_t *weight = axis->weights + i * axis->taps;
        for (Py_ssize_t j = 0; j < pairs; j++)
            axis->pairs[i * pairs + j] = weight[2 * j] | (2 * j + 1 < axis->most ? weight[2 * j + 1] << 16 : 0);
    }
}

static inline __attribute__((always_inline, target("avx2"))) __m256i two_rows(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                   _mm_loadu_si128((const __m128i *)b), 1);
}

/* Four rows to `output` pixels each, by the same sums as `squeeze_row`. Of each row OVERRUN bytes more are read, and
   behind each result one is written. */
static inline __attribute__((always_inline, target("avx2"))) void squeeze_four(uint8_t *const to[ROWS],
                                                                              const uint8_t *const from[ROWS],
                                                                              const Axis *axis, Py_ssize_t output,
                                                                              int flip, Py_ssize_t pairs)
{
    /* Of four pixels in 12 bytes the first two, and the other two: r r g g b b, 16 bits each. */
    const __m128i first_two = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m128i other_two = _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i low = _mm256_broadcastsi128_si256(first_two), high = _mm256_broadcastsi128_si256(other_two);
    const __m256i half = _mm256_set1_epi32(axis->precision ? 1 << (axis->precision - 1) : 0);
    const __m128i precision = _mm_cvtsi32_si128(axis->precision);
    for (Py_ssize_t place = 0; place < output; place++) {
        const Py_ssize_t i = flip ? output - 1 - place : place;
        const int32_t *pair = axis->pairs + i * pairs;
        Py_ssize_t offset = 3 * (Py_ssize_t)axis->first[i];
        __m256i even = half, odd = half; /* sums of rows 0 and 1, of rows 2 and 3 */
        for (Py_ssize_t j = 0; j < pairs; j += 2, offset += 12) {
            const __m256i a = two_rows(from[0] + offset, from[1] + offset);
            const __m256i b = two_rows(from[2] + offset, from[3] + offset);
            const __m256i first = _mm256_set1_epi32(pair[j]);
            even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_shuffle_epi8(a, low), first));
            odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_shuffle_epi8(b, low), first));
            if (j + 1 < pairs) {
                const __m256i second = _mm256_set1_epi32(pair[j + 1]);
                even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_shuffle_epi8(a, high), second));
                odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_shuffle_epi8(b, high), second));
            }
        }
        const __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(even, precision), _mm256_sra_epi32(odd, precision));
        const __m256i bytes = _mm256_packus_epi16(words, words);
        const int done[ROWS] = {_mm256_extract_epi32(bytes, 0), _mm256_extract_epi32(bytes, 4),
                                _mm256_extract_epi32(bytes, 1), _mm256_extract_epi32(bytes, 5)};
        for (int r = 0; r < ROWS; r++)
            memcpy(to[r] + 3 * place, done + r, 4); /* the next pixel overwrites the fourth byte */
    }
}

__attribute__((target("avx2"))) static void squeeze_rows(uint8_t *const to[ROWS], const uint8_t *const from[ROWS],
                                                         const Axis *axis, Py_ssize_t output, int flip)
{
    const Py_ssize_t pairs = (axis->most + 1) / 2;
    switch (pairs) {
    case 1:
        squeeze_four(to, from, axis, output, flip, 1);
        break;
    case 2:
        squeeze_four(to, from, axis, output, flip, 2);
        break;
    case 3:
        squeeze_four(to, from, axis, output, flip, 3);
        break;
    case 4:
        squeeze_four(to, from, axis, output, flip, 4);
        break;
    default:
        squeeze_four(to, from, axis, output, flip, pairs);
    }
}
#endif

#ifdef AVX2
/* As `add_rows`, two rows in one instruction, without working memory. Of each row, and behind the last one, 15 bytes more
   may be read. */
__attribute__((target("avx2"))) static void add_pairs(uint8_t *restrict to, const uint8_t *restrict rows,
                                                      Py_ssize_t step, const int32_t *weights, Py_ssize_t count,
                                                      int precision, Py_ssize_t values)
{
    const __m256i half = _mm256_set1_epi32(precision ? 1 << (precision - 1) : 0);
    const __m128i shift = _mm_cvtsi32_si128(precision);
    for (Py_ssize_t i = 0; i < values; i += 16) {
        const uint8_t *row = rows + i;
        __m256i first = half, second = half; /* sums of 8 values each */
        for (Py_ssize_t j = 0; j < count; j += 2, row += 2 * step) {
            const int both = j + 1 < count;
            const __m256i weight = _mm256_set1_epi32(weights[j] | (both ? weights[j + 1] << 16 : 0));
            const __m128i a = _mm_loadu_si128((const __m128i *)row);
            const __m128i b = both ? _mm_loadu_si128((const __m128i *)(row + step)) : _mm_setzero_si128();
            first = _mm256_add_epi32(first, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), weight));
            second = _mm256_add_epi32(second, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b)), weight));
        }
        const __m256i mixed = _mm256_packs_epi32(_mm256_sra_epi32(first, shift), _mm256_sra_epi32(second, shift));
        const __m256i words = _mm256_permute4x64_epi64(mixed, 0xd8); /* in order again */
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        memcpy(to + i, &bytes, (size_t)(values - i < 16 ? values - i : 16));
    }
}
#endif

/* Adds rows, `values` bytes each and `step` apart, by weight. */
WIDE static void add_rows(uint8_t *restrict to, const uint8_t *restrict rows, Py_ssize_t step, const int32_t *weights,
                          Py_ssize_t count, int precision, int32_t *restrict sums, Py_ssize_t values)
{
    const int32_t half = precision ? 1 << (precision - 1) : 0;
    for (Py_ssize_t i = 0; i < values; i++)
        sums[i] = half;
    for (Py_ssize_t j = 0; j < count; j++, rows += step) {
        const int32_t weight = weights[j];
        for (Py_ssize_t i = 0; i < values; i++)
            sums[i] += rows[i] * weight;
    }
    for (Py_ssize_t i = 0; i < values; i++)
        to[i] = to_byte(sums[i], precision);
}

typedef struct {
    const uint64_t *addresses; /* [count], of images in memory */
    const int32_t *sizes;      /* [count, 2], or [1, 2] for all: height, width */
    Py_ssize_t size_step;
    const int32_t *windows; /* [count, 4]: y, x, height, width */
    const uint8_t *flips;   /* [count] */
    Py_ssize_t count, height, width;
    const float *scale, *shift; /* [width * 3] each; NULL for uint8 output */
    void *out;                  /* [count, height, width, 3] */
} Work;

/* Working memory for one window. */
typedef struct {
    Axis across, down;
    uint8_t *row;      /* ROWS rows of the window, with slack */
    uint8_t *squeezed; /* all rows of the window, of the output's width, with slack behind each */
    uint8_t *line;     /* a row of the output */
    int32_t *sums;
    Py_ssize_t rows, columns;
} Desk;

static int lay_out(Desk *desk, const Work *work, Py_ssize_t rows, Py_ssize_t columns)
{
    const size_t values = 3 * (size_t)work->width;
    if (!desk->line) {
        desk->line = malloc(values);
        desk->sums = malloc(sizeof(int32_t) * values);
    }
    if (rows > desk->rows) {
        free(desk->squeezed);
        desk->squeezed = malloc((size_t)rows * (values + SLACK) + 16);
        desk->rows = desk->squeezed ? rows : 0;
    }
    if (columns > desk->columns) {
        free(desk->row);
        desk->row = calloc(ROWS * (3 * (size_t)columns + OVERRUN), 1);
        desk->columns = desk->row ? columns : 0;
    }
    return desk->line && desk->sums && desk->rows && desk->columns ? 0 : -1;
}

/* All rows of a window, `step` bytes apart, to the output's width. The image ends at `end`. */
static void squeeze_window(const Work *work, Desk *desk, const uint8_t *window, Py_ssize_t step, const uint8_t *end,
                           Py_ssize_t h, Py_ssize_t w, int flip)
{
    const Py_ssize_t stride = 3 * work->width + SLACK;
#ifdef AVX2
    if (__builtin_cpu_supports("avx2")) {
        const Py_ssize_t reach = 3 * (w + desk->across.most) + OVERRUN;
        pair_weights(&desk->across, work->width);
        for (Py_ssize_t r = 0; r < h; r += ROWS) {
            const uint8_t *from[ROWS];
            uint8_t *to[ROWS];
            for (int k = 0; k < ROWS; k++) {
                const Py_ssize_t row = r + k < h ? r + k : h - 1; /* the last one again: the same bytes */
                from[k] = window + row * step;
                to[k] = desk->squeezed + row * stride;
                if (end - from[k] < reach)
                    from[k] = memcpy(desk->row + k * reach, from[k], 3 * (size_t)w);
            }
            squeeze_rows(to, from, &desk->across, work->width, flip);
        }
        return;
    }
#endif
    (void)end;
    for (Py_ssize_t r = 0; r < h; r++) {
        memcpy(desk->row, window + r * step, 3 * (size_t)w);
        squeeze_row(desk->squeezed + r * stride, desk->row, &desk->across, work->width, flip);
    }
}

/* A row of the output from those that were squeezed. */
static void add_rows_of(const Desk *desk, Py_ssize_t row, uint8_t *line, Py_ssize_t values)
{
    const Axis *down = &desk->down;
    const Py_ssize_t step = values + SLACK;
    const uint8_t *first = desk->squeezed + down->first[row] * step;
    const int32_t *weights = down->weights + row * down->taps;
#ifdef AVX2
    if (__builtin_cpu_supports("avx2")) {
        add_pairs(line, first, step, weights, down->count[row], down->precision, values);
        return;
    }
#endif
    add_rows(line, first, step, weights, down->count[row], down->precision, desk->sums, values);
}

static int resize_one(const Work *work, Py_ssize_t number, Desk *desk)
{
    const int32_t *window = work->windows + 4 * number, *size = work->sizes + number * work->size_step;
    const Py_ssize_t h = window[2], w = window[3], step = 3 * (Py_ssize_t)size[1], values = 3 * work->width;
    const uint8_t *image = (const uint8_t *)(uintptr_t)work->addresses[number];
    const size_t offset = (size_t)(number * work->height * values);

    if (weigh(&desk->across, w, work->width) || weigh(&desk->down, h, work->height) ||
        lay_out(desk, work, h, w + desk->across.most))
        return -1;
    squeeze_window(work, desk, image + window[0] * step + 3 * window[1], step, image + size[0] * step, h, w,
                   work->flips[number]);
    for (Py_ssize_t r = 0; r < work->height; r++) {
        uint8_t *line = work->scale ? desk->line : (uint8_t *)work->out + offset + (size_t)(r * values);
        add_rows_of(desk, r, line, values);
        if (work->scale)
            normalise((float *)work->out + offset + r * values, line, work->scale, work->shift, values);
    }
    return 0;
}

static int run(const Work *work)
{
    Desk desk = {0};
    int failed = 0;
    for (Py_ssize_t i = 0; i < work->count && !failed; i++)
        failed = resize_one(work, i, &desk);
    free_axis(&desk.across);
    free_axis(&desk.down);
    free(desk.row);
    free(desk.squeezed);
    free(desk.line);
    free(desk.sums);
    return failed;
}

static int check(const Work *work, const Py_buffer *sizes, const Py_buffer *windows, const Py_buffer *flips,
                 const Py_buffer *scale, const Py_buffer *shift, const Py_buffer *out)
{
    const Py_ssize_t count = work->count, bytes = work->scale ? (Py_ssize_t)sizeof(float) : 1;
    const Py_ssize_t row = (Py_ssize_t)sizeof(float) * 3 * work->width;
    if (work->height < 1 || work->width < 1 || work->height > 65536 || work->width > 65536 ||
        (sizes->len != 8 * count && sizes->len != 8) || windows->len != 16 * count || flips->len != count ||
        !scale->buf != !shift->buf || (work->scale && (scale->len != row || shift->len != row)) ||
        out->len != count * work->height * work->width * 3 * bytes) {
        PyErr_SetString(PyExc_ValueError, "resize: array lengths do not fit together");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const int32_t *w = work->windows + 4 * i, *size = work->sizes + i * work->size_step;
        if (w[0] < 0 || w[1] < 0 || w[2] < 1 || w[3] < 1 || w[2] > size[0] - w[0] || w[3] > size[1] - w[1]) {
            PyErr_Format(PyExc_ValueError, "resize: a window of %dx%d at %d, %d in an image of %dx%d", w[2], w[3], w[0],
                         w[1], size[0], size[1]);
            return -1;
        }
    }
    return 0;
}

PyObject *resize(PyObject *self, PyObject *args)
{
    Py_buffer addresses = {0}, sizes = {0}, windows = {0}, flips = {0}, out = {0}, scale = {0}, shift = {0};
    Work work = {0};
    PyObject *result = NULL;
    int failed;

    if (!PyArg_ParseTuple(args, "y*y*y*y*w*(nn)z*z*", &addresses, &sizes, &windows, &flips, &out, &work.height, &work.width,
                          &scale, &shift))
        return NULL;
    work.addresses = addresses.buf;
    work.count = addresses.len / 8;
    work.sizes = sizes.buf;
    work.size_step = sizes.len == 8 ? 0 : 2;
    work.windows = windows.buf;
    work.flips = flips.buf;
    work.scale = scale.buf;
    work.shift = shift.buf;
    work.out = out.buf;
    if (check(&work, &sizes, &windows, &flips, &scale, &shift, &out) == 0) {
        Py_BEGIN_ALLOW_THREADS
        failed = run(&work);
        Py_END_ALLOW_THREADS
        if (failed)
            PyErr_NoMemory();
        else
            result = Py_NewRef(Py_None);
    }
    Py_buffer *const given[] = {&addresses, &sizes, &windows, &flips, &out, &scale, &shift};
    release(given, sizeof(given) / sizeof(*given));
    return result;
}
