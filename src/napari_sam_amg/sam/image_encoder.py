"""SAM's image encoder: a vision transformer that attends inside windows, and globally in four blocks.

Source: ``segment_anything.modeling.image_encoder.ImageEncoderViT``; same state-dict keys, same
result. Here a global block is one window as large as the image, and the relative positions enter
as an additive mask, made for a few rows of queries at a time: whole, it would be 805 MB for vit_b.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.attention import MLPBlock
from napari_sam_amg.sam.layers import LayerNorm2d
from napari_sam_amg.sam.windows import join_windows, split_windows

#: Values of the position bias made at once. Measured on 2 CPU cores, vit_b: 16 MB pieces are as fast
#: as larger ones or faster (they stay in memory that malloc reuses); a GPU wants fewer, larger calls.
CPU_BIAS_VALUES = 2**22
GPU_BIAS_VALUES = 2**25


class PatchEmbed(nn.Module):
    """(B, in_chans, H, W) pixels -> (B, H / patch_size, W / patch_size, C) tokens."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x)
        return out.permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Attention inside windows of ``side`` x ``side`` tokens, with decomposed relative positions.

    A score gains q . (row distance's vector) + q . (column distance's vector).
    """

    def __init__(self, dim: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.side = side
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C).

        Padding of the last windows takes part as in the reference: a zero token, whose projection
        is the bias. So the projection itself need not see the padding.
        """
        windows = split_windows(F.linear(x, self.qkv.weight), self.side) + self.qkv.bias
        qkv = windows.flatten(1, 2).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        step = max(1, self._bias_values(x) // (self.num_heads * self.side**4))  # windows at once
        out = torch.cat([self._attend(*part.unbind()) for part in qkv.split(step, dim=1)])
        out = out.transpose(1, 2).flatten(2).unflatten(1, (self.side, self.side))
        projected: Tensor = self.proj(join_windows(out, (x.shape[1], x.shape[2])))
        return projected

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of n windows, some rows of queries at a time: three (n, h, side**2, d) -> the same."""
        grid = q.unflatten(2, (self.side, self.side))  # (n, h, row, column, d)
        by_row = torch.einsum("nhrcd,rdk->nhrck", grid, _by_distance(self.rel_pos_h, self.side))
        by_column = torch.einsum("nhrcd,cdk->nhrck", grid, _by_distance(self.rel_pos_w, self.side))
        step = max(1, self._bias_values(q) // (q.shape[0] * self.num_heads * self.side**3))  # rows at once
        out = q.new_empty(grid.shape)  # filled in place: small results kept between large pieces fragment the heap
        for start in range(0, self.side, step):
            rows = slice(start, start + step)
            out[:, :, rows] = _attend_rows(grid[:, :, rows], k, v, by_row[:, :, rows], by_column[:, :, rows])
        return out.flatten(2, 3)

    @staticmethod
    def _bias_values(x: Tensor) -> int:
        few_pieces = x.device.type != "cpu" or torch.compiler.is_compiling()  # every piece is a node of a graph
        return GPU_BIAS_VALUES if few_pieces else CPU_BIAS_VALUES


def _by_distance(table: Tensor, side: int) -> Tensor:
    """Vectors by distance (2 * side - 1, d) -> by query and key (side, d, side).

    Entry [q, :, k] is ``table[q - k + side - 1]``: a sliding window over the table, read backwards.
    """
    return table.unfold(0, side, 1).flip(-1)


def _attend_rows(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Attention of r rows of queries: (n, h, r, side, d) -> the same.

    ``by_row``, ``by_column``: what the key's row or column adds to a score (n, h, r, side, side).
    """
    bias = by_row[..., :, None] + by_column[..., None, :]  # (n, h, r, side, key row, key column)
    out = F.scaled_dot_product_attention(q.flatten(2, 3), k, v, attn_mask=bias.flatten(4).flatten(2, 3))
    return out.reshape(q.shape)


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, side)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ImageEncoderViT(nn.Module):
    """(B, 3, img_size, img_size) normalised image -> (B, out_chans, img_size / 16, img_size / 16).

    ``global_attn_indexes``: the blocks that attend to the whole image; the others attend inside
    windows of ``window_size`` tokens a side.
    """

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        out_chans: int = 256,
        window_size: int = 14,
        global_attn_indexes: Collection[int] = (2, 5, 8, 11),
    ) -> None:
        super().__init__()
        self.img_size = img_size
        grid = img_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, 3, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, embed_dim))
        sides = [grid if index in global_attn_indexes else window_size for index in range(depth)]
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, side) for side in sides)
        self.neck = make_neck(embed_dim, out_chans)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return out


def make_neck(in_chans: int, out_chans: int) -> nn.Sequential:
    """(B, in_chans, H, W) -> (B, out_chans, H, W), the embedding that the decoder reads."""
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, kernel_size=1, bias=False),
        LayerNorm2d(out_chans),
        nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_chans),
    )
