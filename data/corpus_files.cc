#include "data/corpus_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/token_file_names.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

// Enough for most files; the reader checks more.
constexpr size_t kFirstLookBytes = 4096;

using Identity = std::pair<dev_t, ino_t>;

Identity IdentityOf(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}

bool HasExtension(std::string_view name,
                  const std::vector<std::string>& extensions) {
  const std::string_view unpacked = WithoutGzipEnding(name);
  return extensions.empty() ||
         std::any_of(extensions.begin(), extensions.end(),
                     [&](const std::string& extension) {
                       return EndsWith(name, extension) ||
                              EndsWith(unpacked, extension);
                     });
}

class Search {
 public:
  explicit Search(const CorpusOptions& options) : options_(options) {
    for (const std::string& output : options.outputs) {
      for (const char* suffix : kTokenFileSuffixes) {
        struct stat status;
        if (stat((output + suffix).c_str(), &status) == 0) {
          outputs_.insert(IdentityOf(status));
        }
      }
    }
  }

  absl::Status Add(const std::string& input) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (fs::is_directory(status)) return AddFolder(input);
    if (fs::is_regular_file(status)) return AddFile(input);
    return InputError(absl::StrCat(
        input, ": ", error ? error.message() : "not a file or a folder"));
  }

  absl::StatusOr<CorpusFiles> Take() {
    if (num_refused_ <= 1) {
      LEXTRA_RETURN_IF_ERROR(refused_);
    } else {
      return InputError(
          absl::StrCat(refused_.message(), " (one of ", num_refused_,
                       " such files; --skip_other_formats skips them)"));
    }
    return std::move(found_);
  }

 private:
  absl::Status AddFolder(const std::string& folder);
  absl::Status Walk(const std::string& folder, std::vector<std::string>* paths);
  absl::StatusOr<bool> EnterFolder(const std::string& folder);
  void Note(const fs::directory_entry& entry, std::vector<std::string>* paths,
            std::vector<std::string>* linked);
  absl::Status AddFile(const std::string& path);
  absl::Status Look(const std::string& path, int descriptor);
  void LeaveOut(const std::string& path, const FileFormat& format);

  const CorpusOptions& options_;
  CorpusFiles found_;
  std::set<Identity> outputs_;
  std::set<Identity> files_;
  std::set<Identity> folders_;
  std::string head_;  // of the file being looked at
  absl::Status refused_;
  int64_t num_refused_ = 0;
};

absl::Status Search::AddFolder(const std::string& folder) {
  std::vector<std::string> paths;
  const int64_t repeated_before = found_.skipped.repeated_folders;
  LEXTRA_RETURN_IF_ERROR(Walk(folder, &paths));
  const bool is_new = found_.skipped.repeated_folders == repeated_before;
  if (paths.empty() && is_new) {
    return InputError(
        absl::StrCat(folder, ": no files",
                     options_.extensions.empty() ? "" : " with the extension ",
                     absl::StrJoin(options_.extensions, " or ")));
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) LEXTRA_RETURN_IF_ERROR(AddFile(path));
  return absl::OkStatus();
}

// Linked folders come after real ones, so that files reachable both ways keep
// their real path.
absl::Status Search::Walk(const std::string& folder,
                          std::vector<std::string>* paths) {
  std::deque<std::string> folders = {folder};
  while (!folders.empty()) {
    const std::string next = std::move(folders.front());
    folders.pop_front();
    LEXTRA_ASSIGN_OR_RETURN(const bool is_new, EnterFolder(next));
    if (!is_new) continue;
    std::vector<std::string> linked;
    std::error_code error;
    fs::recursive_directory_iterator entry(next, error);
    while (!error && entry != fs::recursive_directory_iterator()) {
      LEXTRA_RETURN_IF_ERROR(options_.check());
      const bool is_hidden = entry->path().filename().native().starts_with('.');
      std::error_code ignored;
      if (is_hidden) {
        ++found_.skipped.hidden;
        entry.disable_recursion_pending();
      } else if (entry->is_directory(ignored) && !entry->is_symlink(ignored)) {
        LEXTRA_ASSIGN_OR_RETURN(const bool enter, EnterFolder(entry->path()));
        if (!enter) entry.disable_recursion_pending();
      } else {
        Note(*entry, paths, &linked);
      }
      entry.increment(error);
    }
    if (error) return InputError(absl::StrCat(next, ": ", error.message()));
    std::sort(linked.begin(), linked.end());
    folders.insert(folders.end(), linked.begin(), linked.end());
  }
  return absl::OkStatus();
}

// False for a folder that was already entered, by any path: links may form a
// cycle.
absl::StatusOr<bool> Search::EnterFolder(const std::string& folder) {
  struct stat status;
  if (stat(folder.c_str(), &status) != 0) {
    return InputError(absl::StrCat(folder, ": ", std::strerror(errno)));
  }
  const bool is_new = folders_.insert(IdentityOf(status)).second;
  if (!is_new) ++found_.skipped.repeated_folders;
  return is_new;
}

// An entry that is not a real folder.
void Search::Note(const fs::directory_entry& entry,
                  std::vector<std::string>* paths,
                  std::vector<std::string>* linked) {
  // In this order most entries cost no system call.
  std::error_code error;
  if (entry.is_regular_file(error)) {
    if (HasExtension(entry.path().filename().native(), options_.extensions)) {
      paths->push_back(entry.path());
    } else {
      ++found_.skipped.other_extensions;
    }
  } else if (entry.is_directory(error)) {
    linked->push_back(entry.path());
  } else if (entry.is_symlink(error)) {
    ++found_.skipped.broken_links;
  } else {
    ++found_.skipped.special;
  }
}

absl::Status Search::AddFile(const std::string& path) {
  LEXTRA_RETURN_IF_ERROR(options_.check());
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return InputError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  const absl::Status status = Look(path, descriptor);
  close(descriptor);
  return status;
}

absl::Status Search::Look(const std::string& path, int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) {
    return InputError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  if (!files_.insert(IdentityOf(status)).second) {
    ++found_.skipped.repeated_files;
    return absl::OkStatus();
  }
  head_.resize(kFirstLookBytes);
  const ssize_t got = pread(descriptor, head_.data(), head_.size(), 0);
  if (got < 0)
    return InputError(absl::StrCat(path, ": ", std::strerror(errno)));
  head_.resize(got);
  if (outputs_.contains(IdentityOf(status)) || IsTokenFile(path, head_)) {
    ++found_.skipped.token_data;
    return absl::OkStatus();
  }
  if (options_.format == TextFormat::kAuto && !IsGzip(head_)) {
    const FileFormat format = FormatOf(path, head_, got == status.st_size);
    if (format.kind == FileFormat::Kind::kOther) {
      LeaveOut(path, format);
      return absl::OkStatus();
    }
  }
  found_.paths.push_back(path);
  found_.stored_bytes += status.st_size;
  return absl::OkStatus();
}

// All files are checked before the first is an error, to report their number.
void Search::LeaveOut(const std::string& path, const FileFormat& format) {
  ++found_.skipped.other_formats[format.name];
  if (options_.skip_other_formats) return;
  if (num_refused_++ == 0) refused_ = RefusedFormat(path, format);
}

}  // namespace

absl::StatusOr<CorpusFiles> ListCorpus(const std::vector<std::string>& inputs,
                                       const CorpusOptions& options) {
  Search search(options);
  for (const std::string& input : inputs) {
    LEXTRA_RETURN_IF_ERROR(search.Add(input));
  }
  LEXTRA_ASSIGN_OR_RETURN(CorpusFiles found, search.Take());
  if (!found.paths.empty()) return found;
  return InputError(absl::StrCat(
      inputs.front(), inputs.size() > 1 ? " ..." : "",
      ": no readable files; skipped: ", SkippedText(found.skipped)));
}

std::string SkippedText(const SkippedFiles& skipped) {
  std::vector<std::string> parts;
  const auto add = [&parts](int64_t count, const char* one, const char* many,
                            const std::string& why) {
    if (count == 0) return;
    parts.push_back(absl::StrCat(count, " ", count == 1 ? one : many, why));
  };
  add(skipped.other_extensions, "file", "files", " with other extensions");
  add(skipped.hidden, "hidden entry", "hidden entries", "");
  add(skipped.token_data, "file", "files", " of token data sets");
  add(skipped.repeated_files, "duplicate file", "duplicate files", "");
  add(skipped.repeated_folders, "duplicate folder", "duplicate folders", "");
  add(skipped.broken_links, "broken link", "broken links", "");
  add(skipped.special, "pipe, socket or device", "pipes, sockets or devices",
      "");
  for (const auto& [name, count] : skipped.other_formats) {
    add(count, "file", "files", absl::StrCat(" of ", name));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace lextra
