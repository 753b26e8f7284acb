"""What a layer's axes are called, for who has to choose among them."""

from napari.layers import Image

from napari_sam_amg.plugin.running.layers import Axes, full_resolution

MOST_CHANNELS_LAST = 7  # longer last axes are pixels


def length(layer: Image, axis: int) -> int:
    return int(full_resolution(layer).shape[axis])


def own_label(layer: Image, axis: int) -> str:
    """What the user called it, or nothing; napari's defaults count from the end."""
    label = layer.axis_labels[axis]
    return "" if label.lstrip("-").isdigit() else label


def axis_name(layer: Image, axis: int) -> str:
    """What the user called it, else its number."""
    return own_label(layer, axis) or f"axis {axis}"


def axis_text(layer: Image, axis: int) -> str:
    """The axis' label if it has one of its own, and its length."""
    own = f" ({label})" if (label := own_label(layer, axis)) else ""
    return f"axis {axis}{own}, {length(layer, axis)} long"


def plane_words(layer: Image, axes: Axes) -> str:
    """Which planes are segmented; empty where they have the last two axes, as images do."""
    if sorted(axes.plane) == [layer.ndim - 2, layer.ndim - 1]:
        return ""
    return f"Planes of axes {_names(layer, axes)}"


def hint(layer: Image, axes: Axes) -> str:
    """What may help where a plane is too small."""
    if layer.rgb or layer.ndim < 3:
        return ""
    if axes.channel is None and length(layer, -1) <= MOST_CHANNELS_LAST:
        return ". If the last axis holds channels, choose it as Channel axis: it is no part of a plane then."
    return f". A plane has axes {_names(layer, axes)} now: roll the viewer's axes to choose others."


def _names(layer: Image, axes: Axes) -> str:
    first, second = (own_label(layer, axis) or str(axis) for axis in axes.plane)
    return f"{first} and {second}"
