// The files of a token data set, recognized by name and content.
#ifndef LEXTRA_DATA_TOKEN_FILE_NAMES_H_
#define LEXTRA_DATA_TOKEN_FILE_NAMES_H_

#include <string>
#include <string_view>

namespace lextra {

// In the order in which a data set gets its names: it opens once .idx exists.
constexpr const char* kTokenFileSuffixes[] = {".bin", ".meta.json", ".idx"};

// Whether the file at `path`, which begins with `head` (a few KiB), belongs to
// a token data set: an index by its magic, a .meta.json and a .digest.json by
// their keys, a .bin by an index or .meta.json next to it, a temporary file of
// earlier versions by its name (NAME.bin.tmp-123).
bool IsTokenFile(const std::string& path, std::string_view head);

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKEN_FILE_NAMES_H_
