/* 3x3 convolutions with stride 1 in bfloat16 by Winograd's F(2x2, 3x3), for processors with AVX512_BF16 (model/winograd.py).

   Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. The output is made of 2x2 tiles, each from 4x4
   pixels of the input: Y = A' [(G g G') * (B' d B)] A, where * multiplies elements. A tile takes 16 products for each pair
   of channels, not 36. Over the channels these products are 16 matrix products, one for each place in the tile.

   Places are numbered 0 to 15, row by row. Matrices hold pairs along the axis that is summed over, as vdpbf16ps takes them.
   Sums do not depend on the number of threads.
*/

#include "_kernels.h"

#if defined(WINOGRAD)

#include <immintrin.h>

#define BF16_CODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

enum {
    PLACES = 16,
    COLUMNS = 64, /* channels of the result in a panel of filters: four registers */
    LANES = 16,
    ROWS = 6,         /* tiles, or channels, in a product's block of registers */
    TILES = 8 * ROWS, /* of a block, forward */
    PART = 262144,    /* values of a place, of x and dy together, in a part of the gradient: 8 MiB in all */
};

typedef struct {
    Py_ssize_t images, height, width, channels, outputs; /* of the input */
    const bf16 *x;       /* [images, height, width, channels] */
    const bf16 *filters; /* as pack_range makes them */
    bf16 *y;             /* [images, height, width, outputs] */
    const bf16 *dy;      /* like y */
    bf16 *v, *d;         /* tiles of x and of dy: [place, pair of tiles, channel, 2] */
    float *products;     /* [place, output channel, channel] */
    float *dfilters;     /* [output channel, 3, 3, channel] */
    Py_ssize_t first_tile, tiles; /* of a part of the gradient */
    int add;
    int *failed; /* set where there was no memory */
} Winograd;

static inline Py_ssize_t tiles_of(Py_ssize_t side)
{
    return (side + 1) / 2;
}

static inline Py_ssize_t all_tiles(const Winograd *work)
{
    return work->images * tiles_of(work->height) * tiles_of(work->width);
}

typedef struct {
    Py_ssize_t image, y, x; /* of the first output pixel */
} Tile;

static inline Tile tile_at(const Winograd *work, Py_ssize_t number)
{
    const Py_ssize_t wide = tiles_of(work->width), tall = tiles_of(work->height);
    const Tile tile = {number / (wide * tall), number / wide % tall * 2, number % wide * 2};
    return tile;
}

/* The pixels of `side` by `side` from (y, x) on; `nothing` stands for those outside the image. */
static inline void find_pixels(const Winograd *work, const bf16 *image, Py_ssize_t channels, Tile at, Py_ssize_t side,
                               const bf16 *nothing, const bf16 **pixels)
{
    for (Py_ssize_t i = 0; i < side * side; i++) {
        const Py_ssize_t y = at.y + i / side, x = at.x + i % side;
        const int inside = at.image < work->images && y >= 0 && y < work->height && x >= 0 && x < work->width;
        pixels[i] = inside ? image + ((at.image * work->height + y) * work->width + x) * channels : nothing;
    }
}

BF16_CODE static inline __m512 widen(const bf16 *from)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

BF16_CODE static inline __m256i narrow(__m512 value)
{
    return (__m256i)_mm512_cvtneps_pbh(value);
}

/* a0 b0 a1 b1 ... */
BF16_CODE static inline __m512i narrow_pairs(__m512 a, __m512 b)
{
    const __m512i low = _mm512_cvtepu16_epi32(narrow(a)), high = _mm512_cvtepu16_epi32(narrow(b));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* B' d B for 16 channels. */
BF16_CODE static inline void transform_input(const bf16 *const *pixels, Py_ssize_t channel, __m512 *out)
{
    __m512 rows[PLACES];
    for (int j = 0; j < 4; j++) {
        const __m512 d0 = widen(pixels[j] + channel), d1 = widen(pixels[4 + j] + channel);
        const __m512 d2 = widen(pixels[8 + j] + channel), d3 = widen(pixels[12 + j] + channel);
        rows[j] = _mm512_sub_ps(d0, d2);
        rows[4 + j] = _mm512_add_ps(d1, d2);
        rows[8 + j] = _mm512_sub_ps(d2, d1);
        rows[12 + j] = _mm512_sub_ps(d1, d3);
    }
    for (int i = 0; i < PLACES; i += 4) {
        out[i] = _mm512_sub_ps(rows[i], rows[i + 2]);
        out[i + 1] = _mm512_add_ps(rows[i + 1], rows[i + 2]);
        out[i + 2] = _mm512_sub_ps(rows[i + 2], rows[i + 1]);
        out[i + 3] = _mm512_sub_ps(rows[i + 1], rows[i + 3]);
    }
}

/* A dy A' for 16 channels, the reverse of the output's transform. */
BF16_CODE static inline void transform_gradient(const bf16 *const *pixels, Py_ssize_t channel, __m512 *out)
{
    __m512 rows[8];
    for (int j = 0; j < 2; j++) {
        const __m512 top = widen(pixels[j] + channel), bottom = widen(pixels[2 + j] + channel);
        rows[j] = top;
        rows[2 + j] = _mm512_add_ps(top, bottom);
        rows[4 + j] = _mm512_sub_ps(top, bottom);
        rows[6 + j] = _mm512_sub_ps(_mm512_setzero_ps(), bottom);
    }
    for (int i = 0; i < 4; i++) {
        const __m512 left = rows[2 * i], right = rows[2 * i + 1];
        out[4 * i] = left;
        out[4 * i + 1] = _mm512_add_ps(left, right);
        out[4 * i + 2] = _mm512_sub_ps(left, right);
        out[4 * i + 3] = _mm512_sub_ps(_mm512_setzero_ps(), right);
    }
}

/* to[row, 64 columns] = sum over pairs of a[row] b[64 columns], plus what is there if `add`. A pair of a is at
   a + row * row_step + pair * pair_step, counted in pairs. */
BF16_CODE static inline __attribute__((always_inline)) void multiply(const bf16 *a, Py_ssize_t row_step, Py_ssize_t pair_step,
    const bf16 *b, Py_ssize_t b_step, Py_ssize_t pairs, float *to, Py_ssize_t to_step, int rows, int add)
{
    __m512 sums[ROWS][4];
    const int32_t *pair = (const int32_t *)a;
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < 4; i++)
            sums[row][i] = add ? _mm512_loadu_ps(to + row * to_step + i * LANES) : _mm512_setzero_ps();
    for (Py_ssize_t p = 0; p < pairs; p++, pair += pair_step, b += b_step) {
        const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + 2 * LANES);
        const __m512bh b2 = (__m512bh)_mm512_loadu_si512(b + 4 * LANES), b3 = (__m512bh)_mm512_loadu_si512(b + 6 * LANES);
        for (int row = 0; row < rows; row++) {
            const __m512bh one = (__m512bh)_mm512_set1_epi32(pair[row * row_step]);
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], one, b0);
            sums[row][1] = _mm512_dpbf16_ps(sums[row][1], one, b1);
            sums[row][2] = _mm512_dpbf16_ps(sums[row][2], one, b2);
            sums[row][3] = _mm512_dpbf16_ps(sums[row][3], one, b3);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < 4; i++)
            _mm512_storeu_ps(to + row * to_step + i * LANES, sums[row][i]);
}

/* The output of blocks of tiles. */
BF16_CODE static void forward_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Winograd *work = argument;
    const Py_ssize_t channels = work->channels, outputs = work->outputs, all = all_tiles(work);
    const size_t v_size = sizeof(bf16) * (size_t)(PLACES * TILES * channels), m_size = sizeof(float) * PLACES * TILES * COLUMNS;
    char *memory = aligned_alloc(64, v_size + m_size + sizeof(bf16) * (size_t)channels);
    if (!memory) {
        *work->failed = 1;
        return;
    }
    bf16 *v = (bf16 *)memory, *nothing = (bf16 *)(memory + v_size + m_size);
    float *m = (float *)(memory + v_size);
    memset(nothing, 0, sizeof(bf16) * (size_t)channels);
    for (Py_ssize_t block = first; block < last; block++) {
        const Py_ssize_t start = block * TILES, count = all - start < TILES ? all - start : TILES;
        const Py_ssize_t filled = (count + ROWS - 1) / ROWS * ROWS;
        for (Py_ssize_t t = 0; t < filled; t++) { /* those after the last are of an image that does not exist: zero */
            const bf16 *pixels[PLACES];
            Tile at = tile_at(work, start + t);
            at.y--, at.x--;
            find_pixels(work, work->x, channels, at, 4, nothing, pixels);
            for (Py_ssize_t c = 0; c < channels; c += LANES) {
                __m512 places[PLACES];
                transform_input(pixels, c, places);
                for (int place = 0; place < PLACES; place++)
                    _mm256_store_si256((__m256i *)(v + (place * TILES + t) * channels + c), narrow(places[place]));
            }
        }
        for (Py_ssize_t column = 0; column < outputs; column += COLUMNS) {
            for (int place = 0; place < PLACES; place++) {
                const bf16 *panel = work->filters + (column / COLUMNS * PLACES + place) * channels * COLUMNS;
                for (Py_ssize_t t = 0; t < filled; t += ROWS)
                    multiply(v + (place * TILES + t) * channels, channels / 2, 1, panel, 2 * COLUMNS, channels / 2,
                             m + (place * TILES + t) * COLUMNS, COLUMNS, ROWS, 0);
            }
            for (Py_ssize_t t = 0; t < count; t++) { /* A' m A */
                const Tile at = tile_at(work, start + t);
                bf16 *to = work->y + ((at.image * work->height + at.y) * work->width + at.x) * outputs + column;
                const int right = at.x + 1 < work->width, below = at.y + 1 < work->height;
                for (int c = 0; c < COLUMNS; c += LANES) {
                    __m512 rows[8];
                    for (int j = 0; j < 4; j++) {
                        const float *from = m + (j * TILES + t) * COLUMNS + c;
                        const __m512 m0 = _mm512_load_ps(from), m1 = _mm512_load_ps(from + 4 * TILES * COLUMNS);
                        const __m512 m2 = _mm512_load_ps(from + 8 * TILES * COLUMNS);
                        const __m512 m3 = _mm512_load_ps(from + 12 * TILES * COLUMNS);
                        rows[j] = _mm512_add_ps(m0, _mm512_add_ps(m1, m2));
                        rows[4 + j] = _mm512_sub_ps(m1, _mm512_add_ps(m2, m3));
                    }
                    for (int i = 0; i < (below ? 2 : 1); i++) {
                        const __m512 *r = rows + 4 * i;
                        bf16 *pixel = to + i * work->width * outputs + c;
                        _mm256_storeu_si256((__m256i *)pixel, narrow(_mm512_add_ps(r[0], _mm512_add_ps(r[1], r[2]))));
                        if (right)
                            _mm256_storeu_si256((__m256i *)(pixel + outputs),
                                                narrow(_mm512_sub_ps(r[1], _mm512_add_ps(r[2], r[3]))));
                    }
                }
            }
        }
    }
    free(memory);
}

/* The gradient of the filters: first the transformed tiles of x and dy, then their products. */
BF16_CODE static void tiles_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Winograd *work = argument;
    const Py_ssize_t channels = work->channels, outputs = work->outputs, pairs = work->tiles / 2;
    const Py_ssize_t widest = channels > outputs ? channels : outputs;
    bf16 *nothing = calloc((size_t)widest, sizeof(bf16));
    if (!nothing) {
        *work->failed = 1;
        return;
    }
    for (Py_ssize_t p = first; p < last; p++) {
        const bf16 *pixels[2][PLACES];
        for (int which = 0; which < 2; which++) {
            Tile at = tile_at(work, work->first_tile + 2 * p + which);
            at.y--, at.x--;
            find_pixels(work, work->x, channels, at, 4, nothing, pixels[which]);
        }
        for (Py_ssize_t c = 0; c < channels; c += LANES) {
            __m512 a[PLACES], b[PLACES];
            transform_input(pixels[0], c, a);
            transform_input(pixels[1], c, b);
            for (int place = 0; place < PLACES; place++)
                _mm512_storeu_si512(work->v + ((place * pairs + p) * channels + c) * 2, narrow_pairs(a[place], b[place]));
        }
        for (int which = 0; which < 2; which++)
            find_pixels(work, work->dy, outputs, tile_at(work, work->first_tile + 2 * p + which), 2, nothing, pixels[which]);
        for (Py_ssize_t c = 0; c < outputs; c += LANES) {
            __m512 a[PLACES], b[PLACES];
            transform_gradient(pixels[0], c, a);
            transform_gradient(pixels[1], c, b);
            for (int place = 0; place < PLACES; place++)
                _mm512_storeu_si512(work->d + ((place * pairs + p) * outputs + c) * 2, narrow_pairs(a[place], b[place]));
        }
    }
    free(nothing);
}

/* A block is one place and 64 input channels. */
BF16_CODE static void products_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Winograd *work = argument;
    const Py_ssize_t channels = work->channels, outputs = work->outputs, pairs = work->tiles / 2;
    const Py_ssize_t panels = channels / COLUMNS;
    for (Py_ssize_t block = first; block < last; block++) {
        const Py_ssize_t place = block / panels, column = block % panels * COLUMNS;
        const bf16 *v = work->v + (place * pairs * channels + column) * 2, *d = work->d + place * pairs * outputs * 2;
        float *to = work->products + place * outputs * channels + column;
        Py_ssize_t k = 0;
        for (; k + ROWS <= outputs; k += ROWS)
            multiply(d + 2 * k, 1, outputs, v, 2 * channels, pairs, to + k * channels, channels, ROWS, work->add);
        for (; k < outputs; k += 2)
            multiply(d + 2 * k, 1, outputs, v, 2 * channels, pairs, to + k * channels, channels, 2, work->add);
    }
}

/* G' products G: [output channel, 3, 3, channel]. A block is one output channel. */
BF16_CODE static void gradient_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    const Winograd *work = argument;
    const Py_ssize_t channels = work->channels, place_step = work->outputs * channels;
    const __m512 half = _mm512_set1_ps(0.5f);
    for (Py_ssize_t k = first; k < last; k++)
        for (Py_ssize_t c = 0; c < channels; c += LANES) {
            const float *from = work->products + k * channels + c;
            float *to = work->dfilters + k * 9 * channels + c;
            __m512 rows[12];
            for (int j = 0; j < 4; j++) {
                const __m512 u0 = _mm512_loadu_ps(from + j * place_step), u1 = _mm512_loadu_ps(from + (4 + j) * place_step);
                const __m512 u2 = _mm512_loadu_ps(from + (8 + j) * place_step), u3 = _mm512_loadu_ps(from + (12 + j) * place_step);
                const __m512 sum = _mm512_mul_ps(half, _mm512_add_ps(u1, u2));
                rows[j] = _mm512_add_ps(u0, sum);
                rows[4 + j] = _mm512_mul_ps(half, _mm512_sub_ps(u1, u2));
                rows[8 + j] = _mm512_add_ps(sum, u3);
            }
            for (int i = 0; i < 3; i++, to += 3 * channels) {
                const __m512 *u = rows + 4 * i, sum = _mm512_mul_ps(half, _mm512_add_ps(u[1], u[2]));
                _mm512_storeu_ps(to, _mm512_add_ps(u[0], sum));
                _mm512_storeu_ps(to + channels, _mm512_mul_ps(half, _mm512_sub_ps(u[1], u[2])));
                _mm512_storeu_ps(to + 2 * channels, _mm512_add_ps(sum, u[3]));
            }
        }
}

typedef struct {
    Py_ssize_t outputs, channels;
    const float *filters; /* [outputs, 3, 3, channels] */
    bf16 *panels;         /* [panel, place, pair, 64 columns, 2] */
    int reverse;          /* for the gradient of the input: columns are input channels, and the filter is turned by 180 degrees */
} Filters;

/* G g G' of the filters of one output channel, for 16 channels of the input. */
BF16_CODE static inline void transform_filters(const float *filters, Py_ssize_t channels, __m512 *out)
{
    const __m512 half = _mm512_set1_ps(0.5f);
    __m512 rows[12];
    for (int j = 0; j < 3; j++) {
        const __m512 g0 = _mm512_loadu_ps(filters + j * channels), g1 = _mm512_loadu_ps(filters + (3 + j) * channels);
        const __m512 g2 = _mm512_loadu_ps(filters + (6 + j) * channels), sum = _mm512_add_ps(g0, g2);
        rows[j] = g0;
        rows[3 + j] = _mm512_mul_ps(half, _mm512_add_ps(sum, g1));
        rows[6 + j] = _mm512_mul_ps(half, _mm512_sub_ps(sum, g1));
        rows[9 + j] = g2;
    }
    for (int i = 0; i < 4; i++) {
        const __m512 *g = rows + 3 * i, sum = _mm512_add_ps(g[0], g[2]);
        out[4 * i] = g[0];
        out[4 * i + 1] = _mm512_mul_ps(half, _mm512_add_ps(sum, g[1]));
        out[4 * i + 2] = _mm512_mul_ps(half, _mm512_sub_ps(sum, g[1]));
        out[4 * i + 3] = g[2];
    }
}

/* A block is two output channels. */
BF16_CODE static void filters_range(const void *argument, Py_ssize_t first, Py_ssize_t last)
{
    static const int turned[4] = {3, 1, 2, 0};
    const Filters *work = argument;
    const Py_ssize_t channels = work->channels, outputs = work->outputs, column = 2 * COLUMNS;
    for (Py_ssize_t k = 2 * first; k < 2 * last; k += 2)
        for (Py_ssize_t c = 0; c < channels; c += LANES) {
            __m512 a[PLACES], b[PLACES];
            transform_filters(work->filters + k * 9 * channels + c, channels, a);
            transform_filters(work->filters + (k + 1) * 9 * channels + c, channels, b);
            for (int place = 0; place < PLACES; place++)
                if (work->reverse) {
                    const int to = 4 * turned[place / 4] + turned[place % 4];
                    bf16 *pair = work->panels + ((c / COLUMNS * PLACES + to) * (outputs / 2) + k / 2) * column;
                    _mm512_storeu_si512(pair + c % COLUMNS * 2, narrow_pairs(a[place], b[place]));
                } else {
                    bf16 *pair = work->panels + ((k / COLUMNS * PLACES + place) * (channels / 2) + c / 2) * column;
                    int32_t of_a[8], of_b[8];
                    _mm256_storeu_si256((__m256i *)of_a, narrow(a[place]));
                    _mm256_storeu_si256((__m256i *)of_b, narrow(b[place]));
                    for (int i = 0; i < 8; i++, pair += column) {
                        memcpy(pair + k % COLUMNS * 2, of_a + i, 4);
                        memcpy(pair + k % COLUMNS * 2 + 2, of_b + i, 4);
                    }
                }
        }
}

/* winograd_works(): whether this processor can run the code above. */
PyObject *winograd_works(PyObject *self, PyObject *args)
{
    return PyBool_FromLong(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16"));
}

/* Up to 2^20 channels, so that products of their numbers fit. */
static int sane(Py_ssize_t channels, Py_ssize_t outputs)
{
    return channels > 0 && outputs > 0 && channels % COLUMNS == 0 && outputs % COLUMNS == 0 && channels <= 1 << 20 &&
           outputs <= 1 << 20;
}

static void wrong(void)
{
    PyErr_SetString(PyExc_ValueError, "winograd: array lengths do not fit together");
}

/* winograd_filters(filters, panels, (outputs, channels), reverse, threads) */
PyObject *winograd_filters(PyObject *self, PyObject *args)
{
    Py_buffer filters = {0}, panels = {0};
    Filters work = {0};
    int threads;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*w*(nn)pi", &filters, &panels, &work.outputs, &work.channels, &work.reverse, &threads))
        return NULL;
    const Py_ssize_t count = work.outputs * work.channels;
    if (!sane(work.channels, work.outputs) || filters.len != count * 9 * (Py_ssize_t)sizeof(float) ||
        panels.len != count * PLACES * (Py_ssize_t)sizeof(bf16))
        wrong();
    else {
        work.filters = filters.buf;
        work.panels = panels.buf;
        run_blocks(filters_range, &work, work.outputs / 2, threads);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&filters);
    PyBuffer_Release(&panels);
    return result;
}

static int fits_image(const Winograd *work, const Py_buffer *x, const Py_buffer *y)
{
    const Py_ssize_t pixels = multiplied(multiplied(work->images, work->height), work->width);
    return pixels > 0 && sane(work->channels, work->outputs) &&
           x->len == multiplied(pixels, work->channels * (Py_ssize_t)sizeof(bf16)) &&
           y->len == multiplied(pixels, work->outputs * (Py_ssize_t)sizeof(bf16));
}

/* winograd_output(x, panels, y, (images, height, width, channels), outputs, threads) */
PyObject *winograd_output(PyObject *self, PyObject *args)
{
    Py_buffer x = {0}, panels = {0}, y = {0};
    int threads, failed = 0;
    Winograd work = {.failed = &failed};
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*y*w*(nnnn)ni", &x, &panels, &y, &work.images, &work.height, &work.width, &work.channels,
                          &work.outputs, &threads))
        return NULL;
    if (!fits_image(&work, &x, &y) ||
        panels.len != work.channels * work.outputs * PLACES * (Py_ssize_t)sizeof(bf16))
        wrong();
    else {
        work.x = x.buf;
        work.filters = panels.buf;
        work.y = y.buf;
        run_blocks(forward_range, &work, (all_tiles(&work) + TILES - 1) / TILES, threads);
        result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
    }
    PyBuffer_Release(&x);
    PyBuffer_Release(&panels);
    PyBuffer_Release(&y);
    return result;
}

/* winograd_gradient(x, dy, dfilters, (images, height, width, channels), outputs, threads) */
PyObject *winograd_gradient(PyObject *self, PyObject *args)
{
    Py_buffer x = {0}, dy = {0}, dfilters = {0};
    int threads, failed = 0;
    Winograd work = {.failed = &failed};
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "y*y*w*(nnnn)ni", &x, &dy, &dfilters, &work.images, &work.height, &work.width,
                          &work.channels, &work.outputs, &threads))
        return NULL;
    const Py_ssize_t count = work.channels * work.outputs;
    if (!fits_image(&work, &x, &dy) || dfilters.len != count * 9 * (Py_ssize_t)sizeof(float))
        wrong();
    else {
        const Py_ssize_t all = (all_tiles(&work) + 1) / 2 * 2, most = PART / (work.channels + work.outputs) / 2 * 2;
        const Py_ssize_t part = all < most ? all : most < 2 ? 2 : most;
        work.x = x.buf, work.dy = dy.buf, work.dfilters = dfilters.buf;
        work.products = malloc(sizeof(float) * (size_t)(PLACES * count));
        work.v = malloc(sizeof(bf16) * (size_t)(PLACES * part * (work.channels + work.outputs)));
        if (work.products && work.v) {
            work.d = work.v + PLACES * part * work.channels;
            for (; work.first_tile < all; work.first_tile += part) {
                work.tiles = all - work.first_tile < part ? all - work.first_tile : part;
                work.add = work.first_tile > 0;
                run_blocks(tiles_range, &work, work.tiles / 2, threads);
                run_blocks(products_range, &work, PLACES * (work.channels / COLUMNS), threads);
            }
            run_blocks(gradient_range, &work, work.outputs, threads);
        } else
            failed = 1;
        result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
        free(work.products);
        free(work.v);
    }
    PyBuffer_Release(&x);
    PyBuffer_Release(&dy);
    PyBuffer_Release(&dfilters);
    return result;
}

#endif
