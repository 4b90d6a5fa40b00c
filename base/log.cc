#include "base/log.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>

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

void WriteLine(std::string_view line) {
  std::string text(line);
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  if (!Self().file.empty()) {
    std::ofstream(Self().file, std::ios::app) << text;
  }
}

}  // namespace

void SetLogIdentity(int rank, int world_size, std::string host) {
  Self().rank = rank;
  Self().world_size = world_size;
  Self().host = std::move(host);
}

void SetLogFile(const std::string& path) {
  if (Self().rank == 0) Self().file = path;
}

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
