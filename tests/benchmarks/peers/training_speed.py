"""Times training steps of PyTorch in the same program pattern as
`lextra_train_speed`: prints one line `step_ms <median> <min> <max>` after
--steps timed steps. tests/benchmarks/compare.sh runs both interleaved.

    python training_speed.py --layers 6 --width 192 --heads 6 --length 256 --batch 16 \\
        --vocabulary 320 --threads 2 --steps 20 [--compile]"""

import argparse
import statistics
import time

import torch

from pytorch_model import Decoder


def main():
    parser = argparse.ArgumentParser()
    for name in ("layers", "width", "heads", "length", "batch", "vocabulary", "threads", "steps"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Decoder(options.layers, options.width, options.heads, options.vocabulary,
                    options.length)
    step_model = torch.compile(model) if options.compile else model
    optimizer = torch.optim.AdamW(model.groups(0.1), lr=1e-3, fused=True)
    times = []
    for step in range(options.steps + 3):
        tokens = torch.randint(options.vocabulary, (options.batch, options.length + 1))
        begin = time.perf_counter()
        loss = step_model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        times.append(1e3 * (time.perf_counter() - begin))
    times = times[3:]  # warm-up and compilation
    print(f"step_ms {statistics.median(times):.3f} {min(times):.3f} {max(times):.3f}")


if __name__ == "__main__":
    main()
