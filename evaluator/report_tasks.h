// The part of a report's page that shows synthetic tasks.
#ifndef LEXTRA_EVALUATOR_REPORT_TASKS_H_
#define LEXTRA_EVALUATOR_REPORT_TASKS_H_

#include "evaluator/html_page.h"
#include "evaluator/report_data.h"

namespace lextra {

// Heat maps of keys found and a table of bytes copied, if there are any.
void AppendSyntheticTasks(const ReportData& data, HtmlPage* page);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_TASKS_H_
