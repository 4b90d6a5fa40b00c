// What has been scored, one line per document: documents.jsonl in the results
// folder. A rerun evaluation takes scored documents from it, so a killed one
// resumes and every document counts once.
//
// While it runs, each data coordinate appends to its own file,
// documents-<coordinate>.jsonl, with one write per group of documents; when the
// evaluation opens or finishes the journal, rank 0 merges all files into one.
// Every line names its subject: an evaluation uses the lines of its own subject
// and keeps the others. Files of these names that do not begin like a journal
// are not ours: they are neither read nor removed. docs/formats.md describes
// the lines.
#ifndef LEXTRA_EVALUATOR_SCORING_DOCUMENT_JOURNAL_H_
#define LEXTRA_EVALUATOR_SCORING_DOCUMENT_JOURNAL_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "parallel/device_mesh.h"

namespace lextra {

// One document of one row (RowName in results.h).
struct JournalEntry {
  std::string row;
  int64_t document = 0;
  uint32_t pieces = 0;  // a checksum of which targets were scored
  double seconds = 0;   // of scoring
  struct PlaceSums {
    int64_t bin = 0;  // PositionNll's
    double nll = 0;
    int64_t tokens = 0;
  };
  std::vector<PlaceSums> sums = {};
};

class DocumentJournal {
 public:
  // Collective over the mesh's world, like Finish. `folder` exists and is
  // locked by this job. `subject`: checkpoint, precision and data, in words.
  // UsageError if a file that is not ours has the name of one to be written.
  static absl::StatusOr<DocumentJournal> Open(const std::string& folder,
                                              const std::string& subject,
                                              DeviceMesh& mesh);

  int64_t size() const { return std::ssize(entries_); }
  // The entry of a document scored earlier, with these pieces; or null.
  const JournalEntry* Find(const std::string& row, int64_t document,
                           uint32_t pieces) const;

  // Called by all ranks alike; one rank per data coordinate writes. A failed
  // write is a warning: a rerun scores these documents again.
  void Append(const std::vector<JournalEntry>& entries);

  absl::Status Finish();

 private:
  DocumentJournal(std::string folder, const std::string& subject,
                  DeviceMesh& mesh);

  // Rank 0: merges all files into one and returns the lines of this subject.
  absl::StatusOr<std::string> Unite() const;

  std::string folder_;
  std::string header_;  // the subject's line
  std::string id_;      // of the subject, in each of its lines
  DeviceMesh* mesh_;
  std::map<std::pair<std::string, int64_t>, JournalEntry> entries_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_DOCUMENT_JOURNAL_H_
