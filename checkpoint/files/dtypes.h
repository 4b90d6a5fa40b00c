// Dtypes of tensors in files, by the names that safetensors gives them: F64,
// F32, F16, BF16, I64, .., BOOL.
#ifndef LEXTRA_CHECKPOINT_FILES_DTYPES_H_
#define LEXTRA_CHECKPOINT_FILES_DTYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lextra {

// Bytes of one element; nullopt for an unknown dtype.
std::optional<int64_t> DtypeBytes(const std::string& dtype);

// The dtype's place in the order of the format's own writers, in which larger
// elements come later; -1 for an unknown one.
int DtypeRank(std::string_view name);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_DTYPES_H_
