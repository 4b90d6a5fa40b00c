"""Writes tests/golden/training_parity.safetensors: initial weights, the tokens of
20 steps, and what PyTorch makes of them in fp32 and fp64 (losses, gradient norms,
final weights). The test TrainStep.TwentyStepsEqualPyTorch reads it.

    python tests/benchmarks/peers/training_parity.py tests/golden/training_parity.safetensors

The settings stand in tests/golden/training_parity.textproto as well."""

import math
import sys

import torch
from safetensors.torch import save_file

from pytorch_model import Decoder

STEPS, BATCH, LENGTH, VOCABULARY = 20, 8, 24, 97
PEAK, FLOOR, WARMUP = 3e-3, 3e-4, 3


def learning_rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    progress = (step - WARMUP) / (STEPS - 1 - WARMUP)
    return FLOOR + (PEAK - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def train(model, tokens):
    optimizer = torch.optim.AdamW(model.groups(0.1), lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = model(tokens[step, :, :-1], tokens[step, :, 1:])
        optimizer.zero_grad()
        loss.backward()
        # The bound is low enough to be active in some steps and not in others.
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.7).item())
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)


def main():
    torch.manual_seed(20221221)
    # Text-like tokens: each depends on the one before, so there is something to learn.
    tokens = torch.zeros(STEPS, BATCH, LENGTH + 1, dtype=torch.int64)
    tokens[..., 0] = torch.randint(VOCABULARY, (STEPS, BATCH))
    for place in range(1, LENGTH + 1):
        tokens[..., place] = (3 * tokens[..., place - 1] +
                              torch.randint(4, (STEPS, BATCH))) % VOCABULARY
    model = Decoder(layers=2, width=32, heads=4, kv_heads=2, vocabulary=VOCABULARY, length=LENGTH)
    for parameter in model.parameters():  # no zero biases, no unit norms
        parameter.data += 0.02 * torch.randn_like(parameter)
    initial = model.state_dict()
    out = {"tokens": tokens}
    out |= {"initial." + n: w for n, w in model.lextra_weights().items()}
    for name, dtype in (("fp32", torch.float32), ("fp64", torch.float64)):
        model = Decoder(layers=2, width=32, heads=4, kv_heads=2, vocabulary=VOCABULARY,
                        length=LENGTH)
        model.load_state_dict(initial)
        model.to(dtype)
        out[name + ".losses"], out[name + ".gradient_norms"] = train(model, tokens)
        out |= {f"{name}.final.{n}": w.float() for n, w in model.lextra_weights().items()}
    print("losses", out["fp64.losses"].tolist())
    print("norms", out["fp64.gradient_norms"].tolist())
    save_file({n: t.contiguous() for n, t in out.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
