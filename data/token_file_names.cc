#include "data/token_file_names.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "data/token_file_format.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

constexpr size_t kHeadBytes = 4096;
constexpr std::string_view kOldTemporary = ".tmp-";

bool IsMeta(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr,
                                          /*allow_exceptions=*/false);
  return json.is_object() && json.contains(kMetaTokenizer) &&
         json.contains(kMetaVocabSize) && json.contains(kMetaEosId);
}

bool IsDigestRecord(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr,
                                          /*allow_exceptions=*/false);
  return json.is_object() && json.contains("xxh3_128") &&
         json.contains("fingerprint");
}

// Empty where there is none.
std::string HeadOf(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return "";
  std::string head(kHeadBytes, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(head.data(), std::ssize(head));
  head.resize(std::max<std::streamsize>(file.gcount(), 0));
  return head;
}

// NAME.bin.tmp-123
bool IsOldTemporaryName(std::string_view path) {
  const size_t digits = path.find_last_not_of("0123456789");
  if (digits == path.npos || digits + 1 == path.size()) return false;
  path = path.substr(0, digits + 1);
  if (!path.ends_with(kOldTemporary)) return false;
  path.remove_suffix(kOldTemporary.size());
  return std::any_of(
      std::begin(kTokenFileSuffixes), std::end(kTokenFileSuffixes),
      [path](const char* suffix) { return path.ends_with(suffix); });
}

}  // namespace

bool IsTokenFile(const std::string& path, std::string_view head) {
  if (head.starts_with(kIndexMagic)) return true;
  if (path.ends_with(".meta.json")) return IsMeta(head);
  if (path.ends_with(kDigestSuffix)) return IsDigestRecord(head);
  if (path.ends_with(".bin")) {
    const std::string stem = path.substr(0, path.size() - 4);
    return HeadOf(stem + ".idx").starts_with(kIndexMagic) ||
           IsMeta(HeadOf(stem + ".meta.json"));
  }
  return IsOldTemporaryName(path);
}

}  // namespace lextra
