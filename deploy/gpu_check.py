#!/usr/bin/env python3
"""Every claim about GPUs that one machine with a GPU can show.

Drives the program as a user would and compares what it wrote. With
--device=cpu the same claims are about the CPU alone, which tests this file.
Writes gpu_check.json and a table; the status is not zero if a claim fails.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
IN_BUNDLE = (ROOT / "bin" / "lextra").exists()
PROGRAMS = ROOT / "bin" if IN_BUNDLE else ROOT / "build" / "launch"
MPIRUN = str(ROOT / "bin" / "mpirun") if IN_BUNDLE else "mpirun"

# A model whose heads divide by four, on samples short enough for a CPU.
MODEL = ["model.num_layers=4", "model.width=128", "model.num_heads=4",
         "model.training_length=128", "model.sub_ln=true",
         "data.global_batch=8", "schedule.warmup_steps=5",
         "schedule.learning_rate=1e-3", "logging.every_steps=1",
         "evaluation.every_steps=0", "checkpoint.every_steps=0"]
LAYOUTS = [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2), (1, 4)]  # data, tensor


class Failed(Exception):
    """A claim that does not hold, in words."""


class Lextra:
    def __init__(self, device, folder):
        self.device = device.upper()
        self.folder = folder
        self.corpus = str(folder / "corpus")
        self.environment = dict(
            os.environ, OMPI_ALLOW_RUN_AS_ROOT="1",
            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", LEXTRA_TEST_SHARE_GPU="1",
            LEXTRA_SOURCE_DIR=str(ROOT), LEXTRA_BUILD_DIR=str(ROOT / "build"))

    def command(self, program, ranks, *arguments):
        mpi = [MPIRUN, "-np", str(ranks), "--oversubscribe", "--bind-to", "none",
               "--mca", "btl", "self,vader", "--mca", "oob_tcp_if_include", "lo",
               "--mca", "btl_vader_single_copy_mechanism", "none"]
        return mpi + [str(PROGRAMS / program), *arguments]

    def run(self, command, limit=300, **environment):
        self.environment.update(environment)
        try:
            done = subprocess.run(self.command(*command), env=self.environment,
                                  capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{command[0]} did not end within {limit} s") from late
        finally:
            for name in environment:
                del self.environment[name]
        if done.returncode != 0:
            raise Failed(f"{' '.join(command[2:4])}: exit {done.returncode}: "
                         + (done.stdout + done.stderr).strip()[-600:])
        return done.stdout

    def prepare(self, source):
        self.run(("lextra", 1, "prepare", f"--output={self.corpus}",
                  "--extension=.py", str(source)))

    def train_command(self, name, steps, ranks=1, device=None, overrides=()):
        device = device or self.device
        return ("lextra", ranks, "train", "--config=quickstart",
                f"--run_dir={self.folder / name}",
                f"data.train={self.corpus}-train",
                f"data.validation={self.corpus}-validation", *MODEL,
                f"schedule.num_steps={steps}", f"parallel.device={device}",
                *overrides)

    def train(self, name, steps, ranks=1, device=None, overrides=(), **env):
        """The losses of steps 1 .. steps."""
        self.run(self.train_command(name, steps, ranks, device, overrides), **env)
        losses = {}
        for line in (self.folder / name / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            if "loss" in record and "learning_rate" in record:
                losses[record["step"]] = float(record["loss"])
        return [losses[step] for step in range(1, steps + 1)]


def largest_difference(losses, expected):
    return max(abs(a / b - 1) for a, b in zip(losses, expected, strict=True))


def within(measured, bound, what):
    if not measured <= bound:
        raise Failed(f"{what}: {measured:.3g} is more than {bound:.3g}")
    return measured, bound, what


# --- The claims: each returns (measured, bound, what was compared) ----------

def programs(lextra):
    """Kernels, layers, attention and NCCL against fp64 references."""
    if lextra.device == "CPU":
        return None
    passed = 0
    for program, ranks in [("gpu_kernels_test", (1,)), ("gpu_layers_test", (1, 2)),
                           ("gpu_test", (1, 2, 4))]:
        for count in ranks:
            output = lextra.run((program, count))
            if "SKIPPED" in output:
                raise Failed(f"{program} at {count} rank(s) skipped tests: "
                             + output[-300:])
            passed += output.count("[       OK ]")
    return passed, passed, "tests of gpu_* passed, none skipped"


def fp32_losses(lextra):
    losses = lextra.train("fp32", 20)
    expected = lextra.train("fp32-cpu", 20, device="CPU")
    return within(largest_difference(losses, expected), 1e-4,
                  "20 fp32 losses against the CPU's, relative")


def bf16_losses(lextra):
    steps = 200 if lextra.device == "CUDA" else 10
    losses = lextra.train("bf16", steps, overrides=["model.precision=BF16"])
    expected = lextra.train("bf16-fp32", steps)
    last = steps // 4
    mean = [sum(x[-last:]) / last for x in (losses, expected)]
    if mean[0] >= losses[0]:
        raise Failed("bf16 does not learn")
    return within(abs(mean[0] / mean[1] - 1), 1e-2,
                  f"mean bf16 loss of the last {last} of {steps} steps "
                  "against fp32's, relative")


def layouts(lextra):
    expected = lextra.train("layouts-cpu", 10, device="CPU")
    worst = 0
    for data, tensor in LAYOUTS:
        for stage in (0, 1) if data > 1 else (0,):
            losses = lextra.train(
                f"layout-{data}-{tensor}-{stage}", 10, ranks=data * tensor,
                overrides=[f"parallel.data={data}", f"parallel.tensor={tensor}",
                           f"parallel.zero_stage={stage}"])
            worst = max(worst, largest_difference(losses, expected))
    return within(worst, 1e-4, "10 fp32 losses of every data x tensor layout, "
                               "ZeRO stage 0 and 1, against one CPU rank's")


def halo(lextra):
    lextra.train("evaluated", 10, device="CPU")

    def nll(name, ranks, device):
        results = lextra.folder / f"results-{name}"
        lextra.run(("lextra", ranks, "evaluate",
                    f"--checkpoint={lextra.folder / 'evaluated'}",
                    f"--results_dir={results}", f"parallel.device={device}",
                    "parallel.data=1", f"parallel.sequence={ranks}",
                    "evaluation.masks=BCA", "evaluation.lengths=2048",
                    "evaluation.max_tokens=8192", "evaluation.segment_tokens=512"))
        found = json.loads(next(results.rglob("results.json")).read_text())
        return [float(row["nll"]) for row in rows_of(found)]

    expected = nll("cpu", 1, "CPU")
    worst = max(largest_difference(nll(str(ranks), ranks, lextra.device), expected)
                for ranks in (1, 2, 4))
    return within(worst, 1e-5, "BCA's NLL at sequence 1, 2, 4 against the CPU's")


def rows_of(results):
    """All objects in results.json that have an NLL."""
    if isinstance(results, dict):
        if "nll" in results and not isinstance(results["nll"], (dict, list)):
            return [results]
        results = list(results.values())
    if not isinstance(results, list):
        return []
    return [row for part in results for row in rows_of(part)]


def resume(lextra):
    exact = ["parallel.deterministic=true"]
    for precision in ("FP32", "BF16"):
        overrides = [*exact, f"model.precision={precision}"]
        whole = lextra.train(f"whole-{precision}", 20, overrides=overrides)
        name = f"resumed-{precision}"
        lextra.run((*lextra.train_command(name, 20, overrides=overrides),
                    "--stop_at_step=10"))
        resumed = lextra.train(name, 20, overrides=overrides)
        if whole != resumed:
            raise Failed(f"{precision}: losses differ from the uninterrupted run's")
    return 0, 0, "20 losses, resumed after 10, equal the uninterrupted run's bits"


def checkpoints_move(lextra):
    expected = lextra.train("moved-cpu", 20, device="CPU")
    worst = 0
    for first, second in (("CPU", lextra.device), (lextra.device, "CPU")):
        name = f"moved-{first}-{second}"
        lextra.run((*lextra.train_command(name, 20, device=first),
                    "--stop_at_step=10"))
        losses = lextra.train(name, 20, device=second)
        worst = max(worst, largest_difference(losses, expected))
    return within(worst, 1e-4, "20 losses, CPU to GPU after 10 and back, "
                               "against the CPU's")


def pids_of(run_dir):
    """The ranks that train in run_dir, found by their command lines."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/lextra") and f"--run_dir={run_dir}".encode() in words:
            found.append(int(process.name))
    return found


def abort(lextra):
    command = lextra.command(*lextra.train_command(
        "aborted", 100000, ranks=2, overrides=["parallel.timeout_seconds=10"]))
    job = subprocess.Popen(command, env=lextra.environment, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        metrics = lextra.folder / "aborted" / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.stat().st_size > 1000):
            if job.poll() is not None or time.monotonic() > deadline:
                job.kill()
                raise Failed("the job did not train: " + job.communicate()[0][-600:])
            time.sleep(0.1)
        ranks = pids_of(lextra.folder / "aborted")
        if len(ranks) != 2:
            raise Failed(f"2 ranks expected, found {len(ranks)}")
        killed_at = time.monotonic()
        os.kill(max(ranks), signal.SIGKILL)
        while pids_of(lextra.folder / "aborted"):
            if time.monotonic() - killed_at > 60:
                raise Failed("ranks are alive a minute after the kill")
            time.sleep(0.05)
        seconds = time.monotonic() - killed_at
        return within(seconds, 15, "seconds from the kill of a rank to the end of all")
    finally:
        for pid in pids_of(lextra.folder / "aborted"):
            os.kill(pid, signal.SIGKILL)
        job.kill()
        job.wait()


def no_host_sync(lextra):
    """A wait of the host inside a step is an error of the program then."""
    for precision in ("FP32", "BF16"):
        lextra.train(f"sync-{precision}", 5, LEXTRA_FORBID_HOST_SYNC="1",
                     overrides=[f"model.precision={precision}",
                                "parallel.zero_stage=1"])
    return 0, 0, "waits of the host for the GPU inside a step"


CLAIMS = [programs, fp32_losses, bf16_losses, layouts, halo, resume,
          checkpoints_move, abort, no_host_sync]


def describe(device):
    def ask(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True,
                                  check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
    commit = (ROOT / "COMMIT").read_text().strip() if IN_BUNDLE else ask(
        "git", "-C", str(ROOT), "rev-parse", "HEAD")
    gpu = ask("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return {"device": device, "gpu": gpu if device == "cuda" else "none",
            "commit": commit, "date": time.strftime("%Y-%m-%d %H:%M:%S")}


def check(claim, lextra):
    start = time.monotonic()
    row = {"claim": claim.__name__, "verdict": "pass"}
    try:
        found = claim(lextra)
        if found is None:
            row["verdict"] = "skip"
        else:
            row["measured"], row["bound"], row["compared"] = found
    except Failed as failure:
        row.update(verdict="FAIL", reason=str(failure))
    row["seconds"] = round(time.monotonic() - start, 1)
    print(f"{row['verdict']:5} {row['claim']:17} {row['seconds']:6.1f} s  "
          + (row.get("reason") or f"{row.get('measured', 0):.3g} of at most "
             f"{row.get('bound', 0):.3g}: {row.get('compared', 'not on a CPU')}"),
          flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default="gpu_check")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--corpus", type=pathlib.Path,
                        help="folder of .py files to train on")
    parser.add_argument("--claims", default=",".join(c.__name__ for c in CLAIMS))
    options = parser.parse_args()
    wanted = options.claims.split(",")
    unknown = set(wanted) - {c.__name__ for c in CLAIMS}
    if unknown:
        parser.error(f"no claim {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lextra-gpu-check-"))
    try:
        lextra = Lextra(options.device, folder)
        lextra.prepare(options.corpus or pathlib.Path(os.__file__).parent / "asyncio")
        rows = [check(c, lextra) for c in CLAIMS if c.__name__ in wanted]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = {**describe(options.device), "claims": rows}
    (options.output / "gpu_check.json").write_text(json.dumps(report, indent=1))
    failed = [row for row in rows if row["verdict"] == "FAIL"]
    print(f"{len(rows)} claims, {len(failed)} failed; {report['gpu']}, "
          f"commit {report['commit'][:10]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
