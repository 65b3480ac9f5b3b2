/* What the kernels' files share. */

#ifndef FEEDLINE_KERNELS_H
#define FEEDLINE_KERNELS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

/* Functions that are also compiled for wider vectors; loading the module chooses the version for this processor. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && (!defined(__clang__) || __clang_major__ >= 14)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

void normalise(float *restrict to, const uint8_t *restrict from, const float *restrict scale,
               const float *restrict shift, Py_ssize_t values);

/* Lets go of what a call was given. */
static inline void release(Py_buffer *const *buffers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        PyBuffer_Release(buffers[i]);
}

PyObject *resize(PyObject *self, PyObject *args);

#endif
