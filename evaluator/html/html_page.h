// A self-contained XHTML page as it is written from top to bottom: a style
// sheet that reads in light, dark and print, texts, tables, and figures of
// charts.
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
  // `code`, if any, stands on lines of its own below the text.
  void Paragraph(const std::string& text, const std::string& code = "");
  // The first line is the head; the first `num_texts` columns are texts, the
  // others numbers.
  void Table(const std::vector<std::vector<std::string>>& lines,
             size_t num_texts);

  // Shares, 0 to 1, of rows and columns, as a table whose cells are the darker
  // the larger the share; NaN leaves a cell empty.
  void HeatMap(const std::string& corner, const std::vector<std::string>& rows,
               const std::vector<std::string>& columns,
               const std::vector<std::vector<double>>& shares);

  // Charts side by side where there is room, and a caption below them.
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
