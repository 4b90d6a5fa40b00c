// One line of JSON lines.
#ifndef LEXTRA_DATA_TEXT_JSON_LINE_H_
#define LEXTRA_DATA_TEXT_JSON_LINE_H_

#include <string>
#include <string_view>

namespace lextra {

struct JsonLine {
  std::string text;
  std::string problem;    // what is wrong; empty if the text was found
  bool has_keys = false;  // it is JSON, an object of at least one key
};

// Finds the string under `text_key` without building the rest of the object.
// What stands under other keys has to be JSON and no more: a number may be of
// any size.
JsonLine ParseJsonLine(std::string_view line, const std::string& text_key);

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_JSON_LINE_H_
