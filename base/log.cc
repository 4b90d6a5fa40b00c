#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace lextra {
namespace {

struct Identity {
  int rank = 0;
  int world_size = 1;
  std::string host;
  std::string file;
};

Identity& Self() {
  static Identity* self = new Identity;
  return *self;
}

// Opened for each line, so that the file may be moved or space freed on its
// disk; never blocks on the other end of a pipe. A line that can't be written
// completely is dropped completely. Does not use files.h, which depends on this
// file.
void AppendToFile(const std::string& text) {
  const int file =
      open(Self().file.c_str(),
           O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
  if (file < 0) return;
  const off_t old_size = lseek(file, 0, SEEK_END);
  for (size_t done = 0; done < text.size();) {
    const ssize_t put = write(file, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      // Pipes and devices cannot be truncated.
      [[maybe_unused]] const int undone =
          old_size < 0 ? 0 : ftruncate(file, old_size);
      break;
    }
    done += put;
  }
  close(file);
}

void WriteLine(std::string_view line) {
  std::string text(line);
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  if (!Self().file.empty()) AppendToFile(text);
}

}  // namespace

void SetLogIdentity(int rank, int world_size, std::string host) {
  Self().rank = rank;
  Self().world_size = world_size;
  Self().host = std::move(host);
}

int LogRank() { return Self().rank; }

void SetLogFile(const std::string& path) { Self().file = path; }

void LogLine(std::string_view line) {
  if (Self().rank == 0) WriteLine(line);
}

void LogError(std::string_view line) {
  if (Self().world_size == 1) {
    WriteLine("error: " + std::string(line));
    return;
  }
  WriteLine(absl::StrFormat("[rank %d host %s] error: %s", Self().rank,
                            Self().host, std::string(line)));
}

void PrintResult(std::string_view text) {
  if (Self().rank != 0) return;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

bool ProgressIsWelcome() { return Self().rank == 0 && isatty(STDERR_FILENO); }

}  // namespace lextra
