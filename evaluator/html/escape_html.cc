#include "evaluator/html/escape_html.h"

#include "absl/strings/str_replace.h"

namespace lextra {

std::string EscapeHtml(const std::string& text) {
  std::string printable;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    printable += byte < ' ' && letter != '\n' ? ' ' : letter;
  }
  return absl::StrReplaceAll(
      printable,
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace lextra
