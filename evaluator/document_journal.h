// What has been scored, a line a document: documents.jsonl in the results
// folder. An evaluation that is started again takes from it what is there, so
// that one that was killed goes on, and every document counts once.
//
// While it runs, each data coordinate appends to a file of its own,
// documents-<coordinate>.jsonl, by one write for each group of documents; when
// the evaluation opens or finishes the journal, rank 0 puts all of them into
// one. The first line of a file says what its numbers are about; files about
// something else are set aside. docs/formats.md has the lines.
#ifndef LEXTRA_EVALUATOR_DOCUMENT_JOURNAL_H_
#define LEXTRA_EVALUATOR_DOCUMENT_JOURNAL_H_

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
  // Collective over the mesh's world, like Finish. `folder` exists. `subject`:
  // checkpoint, precision and data, in words.
  static absl::StatusOr<DocumentJournal> Open(const std::string& folder,
                                              const std::string& subject,
                                              DeviceMesh& mesh);

  int64_t size() const { return std::ssize(entries_); }
  // The entry of a document scored earlier, with these pieces; or null.
  const JournalEntry* Find(const std::string& row, int64_t document,
                           uint32_t pieces) const;

  // Called by all ranks alike; one of each data coordinate writes. What can't
  // be written is lost to a restart: a warning, no error.
  void Append(const std::vector<JournalEntry>& entries);

  absl::Status Finish();

 private:
  DocumentJournal(std::string folder, std::string subject, DeviceMesh& mesh)
      : folder_(std::move(folder)),
        subject_(std::move(subject)),
        mesh_(&mesh) {}

  // Rank 0: the lines of all files about this subject, which become one file.
  absl::StatusOr<std::string> Unite() const;

  std::string folder_;
  std::string subject_;
  DeviceMesh* mesh_;
  bool has_header_ = false;  // of this data coordinate's file
  std::map<std::pair<std::string, int64_t>, JournalEntry> entries_;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_DOCUMENT_JOURNAL_H_
