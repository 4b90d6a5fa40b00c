"""A contender of compare.py: training steps of the same model in PyTorch, with SDPA
and fused AdamW, eager or by torch.compile."""

import torch

from contender import compiled, fill_weights, parse_options, take_turns, tokens_from
from pytorch_model import Decoder

NUM_BATCHES = 8


def main():
    options = parse_options(__doc__)
    model = Decoder(options.layers, options.width, options.heads, options.vocabulary,
                    options.length)
    fill_weights(model)
    step_model = compiled(model) if options.compile else model
    optimizer = torch.optim.AdamW(model.groups(0.1), lr=1e-3, betas=(0.9, 0.95), fused=True)
    shape = (options.batch, options.length + 1)
    size = shape[0] * shape[1]
    batches = [tokens_from(i * size, size, options.vocabulary).view(shape)
               for i in range(NUM_BATCHES)]
    num_steps = 0

    def step():
        nonlocal num_steps
        tokens = batches[num_steps % NUM_BATCHES]
        num_steps += 1
        loss = step_model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    take_turns(step)


if __name__ == "__main__":
    main()
