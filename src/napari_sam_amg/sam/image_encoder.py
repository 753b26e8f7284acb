"""SAM's image encoder: a vision transformer that attends inside windows, and globally in four blocks.

Source: ``segment_anything.modeling.image_encoder.ImageEncoderViT``; same state-dict keys, same
result. Here a global block is one window as large as the image.
"""

from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.attention import MLPBlock
from napari_sam_amg.sam.layers import LayerNorm2d, gelu_, linear
from napari_sam_amg.sam.relative_attention import attend
from napari_sam_amg.sam.scratch import Scratch, out, scratch_for
from napari_sam_amg.sam.windows import map_windows, pad_windows


class PatchEmbed(nn.Module):
    """(B, in_chans, H, W) pixels -> (B, H / patch_size, W / patch_size, C) tokens."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x)
        return tokens.permute(0, 2, 3, 1)


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

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        attended = map_windows(x, self.side, partial(self._attend, scratch=scratch))
        return linear(attended, self.proj, scratch, "branch")

    def _attend(self, x: Tensor, scratch: Scratch | None) -> Tensor:
        """Windows (n, r, c, C) -> the same, before they are projected.

        Padding of the last windows is attended to as in the reference: a zero token, whose projection
        is the bias. So the projection itself need not see the padding.
        """
        qkv, channels = linear(x, self.qkv, scratch, "wide"), x.shape[-1]
        padding = self.qkv.bias[channels:]
        k, v = pad_windows(qkv[..., channels:], self.side, padding).chunk(2, dim=-1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).movedim(-2, 1) for part in (qkv[..., :channels], k, v))
        return attend(q, k, v, self.rel_pos_h, self.rel_pos_w, scratch)


class Mlp(MLPBlock):
    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        return linear(gelu_(linear(x, self.lin1, scratch, "wide")), self.lin2, scratch, "branch")


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, side)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, scratch: Scratch | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), in the scratch's memory "tokens", where ``x`` may lie already."""
        memory = out(scratch, "tokens", tuple(x.shape), x)
        x = torch.add(x, self.attn(self.norm1(x), scratch), out=memory)
        return torch.add(x, self.mlp(self.norm2(x), scratch), out=memory)


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
        scratch = scratch_for(x)
        for block in self.blocks:
            x = block(x, scratch)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding


def make_neck(in_chans: int, out_chans: int) -> nn.Sequential:
    """(B, in_chans, H, W) -> (B, out_chans, H, W), the embedding that the decoder reads."""
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, kernel_size=1, bias=False),
        LayerNorm2d(out_chans),
        nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_chans),
    )
