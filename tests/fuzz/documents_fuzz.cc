// Documents out of text, JSONL and .gz files. The first byte says what the rest
// is called: '0' text, '1' paragraphs, '2' JSONL, '4', '5', '6' the same
// packed, and '8' to '>' with what is wrong left out.
#include <string>

#include "data/text/document_reader.h"
#include "tests/fuzz/fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lextra;
  constexpr size_t kMaxBytes = 1 << 12;
  if (size == 0) return 0;
  const int kind = data[0] & 7;
  std::string name = (kind & 2) != 0 ? "a.jsonl" : "a.txt";
  if ((kind & 4) != 0) name += ".gz";
  const bool skip = (data[0] & 8) != 0;
  DocumentReader reader({.split_blank_lines = (kind & 1) != 0,
                         .skip_bad_lines = skip,
                         .skip_other_formats = skip,
                         .max_document_bytes = kMaxBytes});
  const absl::Status status =
      reader.Read(fuzz::Put(name, fuzz::Text(data + 1, size - 1)),
                  [](std::string_view text) {
                    FUZZ_CHECK(text.size() <= kMaxBytes);
                    return absl::OkStatus();
                  });
  if (!status.ok()) fuzz::CheckRefusal(status, ExitCode::kInput);
  FUZZ_CHECK(reader.stored_bytes() <= static_cast<int64_t>(size));
  return 0;
}
