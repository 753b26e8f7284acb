"""The reference's own classes around our weights."""

from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as ReferenceSam

from napari_sam_amg.sam.model import PIXEL_MEAN, PIXEL_STD, Sam

#: What ``segment_anything.SamAutomaticMaskGenerator`` takes, apart from the model and the output's form.
REFERENCE_PARAMETERS = (
    "points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh", "stability_score_offset",
    "box_nms_thresh", "crop_n_layers", "crop_nms_thresh", "crop_overlap_ratio", "crop_n_points_downscale_factor",
    "point_grids", "min_mask_region_area",
)  # fmt: skip


def reference_sam(model: Sam) -> ReferenceSam:
    """Their prompt encoder, mask decoder, pre- and postprocessing; our image encoder and weights."""
    config = model.config
    grid = (config.grid_side, config.grid_side)
    prompt_encoder = PromptEncoder(config.embed_dim, grid, (config.img_size, config.img_size), config.mask_in_chans)
    prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
    transformer = TwoWayTransformer(
        config.decoder_depth, config.embed_dim, config.decoder_heads, config.decoder_mlp_dim
    )
    mask_decoder = MaskDecoder(
        transformer_dim=config.embed_dim, transformer=transformer, iou_head_hidden_dim=config.iou_head_hidden_dim
    )
    mask_decoder.load_state_dict(model.mask_decoder.state_dict())
    sam = ReferenceSam(model.image_encoder, prompt_encoder, mask_decoder, list(PIXEL_MEAN), list(PIXEL_STD))
    return sam.eval()
