"""A contender of compare.py: passes over one document of the same model in PyTorch,
whose blockwise causal attention is one call with a mask, or step by step."""

import torch
import torch._inductor.config as inductor

from blockwise_attention import OneCallAttention, StepwiseAttention
from contender import compiled, fill_weights, parse_options, take_turns, tokens_from
from pytorch_model import Decoder

ATTENTIONS = {"one_call": OneCallAttention, "stepwise": StepwiseAttention}


def main():
    options = parse_options(__doc__, tokens=16384, attention="one_call")
    model = Decoder(options.layers, options.width, options.heads, options.vocabulary,
                    options.length, attention=ATTENTIONS[options.attention]).eval()
    fill_weights(model)
    inductor.freezing = True  # weights may be packed
    score = compiled(model) if options.compile else model

    @torch.inference_mode()
    def nll():
        tokens = tokens_from(0, options.tokens + 1, options.vocabulary)[None]
        return score(tokens[:, :-1], tokens[:, 1:], reduction="none").double().mean().item()

    take_turns(nll)


if __name__ == "__main__":
    main()
