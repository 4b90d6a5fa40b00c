// A disk that remembers what a power loss would leave. A FUSE file system
// serves one file, `image`, which a loop device turns into a disk. Two states
// of it are kept: the current one (all writes) and the flushed one (the current
// one when the file was last fsynced, which is what the loop device makes of
// the disk's flush command).
//
//   flushed_image FOLDER INITIAL_IMAGE SECTOR_BYTES
//
// Mounts on FOLDER, with INITIAL_IMAGE as both states, and prints "ready". Then
// it takes commands from standard input, one a line, until that is closed:
//
//   cut SEED PATH JOURNAL WRITES
//     After WRITES more write requests (0: now; or when 0.2 s have passed)
//     power is lost, in a copy: PATH gets the flushed image with a random half
//     of the sectors written since. SEED decides for each sector on its own
//     whether its newest contents are there or its flushed ones. The disk
//     itself continues. Answers "cut JOURNAL_BYTES UNFLUSHED FLUSHES": the size
//     of the file JOURNAL at that moment, the number of sectors between the two
//     states, and the number of flushes so far.
//
// The caller unmounts FOLDER, and then closes standard input. Sectors are
// written as a whole or not at all, as disks promise.
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace {

constexpr char kImagePath[] = "/image";
constexpr auto kLongestWait = std::chrono::milliseconds(200);

class FlushedImage {
 public:
  // `bytes` is a whole number of sectors.
  FlushedImage(std::vector<char> bytes, size_t sector_bytes)
      : current_(std::move(bytes)), sector_bytes_(sector_bytes) {}

  size_t size() const { return current_.size(); }

  // Bytes read; fewer than asked for at the end.
  size_t Read(char* bytes, size_t count, size_t offset) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (offset >= size()) return 0;
    count = std::min(count, size() - offset);
    std::memcpy(bytes, &current_[offset], count);
    return count;
  }

  // False if the range isn't inside the image.
  bool Write(const char* bytes, size_t count, size_t offset) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (offset > size() || count > size() - offset) return false;
    if (count == 0) return true;
    const size_t end_sector = (offset + count - 1) / sector_bytes_ + 1;
    for (size_t s = offset / sector_bytes_; s < end_sector; ++s) {
      const auto flushed = current_.begin() + s * sector_bytes_;
      unflushed_.try_emplace(s, flushed, flushed + sector_bytes_);
    }
    std::memcpy(&current_[offset], bytes, count);
    ++num_writes_;
    changed_.notify_all();
    // The next request would come too late for the cut.
    changed_.wait(lock, [&] { return !CutIsDue(); });
    return true;
  }

  void Flush() {
    const std::lock_guard<std::mutex> lock(mutex_);
    unflushed_.clear();
    ++num_flushes_;
  }

  // The answer to a "cut" command.
  std::string Cut(uint64_t seed, const std::string& path,
                  const std::string& journal, int64_t num_writes);

 private:
  bool CutIsDue() const { return cut_at_ >= 0 && num_writes_ >= cut_at_; }
  std::vector<char> AfterPowerLoss(uint64_t seed) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<char> current_;
  const size_t sector_bytes_;
  // Sectors written since the last flush, with their flushed contents.
  std::map<size_t, std::vector<char>> unflushed_;
  int64_t num_flushes_ = 0;
  int64_t num_writes_ = 0;
  int64_t cut_at_ = -1;  // the number of writes that a cut waits for
};

std::vector<char> FlushedImage::AfterPowerLoss(uint64_t seed) const {
  std::vector<char> image = current_;
  std::mt19937_64 random(seed);
  for (const auto& [sector, flushed] : unflushed_) {
    const bool is_kept = random() >> 63;
    if (is_kept) continue;
    std::ranges::copy(flushed, image.begin() + sector * sector_bytes_);
  }
  return image;
}

// Writes `image` with holes where it is zero.
bool WriteSparse(const std::string& path, const std::vector<char>& image) {
  constexpr size_t kBlockBytes = 4096;
  static constexpr char kZeros[kBlockBytes] = {};
  std::FILE* file = std::fopen(path.c_str(), "wx");
  if (file == nullptr) return false;
  bool is_good = ftruncate(fileno(file), image.size()) == 0;
  for (size_t begin = 0; begin < image.size() && is_good;
       begin += kBlockBytes) {
    const size_t count = std::min(kBlockBytes, image.size() - begin);
    if (std::memcmp(&image[begin], kZeros, count) == 0) continue;
    is_good = pwrite(fileno(file), &image[begin], count, begin) ==
              static_cast<ssize_t>(count);
  }
  return std::fclose(file) == 0 && is_good;
}

std::string FlushedImage::Cut(uint64_t seed, const std::string& path,
                              const std::string& journal, int64_t num_writes) {
  std::ostringstream answer;
  std::vector<char> image;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    cut_at_ = num_writes_ + num_writes;
    changed_.wait_for(lock, kLongestWait, [&] { return CutIsDue(); });
    // The journal is read under the lock. What it acknowledges was durable
    // before; a deletion that reached the disk was announced in it before.
    struct stat status = {};
    if (stat(journal.c_str(), &status) == 0) {
      answer << "cut " << status.st_size << " " << unflushed_.size() << " "
             << num_flushes_;
    } else {
      answer << "error: can't stat " << journal;
    }
    image = AfterPowerLoss(seed);
    cut_at_ = -1;
    changed_.notify_all();
  }
  return WriteSparse(path, image) ? answer.str() : "error: can't write " + path;
}

// FUSE's callbacks find the image in their context.
FlushedImage& Image() {
  return *static_cast<FlushedImage*>(fuse_get_context()->private_data);
}

bool IsImage(const char* path) { return std::strcmp(path, kImagePath) == 0; }

int GetAttributes(const char* path, struct stat* status, fuse_file_info*) {
  *status = {};
  if (std::strcmp(path, "/") == 0) {
    status->st_mode = S_IFDIR | 0700;
    status->st_nlink = 2;
    return 0;
  }
  if (!IsImage(path)) return -ENOENT;
  status->st_mode = S_IFREG | 0600;
  status->st_nlink = 1;
  status->st_size = Image().size();
  return 0;
}

int Open(const char* path, fuse_file_info*) {
  return IsImage(path) ? 0 : -ENOENT;
}

int Read(const char*, char* bytes, size_t count, off_t offset,
         fuse_file_info*) {
  return Image().Read(bytes, count, offset);
}

int Write(const char*, const char* bytes, size_t count, off_t offset,
          fuse_file_info*) {
  return Image().Write(bytes, count, offset) ? count : -ENOSPC;
}

// Only this makes anything durable: a close (FUSE's "flush") is no promise.
int Fsync(const char*, int, fuse_file_info*) {
  Image().Flush();
  return 0;
}

fuse_operations Operations() {
  fuse_operations operations = {};
  operations.getattr = GetAttributes;
  operations.open = Open;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = Fsync;
  return operations;
}

// Until standard input is closed; then tells `server` to end.
void ObeyCommands(FlushedImage& image, pthread_t server) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command, path, journal;
    uint64_t seed = 0;
    int64_t num_writes = 0;
    words >> command >> seed >> path >> journal >> num_writes;
    if (!words || command != "cut") {
      std::cout << "error: not a command: " << line << std::endl;
      continue;
    }
    std::cout << image.Cut(seed, path, journal, num_writes) << std::endl;
  }
  pthread_kill(server, SIGTERM);
}

int Serve(const char* program, const char* folder, FlushedImage& image) {
  // The system may not wait for this process's own disk to get it memory.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  std::string name = program;
  char* arguments[] = {name.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  const fuse_operations operations = Operations();
  fuse* server = fuse_new(&args, &operations, sizeof(operations), &image);
  if (server == nullptr || fuse_mount(server, folder) != 0 ||
      fuse_set_signal_handlers(fuse_get_session(server)) != 0) {
    std::cerr << program << ": can't mount on " << folder << "\n";
    return 1;
  }
  // A mount namespace of its own: the caller's may be unmounted by the last
  // process in it that is killed, and this one can't answer for the disk then.
  if (unshare(CLONE_NEWNS) != 0) {
    std::cerr << program << ": can't get a mount namespace\n";
    return 1;
  }
  std::thread commands(ObeyCommands, std::ref(image), pthread_self());
  commands.detach();  // it may wait for input forever
  std::cout << "ready" << std::endl;
  fuse_loop(server);
  fuse_unmount(server);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: flushed_image FOLDER INITIAL_IMAGE SECTOR_BYTES\n";
    return 2;
  }
  const int64_t sector_bytes = std::atoll(argv[3]);
  std::ifstream initial(argv[2], std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(initial), {}};
  if (sector_bytes <= 0 || bytes.empty() || bytes.size() % sector_bytes != 0) {
    std::cerr << "flushed_image: " << argv[2] << " has " << bytes.size()
              << " bytes, expected a whole number of sectors of " << argv[3]
              << "\n";
    return 2;
  }
  static FlushedImage image(std::move(bytes), sector_bytes);
  return Serve(argv[0], argv[1], image);
}
