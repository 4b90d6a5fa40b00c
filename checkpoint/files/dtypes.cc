#include "checkpoint/files/dtypes.h"

#include <array>

namespace lextra {
namespace {

struct Dtype {
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<Dtype, 16> kDtypes = {{{"BOOL", 1},
                                            {"U8", 1},
                                            {"I8", 1},
                                            {"F8_E5M2", 1},
                                            {"F8_E4M3", 1},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I32", 4},
                                            {"U32", 4},
                                            {"F32", 4},
                                            {"C64", 8},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8}}};

}  // namespace

std::optional<int64_t> DtypeBytes(const std::string& dtype) {
  const int rank = DtypeRank(dtype);
  if (rank < 0) return std::nullopt;
  return kDtypes[rank].bytes;
}

int DtypeRank(std::string_view name) {
  for (size_t i = 0; i < kDtypes.size(); ++i) {
    if (kDtypes[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace lextra
