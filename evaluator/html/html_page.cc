#include "evaluator/html/html_page.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evaluator/html/escape_html.h"

namespace lextra {
namespace {

constexpr char kStyle[] = R"(
:root { --paper: #ffffff; --ink: #1b1f24; --faint: #5b6570; --rule: #d5dae0;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b05a8c; --c4: #a87600;
  --c5: #5b6570; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e8ebee;
  --faint: #9aa5b1; --rule: #343b43; --c0: #5ab4f0; --c1: #ff8a4a;
  --c2: #3fd0a4; --c3: #e59ac6; --c4: #f0bd42; --c5: #a9b4bf; } }
@media print { :root { --paper: #ffffff; --ink: #000000; --faint: #444444;
  --rule: #cccccc; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b05a8c;
  --c4: #a87600; --c5: #5b6570; } figure, tr { break-inside: avoid; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 74rem;
  background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p { max-width: 46rem; margin: .5rem 0; }
.faint, figcaption, th { color: var(--faint); }
figure { margin: 1rem 0; }
figcaption { max-width: 60rem; font-size: .9rem; margin-top: .4rem; }
.panels { display: grid; gap: .6rem 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
.chart { width: 100%; height: auto; max-width: 40rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .9rem; margin: .6rem 0; }
th, td { padding: .22rem .7rem .22rem 0; text-align: right;
  border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; }
.text { text-align: left; white-space: normal; }
.heat td { background: color-mix(in srgb, var(--c0) var(--share, 0%),
  transparent); padding-left: .7rem; text-align: center; }
code { font: .85em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.heading { font-weight: 600; font-size: 14px; fill: var(--ink); }
.tick { font-size: 11.5px; fill: var(--faint); }
.label { font-size: 12px; fill: var(--ink); }
.axis { fill: none; stroke: var(--faint); }
.grid { stroke: var(--rule); stroke-width: .7; }
.mark { stroke: var(--ink); stroke-dasharray: 3 3; stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.band { stroke: none; fill-opacity: .16; }
.marker { stroke: var(--paper); stroke-width: 1; }
)";

// Stroke and fill of the line styles.
std::string StyleClasses() {
  std::string css;
  for (int style = 0; style < 6; ++style) {
    absl::StrAppendFormat(&css,
                          ".line.c%d { stroke: var(--c%d); } .band.c%d, "
                          ".marker.c%d { fill: var(--c%d); }\n",
                          style, style, style, style, style);
  }
  return css;
}

}  // namespace

HtmlPage::HtmlPage(const std::string& title) {
  absl::StrAppend(&html_,
                  "<!DOCTYPE html>\n<html lang=\"en\" "
                  "xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta "
                  "charset=\"utf-8\"/>\n<meta name=\"viewport\" "
                  "content=\"width=device-width, initial-scale=1\"/>\n<meta "
                  "name=\"color-scheme\" content=\"light dark\"/>\n<title>",
                  EscapeHtml(title), "</title>\n<style>", kStyle,
                  StyleClasses(), "</style>\n</head>\n<body>\n<h1>",
                  EscapeHtml(title), "</h1>\n");
}

void HtmlPage::Heading(const std::string& text) {
  absl::StrAppend(&html_, "<h2>", EscapeHtml(text), "</h2>\n");
}

void HtmlPage::Paragraph(const std::string& text, const std::string& code) {
  absl::StrAppend(&html_, "<p>", EscapeHtml(text));
  if (!code.empty()) {
    absl::StrAppend(&html_, "<br/><code>", EscapeHtml(code), "</code>");
  }
  absl::StrAppend(&html_, "</p>\n");
}

void HtmlPage::Table(const std::vector<std::vector<std::string>>& lines,
                     size_t num_texts) {
  absl::StrAppend(&html_, "<div class=\"scroll\"><table>\n");
  for (const std::vector<std::string>& cells : lines) {
    const char* tag = &cells == &lines[0] ? "th" : "td";
    absl::StrAppend(&html_, "<tr>");
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&html_, "<", tag,
                      i < num_texts ? " class=\"text\">" : ">",
                      EscapeHtml(cells[i]), "</", tag, ">");
    }
    absl::StrAppend(&html_, "</tr>\n");
  }
  absl::StrAppend(&html_, "</table></div>\n");
}

void HtmlPage::HeatMap(const std::string& corner,
                       const std::vector<std::string>& rows,
                       const std::vector<std::string>& columns,
                       const std::vector<std::vector<double>>& shares) {
  absl::StrAppend(&html_, "<div class=\"scroll\"><table class=\"heat\">\n<tr>",
                  "<th class=\"text\">", EscapeHtml(corner), "</th>");
  for (const std::string& column : columns) {
    absl::StrAppend(&html_, "<th>", EscapeHtml(column), "</th>");
  }
  absl::StrAppend(&html_, "</tr>\n");
  for (size_t row = 0; row < rows.size(); ++row) {
    absl::StrAppend(&html_, "<tr><th class=\"text\">", EscapeHtml(rows[row]),
                    "</th>");
    for (const double share : shares[row]) {
      if (std::isnan(share)) {
        absl::StrAppend(&html_, "<td></td>");
      } else {
        absl::StrAppendFormat(&html_,
                              "<td style=\"--share: %.0f%%\">%.0f %%</td>",
                              70 * share, 100 * share);
      }
    }
    absl::StrAppend(&html_, "</tr>\n");
  }
  absl::StrAppend(&html_, "</table></div>\n");
}

void HtmlPage::BeginFigure() {
  absl::StrAppend(&html_, "<figure><div class=\"panels\">\n");
}

void HtmlPage::Panel(const Chart& chart) {
  absl::StrAppend(&html_, ChartSvg(chart));
}

void HtmlPage::EndFigure(const std::string& caption) {
  absl::StrAppend(&html_, "</div>\n<figcaption>", EscapeHtml(caption),
                  "</figcaption></figure>\n");
}

std::string HtmlPage::Text() const {
  return absl::StrCat(html_, "</body>\n</html>\n");
}

}  // namespace lextra
