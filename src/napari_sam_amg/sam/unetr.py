"""micro-sam's segmentation decoder: from an image embedding to maps of foreground and of distances.

Source: ``torch_em.model.UNETR`` (0.10.9) as micro-sam 1.8 builds it: backbone "sam", no skip connections to the
encoder, three outputs behind a sigmoid. Same state-dict keys, same result. For inference only: batch norms use their
running statistics. On a CPU all goes by strips of rows or some channels at a time, each of them a call of a module, so
that a run can be cancelled in between.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.scratch import calls_are_cheap

WIDTHS = (512, 256, 128, 64)  # channels at 1, 2, 4 and 8 times the resolution of the embedding; 64 at 16 times, too
MAPS = ("foreground", "distance to the centre", "distance to the boundary")
STRIP_WORK = 2 * 10**9  # multiplications of a strip, on a CPU: an eighth of a second on one core
CHANNELS = 16  # normed or enlarged at once, on a CPU: as long at full resolution


def spans(x: Tensor, length: int, step: int) -> Iterator[tuple[int, int]]:
    """From where to where the steps over a side of ``length`` go; a single one but on a CPU."""
    step = max(1, step) if calls_are_cheap(x) else length
    return ((start, min(start + step, length)) for start in range(0, length, step))


class Conv(nn.Conv2d):
    """A convolution that computes in the type of its input, (B, a, H, W) -> (B, b, H - kernel + 1, W)."""

    def __init__(self, a: int, b: int, kernel: int) -> None:
        super().__init__(a, b, kernel, padding=(0, kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        padding = (0, self.kernel_size[1] // 2)  # of the rows above and below convolve() takes care
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), padding=padding)


def convolve(x: Tensor, conv: Conv, then: Callable[[Tensor], Tensor], out: Tensor) -> Tensor:
    """``then(conv(x))`` into ``out``, some rows at a time; there are zeros around the image."""
    height = x.shape[2]
    row_work = x.shape[0] * x.shape[3] * conv.weight.numel()
    for start, stop in spans(x, height, STRIP_WORK // row_work):
        strip = x[:, :, max(0, start - 1) : stop + 1]
        if start == 0 or stop == height:
            strip = F.pad(strip, (0, 0, int(start == 0), int(stop == height)))
        out[:, :, start:stop] = then(conv(strip))
    return out


class Interpolated(nn.Module):
    """To twice the resolution by bilinear interpolation: (B, a, H, W) -> (B, b, 2 H, 2 W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.conv = Conv(a, b, 1)
        self.enlarge = nn.Upsample(scale_factor=2.0, mode="bilinear")

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``out``: where the result is to be; in new memory without."""
        # torch-em convolves last: the two commute, and a quarter of the pixels are a quarter of the work
        x = self.conv(x)
        out = x.new_empty(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]) if out is None else out
        for start, stop in spans(x, x.shape[1], CHANNELS):
            out[:, start:stop] = self.enlarge(x[:, start:stop])
        return out


class TransposedConv(nn.ConvTranspose2d):
    """Four pixels of each, in the type of the input."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b, kernel_size=2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert self.bias is not None
        return F.conv_transpose2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), stride=2)


class Transposed(nn.Module):
    """To twice the resolution by a transposed convolution."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.block = TransposedConv(a, b)

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``out``: where the result is to be; in new memory without."""
        batch, _, height, width = x.shape
        out = x.new_empty(batch, self.block.out_channels, 2 * height, 2 * width) if out is None else out
        # torch takes four times as long for one of its multiplications
        for start, stop in spans(x, height, STRIP_WORK // (4 * batch * width * self.block.weight.numel())):
            out[:, :, 2 * start : 2 * stop] = self.block(x[:, :, start:stop])
        return out


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
        x = sampler(x)
        conv = inner["block"]  # type: ignore[index]
        return convolve(x, conv, lambda strip: relu(norm(strip)), torch.empty_like(x) if out is None else out)


class InstanceNorm(nn.Module):
    """In place: at full resolution a copy would be 0.5 GB."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        return x.sub_(mean).mul_((variance + self.eps).rsqrt())


class ConvBlock(nn.Module):
    """Twice an instance norm, a convolution and ReLU: (B, a, H, W), which is overwritten, -> (B, b, H, W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.width = b
        self.block = nn.ModuleList(
            [
                *(InstanceNorm(), Conv(a, b, 3), nn.ReLU(inplace=True)),
                *(InstanceNorm(), Conv(b, b, 3), nn.ReLU(inplace=True)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        between = x.new_empty(x.shape[0], self.width, *x.shape[2:])
        # what was read is not needed any more
        out = x[:, : self.width] if x.shape[1] >= self.width else torch.empty_like(between)
        for source, first, target in ((x, 0, between), (between, 3, out)):
            norm, conv, relu = self.block[first : first + 3]
            for start, stop in spans(source, source.shape[1], CHANNELS):
                norm(source[:, start:stop])
            convolve(source, conv, relu, target)  # type: ignore[arg-type]
        return out


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
        self.deconv_out(x, both[:, :width])
        self.deconv4(finest, both[:, width:])
        return both


def middle_channels(x: Tensor, count: int) -> Tensor:
    """So many channels from the middle of (B, C, H, W): torch-em crops to the other branch, its channels too."""
    return x.narrow(1, (x.shape[1] - count) // 2, count)
