"""The models of a case, for this engine and for the reference, holding the same weights."""

import warnings
from typing import Any

import segment_anything
import torch
from torch import Tensor, nn

from benchmarks.cases import VITS
from benchmarks.widen import widened
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.image_encoder import ImageEncoderViT
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.tiny_vit import TinyViT
from tests.reference.sam import reference_sam

SEED = 1


class CompositeEncoder(nn.Module):
    """Does the work of a real encoder on random weights, then gives the small encoder's embedding.

    So a whole run pays the encoder's time and memory, and the masks are real ones.
    """

    def __init__(self, real: nn.Module, small: nn.Module) -> None:
        super().__init__()
        self.real = real
        self.small = small
        self.img_size = small.img_size

    def forward(self, x: Tensor) -> Tensor:
        self.real(x)
        out: Tensor = self.small(x)
        return out


def our_model(name: str, precision: str = "exact") -> Sam:
    """ "embedded", "small" or a ViT's name -> our model on the CPU, in eval mode."""
    model = load_model("embedded", "cpu")
    if name != "embedded":
        model = widened(model)
    if name in VITS:
        model.image_encoder = CompositeEncoder(our_encoder(name), model.image_encoder)
    model.set_precision(precision)
    return model


def reference_model(name: str) -> Any:
    """The same, of the reference's classes (the small encoder, which the reference has not, is ours)."""
    model = our_model("embedded" if name == "embedded" else "small")
    if name in VITS:
        model.image_encoder = CompositeEncoder(reference_encoder(name), model.image_encoder)
    return reference_sam(model)


def our_encoder(name: str) -> nn.Module:
    """Our encoder with the weights of ``reference_encoder(name)``."""
    theirs = reference_encoder(name)
    with torch.device("meta"):
        ours = TinyViT() if name == "vit_t" else _vit_like(theirs)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    return ours.requires_grad_(False).eval()


def _vit_like(theirs: Any) -> ImageEncoderViT:
    blocks = theirs.blocks
    return ImageEncoderViT(
        embed_dim=theirs.pos_embed.shape[-1],
        depth=len(blocks),
        num_heads=blocks[0].attn.num_heads,
        global_attn_indexes=[index for index, block in enumerate(blocks) if block.window_size == 0],
    )


def reference_encoder(name: str) -> nn.Module:
    """The reference's encoder, always with the same random weights, in eval mode."""
    encoder = _mobile_encoder() if name == "vit_t" else _meta_encoder(name).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(SEED)
    for key, tensor in sorted(encoder.state_dict().items()):
        _fill(key, tensor, generator)
    encoder.requires_grad_(False)
    return encoder.train().eval()  # MobileSAM gathers its attention biases when it enters eval mode


def _meta_encoder(name: str) -> nn.Module:
    with torch.device("meta"):
        encoder: nn.Module = segment_anything.sam_model_registry[name]().image_encoder
    return encoder


def _mobile_encoder() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports from timm warn
        import mobile_sam
    encoder: nn.Module = mobile_sam.sam_model_registry["vit_t"]().image_encoder
    return encoder


def _fill(key: str, tensor: Tensor, generator: torch.Generator) -> None:
    """Norms as the identity, the rest small and random: activations stay in the range of trained ones."""
    if tensor.ndim > 1:
        tensor.normal_(std=0.02, generator=generator)
    else:
        tensor.fill_(1 if key.endswith(("weight", "running_var")) else 0)
