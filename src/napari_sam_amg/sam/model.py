"""One SAM model: an image becomes an embedding, points become masks."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.functional import resize, to_pil_image

from napari_sam_amg.sam.answers import (
    Decoded,
    DecodedMasks,
    Drawn,
    ImageEmbedding,
    Keep,
    Points,
    Read,
    all_drawn,
    one_by_one,
    regrouped,
)
from napari_sam_amg.sam.centre_votes import CentreMaps
from napari_sam_amg.sam.config import ModelInfo, SamConfig
from napari_sam_amg.sam.distance_maps import DistanceMaps
from napari_sam_amg.sam.gpu_way import takes_cpu_way, takes_gpu_way
from napari_sam_amg.sam.handover import Handover, one_ahead, to_device
from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.mask_decoder import DecoderSide, MaskDecoder, Reading
from napari_sam_amg.sam.memory import concatenated, in_halves
from napari_sam_amg.sam.object_maps import ObjectMaps
from napari_sam_amg.sam.precision import Precision, choose_type, convert, float32_as_such, originals, restore
from napari_sam_amg.sam.prompt_encoder import PositionEmbeddingRandom, PromptEncoder
from napari_sam_amg.sam.recorded import Recorded, together
from napari_sam_amg.sam.scratch import POOL, Scratch
from napari_sam_amg.sam.transformer import ImageSide, TwoWayTransformer
from napari_sam_amg.sam.unet_encoder import UnetEncoder
from napari_sam_amg.sam.unetr import SegmentationDecoder

PIXEL_MEAN = (123.675, 116.28, 103.53)  # ImageNet's, as in the reference's Sam
PIXEL_STD = (58.395, 57.12, 57.375)

#: Layers of an image encoder that compute in float32 always.
STAYS_FLOAT32 = (PositionEmbeddingRandom, nn.BatchNorm2d)

#: Prompts decoded at once. On a CPU what is image-sized should stay near the cache (0.9 MB a prompt and array at
#: SAM's size), while several prompts share the cost of starting an operation: 16 with SAM's 8 heads, 32 with the
#: embedded model's 4. Measured on 2 cores: 32 of these take 6 % less than 16, with as many more tokens upscaled at
#: once, and 64 as long as 32. On a GPU more is better, while its memory does: by ``benchmarks --operations`` 1.9 GB
#: with these numbers; without what ``at_once`` saves up to twice that.
CPU_HEADS_AT_ONCE = 128  # on 64 x 64 image tokens
GPU_HEADS_AT_ONCE = {"exact": 2048, "fast": 4096}
GPU_PROMPTS_AT_ONCE = 512  # with more the host has nothing to do while the first ones are read
GPU_IMAGES_AT_ONCE = 4
#: Numbers of prompts for which a GPU's work is recorded. A guided search asks few at once, which take less time than to
#: start what reads the image for them; with more it is the other way round, and records cost memory.
READ_AS_RECORDED = (16, 32, 64, 128)


_Encoded = tuple[Tensor, Tensor | None, tuple[DecoderSide, ...]]


def resized_shape(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(h, w) after the longer side is scaled to ``long_side``, rounded as the reference does."""
    scale = long_side / max(height, width)
    size = int(height * scale + 0.5), int(width * scale + 0.5)
    if min(size) < 1:
        raise ValueError(
            f"an image of {height} x {width} pixels is too elongated: the model sees its longer side as "
            f"{long_side} pixels, which leaves none for the shorter"
        )
    return size


class Sam(nn.Module):
    """The three parts of SAM and the steps that automatic mask generation takes with them.

    ``set_precision`` says in which numbers. Points, position encodings, batch norms, and all that
    the decoder computes for tokens, predicted IoUs among it, are float32 always.
    """

    mask_threshold = 0.0
    pixel_mean: Tensor
    pixel_std: Tensor
    info: ModelInfo  # set when a checkpoint is loaded
    segmentation_decoder: SegmentationDecoder | None  # beside SAM's own, of micro-sam's finetunes; the same

    def __init__(self, config: SamConfig, image_encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        grid = (config.grid_side, config.grid_side)
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(
            config.embed_dim, grid, (config.img_size, config.img_size), config.mask_in_chans
        )
        self.mask_decoder = MaskDecoder(
            config.embed_dim,
            TwoWayTransformer(config.decoder_depth, config.embed_dim, config.decoder_heads, config.decoder_mlp_dim),
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        )
        self.segmentation_decoder = None
        self._micro_batch: int | None = None
        self._recorded: dict[int, Recorded] = defaultdict(Recorded)  # by the number of images
        self._recorded_readings: dict[int, Recorded] = defaultdict(Recorded)  # by the number of prompts
        self._weights: tuple[int, ...] = ()  # where they were when an image was embedded; these records depend on it
        self._dtype = torch.float32
        self._exact_weights: list[Tensor] | None = None  # while computing in halves
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the image encoder, and of all that is image-sized in the decoder."""
        return self._dtype

    @property
    def precision(self) -> Precision:
        return "exact" if self.dtype == torch.float32 else "fast"

    @property
    def sees_objects(self) -> bool:
        """Whether its embeddings have ``maps`` of objects."""
        return self.segmentation_decoder is not None or isinstance(self.image_encoder, UnetEncoder)

    def set_precision(self, precision: str) -> None:
        """Compute "exact" (float32, as loaded) or "fast"; warns and stays exact where the device has no fast floats.

        While it is fast, the host's memory holds the weights as loaded, too, so that exact is exact again.
        """
        dtype = choose_type(precision, self.device)
        if self._exact_weights is not None:
            restore(self.image_encoder, self._exact_weights, STAYS_FLOAT32)
        self._exact_weights = None if dtype == torch.float32 else originals(self.image_encoder, STAYS_FLOAT32)
        convert(self.image_encoder, dtype, STAYS_FLOAT32)
        self._dtype = dtype

    @property
    def micro_batch(self) -> int:
        """Prompts decoded at once; by default what suits the device."""
        if self._micro_batch is not None:
            return self._micro_batch
        if takes_cpu_way(self.device):
            return self._prompts_of(CPU_HEADS_AT_ONCE)
        heads = GPU_HEADS_AT_ONCE[self.precision]
        return min(self._prompts_of(heads if takes_gpu_way(self.device) else heads // 2), GPU_PROMPTS_AT_ONCE)

    @micro_batch.setter
    def micro_batch(self, prompts: int | None) -> None:
        if prompts is not None and prompts < 1:
            raise ValueError(f"micro_batch={prompts} is out of range: it must be at least 1, or None for the default")
        self._micro_batch = prompts

    def _prompts_of(self, heads: int) -> int:
        """Of as many heads on 64 x 64 image tokens."""
        return max(1, heads * 64**2 // (self.config.decoder_heads * self.config.grid_side**2))

    def preprocess(self, image: NDArray[np.uint8]) -> tuple[Tensor, tuple[int, int]]:
        """(H, W, 3) uint8 RGB -> (1, 3, S, S) normalised and zero-padded, and the (h, w) inside it.

        Resized by Pillow's bilinear filter on uint8, as ``segment_anything.SamPredictor`` does.
        """
        height, width = resized_shape(image.shape[0], image.shape[1], self.config.img_size)
        resized = np.asarray(resize(to_pil_image(image), [height, width]))
        pixels = to_device(torch.from_numpy(resized.copy()), self.device).permute(2, 0, 1)
        padded = torch.zeros(1, 3, self.config.img_size, self.config.img_size, device=self.device)
        padded[0, :, :height, :width] = (pixels - self.pixel_mean) / self.pixel_std
        return padded, (height, width)

    @property
    def images_at_once(self) -> int:
        """How many images are best embedded together: several where one leaves a GPU idle."""
        small = isinstance(self.image_encoder, UnetEncoder)
        return GPU_IMAGES_AT_ONCE if small and takes_gpu_way(self.device) else 1

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one (H, W, 3) uint8 RGB image."""
        return self.embed_all([image])[0]

    @torch.inference_mode()
    def embed_all(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Encode (H, W, 3) uint8 RGB images, of any sizes, together; in parts if a GPU's memory does not do."""
        pixels, inside = zip(*map(self.preprocess, images), strict=True)
        with float32_as_such(self.device):
            if takes_gpu_way(self.device):
                self._weights = tuple(tensor.data_ptr() for tensor in (*self.parameters(), *self.buffers()))
            parts = in_halves(self._embed_pixels, concatenated(pixels).to(self.dtype), len(images))
        found: list[ImageEmbedding] = []
        for embedded, dense_maps, sides in parts:
            for row, side in enumerate(sides):
                size, input_size = images[len(found)].shape[:2], inside[len(found)]
                maps: ObjectMaps | None = (
                    None if dense_maps is None else CentreMaps(dense_maps[row], input_size, (size[0], size[1]))
                )
                if self.segmentation_decoder is not None:
                    maps = DistanceMaps(
                        self.segmentation_decoder, embedded[row : row + 1], input_size, (size[0], size[1])
                    )
                found.append(ImageEmbedding(side, input_size, (size[0], size[1]), self.config.img_size, maps))
        return found

    def _embed_pixels(self, pixels: Tensor) -> _Encoded:
        if takes_gpu_way(self.device):
            return self._recorded[len(pixels)].run(self._encode, pixels, self._weights)
        return self._encode(pixels)

    def _encode(self, pixels: Tensor) -> _Encoded:
        """(B, 3, S, S) -> embeddings, maps of an encoder that has any, and the decoder's image sides."""
        dense_maps: Tensor | None = None
        if isinstance(self.image_encoder, UnetEncoder):
            embedded, dense_maps = self.image_encoder(pixels, with_maps=True)
        else:
            embedded = self.image_encoder(pixels)
        dense, pe = self.prompt_encoder.no_mask_embed.weight.view(-1, 1, 1), self.prompt_encoder.get_dense_pe()[0]
        sides = tuple(self.mask_decoder.prepare(one.float(), pe, dense, self.dtype) for one in embedded)
        found = embedded, dense_maps, sides
        # recorded, it is copied at every image, in a few operations if it lies together
        return together(found) if takes_gpu_way(self.device) else found

    def decode(self, embedding: ImageEmbedding, points: Points, keep: Keep) -> DecodedMasks:
        """Masks for (P, 2) foreground points (x, y) in pixels of the original image.

        Each point gives three masks (SAM's multimask output). ``keep`` maps their predicted IoUs
        (P, 3), on the host, to the booleans of those worth drawing.
        """
        with self._scratch() as scratch:
            return self._decode(embedding, points, keep, scratch, None, self.config.grid_side)

    def decode_batches(self, embedding: ImageEmbedding, batches: Iterable[Points], keep: Keep) -> Iterator[Decoded]:
        """``decode`` for one batch of points after another, with the points; nothing is drawn below the image.

        The logits of a batch are lost with the next one. On CUDA as many batches are decoded at once as suit it, and
        the next ones are begun before these are awaited, so batches are taken ahead: which points they hold must not
        depend on what is given.
        """
        if takes_gpu_way(self.device):
            yield from self._decode_ahead(embedding, batches, keep)
            return
        with self._scratch() as scratch:
            rows = embedding.image_rows(self.config.grid_side)
            decode = partial(self._decode, scratch=scratch, kept=scratch, rows=rows)
            yield from one_by_one(decode, embedding, batches, keep)

    def _decode(
        self, embedding: ImageEmbedding, points: Points, keep: Keep, scratch: Scratch | None, kept: Scratch | None,
        rows: int,
    ) -> DecodedMasks:  # fmt: skip
        """``kept``: where the logits live; in new memory without. ``rows``: of image tokens that are drawn."""
        drawn: list[Drawn] = []
        place = None if kept is None else self._place_for_logits(kept, len(points), rows)
        masks = 0
        for chunk in self._prompts(embedding, points).split(self.micro_batch):
            rest = None if place is None else place[masks:]
            drawn.append(self._draw(self._read(embedding, chunk, scratch), keep, rows, rest))
            masks += len(drawn[-1].prompt_index)
        return all_drawn(drawn, None if place is None else place[:masks])

    def _place_for_logits(self, kept: Scratch, points: int, rows: int) -> Tensor:
        """Enough for all masks of as many points: a CPU gives memory when it is written to."""
        masks, side = points * (self.mask_decoder.num_mask_tokens - 1), 4 * self.config.grid_side
        return kept.take("logits", (masks, 4 * rows, side), torch.empty(0, dtype=self.dtype))

    def _decode_ahead(self, embedding: ImageEmbedding, batches: Iterable[Points], keep: Keep) -> Iterator[Decoded]:
        def begin(points: Points) -> Read | None:
            try:
                return self._read(embedding, self._prompts(embedding, points), None)
            except torch.OutOfMemoryError:  # with the one before it: alone it may fit
                return None

        for points, read in one_ahead(regrouped(batches, self.micro_batch), begin):
            yield points, all_drawn(self._draw_where_it_fits(embedding, points, read, keep))

    def _draw_where_it_fits(
        self, embedding: ImageEmbedding, points: Points, read: Read | None, keep: Keep
    ) -> list[Drawn]:
        """What was read, or else the points again, as many at a time as the memory does for."""
        rows = embedding.image_rows(self.config.grid_side)
        if read is not None:
            with suppress(torch.OutOfMemoryError):
                return [self._draw(read, keep, rows)]
        prompts = self._prompts(embedding, points)
        return in_halves(lambda some: self._draw(self._read(embedding, some, None), keep, rows), prompts, len(prompts))

    def _prompts(self, embedding: ImageEmbedding, points: Points) -> Tensor:
        """The points (P, 2) in the model's input, as its prompt encoder counts, on the device."""
        scale = np.array(embedding.input_size[::-1]) / np.array(embedding.original_size[::-1])
        return to_device(torch.from_numpy(self.prompt_encoder.signed_positions(points * scale)), self.device)

    def _scratch(self) -> AbstractContextManager[Scratch | None]:
        """On a GPU torch itself keeps memory to use it again."""
        return POOL.borrow() if takes_cpu_way(self.device) else nullcontext()

    @torch.inference_mode()
    def _read(self, embedding: ImageEmbedding, points: Tensor, scratch: Scratch | None) -> Read:
        masks = range(1, self.mask_decoder.num_mask_tokens)  # mask 0 is the single-mask output, unused with multimask
        with float32_as_such(self.device):
            if takes_gpu_way(self.device) and len(points) <= max(READ_AS_RECORDED):
                reading = self._recorded_reading(embedding.side, points, masks)
            else:
                sparse = self.prompt_encoder.embed_object_points(points)
                reading = self.mask_decoder.read(embedding.side, sparse, scratch, masks)
        return Read(reading, Handover(reading.predicted_iou))

    def _recorded_reading(self, side: DecoderSide, points: Tensor, masks: range) -> Reading:
        """Of (P, 2) points, with as many more as make up the next number of which there may be a record."""
        prompts = len(points)
        padded = next(number for number in READ_AS_RECORDED if number >= prompts)

        def read(given: tuple[ImageSide, Tensor]) -> tuple[Tensor, ImageTokens, Tensor]:
            image, some = given
            sparse = self.prompt_encoder.embed_object_points(some)
            mask_tokens, image_tokens, predicted_iou = self.mask_decoder.transform(image, sparse, None, masks)
            return mask_tokens, image_tokens.some(slice(None)), predicted_iou

        given = side.transformer, F.pad(points, (0, 0, 0, padded - prompts))
        mask_tokens, image_tokens, predicted_iou = self._recorded_readings[padded].run(read, given, self._weights)
        return Reading(
            side, masks, mask_tokens[:prompts], image_tokens.some(slice(prompts)), predicted_iou[:prompts], None
        )

    @torch.inference_mode()
    def _draw(self, read: Read, keep: Keep, rows: int, place: Tensor | None = None) -> Drawn:
        iou = read.predicted_iou.wait()
        prompt_index, mask_index = torch.nonzero(keep(iou), as_tuple=True)
        place = None if place is None else place[: len(prompt_index)]
        with float32_as_such(self.device):
            logits = self.mask_decoder.draw(read.take(), prompt_index, mask_index, place, rows)
        # of a GPU of CUDA the logits stay where they are, to be measured there
        logits = logits if takes_gpu_way(self.device) else logits.cpu()
        return Drawn(len(iou), prompt_index, iou[prompt_index, mask_index], logits)
