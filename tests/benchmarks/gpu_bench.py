"""What gpu_bench.sh measures. Lextra's times are those of `lextra train` itself, from
metrics.jsonl after the warm-up; a contender's figure is the median over the rounds."""

import argparse
import collections
import json
import os
import shutil
import statistics
import subprocess
import sys

from gpu_machine import Failure, Machine, ROOT, gpu_of_this_machine

PEAK_FLOPS = 989e12  # dense bf16 of H100 SXM and H200
WARM_UP_STEPS = 10

Model = collections.namedtuple("Model", "layers width heads length vocabulary batch lengths")
MODELS = {
    "124m": Model(12, 768, 12, 1024, 50257, 32, (16384, 1 << 20)),
    "355m": Model(24, 1024, 16, 1024, 50257, 16, (16384, 1 << 20)),
    "small": Model(2, 64, 4, 64, 320, 8, (512, 4096)),
}


def parameters(model):
    """With biases and norms, the tied embedding once."""
    padded = -(-model.vocabulary // 128) * 128
    width = model.width
    return padded * width + model.layers * (12 * width * width + 13 * width) + 2 * width


def flops_per_token(model, attention):
    """6 N + attention L C T: 6 counts the causal half, 12 is the PaLM formula."""
    return 6 * parameters(model) + attention * model.layers * model.width * model.length


class Bench:
    def __init__(self, options):
        self.machine = Machine(options)
        self.options = options
        self.precision = ["model.precision=BF16"] if self.machine.on_gpu() else []
        self.document = self.machine.path("document.txt")
        text = "".join(open(os.path.join(os.path.dirname(os.__file__), name)).read()
                       for name in ("argparse.py", "typing.py", "inspect.py"))
        with open(self.document, "w") as file:
            file.write(text * (1 + (1 << 20) // len(text)))  # one document above 1 M bytes
        self.machine.run([self.machine.lextra, "prepare", "--validation_fraction=0",
                          "--output=" + self.machine.path("long"), self.document])

    def lextra(self, model, position):
        run = self.machine.path("speed")
        shutil.rmtree(run, ignore_errors=True)
        steps = self.options.steps + WARM_UP_STEPS
        self.machine.run(self.machine.command(
            1, self.machine.lextra, "train", "--config=" + self.machine.config, "--run_dir=" + run,
            f"data.train={self.machine.path('long')}-train", *self.machine.on("device"),
            *self.precision, f"model.num_layers={model.layers}", f"model.hidden_size={model.width}",
            f"model.num_heads={model.heads}", f"model.training_length={model.length}",
            f"model.vocab_size={model.vocabulary}", f"model.position_encoding={position}",
            f"data.global_batch_size={model.batch}", f"schedule.num_steps={steps}",
            "parallel.num_threads=0", "logging.interval_steps=5"), limit=500)
        lines = [line for line in self.machine.metrics("speed")
                 if "step_s" in line and line["step"] > WARM_UP_STEPS]
        return {"tokens_per_second": model.batch * model.length /
                statistics.median(line["step_s"] for line in lines),
                "peak_gpu_gib": max((line.get("gpu_gib", 0) for line in lines), default=0)}

    def pytorch(self, model):
        python = os.environ.get("LEXTRA_PEER_PYTHON", "python3")
        flags = [f"--{name}={getattr(model, name)}"
                 for name in ("layers", "width", "heads", "length", "batch", "vocabulary")]
        result = subprocess.run(
            [python, "-B", os.path.join(ROOT, "tests/benchmarks/peers/gpu_train.py"), *flags,
             f"--steps={self.options.steps}", "--device=" + self.options.device],
            capture_output=True, text=True, timeout=500, check=False)
        if result.returncode != 0:
            raise Failure("PyTorch: " + (result.stderr.strip().splitlines() or ["?"])[-1])
        values = dict(line.split()[:2] for line in result.stdout.splitlines()
                      if line.startswith(("step_ms", "peak_bytes")))
        return {"tokens_per_second": 1e3 * model.batch * model.length / float(values["step_ms"]),
                "peak_gpu_gib": int(values["peak_bytes"]) / 2**30}

    def scoring(self, model):
        """Of the last run's checkpoint: tokens/s by length."""
        results = self.machine.path("scores")
        lengths = ", ".join(map(str, model.lengths))
        self.machine.run(self.machine.command(
            1, self.machine.lextra, "evaluate", "--checkpoint=" + self.machine.path("speed"),
            "--results_dir=" + results, f"data.validation={self.machine.path('long')}-train",
            *self.machine.on("device"), "evaluation.masks=[BCA]", f"evaluation.lengths=[{lengths}]",
            f"evaluation.max_tokens={model.lengths[-1]}"), limit=500)
        with open(os.path.join(results, "results.json")) as file:
            return {row["length"]: row["tokens_per_second"] for row in json.load(file)["results"]}


def measure(bench, model, rounds):
    contenders = {"lextra, no positions": lambda: bench.lextra(model, "NONE"),
                  "lextra, xPos": lambda: bench.lextra(model, "XPOS"),
                  "PyTorch, xPos": lambda: bench.pytorch(model)}
    results, scores, problems = collections.defaultdict(list), collections.defaultdict(list), {}
    for _ in range(rounds):
        for name, run in contenders.items():
            if name in problems:
                continue
            try:
                speed = run()
                results[name].append(speed)
            except (Failure, OSError, subprocess.TimeoutExpired) as problem:
                problems[name] = str(problem)
        if "lextra, xPos" not in problems:
            for length, speed in bench.scoring(model).items():
                scores[length].append(speed)
    return results, scores, problems


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "repeats": len(values)}


def utilization(speed, model, attention, device):
    """Share of the peak; None on a device whose peak is not PEAK_FLOPS."""
    if "H100" not in device and "H200" not in device:
        return None
    return speed * flops_per_token(model, attention) / PEAK_FLOPS


def report_model(model, measured, device):
    results, scores, problems = measured
    xpos = results.get("lextra, xPos")
    entry = {"model": model._asdict(), "parameters": parameters(model), "problems": problems,
             "training": {}, "scoring": {length: summary(v) for length, v in scores.items()}}
    for name, rounds in results.items():
        speed = summary([r["tokens_per_second"] for r in rounds])
        entry["training"][name] = {
            "tokens_per_second": speed,
            "mfu_causal": utilization(speed["median"], model, 6, device),
            "mfu_palm": utilization(speed["median"], model, 12, device),
            "peak_gpu_gib": max(r["peak_gpu_gib"] for r in rounds),
            "median_ratio_to_xpos": statistics.median(
                r["tokens_per_second"] / x["tokens_per_second"]
                for r, x in zip(rounds, xpos)) if xpos else None}
    return entry


def percent(share):
    return "-" if share is None else f"{100 * share:.1f} %"


def markdown(report):
    lines = [f"{report['device']}, driver {report['driver']}; {report['program']}.",
             f"Peak {PEAK_FLOPS / 1e12:.0f} TFLOP/s; MFU by 6N+6LCT / 6N+12LCT.", "",
             "| Model | Contender | tokens/s (min-max, repeats) | MFU | x lextra, xPos | GiB |",
             "|---|---|---|---|---|---|"]
    for name, entry in report["models"].items():
        for contender, row in entry["training"].items():
            speed, ratio = row["tokens_per_second"], row["median_ratio_to_xpos"]
            lines.append(
                f"| {name} | {contender} | {speed['median']:.0f} ({speed['min']:.0f}-"
                f"{speed['max']:.0f}, {speed['repeats']}) | {percent(row['mfu_causal'])} / "
                f"{percent(row['mfu_palm'])} | {'-' if ratio is None else f'{ratio:.3f}'} | "
                f"{row['peak_gpu_gib'] or 'not recorded'} |")
        lines += [f"| {name} | {contender} | not measured: {problem} | | | |"
                  for contender, problem in entry["problems"].items()]
        lines += [f"| {name} | scoring by BCA at {length} | {speed['median']:.0f} "
                  f"({speed['min']:.0f}-{speed['max']:.0f}, {speed['repeats']}) | | | |"
                  for length, speed in entry["scoring"].items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="gpu_bench.sh", allow_abbrev=False)
    parser.add_argument("--output", default="gpu_bench")
    parser.add_argument("--models", default="124m,355m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    options.output, options.override = os.path.abspath(options.output), []
    names = ["small"] if options.small else options.models.split(",")
    bench = Bench(options)
    gpu, driver = gpu_of_this_machine()
    report = {"device": gpu if options.device == "cuda" else "CPU", "driver": driver,
              "program": bench.machine.run([bench.machine.lextra, "--version"]).strip(),
              "command": " ".join(sys.argv[1:]), "models": {}}
    for name in names:
        report["models"][name] = report_model(
            MODELS[name], measure(bench, MODELS[name], options.rounds), report["device"])
    with open(os.path.join(options.output, "gpu_bench.json"), "w") as file:
        json.dump(report, file, indent=2)
    text = markdown(report)
    with open(os.path.join(options.output, "gpu_bench.md"), "w") as file:
        file.write(text)
    print(text)
    return 1 if any(entry["problems"] for entry in report["models"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
