// Pointers in autograd's saved_data, which takes numbers. The pointee outlives
// the backward pass; callers say so.
#ifndef LEXTRA_OPS_SAVED_POINTER_H_
#define LEXTRA_OPS_SAVED_POINTER_H_

#include <ATen/core/ivalue.h>

#include <cstdint>

namespace lextra {

inline c10::IValue SavedPointer(const void* pointer) {
  return reinterpret_cast<int64_t>(pointer);
}

// What SavedPointer was given, a T*.
template <typename T>
T* PointerOf(const c10::IValue& saved) {
  return reinterpret_cast<T*>(saved.toInt());
}

}  // namespace lextra

#endif  // LEXTRA_OPS_SAVED_POINTER_H_
