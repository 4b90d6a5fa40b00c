#include "data/text/json_line.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

// nlohmann::json's error id of a number beyond double.
constexpr int kNumberOutOfRange = 406;

// Why a line is not JSON; empty if unknown. `what` is nlohmann's message: "[id]
// parse error at ...: syntax error while parsing value - REASON; last read:
// '...'", which ends with text from the file.
std::string SyntaxReason(std::string_view line, size_t position,
                         std::string_view what) {
  what = what.substr(0, what.find("; last read:"));
  const auto has = [what](const char* words) {
    return what.find(words) != what.npos;
  };
  if (position > 0 && position <= line.size()) {
    const std::string_view rest = line.substr(position - 1);
    if (rest.starts_with("NaN") || rest.starts_with("Infinity")) {
      return "NaN and Infinity are not JSON";
    }
  }
  if (has("ill-formed UTF-8")) return "invalid UTF-8";
  if (has("surrogate")) {
    return "unpaired surrogate (\\ud800 to \\udfff)";
  }
  if (has("unexpected end of input") || has("missing closing quote")) {
    return "line is truncated";
  }
  if (has("control character")) {
    return "control character in a string";
  }
  if (has("expected end of input")) {
    return "extra data after the value";
  }
  return "";
}

// Finds the text of one object.
class TextFinder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TextFinder(std::string_view line, const std::string& key)
      : line_(line), wanted_key_(key) {}

  JsonLine Take() {
    JsonLine result;
    result.problem = Problem();
    result.has_keys = syntax_problem_.empty() && has_keys_;
    result.text = std::move(text_);
    return result;
  }
  bool meets_large_number() const { return meets_large_number_; }

  bool null() override { return Other("null"); }
  bool boolean(bool) override { return Other("a boolean"); }
  bool number_integer(int64_t) override { return Other("a number"); }
  bool number_unsigned(uint64_t) override { return Other("a number"); }
  bool number_float(double, const std::string&) override {
    return Other("a number");
  }
  bool binary(binary_t&) override { return Other("binary"); }
  bool string(std::string& value) override {
    if (!AtWantedValue()) return Other("a string");
    text_ = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ == 0) {
      in_object_ = true;
    } else {
      Other("an object");
    }
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    Other("an array");
    ++depth_;
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& name) override {
    if (depth_ != 1) return true;
    has_keys_ |= in_object_;
    at_wanted_key_ = name == wanted_key_;
    if (at_wanted_key_) {
      ++times_found_;
    } else if (keys_.size() < kMaxKeysNamed) {
      keys_.push_back(std::move(name));
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    meets_large_number_ = error.id == kNumberOutOfRange;
    const std::string reason = SyntaxReason(line_, position, error.what());
    syntax_problem_ =
        absl::StrCat("not valid JSON at byte ", position, " of the line",
                     reason.empty() ? "" : ": ", reason);
    return false;
  }

 private:
  static constexpr size_t kMaxKeysNamed = 8;

  std::string Problem() const {
    if (!syntax_problem_.empty()) return syntax_problem_;
    if (!in_object_) return "expected a JSON object, got " + found_instead_;
    if (times_found_ > 1) {
      return absl::StrCat("duplicate key '", wanted_key_, "'");
    }
    if (times_found_ == 0) {
      return absl::StrCat(
          "no key '", wanted_key_, "' in this object",
          keys_.empty() ? "" : "; available: " + absl::StrJoin(keys_, ", "),
          " (choose one with --text_key)");
    }
    if (!found_instead_.empty()) {
      return absl::StrCat("'", wanted_key_, "' is ", found_instead_,
                          ", expected a string");
    }
    return "";
  }

  bool AtWantedValue() const { return depth_ == 1 && at_wanted_key_; }
  bool Other(const char* what) {
    if (depth_ == 0 || AtWantedValue()) found_instead_ = what;
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }

  std::string_view line_;
  const std::string& wanted_key_;
  std::string text_;
  std::string syntax_problem_;
  std::string found_instead_;  // of an object, or of a string
  std::vector<std::string> keys_;
  int64_t depth_ = 0;
  int64_t times_found_ = 0;
  bool in_object_ = false;
  bool has_keys_ = false;
  bool at_wanted_key_ = false;
  bool meets_large_number_ = false;
};

size_t DigitsAt(std::string_view text, size_t begin) {
  size_t end = begin;
  while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
  return end - begin;
}

// Bytes of the JSON number at `begin`; 0 if there is none.
size_t NumberBytes(std::string_view text, size_t begin) {
  const auto at = [text](size_t i) { return i < text.size() ? text[i] : '\0'; };
  size_t end = begin + (at(begin) == '-');
  const size_t whole = DigitsAt(text, end);
  if (whole == 0 || (whole > 1 && text[end] == '0')) return 0;
  end += whole;
  if (at(end) == '.') {
    const size_t fraction = DigitsAt(text, end + 1);
    if (fraction == 0) return 0;
    end += 1 + fraction;
  }
  if (at(end) == 'e' || at(end) == 'E') {
    const size_t sign = at(end + 1) == '+' || at(end + 1) == '-';
    const size_t exponent = DigitsAt(text, end + 1 + sign);
    if (exponent == 0) return 0;
    end += 1 + sign + exponent;
  }
  return end - begin;
}

// The end of the string whose opening quote is at `begin`.
size_t StringEnd(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1;
    if (text[i] == '\\') ++i;
  }
  return text.size();
}

// `line` with 0 and blanks in place of each number beyond double, which
// nlohmann::json rejects before it calls its reader. In one pass, since a line
// may have many.
std::string WithoutLargeNumbers(std::string_view line) {
  std::string copy(line);
  for (size_t i = 0; i < copy.size();) {
    if (copy[i] == '"') {
      i = StringEnd(copy, i);
      continue;
    }
    const size_t bytes = NumberBytes(copy, i);
    if (bytes > 0 &&
        std::isinf(std::strtod(copy.substr(i, bytes).c_str(), nullptr))) {
      copy.replace(i, bytes, "0" + std::string(bytes - 1, ' '));
    }
    i += std::max<size_t>(bytes, 1);
  }
  return copy;
}

}  // namespace

JsonLine ParseJsonLine(std::string_view line, const std::string& text_key) {
  // In an unterminated string the newline would be a control character.
  if (line.ends_with('\n')) line.remove_suffix(1);
  TextFinder finder(line, text_key);
  nlohmann::json::sax_parse(line, &finder);
  if (!finder.meets_large_number()) return finder.Take();
  const std::string copy = WithoutLargeNumbers(line);
  TextFinder second(copy, text_key);
  nlohmann::json::sax_parse(copy, &second);
  return second.Take();
}

}  // namespace lextra
