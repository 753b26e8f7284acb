"""micro-sam's segmentation decoder: from an image embedding to maps of foreground and of distances.

Source: ``torch_em.model.UNETR`` (0.10.9) as micro-sam 1.8 builds it: backbone "sam", no skip connections to the
encoder, three outputs behind a sigmoid. Same state-dict keys, same result. For inference only: batch norms use their
running statistics. On a CPU convolutions go by strips of rows, so that a run can be cancelled between them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.scratch import calls_are_cheap

WIDTHS = (512, 256, 128, 64)  # channels at 1, 2, 4 and 8 times the resolution of the embedding; 64 at 16 times, too
UPSCALING = 16  # pixels of the maps along the side of an image token
#: Of a strip of rows that is convolved at once, on a CPU: a tenth of a second on one core. Twice as much takes no less.
STRIP_BYTES = 2**24
MAPS = ("foreground", "distance to the centre", "distance to the boundary")


class Conv(nn.Conv2d):
    """A convolution that keeps the image's size and computes in the type of its input."""

    def __init__(self, a: int, b: int, kernel: int) -> None:
        super().__init__(a, b, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), padding=self.kernel_size[0] // 2)


class Interpolated(nn.Module):
    """To twice the resolution by bilinear interpolation: (B, a, H, W) -> (B, b, 2 H, 2 W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.conv = Conv(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        # torch-em convolves last: the two commute, and a quarter of the pixels are a quarter of the work
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="bilinear", align_corners=False)


class Transposed(nn.Module):
    """The same by a transposed convolution."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.block = nn.ConvTranspose2d(a, b, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        assert self.block.bias is not None
        return F.conv_transpose2d(x, self.block.weight.to(x.dtype), self.block.bias.to(x.dtype), stride=2)


class Enlarge(nn.Module):
    """A sampler, a convolution and a batch norm: (B, a, H, W) -> (B, b, 2 H, 2 W)."""

    def __init__(self, a: int, b: int, sampler: type[nn.Module]) -> None:
        super().__init__()
        self.width = b
        self.block = nn.ModuleList(
            [sampler(a, b), nn.ModuleDict({"block": Conv(b, b, 3)}), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        )

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``out``: where the result is to be; in new memory without."""
        sampler, inner, norm, relu = self.block
        conv = inner["block"]  # type: ignore[index]
        x = sampler(x)
        return convolve(x, lambda strip: relu(norm(conv(strip))), torch.empty_like(x) if out is None else out)


class ConvBlock(nn.Module):
    """Twice an instance norm, a convolution and ReLU: (B, a, H, W), which is overwritten, -> (B, b, H, W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.width = b
        self.block = nn.ModuleList(
            [nn.Identity(), Conv(a, b, 3), nn.ReLU(inplace=True), nn.Identity(), Conv(b, b, 3), nn.ReLU(inplace=True)]
        )

    def forward(self, x: Tensor) -> Tensor:
        _, conv, relu, _, last_conv, last_relu = self.block
        between = x.new_empty(x.shape[0], self.width, *x.shape[2:])
        convolve(normalize_(x), lambda strip: relu(conv(strip)), between)
        # what was read is not needed any more
        out = x[:, : self.width] if x.shape[1] >= self.width else torch.empty_like(between)
        return convolve(normalize_(between), lambda strip: last_relu(last_conv(strip)), out)


def convolve(x: Tensor, convolution: Callable[[Tensor], Tensor], out: Tensor) -> Tensor:
    """``convolution(x)``, which sees a row above and a row below, into ``out``; on a CPU some rows at a time."""
    height = x.shape[2]
    rows = max(1, STRIP_BYTES // (x[:, :, :1].numel() * x.element_size())) if calls_are_cheap(x) else height
    for start in range(0, height, rows):
        stop, first = min(start + rows, height), max(0, start - 1)
        strip = convolution(x[:, :, first : stop + 1])
        out[:, :, start:stop] = strip[:, :, start - first :][:, :, : stop - start]
    return out


def normalize_(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance norm in place: at full resolution a copy would be 0.5 GB."""
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return x.sub_(mean).mul_((variance + eps).rsqrt())


class SegmentationDecoder(nn.Module):
    """(B, C, h, w) embedding -> (B, 3, 16 h, 16 w) in 0..1, see ``MAPS``; distances are 0 at a centre or far inside.

    ``transposed``: whether resolution is gained by transposed convolutions, or by interpolation.
    """

    def __init__(self, embed_dim: int = 256, transposed: bool = False) -> None:
        super().__init__()
        sampler = Transposed if transposed else Interpolated
        wide, narrow = WIDTHS[:-1], WIDTHS[1:]
        self.deconv1, self.deconv2, self.deconv3, self.deconv4 = (
            Enlarge(a, b, sampler) for a, b in zip((embed_dim, *wide), WIDTHS, strict=True)
        )
        self.base = ConvBlock(embed_dim, WIDTHS[0])
        self.decoder = nn.ModuleDict(
            {
                "blocks": nn.ModuleList(ConvBlock(a, b) for a, b in zip(wide, narrow, strict=True)),
                "samplers": nn.ModuleList(sampler(a, b) for a, b in zip(wide, narrow, strict=True)),
            }
        )
        self.deconv_out = sampler(WIDTHS[-1], WIDTHS[-1])
        self.decoder_head = ConvBlock(2 * WIDTHS[-1], WIDTHS[-1])
        self.out_conv = Conv(WIDTHS[-1], len(MAPS), 1)

    def forward(self, embedding: Tensor) -> Tensor:
        beside = [self.deconv1(embedding)]
        for enlarge in (self.deconv2, self.deconv3):
            beside.append(enlarge(beside[-1]))
        finest, x = beside[-1], self.base(embedding.clone())
        for block, sampler in zip(*self.decoder.values(), strict=True):
            x = sampler(x)
            x = block(torch.cat([x, middle_channels(beside.pop(0), x.shape[1])], dim=1))
        return self.out_conv(self.decoder_head(self._joined(x, finest))).sigmoid()

    def _joined(self, x: Tensor, finest: Tensor) -> Tensor:
        """Both branches at full resolution, joined where they are made: each has 0.27 GB."""
        width = self.deconv4.width
        both = x.new_empty(x.shape[0], 2 * width, *(2 * side for side in x.shape[2:]))
        both[:, :width] = self.deconv_out(x)
        self.deconv4(finest, both[:, width:])
        return both


def middle_channels(x: Tensor, count: int) -> Tensor:
    """So many channels from the middle of (B, C, H, W): torch-em crops to the other branch, its channels too."""
    return x.narrow(1, (x.shape[1] - count) // 2, count)
