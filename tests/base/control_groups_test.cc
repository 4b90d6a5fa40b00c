// Trees as kernels, schedulers and containers make them.
#include "base/control_groups.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr char kV2Mount[] =
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 "
    "rw,nsdelegate\n";
constexpr char kV1Mount[] =
    "33 25 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
constexpr char kV1NoLimit[] = "9223372036854771712\n";

class ControlGroupsTest : public ::testing::Test {
 protected:
  void Put(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // The files of a group of version 2; numbers as text, "" for no file.
  void PutV2(const std::string& group, const std::string& max,
             const std::string& current, const std::string& high = "max") {
    const std::string folder = "/sys/fs/cgroup" + group;
    Put(folder + "/memory.max", max + "\n");
    Put(folder + "/memory.high", high + "\n");
    Put(folder + "/memory.current", current + "\n");
    Put(folder + "/memory.stat", "anon 1\ninactive_file 3\nactive_file 2\n");
  }
  void PutV1(const std::string& group, const std::string& limit,
             const std::string& usage, const std::string& hierarchical) {
    const std::string folder = "/sys/fs/cgroup/memory" + group;
    Put(folder + "/memory.limit_in_bytes", limit + "\n");
    Put(folder + "/memory.usage_in_bytes", usage + "\n");
    Put(folder + "/memory.use_hierarchy", "1\n");
    Put(folder + "/memory.stat",
        "cache 9\ninactive_file 1000\nhierarchical_memory_limit " +
            hierarchical + "\ntotal_inactive_file 3\ntotal_active_file 2\n");
  }
  int64_t Left() const { return MemoryLeftInControlGroups(folder_.path()); }

  testing::TemporaryFolder folder_;
};

TEST_F(ControlGroupsTest, NoGroupNoLimit) {
  EXPECT_EQ(Left(), kNoLimit);
  Put("/proc/self/cgroup", "0::/\n");
  Put("/proc/self/mountinfo", kV2Mount);
  EXPECT_EQ(Left(), kNoLimit) << "the root has no files";
  PutV2("", "max", "700");
  EXPECT_EQ(Left(), kNoLimit);
}

TEST_F(ControlGroupsTest, CachedFilesAreNotUsed) {
  Put("/proc/self/cgroup", "0::/job\n");
  Put("/proc/self/mountinfo", kV2Mount);
  PutV2("/job", "1000", "300");
  EXPECT_EQ(Left(), 1000 - (300 - 5));
  PutV2("/job", "100", "300");
  EXPECT_EQ(Left(), 0);
}

TEST_F(ControlGroupsTest, TheGroupAboveThatLeavesLeastDecides) {
  Put("/proc/self/cgroup", "0::/slurm/job_7/step_0/task_1\n");
  Put("/proc/self/mountinfo", kV2Mount);
  PutV2("/slurm", "5000", "4905");
  PutV2("/slurm/job_7", "1000", "605");
  PutV2("/slurm/job_7/step_0", "max", "605");
  PutV2("/slurm/job_7/step_0/task_1", "max", "105");
  EXPECT_EQ(Left(), 100) << "of /slurm, which others use";
  PutV2("/slurm", "max", "4905");
  EXPECT_EQ(Left(), 400) << "of job_7";
}

TEST_F(ControlGroupsTest, WhereAGroupIsSlowedDownIsALimit) {
  Put("/proc/self/cgroup", "0::/user/run\n");
  Put("/proc/self/mountinfo", kV2Mount);
  PutV2("/user", "max", "105", "800");
  PutV2("/user/run", "1000", "105");
  EXPECT_EQ(Left(), 700);
}

TEST_F(ControlGroupsTest, AContainerIsTheRootOfItsTree) {
  // With a namespace of its own, and told its name on the host.
  for (const char* group : {"/", "/docker/0123", "/../../init.scope"}) {
    Put("/proc/self/cgroup", std::string("0::") + group + "\n");
    Put("/proc/self/mountinfo",
        "29 23 0:26 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    PutV2("", "1000", "305");
    EXPECT_EQ(Left(), 700) << group;
  }
}

TEST_F(ControlGroupsTest, WithoutMountsTheUsualPlacesAreTaken) {
  Put("/proc/self/cgroup", "0::/job\n");
  PutV2("/job", "1000", "305");
  EXPECT_EQ(Left(), 700);
  Put("/proc/self/cgroup", "8:memory:/other\n");
  PutV1("/other", "1000", "405", "1000");
  EXPECT_EQ(Left(), 600);
}

TEST_F(ControlGroupsTest, Version1CountsTheWholeTreeAndItsParents) {
  Put("/proc/self/cgroup",
      "9:cpu,cpuacct:/elsewhere\n8:pids,memory:/slurm/job\n0::/\n");
  Put("/proc/self/mountinfo", kV1Mount);
  PutV1("", kV1NoLimit, "900", kV1NoLimit);
  EXPECT_EQ(Left(), kNoLimit);
  PutV1("/slurm/job", kV1NoLimit, "305", kV1NoLimit);
  EXPECT_EQ(Left(), kNoLimit);
  PutV1("/slurm", "2000", "1805", "2000");
  EXPECT_EQ(Left(), 200);
  PutV1("/slurm/job", "400", "305", "400");
  EXPECT_EQ(Left(), 100);
}

TEST_F(ControlGroupsTest, AParentThatDoesNotCountWhatIsBelowDoesNotLimitIt) {
  Put("/proc/self/cgroup", "8:memory:/old/job\n");
  Put("/proc/self/mountinfo", kV1Mount);
  PutV1("/old", "100", "100", "100");
  Put("/sys/fs/cgroup/memory/old/memory.use_hierarchy", "0\n");
  PutV1("/old/job", "1000", "305", "1000");
  EXPECT_EQ(Left(), 700);
  Put("/sys/fs/cgroup/memory/old/job/memory.use_hierarchy", "0\n");
  EXPECT_EQ(Left(), 700) << "its own limit holds";
}

TEST_F(ControlGroupsTest, Version1TellsTheLimitOfParentsOutOfSight) {
  Put("/proc/self/cgroup", "8:memory:/kubepods/pod/0123\n");
  Put("/proc/self/mountinfo",
      "34 25 0:30 /kubepods/pod/0123 /sys/fs/cgroup/memory ro - cgroup cgroup "
      "rw,memory\n");
  PutV1("", kV1NoLimit, "305", "1000");
  EXPECT_EQ(Left(), 700);
}

TEST_F(ControlGroupsTest, BothVersionsSideBySide) {
  Put("/proc/self/cgroup", "8:memory:/job\n0::/job\n");
  Put("/proc/self/mountinfo",
      std::string(kV1Mount) +
          "35 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n");
  PutV1("/job", "1000", "305", "1000");
  EXPECT_EQ(Left(), 700);
}

}  // namespace
}  // namespace lextra
