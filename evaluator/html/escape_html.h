// & < > " for text and attributes of a page; control characters, which XML does
// not allow, become blanks.
#ifndef LEXTRA_EVALUATOR_HTML_ESCAPE_HTML_H_
#define LEXTRA_EVALUATOR_HTML_ESCAPE_HTML_H_

#include <string>

namespace lextra {

std::string EscapeHtml(const std::string& text);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_HTML_ESCAPE_HTML_H_
