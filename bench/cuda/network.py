"""The U-Net of a saved model in plain PyTorch, as one would write it: the peer that the CUDA benchmarks run against.

Modules bear the names of the saved tensors, so that a model of ours loads into it. For models without classes.
"""

import json
import math
import os

import torch
from torch import nn
from torch.nn import functional


class TimeEmbedding(nn.Module):
    """Sinusoids of the timestep, and two dense layers: [B] -> [B, 4 * channels]."""

    def __init__(self, channels, flip_sin_to_cos, freq_shift):
        super().__init__()
        self.linear_1 = nn.Linear(channels, 4 * channels)
        self.linear_2 = nn.Linear(4 * channels, 4 * channels)
        half = channels // 2
        exponent = torch.arange(half, dtype=torch.float32) * -math.log(10000.0) / (half - freq_shift)
        self.register_buffer("frequencies", exponent.exp(), persistent=False)
        self.flip_sin_to_cos = flip_sin_to_cos

    def forward(self, t):
        phase = t.float()[:, None] * self.frequencies
        parts = [phase.cos(), phase.sin()] if self.flip_sin_to_cos else [phase.sin(), phase.cos()]
        return self.linear_2(functional.silu(self.linear_1(torch.cat(parts, 1))))


class ResidualBlock(nn.Module):
    def __init__(self, before, after, config):
        super().__init__()
        groups, eps = config["norm_num_groups"], config["norm_eps"]
        self.norm1 = nn.GroupNorm(groups, before, eps)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config["block_out_channels"][0], after)
        self.norm2 = nn.GroupNorm(groups, after, eps)
        self.dropout = nn.Dropout(config.get("dropout", 0.0))
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x, embedding):
        h = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.time_emb_proj(functional.silu(embedding))[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Self-attention over the pixels: [B, C, H, W] -> the same."""

    def __init__(self, channels, config):
        super().__init__()
        head = config.get("attention_head_dim")
        self.heads = channels // head if head else 1
        self.group_norm = nn.GroupNorm(config["norm_num_groups"], channels, config["norm_eps"])
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x):
        batch, channels, height, width = x.shape
        tokens = self.group_norm(x).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        split = lambda y: y.view(batch, height * width, self.heads, channels // self.heads).transpose(1, 2)
        q, k, v = split(self.to_q(tokens)), split(self.to_k(tokens)), split(self.to_v(tokens))
        h = functional.scaled_dot_product_attention(q, k, v)
        h = self.to_out[0](h.transpose(1, 2).reshape(batch, height * width, channels))
        return x + h.view(batch, height, width, channels).permute(0, 3, 1, 2)


class Downsample(nn.Module):
    def __init__(self, channels, padding):
        super().__init__()
        self.asymmetric = padding == 0
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x):
        return self.conv(functional.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, with attention after each or none; `x` alone, or with a skip for each block."""

    def __init__(self, widths, attention, config):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(before, after, config) for before, after in widths)
        self.attentions = nn.ModuleList(Attention(after, config) for _, after in widths) if attention else None

    def block(self, i, x, embedding):
        x = self.resnets[i](x, embedding)
        return x if self.attentions is None or i >= len(self.attentions) else self.attentions[i](x)


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = config["block_out_channels"]
        blocks = config["layers_per_block"]
        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], config["flip_sin_to_cos"], config["freq_shift"])

        skips, current = [widths[0]], widths[0]
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level([(current if j == 0 else width, width) for j in range(blocks)],
                          config["down_block_types"][i].startswith("Attn"), config)
            current = width
            skips += [width] * blocks
            if i + 1 < len(widths):
                level.downsamplers = nn.ModuleList([Downsample(width, config["downsample_padding"])])
                skips.append(width)
            self.down_blocks.append(level)

        self.mid_block = Level([(current, current)] * 2, False, config)
        self.mid_block.attentions = nn.ModuleList([Attention(current, config)])

        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(reversed(widths)):
            pairs = []
            for _ in range(blocks + 1):
                pairs.append((current + skips.pop(), width))
                current = width
            level = Level(pairs, config["up_block_types"][i].startswith("Attn"), config)
            if i + 1 < len(widths):
                level.upsamplers = nn.ModuleList([Upsample(width)])
            self.up_blocks.append(level)

        self.conv_norm_out = nn.GroupNorm(config["norm_num_groups"], current, config["norm_eps"])
        self.conv_out = nn.Conv2d(current, config["out_channels"], 3, padding=1)

    def forward(self, x, t):
        embedding = self.time_embedding(t)
        h = self.conv_in(x)
        skips = [h]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                h = level.block(i, h, embedding)
                skips.append(h)
            if hasattr(level, "downsamplers"):
                h = level.downsamplers[0](h)
                skips.append(h)
        for i in range(2):
            h = self.mid_block.block(i, h, embedding)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                h = level.block(i, torch.cat([h, skips.pop()], 1), embedding)
            if hasattr(level, "upsamplers"):
                h = level.upsamplers[0](h)
        return self.conv_out(functional.silu(self.conv_norm_out(h)))


def read_safetensors(path):
    """The tensors of a safetensors file, all of them float32."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=begin)
        tensors[name] = tensors[name].view(entry["shape"]).clone()
    return tensors


def weights_of(folder):
    """The weights of a model that was saved by `ddpm.save(folder)`."""
    return read_safetensors(os.path.join(folder, "unet", "diffusion_pytorch_model.safetensors"))


def config_of(folder):
    """Its network's configuration, a file."""
    return os.path.join(folder, "unet", "config.json")


def load(config, device):
    """A network with random weights, of the configuration in a file."""
    with open(config) as file:
        return UNet(json.load(file)).to(device)
