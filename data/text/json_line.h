// One line of a JSON lines file.
#ifndef LEXTRA_DATA_TEXT_JSON_LINE_H_
#define LEXTRA_DATA_TEXT_JSON_LINE_H_

#include <string>
#include <string_view>

namespace lextra {

struct JsonLine {
  std::string text;
  std::string problem;    // what is wrong; empty if the text was found
  bool has_keys = false;  // it is a JSON object with at least one key
};

// Finds the string under `text_key` without building the rest of the object.
// Values of other keys only have to be valid JSON: numbers may be of any size.
JsonLine ParseJsonLine(std::string_view line, const std::string& text_key);

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_JSON_LINE_H_
