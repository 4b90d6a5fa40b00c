#include "checkpoint/files/checkpoint_copy.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/log.h"
#include "checkpoint/files/run_lock.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/shard_reader.h"
#include "checkpoint/files/step_save.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

absl::Status CopyFile(const std::string& from, const std::string& to) {
  LEXTRA_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(from));
  LEXTRA_ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(to));
  std::vector<std::byte> block(kBlockBytes);
  for (int64_t offset = 0; offset < file.size(); offset += kBlockBytes) {
    const std::span<std::byte> part = std::span(block).first(
        std::min<int64_t>(kBlockBytes, file.size() - offset));
    LEXTRA_RETURN_IF_ERROR(ReadShardBytes(file, offset, part));
    LEXTRA_RETURN_IF_ERROR(writer.Write(part));
  }
  return writer.Close();
}

absl::Status VerifyShards(const std::string& folder, const Manifest& manifest) {
  for (int file = 0; file < manifest.files_size(); ++file) {
    LEXTRA_RETURN_IF_ERROR(VerifyShard(folder, manifest, file));
  }
  return absl::OkStatus();
}

absl::Status FillAndCommit(const std::string& from, const Manifest& manifest,
                           const StepSave& save) {
  const fs::path folder = save.temporary_folder();
  for (const ShardFile& file : manifest.files()) {
    LEXTRA_RETURN_IF_ERROR(CopyFile((fs::path(from) / file.name()).string(),
                                    (folder / file.name()).string()));
  }
  if (const absl::Status copied = VerifyShards(folder.string(), manifest);
      !copied.ok()) {
    // The source's fault, most often, and then by the source's name.
    LEXTRA_RETURN_IF_ERROR(VerifyShards(from, manifest));
    return copied;
  }
  LEXTRA_RETURN_IF_ERROR(CopyFile((fs::path(from) / kManifestName).string(),
                                  (folder / kManifestName).string()));
  return CommitFolder(save);
}

}  // namespace

absl::StatusOr<Manifest> VerifyCheckpoint(const std::string& step_folder) {
  LEXTRA_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(step_folder));
  LEXTRA_RETURN_IF_ERROR(VerifyShards(step_folder, manifest));
  return manifest;
}

absl::StatusOr<std::string> CopyCheckpoint(const std::string& step_folder,
                                           const std::string& to) {
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(step_folder));
  LEXTRA_RETURN_IF_ERROR(MakeFolders(to));
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<RunLock> lock,
                          RunLock::Acquire(to, /*run_id=*/""));
  LEXTRA_ASSIGN_OR_RETURN(
      const StepSave save,
      BeginSave(to, manifest.state().step(), BytesOf(manifest)));
  const absl::Status status = FillAndCommit(step_folder, manifest, save);
  if (status.ok()) {
    NameLatest(save);
    return save.step_folder();
  }
  if (const absl::Status left = AbandonSave(save); !left.ok()) {
    LogWarning("failed to clean up after a failed copy: %s", left.message());
  }
  return status;
}

}  // namespace lextra
