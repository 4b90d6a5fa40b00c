// The part of a report that shows synthetic tasks.
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_TASKS_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_TASKS_H_

#include "evaluator/html/html_page.h"
#include "evaluator/report/report_data.h"

namespace lextra {

// Heat maps of keys found and the table of all tasks, if there are any.
void AppendSyntheticTasks(const ReportData& data, HtmlPage* page);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_TASKS_H_
