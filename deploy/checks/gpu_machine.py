"""What the claims of gpu_check.py build on: the programs, the device under test, runs in
a folder, and the files and processes of such runs."""

import array
import json
import math
import os
import shutil
import struct
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CONFIG = """
model { num_layers: 2 hidden_size: %(width)d num_heads: 4 training_length: 64 }
data { global_batch_size: 8 }
schedule { num_steps: 20 warmup_steps: 4 learning_rate: 2e-3 min_learning_rate: 2e-4 }
parallel { num_threads: 1 }
checkpoint { interval_steps: 0 }
evaluation { validation_interval_steps: 0 }
logging { interval_steps: 1 }
"""


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Machine:
    """The programs, the device under test and a folder for the runs."""

    def __init__(self, options):
        self.device = options.device
        self.overrides = options.override
        bundled = os.path.exists(os.path.join(ROOT, "bin", "wrapper"))
        build = os.environ.get("LEXTRA_BUILD_DIR", os.path.join(ROOT, "build"))
        self.programs = os.path.join(ROOT, "bin") if bundled else os.path.join(build, "launch")
        self.mpirun = os.path.join(self.programs, "mpirun") if bundled else "mpirun"
        self.lextra = os.path.join(self.programs, "lextra")
        self.work = os.path.join(options.output, "runs")
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        self.config = self.path("small.textproto")
        with open(self.config, "w") as file:
            file.write(CONFIG % {"width": 256 if self.on_gpu() else 64})
        self.losses = {}

    def on_gpu(self):
        return self.device == "cuda"

    def path(self, name):
        return os.path.join(self.work, name)

    def command(self, ranks, *arguments):
        return [self.mpirun, "-np", str(ranks), "--oversubscribe", "--bind-to", "none",
                "--mca", "btl", "self,vader", "--mca", "oob_tcp_if_include", "lo",
                "--mca", "btl_vader_single_copy_mechanism", "none", *arguments]

    def environment(self):
        more = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        if self.on_gpu():
            more["LEXTRA_TEST_SHARE_GPU"] = "1"
        return {**os.environ, **more}

    def run(self, command, limit=180):
        # Debian's PMIx has been seen to hang on exit: `timeout` ends that.
        result = subprocess.run(["timeout", "-k", "20", str(limit), *command],
                                env=self.environment(), text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)
        if result.returncode != 0:
            lines = [line for line in result.stdout.splitlines() if "error" in line]
            what = lines[0] if lines else "\n".join(result.stdout.splitlines()[-3:])
            raise Failure(f"exit code {result.returncode}: {what[:300]}")
        return result.stdout

    def corpus(self):
        """Python's standard library: text that exists wherever this runs."""
        prefix = self.path("corpus")
        if not os.path.exists(prefix + "-train.bin"):
            library = os.path.dirname(os.__file__)
            self.run([self.lextra, "prepare", "--output=" + prefix, "--extension=.py",
                      *(os.path.join(library, name) for name in ("json", "asyncio", "email"))])
        return [f"data.train={prefix}-train", f"data.validation={prefix}-validation"]

    def on(self, device):
        """Overrides of a run: the reference's, or those of the device under test."""
        if device == "reference":
            return ["parallel.device=CPU"]
        return ["parallel.device=" + self.device.upper(), *self.overrides]

    def train_command(self, name, device, ranks, *more):
        flags = [argument for argument in more if argument.startswith("--")]
        fields = [argument for argument in more if not argument.startswith("--")]
        return self.command(ranks, self.lextra, "train", "--config=" + self.config,
                            "--run_dir=" + self.path(name), *flags, *self.corpus(),
                            *self.on(device), *fields)

    def train(self, name, device, ranks, *more):
        """Losses by step from metrics.jsonl; resumes the run folder."""
        self.run(self.train_command(name, device, ranks, *more))
        losses = {line["step"]: line["loss"] for line in self.metrics(name) if "loss" in line}
        if not losses or not all(isinstance(v, float) and math.isfinite(v) for v in losses.values()):
            raise Failure(f"{name}: losses are missing or not finite")
        return losses

    def once(self, name, *arguments):
        """A run that several claims need."""
        if name not in self.losses:
            self.losses[name] = self.train(name, *arguments)
        return self.losses[name]

    def reference(self):
        return self.once("reference", "reference", 1)

    def metrics(self, name):
        with open(os.path.join(self.path(name), "metrics.jsonl")) as file:
            return [json.loads(line) for line in file]


def write_tokens(path, rows, length):
    """A safetensors file of `tokens` I64 [rows, length]: bytes of Python's library."""
    with open(json.__file__, "rb") as file:
        text = file.read()
    tokens = array.array("q", list((text * (1 + rows * length // len(text)))[:rows * length]))
    header = json.dumps({"tokens": {"dtype": "I64", "shape": [rows, length],
                                    "data_offsets": [0, 8 * len(tokens)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + tokens.tobytes())


def read_data(path, tensor=None):
    """The bytes of a safetensors file after its header, or of one tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    begin, end = header[tensor]["data_offsets"] if tensor else (0, len(data))
    return data[begin:end]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gpu_of_this_machine():
    try:
        line = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                               "--format=csv,noheader"], capture_output=True, text=True,
                              check=True).stdout.splitlines()[0]
        return [part.strip() for part in line.split(",")]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ["none", "none"]
