"""The claims of gpu_check.sh, one function each: it returns what was measured, the
bound and what was compared, or raises Failure or Skip. Runs on the device under
test are compared with runs of one CPU rank on the same data and seeds."""

import argparse
import array
import glob
import hashlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time

from gpu_machine import (Failure, Machine, Skip, children, gpu_of_this_machine, read_data, runs,
                         write_tokens)

STEPS = 20
# fp32 sums in another order, carried through 20 steps of AdamW; relative.
FP32_BAND = 2e-4
# Mean distance of the last 50 of 200 losses, relative to fp32's.
BF16_BAND = 1e-2
NLL_BAND = 2e-5  # nats a token, fp32
BF16_NLL_BAND = 2e-2  # nats a token, the mean of all
MEMORY_BAND = 0.15  # of the plan
ABORT_SECONDS = 15
# GPU test programs that run with any number of ranks.
TESTS_OF_RANKS = {"gpu_test"}


def furthest(losses, reference, steps=None):
    """Largest relative distance of two runs; both must have every step."""
    steps = steps or reference.keys()
    if not set(steps) <= losses.keys() & reference.keys():
        raise Failure(f"{len(losses)} and {len(reference)} steps, some are missing")
    return max(abs(losses[s] - reference[s]) / abs(reference[s]) for s in steps)


def kernels(machine):
    programs = sorted(glob.glob(os.path.join(machine.programs, "*gpu*_test")))
    counts = {"run": 0, "failed": 0, "skipped": 0}
    for program, ranks in itertools.product(programs, (1, 2, 4)):
        name = os.path.basename(program)
        if ranks > 1 and name not in TESTS_OF_RANKS:
            continue
        output = machine.path(f"{name}_{ranks}.json")
        try:
            machine.run(machine.command(ranks, program, "--gtest_output=json:" + output))
        except Failure:
            if not os.path.exists(output):
                raise
        with open(output) as file:
            suites = json.load(file)["testsuites"]
        tests = [test for suite in suites for test in suite["testsuite"]]
        counts["run"] += len(tests)
        counts["failed"] += sum("failures" in test for test in tests)
        counts["skipped"] += sum(test["result"] == "SKIPPED" for test in tests)
    if counts["failed"]:
        raise Failure(f"{counts['failed']} of {counts['run']} tests failed")
    if counts["run"] == 0 or counts["skipped"]:
        text = f"{counts['skipped']} of {counts['run']} tests skipped in {len(programs)} programs"
        raise (Failure if machine.on_gpu() else Skip)(text)
    return 0, 0, f"failures of {counts['run']} GPU tests"


def fp32_losses(machine):
    losses = machine.once("fp32", "device", 1)
    return furthest(losses, machine.reference()), FP32_BAND, f"{STEPS} losses, device and CPU"


def bf16_losses(machine):
    steps = "schedule.num_steps=200"
    bf16 = machine.train("bf16", "device", 1, steps, "model.precision=BF16")
    fp32 = machine.train("fp32_200", "device", 1, steps)
    last = range(151, 201)
    furthest(bf16, fp32)  # every step is there
    distance = sum(abs(bf16[s] - fp32[s]) / fp32[s] for s in last) / len(last)
    return distance, BF16_BAND, "mean of losses 151-200, bf16 and fp32"


def layouts(machine):
    worst, compared = 0.0, []
    for data, tensor in ((2, 1), (1, 2), (4, 1), (2, 2), (1, 4)):
        compared.append(f"{data}x{tensor}")
        # ZeRO stages, and sequence parallelism, which needs several tensor ranks.
        for stage, regions in ((0, False), (1, False), (1, True))[:2 if tensor == 1 else 3]:
            losses = machine.train(f"layout_{data}x{tensor}_{stage}_{regions}", "device",
                                   data * tensor, f"parallel.data={data}",
                                   f"parallel.tensor={tensor}", f"parallel.zero_stage={stage}",
                                   f"parallel.sequence_parallel={str(regions).lower()}")
            worst = max(worst, furthest(losses, machine.reference()))
    return worst, FP32_BAND, (f"{STEPS} losses at data x tensor {', '.join(compared)}, ZeRO stage 0 "
                              "and 1, with and without sequence parallelism, and one CPU rank")


def position_methods(machine):
    worst, methods = 0.0, ("ROPE", "ALIBI", "SINUSOIDAL", "LEARNED")
    for method in methods:
        position = "model.position_encoding=" + method
        losses = machine.train("device_" + method, "device", 1, position)
        reference = machine.train("reference_" + method, "reference", 1, position)
        worst = max(worst, furthest(losses, reference))
    return worst, FP32_BAND, f"{STEPS} losses, device and CPU, of {', '.join(methods)}"


def nll(machine, device, sequence, mask, *more):
    """Nats of every token of the documents."""
    tokens, scores = machine.path("tokens.safetensors"), machine.path("nll.safetensors")
    write_tokens(tokens, 4, 1025)
    if os.path.exists(scores):
        os.remove(scores)
    machine.run(machine.command(
        sequence, machine.lextra, "evaluate", "--checkpoint=" + machine.path("reference"),
        "--tokens=" + tokens, "--nll_out=" + scores, f"evaluation.masks=[{mask}]",
        "evaluation.segment_tokens=64", "parallel.num_threads=1", *machine.on(device),
        "parallel.data=1", f"parallel.context={sequence}", *more))
    return array.array("d", read_data(scores, "nll"))


def halo_scoring(machine):
    machine.reference()
    worst, num_tokens = 0.0, 0
    for mask, sequences in (("BCA", (1, 2, 4)), ("WINDOW", (2,)), ("WINDOW_AND_SINKS", (2,))):
        wanted = nll(machine, "reference", 1, mask)
        num_tokens += len(wanted)
        for sequence in sequences:
            scored = nll(machine, "device", sequence, mask)
            if len(scored) != len(wanted) or len(wanted) == 0 or not all(map(math.isfinite, scored)):
                raise Failure(f"{mask}, sequence {sequence}: {len(scored)} scores, some not finite "
                              "or missing")
            worst = max([worst, *(abs(a - b) for a, b in zip(scored, wanted))])
    return worst, NLL_BAND, (f"NLL of {num_tokens} tokens, BCA at sequence 1, 2, 4, window and sinks "
                             "at 2, and one CPU rank")


def bf16_scoring(machine):
    machine.reference()
    wanted = nll(machine, "reference", 1, "BCA")
    worst = 0.0
    for sequence in (1, 2):
        scored = nll(machine, "device", sequence, "BCA", "model.precision=BF16")
        distance = sum(abs(a - b) for a, b in zip(scored, wanted, strict=True)) / len(wanted)
        if not math.isfinite(distance):
            raise Failure(f"sequence {sequence}: some scores are not finite")
        worst = max(worst, distance)
    return worst, BF16_NLL_BAND, (f"mean distance of the NLL of {len(wanted)} tokens, bf16 at "
                                  "sequence 1 and 2, and one CPU rank in fp32")


def digests(machine, name):
    folder = os.path.join(machine.path(name), f"step-{STEPS:08d}")
    files = sorted(glob.glob(os.path.join(folder, "*.safetensors")))
    if not files:
        raise Failure(f"{folder} holds no tensors")
    return [(os.path.basename(f), hashlib.sha256(read_data(f)).hexdigest()) for f in files]


def exact_resume(machine):
    settings = []
    if machine.on_gpu():
        settings = ["parallel.deterministic=true"]
    whole = machine.train("whole", "device", 1, *settings)
    machine.train("resumed", "device", 1, "--stop_at_step=10", *settings)
    resumed = machine.train("resumed", "device", 1, "--resume=must", *settings)
    differing = sum(whole[step] != resumed.get(step) for step in whole)
    differing += digests(machine, "whole") != digests(machine, "resumed")
    return differing, 0, f"bits of {STEPS} losses and of the last checkpoint, whole and resumed at 10"


def checkpoint_moves(machine):
    ranks = 1 if machine.on_gpu() else 2  # on a CPU at least another layout
    worst = 0.0
    for name, first, then in (("to_device", ("reference", 1), ("device", ranks)),
                              ("from_device", ("device", ranks), ("reference", 1))):
        machine.train(name, *first, "--stop_at_step=10")
        losses = machine.train(name, *then, "--resume=must")
        machine.run([machine.lextra, "checkpoint", "verify", machine.path(name)])
        worst = max(worst, furthest(losses, machine.reference()))
    return worst, FP32_BAND, f"{STEPS} losses of runs that change the device at step 10, and the CPU's"


def killed_rank(machine):
    machine.corpus()
    command = machine.train_command("killed", "device", 2, "schedule.num_steps=1000000")
    output = machine.path("killed.log")
    metrics = os.path.join(machine.path("killed"), "metrics.jsonl")
    with open(output, "w") as log:
        job = subprocess.Popen(command, env=machine.environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while not os.path.exists(metrics) or os.path.getsize(metrics) < 1000:
            if job.poll() is not None or time.monotonic() > deadline:
                raise Failure("training did not start: " + open(output).read()[-300:])
            time.sleep(0.1)
        ranks = children(job.pid)
        if len(ranks) != 2:
            raise Failure(f"{len(ranks)} ranks under mpirun, not 2")
        os.kill(ranks[1], signal.SIGKILL)
        begin = time.monotonic()
        try:
            code = job.wait(timeout=ABORT_SECONDS + 15)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {ABORT_SECONDS + 15} s") from None
        while any(map(runs, ranks)) and time.monotonic() - begin < ABORT_SECONDS + 15:
            time.sleep(0.05)
        seconds = time.monotonic() - begin
        if code == 0 or "signal 9" not in open(output).read():
            raise Failure(f"exit code {code}, and the signal was not reported")
        return seconds, ABORT_SECONDS, "seconds from the kill of rank 1 of 2 to the end of all"
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()


def no_host_syncs(machine):
    """The program refuses an operation that waits for the GPU inside a step."""
    if not machine.on_gpu():
        raise Skip("not applicable to a CPU")
    os.environ["LEXTRA_FORBID_HOST_SYNC"] = "1"
    try:
        for precision in ("FP32", "BF16"):
            machine.train("no_sync_" + precision, "device", 1, "model.precision=" + precision)
    finally:
        del os.environ["LEXTRA_FORBID_HOST_SYNC"]
    return 0, 0, "waits of the host inside a step, fp32 and bf16"


def memory_plan(machine):
    """Allocated bytes are LibTorch's count; the run logs them and the plan at its end."""
    if not machine.on_gpu():
        raise Skip("memory_plan_test covers the CPU")
    log = machine.run(machine.train_command(
        "memory", "device", 1, "schedule.num_steps=3", "schedule.warmup_steps=1",
        "model.precision=BF16", "model.hidden_size=1024", "model.num_layers=8", "model.num_heads=16",
        "model.training_length=1024"))
    found = re.search(r"peak GPU memory: ([0-9.]+) GiB allocated \(planned ([0-9.]+)\)", log)
    if found is None:
        raise Failure("the run does not log its peak GPU memory")
    took, planned = map(float, found.groups())
    return abs(took / planned - 1), MEMORY_BAND, f"{took} GiB allocated and {planned} GiB planned"


def attention(machine):
    """bf16 must not fall back to plain matrix products, which store all scores."""
    if not machine.on_gpu():
        raise Skip("a CPU has only one attention operator")
    log = machine.run(machine.train_command("attention", "device", 1, "model.precision=BF16",
                                            "schedule.num_steps=1", "schedule.warmup_steps=0"))
    found = re.search(r"attention on the GPU: (\w+)", log)
    chosen = found.group(1) if found else "none named"
    return int(chosen not in ("flash", "cudnn")), 0, f"bf16 attention by {chosen}; flash or cudnn is 0"


CLAIMS = [kernels, fp32_losses, bf16_losses, layouts, position_methods, halo_scoring, bf16_scoring,
          exact_resume, checkpoint_moves, killed_rank, no_host_syncs, memory_plan,
          attention]


def judge(claim, machine):
    begin = time.monotonic()
    entry = {"name": claim.__name__, "result": "fail", "measured": None, "bound": None}
    try:
        entry["measured"], entry["bound"], entry["compared"] = claim(machine)
        if entry["measured"] <= entry["bound"]:  # NaN never passes
            entry["result"] = "pass"
    except Skip as reason:
        entry.update(result="skip", compared=str(reason))
    except (Failure, OSError, ValueError, KeyError) as problem:
        entry["compared"] = f"{type(problem).__name__}: {problem}"
    entry["seconds"] = round(time.monotonic() - begin, 1)
    return entry


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", allow_abbrev=False)
    parser.add_argument("--output", default="gpu_check")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--claims", default=",".join(claim.__name__ for claim in CLAIMS))
    parser.add_argument("--override", action="append", default=[])
    options = parser.parse_args()
    options.output = os.path.abspath(options.output)
    wanted = options.claims.split(",")
    unknown = set(wanted) - {claim.__name__ for claim in CLAIMS}
    if unknown:
        parser.error(f"unknown claim: {', '.join(sorted(unknown))} (available: "
                     + ", ".join(claim.__name__ for claim in CLAIMS) + ")")

    machine = Machine(options)
    gpu, driver = gpu_of_this_machine()
    report = {"device": gpu if machine.on_gpu() else "CPU", "driver": driver,
              "program": machine.run([machine.lextra, "--version"]).strip().splitlines()[-1],
              "overrides": options.override, "claims": []}
    print(f"{report['device']}, driver {driver}\n{report['program']}\n", flush=True)
    print(f"{'claim':17} {'result':6} {'measured':>10} {'bound':>8} {'s':>6}  compared")
    for claim in CLAIMS:
        if claim.__name__ not in wanted:
            continue
        entry = judge(claim, machine)
        report["claims"].append(entry)
        numbers = ["-" if entry[key] is None else f"{entry[key]:.3g}"
                   for key in ("measured", "bound")]
        print(f"{entry['name']:17} {entry['result']:6} {numbers[0]:>10} {numbers[1]:>8} "
              f"{entry['seconds']:6.1f}  {entry['compared']}", flush=True)
    results = [entry["result"] for entry in report["claims"]]
    with open(os.path.join(options.output, "gpu_check.json"), "w") as file:
        json.dump(report, file, indent=2)
    print(", ".join(f"{results.count(r)} {r}" for r in ("pass", "fail", "skip")))
    return 1 if "fail" in results else 0


if __name__ == "__main__":
    sys.exit(main())
