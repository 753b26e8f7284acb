"""Which axis of a stack objects go through, and the order of its planes. Free of torch: the widget asks it, too."""

from collections.abc import Iterable, Sequence

from napari_sam_amg.amg.planes import Index
from napari_sam_amg.checks import shown
from napari_sam_amg.params import AmgParameters

#: Letters of axes that are known to be something; any other may be what it is taken for.
_KNOWN = frozenset("ztcysx")


def in_order(indices: Iterable[Index], axis: int | None, first: Index | None = None) -> list[Index]:
    """Planes so that those which are linked come one after another; if none are, the plane ``first`` comes first."""
    if axis is None:
        return sorted(indices, key=lambda index: index != first)
    return sorted(indices, key=lambda index: (line_of(index, axis), index[axis]))


def check_names_of_axes(names: Sequence[str], count: int) -> None:
    """``ValueError`` unless these are names of ``count`` axes."""
    if len(names) != count or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"axes={shown(names)} is not allowed: the stack has {count} axes of planes, so give {count} names"
        )


def linked_axis(params: AmgParameters, names: Sequence[str] | None, count: int) -> int:
    """Which of the ``count`` axes of a stack is the one that is linked; ``names`` of each, if they are known.

    An axis that is alone may have no name, or an unknown one; of planes of x and z "z" is through y. ``ValueError`` if
    there is no such axis.
    """
    if not count:
        raise ValueError(f"link={params.link!r} needs a stack, and this is a single plane: choose link='none'")
    letters = [name.strip().lower() for name in names or [""] * count]
    places = [place for place, letter in enumerate(letters) if letter == params.link]
    if params.link == "z" and not places:
        places = [place for place, letter in enumerate(letters) if letter and letter in "yx"]
    if len(places) == 1:
        return places[0]
    if count == 1 and letters[0] not in _KNOWN:
        return 0
    what = f"has the axes {', '.join(names)}" if names else f"has {count} axes without names"
    raise ValueError(f"link={params.link!r} needs a stack with one axis {params.link!r}, and this one {what}")


def through_axis(params: AmgParameters, names: Sequence[str]) -> str:
    """The name of the axis that is linked, of those of a stack; empty if none is. ``ValueError`` as linked_axis."""
    return "" if params.link == "none" else names[linked_axis(params, names, len(names))]


def line_of(index: Index, axis: int) -> Index:
    """Where along the other axes."""
    return index[:axis] + index[axis + 1 :]
