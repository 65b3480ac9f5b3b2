/* What the kernels of this folder share: bfloat16, and torch's threads. */

#ifndef FEEDLINE_MODEL_KERNELS_H
#define FEEDLINE_MODEL_KERNELS_H

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;

/* a b, or -1 where it does not fit, or one of them is not above 0. */
static inline Py_ssize_t multiplied(Py_ssize_t a, Py_ssize_t b)
{
    return a > 0 && b > 0 && a <= PY_SSIZE_T_MAX / b ? a * b : -1;
}

/* Calls range(work, first, last) for blocks 0 to `blocks`, in `threads` threads, without the GIL. */
void run_blocks(void (*range)(const void *, Py_ssize_t, Py_ssize_t), const void *work, Py_ssize_t blocks, int threads);

/* Where the compiler has intrinsics for AVX512_BF16. */
#if defined(__x86_64__) && defined(__linux__) && \
    ((defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11) || (defined(__clang__) && __clang_major__ >= 14))
#define WINOGRAD
PyObject *winograd_works(PyObject *self, PyObject *args);
PyObject *winograd_filters(PyObject *self, PyObject *args);
PyObject *winograd_output(PyObject *self, PyObject *args);
PyObject *winograd_gradient(PyObject *self, PyObject *args);
#endif

#endif
