"""Times training steps of the same model in PyTorch on one GPU: torch.compile, bf16
autocast, SDPA and fused AdamW, on random tokens. tests/benchmarks/gpu_bench.sh runs it in
turns with lextra. Prints `step_ms <median> <min> <max>` and `peak_bytes <n>`.

    python gpu_train.py --layers 12 --width 768 --heads 12 --length 1024 --batch 16 \\
        --vocabulary 50257 --steps 20 [--device cpu] [--no-xpos] [--eager]"""

import argparse
import statistics
import time

import torch

from pytorch_model import Decoder, xpos_tables

WARM_UP_STEPS = 5


def main():
    parser = argparse.ArgumentParser()
    for name in ("layers", "width", "heads", "length", "batch", "vocabulary", "steps"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--no-xpos", action="store_true")
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    on_gpu = options.device == "cuda"
    # Padded as lextra pads it, to the same work.
    vocabulary = -(-options.vocabulary // 128) * 128
    with torch.device(options.device):
        model = Decoder(options.layers, options.width, options.heads, vocabulary, options.length,
                        xpos=not options.no_xpos)
        data = torch.randint(options.vocabulary, (8, options.batch, options.length + 1))
    if model.xpos:
        model.tables = [table.to(options.device) for table in
                        xpos_tables(options.length, model.head_size, torch.float32)]
    step_model = model if options.eager else torch.compile(model)
    optimizer = torch.optim.AdamW(model.groups(0.1), lr=1e-4, betas=(0.9, 0.95), fused=True)
    times = []
    for step in range(options.steps + WARM_UP_STEPS):
        tokens = data[step % len(data)]
        begin = time.perf_counter()
        with torch.autocast(options.device, torch.bfloat16):
            loss = step_model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    times = times[WARM_UP_STEPS:]
    print(f"step_ms {statistics.median(times):.3f} {min(times):.3f} {max(times):.3f}")
    print(f"peak_bytes {torch.cuda.max_memory_allocated() if on_gpu else 0}")


if __name__ == "__main__":
    main()
