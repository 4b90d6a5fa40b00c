"""What the PyTorch contenders of compare.py share: the model's options, the same
weights and tokens as Lextra's programs (benchmark_program.h), and taking turns."""

import argparse
import sys
import time

import torch


def parse_options(description, **more):
    """Options of the model, and `more`: name -> default."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("layers", "width", "heads", "length", "batch", "vocabulary", "threads"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    for name, default in more.items():
        parser.add_argument("--" + name, type=type(default), default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def compiled(model):
    """By the settings that were fastest on CPUs: products are tried in several forms."""
    return torch.compile(model, mode="max-autotune-no-cudagraphs")


def scrambled(index):
    return (index * index * 31 + index * 7919) % 10007


def tokens_from(first, count, vocabulary):
    return scrambled(torch.arange(first, first + count)) % vocabulary


def fill_weights(model):
    """Matrices whose values depend on Lextra's name for them and on the place alone."""
    with torch.no_grad():
        for name, matrix in model.pieces():
            if matrix.dim() == 2:
                index = torch.arange(matrix.numel()) + sum(name.encode())
                values = (scrambled(index).double() / 10007 - 0.5) / 5
                matrix.copy_(values.view_as(matrix))


def take_turns(work):
    """For each line "run N" on stdin works N times and answers with milliseconds and
    the last result (a float); ends at "quit"."""
    for line in sys.stdin:
        if not line.startswith("run "):
            break
        times = []
        for _ in range(int(line.split()[1])):
            begin = time.perf_counter()
            result = work()
            times.append(1e3 * (time.perf_counter() - begin))
        print("ms", *(f"{t:.4f}" for t in times), f"result {result:.9g}", flush=True)
