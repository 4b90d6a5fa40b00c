// A self-contained XHTML page, written from top to bottom: a style sheet for
// light, dark and print, paragraphs, tables, and figures of charts.
#ifndef LEXTRA_EVALUATOR_HTML_HTML_PAGE_H_
#define LEXTRA_EVALUATOR_HTML_HTML_PAGE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "evaluator/html/svg_chart.h"

namespace lextra {

// Texts are escaped.
class HtmlPage {
 public:
  explicit HtmlPage(const std::string& title);

  void Heading(const std::string& text);
  // `code`, if any, is on separate lines below the text.
  void Paragraph(const std::string& text, const std::string& code = "");
  // The first line is the header; the first `num_texts` columns are text, the
  // others numbers.
  void Table(const std::vector<std::vector<std::string>>& lines,
             size_t num_texts);

  // Shares, 0 to 1, of rows and columns, as a table with darker cells for
  // larger shares; NaN leaves a cell empty.
  void HeatMap(const std::string& corner, const std::vector<std::string>& rows,
               const std::vector<std::string>& columns,
               const std::vector<std::vector<double>>& shares);

  // Charts side by side if there is room, with a caption below.
  void BeginFigure();
  void Panel(const Chart& chart);
  void EndFigure(const std::string& caption);

  // The whole page.
  std::string Text() const;

 private:
  std::string html_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_HTML_HTML_PAGE_H_
