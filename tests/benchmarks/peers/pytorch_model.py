"""The same decoder in PyTorch, as a PyTorch user would write it: the peer that
Lextra's training is compared with, in results (training_parity.py) and in speed
(training_speed.py). Parameter names are Lextra's."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def xpos_tables(length, head_size, dtype, gamma=0.4, scale_base=512.0, base=10000.0):
    """cos and sin [length, head_size / 2] times xPos's factor, for queries and keys."""
    i = torch.arange(head_size // 2, dtype=torch.float64)
    theta = base ** (-2 * i / head_size)
    zeta = (i / (head_size / 2) + gamma) / (1 + gamma)
    place = torch.arange(length, dtype=torch.float64)[:, None]
    factor = zeta ** ((place - length // 2) / scale_base)
    angle = place * theta
    tables = [torch.cos(angle) * factor, torch.sin(angle) * factor,
              torch.cos(angle) / factor, torch.sin(angle) / factor]
    return [t.to(dtype) for t in tables]


def rotate(x, cos, sin):
    """x [B, H, T, D]; pairs (x_2i, x_2i+1)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, width, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.head_size = heads, kv_heads, width // heads
        self.qkv_proj = nn.Linear(width, (heads + 2 * kv_heads) * self.head_size)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, tables):
        batch, length, width = x.shape
        q, k, v = self.qkv_proj(x).view(batch, length, -1, self.head_size).transpose(1, 2).split(
            [self.heads, self.kv_heads, self.kv_heads], 1)
        if tables is not None:
            q, k = rotate(q, tables[0], tables[1]), rotate(k, tables[2], tables[3])
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True,
                                             enable_gqa=self.heads != self.kv_heads)
        return self.out_proj(out.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, width, ffn_width):
        super().__init__()
        self.fc1 = nn.Linear(width, ffn_width)
        self.fc2 = nn.Linear(ffn_width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, attention, width, ffn_width):
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = attention
        self.final_layer_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, ffn_width)

    def forward(self, x, tables):
        x = x + self.self_attn(self.self_attn_layer_norm(x), tables)
        return x + self.ffn(self.final_layer_norm(x))


class Decoder(nn.Module):
    """Pre-norm decoder with tied output and xPos positions."""

    def __init__(self, layers, width, heads, vocabulary, length, kv_heads=None, xpos=True,
                 attention=Attention):
        super().__init__()
        kv_heads = kv_heads or heads
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(
            Layer(attention(width, heads, kv_heads), width, 4 * width) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)
        self.head_size, self.length, self.xpos = width // heads, length, xpos
        self.tables = None
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                residual = "out_proj" in name or "fc2" in name
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * layers) if residual else 1))

    def forward(self, tokens, targets, reduction="mean"):
        x = self.embed_tokens(tokens)
        if self.xpos and (self.tables is None or self.tables[0].dtype != x.dtype):
            self.tables = xpos_tables(self.length, self.head_size, x.dtype)
        for layer in self.layers:
            x = layer(x, self.tables)
        logits = F.linear(self.layer_norm(x), self.embed_tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)

    def groups(self, weight_decay):
        """Parameter groups of AdamW: matrices decay, norms and biases do not."""
        parameters = list(self.parameters())
        return [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]

    def pieces(self):
        """Views of the parameters under Lextra's names: q, k and v apart."""
        for name, parameter in self.named_parameters():
            if "qkv_proj" not in name:
                yield name, parameter
                continue
            attention = self.layers[0].self_attn
            rows = [attention.heads, attention.kv_heads, attention.kv_heads]
            parts = parameter.split([r * attention.head_size for r in rows])
            for letter, part in zip("qkv", parts):
                yield name.replace("qkv_proj", letter + "_proj"), part

    def lextra_weights(self):
        return {name: piece.detach().clone() for name, piece in self.pieces()}
