"""SAM's prompt encoder: points, boxes and masks to embeddings.

Source: ``segment_anything.modeling.prompt_encoder.PromptEncoder``; same state-dict keys.
"""

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam_amg.sam.handover import to_device
from napari_sam_amg.sam.layers import LayerNorm2d


class PositionEmbeddingRandom(nn.Module):
    """Fourier features of a position; the frequencies are a buffer of the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def encode(self, coords: Tensor) -> Tensor:
        """(..., 2) positions (x, y) in [0, 1] -> (..., C), computed in float32, under autocast too."""
        return self.encode_signed(2 * coords.float() - 1)

    def encode_signed(self, coords: Tensor) -> Tensor:
        """The same for (..., 2) positions in [-1, 1]."""
        matrix = self.positional_encoding_gaussian_matrix
        with torch.autocast(coords.device.type, enabled=False):
            # 16-bit floats hold no position to the pixel, and the frequencies multiply the error
            angles = 2 * math.pi * (coords.float() @ matrix.float())
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(matrix.dtype)

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The encoding of every cell centre of a (rows, columns) grid: (C, rows, columns)."""
        rows, columns = size
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(rows, device=device, dtype=torch.float32) + 0.5) / rows
        x = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) / columns
        grid = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], dim=-1)
        return self.encode(grid).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Embeds prompts given in pixels of the model's input frame.

    ``embed_dim``: channels; ``image_embedding_size``: (rows, columns) of the image embedding;
    ``input_image_size``: (height, width) of the padded input; ``mask_in_chans``: hidden channels
    for mask prompts.
    """

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.image_embedding_size = image_embedding_size
        self.input_image_size = input_image_size
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        # background point, foreground point, box's first and second corner
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """Position encoding of the image embedding: (1, C, rows, columns)."""
        return self.pe_layer(self.image_embedding_size)[None]

    def _positions(self, points: Tensor) -> Tensor:
        """(..., 2) pixel positions (x, y) -> encoding of the pixel's centre (..., C)."""
        height, width = self.input_image_size
        size = to_device(torch.tensor([width, height], dtype=torch.float32), points.device)
        return self.pe_layer.encode((points.float() + 0.5) / size)

    def _point_embedding(self, kind: int) -> Tensor:
        return cast(nn.Embedding, self.point_embeddings[kind]).weight

    def signed_positions(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """(P, 2) pixel positions (x, y) -> in [-1, 1], in the order of operations and the numbers of ``_positions``."""
        size = np.array(self.input_image_size[::-1], np.float32)
        positions: NDArray[np.float32] = 2 * ((points.astype(np.float32) + np.float32(0.5)) / size) - 1
        return positions

    def embed_object_points(self, signed: Tensor) -> Tensor:
        """What ``embed_points`` gives for P points, all on objects, with ``pad``: (P, 2, C).

        ``signed``: (P, 2) of ``signed_positions``, which the host computes: a GPU is told little then.
        """
        found = self.pe_layer.encode_signed(signed) + self._point_embedding(1)
        return torch.stack([found, self.not_a_point_embed.weight.expand_as(found)], dim=1)

    def embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """(P, n, 2) points (x, y) and (P, n) labels (1 object, 0 background, 2 and 3 a box's corners, -1 none).

        ``pad`` appends the "not a point" that the reference adds when there is no box.
        Returns (P, n + pad, C).
        """
        if pad:
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), -1)], dim=1)
        none, kind = (labels == -1)[..., None], labels[..., None]
        embedding = self._positions(points)
        # what is no point has no place either: its encoding is replaced, that of points added to
        embedding = torch.where(none, self.not_a_point_embed.weight, embedding)
        for index in range(len(self.point_embeddings)):
            embedding = torch.where(kind == index, embedding + self._point_embedding(index), embedding)
        return embedding

    def embed_boxes(self, boxes: Tensor) -> Tensor:
        """(P, 4) boxes XYXY -> (P, 2, C)."""
        corners = torch.cat([self._point_embedding(2), self._point_embedding(3)])
        return self._positions(boxes.view(-1, 2, 2)) + corners

    def forward(
        self, points: tuple[Tensor, Tensor] | None = None, boxes: Tensor | None = None, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (P, T, C) and dense (P, C, rows, columns) embeddings of the prompts.

        ``points``: (P, n, 2) positions (x, y) and (P, n) labels; ``boxes``: (P, 4) XYXY;
        ``masks``: (P, 1, 4 * rows, 4 * columns). At least one is needed.
        """
        parts = []
        if points is not None:
            parts.append(self.embed_points(*points, pad=boxes is None))
        if boxes is not None:
            parts.append(self.embed_boxes(boxes))
        if masks is not None:
            dense = self.mask_downscaling(masks)
        elif parts:
            dense = self.no_mask_embed.weight[..., None, None].expand(len(parts[0]), -1, *self.image_embedding_size)
        else:
            raise ValueError("no prompt given: pass points, boxes or masks")
        sparse = torch.cat(parts, dim=1) if parts else dense.new_empty(len(dense), 0, self.embed_dim)
        return sparse, dense
