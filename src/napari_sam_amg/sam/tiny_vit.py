"""MobileSAM's image encoder (vit_t): two convolution blocks, then attention inside windows.

Source: ``mobile_sam.modeling.tiny_vit_sam.TinyViT``; same state-dict keys, same result. For
inference only: batch norms always use their running statistics.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.image_encoder import make_neck
from napari_sam_amg.sam.layers import convolve_normed, gelu_, linear
from napari_sam_amg.sam.scratch import Scratch, calls_are_cheap, out, scratch_for
from napari_sam_amg.sam.windows import map_windows, pad_windows

#: Of a strip of rows in between two convolutions, on a CPU. Measured on 2 cores with 2 MB of level-2 cache each.
STRIP_BYTES = 2**23


class ConvNorm(nn.Module):
    """A convolution and its batch norm, run as one convolution: (B, a, H, W) -> (B, b, H', W')."""

    def __init__(self, a: int, b: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(b)

    def forward(self, x: Tensor) -> Tensor:
        return convolve_normed(x, self.c, self.bn)


class PatchEmbed(nn.Module):
    """(B, 3, H, W) pixels -> (B, C, H / 4, W / 4)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, embed_dim // 2, 3, stride=2), nn.GELU(), ConvNorm(embed_dim // 2, embed_dim, 3, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.seq[2](gelu_(self.seq[0](x)))
        return out


def in_strips(x: Tensor, hidden: int, stride: int, convolve: Callable[[Tensor], Tensor]) -> Tensor:
    """``convolve`` a few rows of (B, C, H, W) at a time, so that the ``hidden`` channels in between stay in the cache.

    For convolutions of which one, with ``stride``, sees the row above and the row below. So a strip is
    given ``stride`` rows more at either end, and what was computed at the cuts is left out.
    """
    rows = STRIP_BYTES // (x.shape[3] * hidden * x.element_size()) // stride * stride
    if not calls_are_cheap(x) or rows >= x.shape[2]:
        return convolve(x)
    strips = []
    for start in range(0, x.shape[2], max(rows, stride)):
        stop = min(start + max(rows, stride), x.shape[2])
        first = max(0, start - stride)
        strip = convolve(x[:, :, first : stop + stride])
        strips.append(strip[:, :, (start - first) // stride :][:, :, : -(-(stop - start) // stride)])
    return torch.cat(strips, dim=2)


class MBConv(nn.Module):
    """Widen, convolve each channel, narrow, beside an identity: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int, expand_ratio: int) -> None:
        super().__init__()
        self.hidden = dim * expand_ratio
        self.conv1 = ConvNorm(dim, self.hidden, 1)
        self.conv2 = ConvNorm(self.hidden, self.hidden, 3, groups=self.hidden)
        self.conv3 = ConvNorm(self.hidden, dim, 1)

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        """Has no use for ``scratch``, which the other stages' blocks have."""
        return in_strips(x, self.hidden, 1, self._convolve)

    def _convolve(self, x: Tensor) -> Tensor:
        y = gelu_(self.conv2(gelu_(self.conv1(x))))
        return gelu_(self.conv3(y).add_(x))


class PatchMerging(nn.Module):
    """To the next stage's width, and with ``stride`` 2 to half the resolution: on (B, C, H, W)."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = ConvNorm(dim, out_dim, 1)
        self.conv2 = ConvNorm(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return in_strips(x, self.conv1.c.out_channels, self.stride, self._convolve)

    def _convolve(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(gelu_(self.conv2(gelu_(self.conv1(x)))))
        return out


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        return linear(gelu_(linear(self.norm(x), self.fc1, scratch, "wide")), self.fc2, scratch, "branch")


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

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        attend = partial(self._attend, bias=self._bias(), scratch=scratch)
        return linear(map_windows(x, self.side, attend), self.proj, scratch, "branch")

    def _attend(self, x: Tensor, bias: Tensor, scratch: Scratch | None) -> Tensor:
        """Windows (n, r, c, C) -> the same, before they are projected.

        The padding of windows is normalised and attended to, as in the reference: of zeros, the norm
        leaves its bias.
        """
        qkv = linear(self.norm(x), self.qkv, scratch, "wide")
        padding = F.linear(self.norm.bias, self.qkv.weight, self.qkv.bias)
        keys_values = self._in_heads(pad_windows(qkv, self.side, padding))[1:]
        q, (k, v) = self._in_heads(qkv)[0], keys_values
        mask = bias[:, : x.shape[1], : x.shape[2]].flatten(1, 2)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])
        return found.transpose(1, 2).flatten(2).unflatten(1, x.shape[1:3])

    def _in_heads(self, qkv: Tensor) -> Tensor:
        """(n, r, c, 3 * C) -> (3, n, h, r * c, d): heads first, unlike ViT's."""
        return qkv.flatten(1, 2).unflatten(-1, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4)

    def _bias(self) -> Tensor:
        """(h, side, side, side**2): of every query's row and column, the bias of every key of the window.

        A window over the biases by distance, which slides with the query. float32 on a CPU, halves or
        not: torch adds such a mask faster there.
        """
        biases = self.attention_biases.float() if self.attention_biases.device.type == "cpu" else self.attention_biases
        by_distance = biases.unflatten(1, (self.side, self.side))
        for axis in (1, 2):  # from -(side - 1) to side - 1
            mirrored = by_distance.flip(axis).narrow(axis, 0, self.side - 1)
            by_distance = torch.cat([mirrored, by_distance], dim=axis)
        by_key = by_distance.unfold(1, self.side, 1).unfold(2, self.side, 1)
        return by_key.flip(1, 2).flatten(3)


class TinyViTBlock(nn.Module):
    """Window attention, a convolution of each channel, and an MLP: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int, num_heads: int, side: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attn = Attention(dim, num_heads, side)
        self.mlp = Mlp(dim, dim * mlp_ratio)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        """The result is in the scratch's memory "tokens", where ``x`` may lie already."""
        tokens = x.permute(0, 2, 3, 1)
        memory = out(scratch, "tokens", tuple(tokens.shape), tokens)
        tokens = torch.add(tokens, self.attn(tokens, scratch), out=memory)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return torch.add(tokens, self.mlp(tokens, scratch), out=memory).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks, then ``downsample`` where another stage follows."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, scratch)
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
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))  # so it stays, and is faster on a CPU
        scratch = scratch_for(x)
        for stage in self.layers:
            x = stage(x, scratch)
        embedding: Tensor = self.neck(x)
        return embedding
