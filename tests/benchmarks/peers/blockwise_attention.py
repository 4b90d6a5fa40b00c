"""Blockwise causal attention (docs/method.md section 2) in PyTorch, for scoring one
document of whole blocks: in one call with an explicit mask, and step by step."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch_model import Attention, rotate


def window_mask(block):
    """[h, 2h] to be added: -inf where a query of a block may not see a key of the block
    before and its own."""
    return torch.full((block, 2 * block), float("-inf")).triu(block + 1)


class OneCallAttention(Attention):
    """As a user of SDPA would write it: windows of keys and values, one call with the
    mask of a window. The first block, which has no block before, is a call of its own."""

    def forward(self, x, tables):
        _, length, width = x.shape
        block = tables[0].shape[0] // 2
        if getattr(self, "mask", None) is None:
            self.mask = window_mask(block)
        # [blocks, heads, h, head size]
        q, k, v = self.qkv_proj(x).view(-1, block, 3, self.heads, self.head_size).permute(
            2, 0, 3, 1, 4).unbind(0)
        before, own = [t[:block] for t in tables], [t[block:] for t in tables]
        q = rotate(q, own[0], own[1])
        own_k = rotate(k, own[2], own[3])
        first = F.scaled_dot_product_attention(q[:1], own_k[:1], v[:1], is_causal=True)
        window_k = torch.cat((rotate(k[:-1], before[2], before[3]), own_k[1:]), 2)
        window_v = torch.cat((v[:-1], v[1:]), 2)
        rest = F.scaled_dot_product_attention(q[1:], window_k, window_v, attn_mask=self.mask)
        return self.out_proj(torch.cat((first, rest)).transpose(1, 2).reshape(1, length, width))


class StepwiseAttention(nn.Module):
    """The passes of the public torchscale fork (sunyt32/torchscale at 9b6db6d), written
    again: three projections, padded keys and values unfolded into windows, xPos on whole
    windows, products, mask, padding mask and softmax as operators of their own."""

    def __init__(self, width, heads, kv_heads):
        super().__init__()
        assert heads == kv_heads
        self.heads, self.head_size = heads, width // heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(width, width))

    def windows(self, x, block):
        """x [N, heads, head size] -> [blocks * heads, 2h, head size]."""
        padded = F.pad(x, (0, 0, 0, 0, block, 0))
        return padded.unfold(0, 2 * block, block).reshape(-1, self.head_size,
                                                          2 * block).transpose(1, 2)

    @staticmethod
    def rotated(x, cos, sin):
        cos, sin = cos.repeat_interleave(2, 1), sin.repeat_interleave(2, 1)
        turned = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
        return x * cos + turned * sin

    def forward(self, x, tables):
        _, length, width = x.shape
        block = tables[0].shape[0] // 2
        split = (length, self.heads, self.head_size)
        q = self.q_proj(x)
        q *= self.head_size ** -0.5
        q = q.view(-1, block, self.heads, self.head_size).transpose(1, 2).reshape(
            -1, block, self.head_size)
        k = self.windows(self.k_proj(x).view(split), block)
        v = self.windows(self.v_proj(x).view(split), block)
        q = self.rotated(q, tables[0][block:], tables[1][block:])
        k = self.rotated(k, tables[2], tables[3])
        scores = torch.nan_to_num(torch.bmm(q, k.transpose(1, 2)))
        scores += window_mask(block)
        missing = torch.zeros(length // block, 2 * block, dtype=torch.bool)
        missing[0, :block] = True
        scores = scores.view(-1, self.heads, block, 2 * block).masked_fill(
            missing[:, None, None], float("-inf")).view(-1, block, 2 * block)
        attended = torch.bmm(F.softmax(scores, dim=-1), v)
        return self.out_proj(attended.view(-1, self.heads, block, self.head_size).transpose(
            1, 2).reshape(1, length, width))
