"""The driver of compare.sh: starts contenders, lets them take turns, and reports."""

import argparse
import json
import operator
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

from cases import PYTHON, all_cases
from report import Table, write_markdown

SAME_RESULT = 1e-4  # relative, of losses after the same steps in fp32
TICKS = os.sysconf("SC_CLK_TCK")
COMPARISONS = {">=": operator.ge, "<=": operator.le, "==": operator.eq}


def peer_python():
    """A Python with PyTorch; made if there is none."""
    cache = pathlib.Path(os.environ.get("LEXTRA_CACHE", pathlib.Path.home() / ".cache/lextra"))
    python = os.environ.get("LEXTRA_PEER_PYTHON", str(cache / "peer/bin/python"))
    if not os.access(python, os.X_OK):
        subprocess.run([sys.executable, "-m", "venv", cache / "peer"], check=True)
        subprocess.run([cache / "peer/bin/pip", "install", "--quiet", "torch==2.11.0", "numpy",
                        "safetensors"], check=True)
    return python


class Running:
    """A contender's process, which works when it is told to."""

    def __init__(self, contender):
        self.contender = contender
        command = [peer_python() if word == PYTHON else word for word in contender.command]
        self.errors = tempfile.TemporaryFile("w+")
        environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1",
                                    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                text=True, start_new_session=True, env=environment)
        except FileNotFoundError as error:
            sys.exit(f"compare: {error.filename} is missing: run deploy/build.sh")
        self.rounds = []  # mean ms of the steps of each turn
        self.figures = {}

    def run(self, steps):
        """Milliseconds of each step."""
        self.say(f"run {steps}")
        words = self.process.stdout.readline().split()
        if not words or words[0] != "ms":
            self.errors.seek(0)
            sys.exit(f"compare: {self.contender.name} has failed: "
                     f"{' '.join(self.contender.command)}\n{self.errors.read()[-3000:]}")
        self.figures |= {words[i]: float(words[i + 1]) for i in range(steps + 1, len(words), 2)}
        return [float(ms) for ms in words[1:steps + 1]]

    def turn(self, steps):
        self.rounds.append(statistics.mean(self.run(steps * self.contender.steps)))

    def say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has failed: run() says so

    def of_session(self):
        """(pid, parent, processor seconds) of its processes."""
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == self.process.pid:
                yield int(folder.name), int(fields[1]), sum(map(int, fields[11:13])) / TICKS

    def cpu_seconds(self):
        return sum(seconds for _, _, seconds in self.of_session())

    def measure_memory(self):
        """The sum of its ranks' peaks."""
        pids = [self.process.pid]
        if self.contender.ranks > 1:
            pids = [pid for pid, parent, _ in self.of_session() if parent == self.process.pid]
        kilobytes = 0
        for pid in pids:
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    kilobytes += int(line.split()[1])
        self.figures["peak_rss_mb"] = kilobytes / 1024

    def values(self, unit):
        """Of each round, or one figure."""
        if unit == "ms":
            return self.rounds
        if unit == "tokens/s":
            return [1e3 * self.contender.tokens / ms for ms in self.rounds]
        return [self.figures[unit]]

    def end(self):
        self.say("quit")
        for give_up in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                give_up()
        self.process.wait()


def take_turns(case, contenders, rounds, steps):
    """The contenders that have run, by name, and the processor time of those that
    waited, as a share of the time of the one that worked."""
    running = []
    try:
        for contender in contenders:
            running.append(Running(contender))
            if contender.warm_up:
                running[-1].run(contender.warm_up)
        waiting_seconds = 0
        for number in range(rounds):
            turn_of = number % len(running)
            if sys.stderr.isatty():
                print(f"\r{case.name}: round {number + 1} of {rounds} ", end="", file=sys.stderr)
            for one in running[turn_of:] + running[:turn_of]:
                waiting = [other for other in running if other is not one]
                before = sum(other.cpu_seconds() for other in waiting)
                one.turn(steps)
                waiting_seconds += sum(other.cpu_seconds() for other in waiting) - before
        for one in running:
            one.measure_memory()
        total_ms = sum(ms * steps * one.contender.steps for one in running for ms in one.rounds)
        return {one.contender.name: one for one in running}, 1e3 * waiting_seconds / total_ms
    finally:
        for one in running:
            one.end()


def compared_results(running):
    """A line for each kind of work that several did, and whether they came to the same."""
    results = {}
    for name, one in running.items():
        if "result" in one.figures:
            results.setdefault(one.contender.work, {})[name] = one.figures["result"]
    lines, same = [], True
    for work, values in results.items():
        low, high = min(values.values()), max(values.values())
        agree = high - low <= SAME_RESULT * abs(low)  # not for NaN
        same &= agree
        if len(values) > 1:
            lines.append(f"{'same result' if agree else 'DIFFERENT WORK'} ({work}): " + ", ".join(
                f"{name} {value:.7g}" for name, value in values.items()))
    return lines, same


def evaluated(ratio, running):
    """A dict for the report; None where a contender is left out."""
    over = ratio.over
    if isinstance(over, tuple):
        there = [name for name in over if name in running]
        better = min if ratio.unit == "ms" else max
        over = better(there, key=lambda name: statistics.median(running[name].values(ratio.unit)),
                      default="")
    numerator = ratio.of in running and running[ratio.of].values(ratio.unit)
    if isinstance(over, str):
        denominator = over in running and running[over].values(ratio.unit)
    else:
        denominator = numerator and [over] * len(numerator)
    if not numerator or not denominator:
        return None
    ratios = [a / b for a, b in zip(numerator, denominator)]
    median = statistics.median(ratios)
    entry = {"what": f"{ratio.of} / {over}", "unit": ratio.unit, "median": median,
             "min": min(ratios), "max": max(ratios)}
    if ratio.goal:
        comparison, bound = ratio.goal.split()
        entry |= {"goal": ratio.goal, "met": COMPARISONS[comparison](median, float(bound))}
    return entry


def tables_of(case, running, ratios):
    contenders = Table(["contender", "ranks x threads", case.unit, "min", "max", "GFLOP/s",
                        "% of GEMM", "peak RSS MB"])
    gflops = {name: 1e-6 * one.contender.flops / statistics.median(one.rounds)
              for name, one in running.items()}
    ceiling = gflops.get("gemm_ceiling")
    for name, one in running.items():
        values = one.values(case.unit)
        contenders.add(name, f"{one.contender.ranks} x {one.contender.threads}",
                       *(f"{v:.1f}" for v in (statistics.median(values), min(values),
                                              max(values), gflops[name])),
                       f"{100 * gflops[name] / ceiling:.0f}" if ceiling else "-",
                       f"{one.figures['peak_rss_mb']:.0f}")
    goals = Table(["ratio", "of", "median", "min", "max", "goal", ""])
    for entry in ratios:
        met = {True: "met", False: "not met", None: ""}[entry.get("met")]
        goals.add(entry["what"], entry["unit"], *(f"{entry[key]:.3f}" for key in
                                                  ("median", "min", "max")),
                  entry.get("goal", "-"), met)
    return [contenders, goals] if ratios else [contenders]


def entry_of(case, running, ratios, idle):
    contenders = {}
    for name, one in running.items():
        values = one.values(case.unit)
        contenders[name] = {"median": statistics.median(values), "min": min(values),
                            "max": max(values), "repeats": len(values)} | one.figures
    return {"name": case.name, "about": case.about, "unit": case.unit, "contenders": contenders,
            "ratios": ratios, "waiting_cpu_share": idle}


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in text.splitlines()
                  if line.startswith("model name")), platform.machine())
    widest = "AVX-512" if " avx512f" in text else "AVX2" if " avx2" in text else "no AVX2"
    return f"{model}, {os.cpu_count()} cores, {widest}"


def commit():
    return subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                          text=True).stdout.strip()


def parse(arguments):
    parser = argparse.ArgumentParser(prog="compare.sh", allow_abbrev=False)
    parser.add_argument("--cases")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--contenders")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args(arguments)


def chosen(case, prefixes):
    if not prefixes:
        return case.contenders
    return [c for c in case.contenders
            if any(c.name == p or c.name.startswith(p + "_") for p in prefixes.split(","))]


def main():
    options = parse(sys.argv[1:])
    cases = all_cases(options.quick)
    names = options.cases.split(",") if options.cases else list(cases)
    for name in names:
        if name not in cases:
            sys.exit(f"compare: unknown case {name} (available: {', '.join(cases)})")
    if options.list:
        for name in names:
            print(f"{name}: {cases[name].about}\n    "
                  f"{', '.join(c.name for c in cases[name].contenders)}")
        return
    report = {"cases": [], "machine": machine(), "commit": commit(),
              "command": " ".join(["tests/benchmarks/compare.sh", *sys.argv[1:]])}
    print(f"{report['machine']}; commit {report['commit']}")
    sections, differing = [], []
    for name in names:
        case = cases[name]
        running, idle = take_turns(case, chosen(case, options.contenders),
                                   options.rounds or case.rounds, options.steps)
        lines, same = compared_results(running)
        if not same:
            differing.append(name)
        ratios = [entry for ratio in case.ratios if (entry := evaluated(ratio, running))]
        tables = tables_of(case, running, ratios)
        notes = [f"{len(next(iter(running.values())).rounds)} rounds; while one worked, the "
                 f"others used {100 * idle:.1f} % of a core"]
        notes += lines
        print(f"\n{case.name}: {case.about}")
        print("\n\n".join(str(table) for table in tables), *notes, sep="\n", flush=True)
        sections.append((case, tables, notes))
        report["cases"].append(entry_of(case, running, ratios, idle))
        # After every case: a long run that is stopped has something to show.
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
        if options.markdown:
            write_markdown(options.markdown, report, sections)
    if differing:
        sys.exit(f"compare: contenders did different work in {', '.join(differing)}")


if __name__ == "__main__":
    main()
