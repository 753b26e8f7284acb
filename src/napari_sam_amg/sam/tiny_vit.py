"""MobileSAM's image encoder (vit_t): two convolution blocks, then attention inside windows.

Source: ``mobile_sam.modeling.tiny_vit_sam.TinyViT``; same state-dict keys, same result. For
inference only: batch norms always use their running statistics.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.image_encoder import make_neck
from napari_sam_amg.sam.windows import join_windows, split_windows


class ConvNorm(nn.Module):
    """A convolution and its batch norm, run as one convolution: (B, a, H, W) -> (B, b, H', W')."""

    def __init__(self, a: int, b: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(b)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.bn
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.c.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), self.c.stride, self.c.padding, groups=self.c.groups)


class PatchEmbed(nn.Module):
    """(B, 3, H, W) pixels -> (B, C, H / 4, W / 4)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, embed_dim // 2, 3, stride=2), nn.GELU(), ConvNorm(embed_dim // 2, embed_dim, 3, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.seq(x)
        return out


class MBConv(nn.Module):
    """Widen, convolve each channel, narrow, beside an identity: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = dim * expand_ratio
        self.conv1 = ConvNorm(dim, hidden, 1)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(self.conv3(y) + x)


class PatchMerging(nn.Module):
    """To the next stage's width, and with ``stride`` 2 to half the resolution: on (B, C, H, W)."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, out_dim, 1)
        self.conv2 = ConvNorm(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return out


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class Attention(nn.Module):
    """Attention inside windows; each distance (rows, columns) between two tokens has a bias a head."""

    def __init__(self, dim: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.side = side
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, side * side))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C). The padding of windows is normalised and attended to, as in the reference."""
        windows = split_windows(x, self.side).flatten(1, 2)
        qkv = self.qkv(self.norm(windows)).unflatten(-1, (self.num_heads, 3, -1))  # heads first, unlike ViT's
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (windows, h, side**2, d)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias())
        out = self.proj(out.transpose(1, 2).flatten(2)).unflatten(1, (self.side, self.side))
        return join_windows(out, (x.shape[1], x.shape[2]))

    def _bias(self) -> Tensor:
        """(1, h, side**2, side**2): the bias of every pair of tokens of a window."""
        place = torch.arange(self.side, device=self.attention_biases.device)
        distance = (place[:, None] - place).abs()
        index = self.side * distance[:, None, :, None] + distance[None, :, None, :]
        return self.attention_biases[None, :, index.flatten(2).flatten(0, 1)]


class TinyViTBlock(nn.Module):
    """Window attention, a convolution of each channel, and an MLP: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int, num_heads: int, side: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attn = Attention(dim, num_heads, side)
        self.mlp = Mlp(dim, dim * mlp_ratio)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)
        return out


class Stage(nn.Module):
    """Blocks, then ``downsample`` where another stage follows."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """(B, 3, img_size, img_size) normalised image -> (B, out_chans, img_size / 16, img_size / 16).

    Each tuple has one entry a stage; the first stage convolves and has no use for ``num_heads`` and
    ``window_sizes``. ``num_classes``: width of the classifier that pretraining left behind; it is in
    the checkpoint and not run.
    """

    def __init__(
        self,
        img_size: int = 1024,
        embed_dims: tuple[int, ...] = (64, 128, 160, 320),
        depths: tuple[int, ...] = (2, 2, 6, 2),
        num_heads: tuple[int, ...] = (2, 4, 5, 10),
        window_sizes: tuple[int, ...] = (7, 7, 14, 7),
        mlp_ratio: int = 4,
        out_chans: int = 256,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = PatchEmbed(embed_dims[0])
        strides = [2] * (len(depths) - 2) + [1]  # the last stage stays at stride 16
        self.layers = nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(embed_dims, depths, strict=True)):
            blocks = [
                TinyViTBlock(dim, num_heads[i], window_sizes[i], mlp_ratio) if i else MBConv(dim, mlp_ratio)
                for _ in range(depth)
            ]
            downsample = PatchMerging(dim, embed_dims[i + 1], strides[i]) if i < len(strides) else None
            self.layers.append(Stage(blocks, downsample))
        self.norm_head = nn.LayerNorm(embed_dims[-1])
        self.head = nn.Linear(embed_dims[-1], num_classes)
        self.neck = make_neck(embed_dims[-1], out_chans)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))  # 1.4 times faster on a CPU
        for stage in self.layers:
            x = stage(x)
        out: Tensor = self.neck(x)
        return out
