// Vector instructions without giving up old machines: a function marked
// LEXTRA_VECTOR_CLONES is compiled for AVX-512, for AVX2 with FMA and for plain
// x86-64, and the loader takes the best that the machine has. What it calls is
// cloned with it only if inlined: mark such helpers LEXTRA_ALWAYS_INLINE. Loops
// that shall be vectorized say so by `#pragma omp simd`.
#ifndef LEXTRA_BASE_VECTOR_CLONES_H_
#define LEXTRA_BASE_VECTOR_CLONES_H_

// The loader chooses before the thread sanitizer is up, which it is built into.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LEXTRA_VECTOR_CLONES
#endif
#endif
#ifndef LEXTRA_VECTOR_CLONES
#define LEXTRA_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define LEXTRA_ALWAYS_INLINE inline __attribute__((always_inline))

#endif  // LEXTRA_BASE_VECTOR_CLONES_H_
