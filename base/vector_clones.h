// Vector instructions that still run on old machines: a function marked
// LEXTRA_VECTOR_CLONES is compiled for AVX-512, for AVX2 with FMA and for plain
// x86-64, and the loader picks the best that the machine supports. Functions
// that it calls are cloned only if inlined: mark them LEXTRA_ALWAYS_INLINE.
// Mark loops to vectorize with `#pragma omp simd`.
#ifndef LEXTRA_BASE_VECTOR_CLONES_H_
#define LEXTRA_BASE_VECTOR_CLONES_H_

// The loader chooses before the thread sanitizer, built into the chooser, is
// up.
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
