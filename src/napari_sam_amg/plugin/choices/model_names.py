"""Models by what they are for: how the widget calls them, and what it says of their files."""

from dataclasses import dataclass

from napari_sam_amg.models.registry import EMBEDDED, embedded_path, find_known, find_own, size_in_words

_SIZES = {"vit_t": "small", "vit_b": "medium", "vit_l": "large", "vit_h": "largest"}
_PURPOSES = {
    "": "Anything (photos)",
    "_lm": "Light microscopy",
    "_em_organelles": "EM organelles",
}
#: Bytes of a file in 32-bit numbers, where a publisher says none: four for each number of the architecture.
_ABOUT = {"vit_t": 40_600_000, "vit_b": 375_000_000, "vit_l": 1_249_000_000, "vit_h": 2_564_000_000}


def purpose(name: str) -> str:
    """ "Light microscopy, large" of "vit_l_lm"; the name itself of an own model."""
    if name == EMBEDDED:
        return "Nuclei and cells, built in"
    if find_own(name) is not None or find_known(name) is None:
        return name
    return f"{_PURPOSES.get(name[5:], name)}, {_SIZES.get(name[:5], name[:5])}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What is known of a model's file without opening it."""

    size: str  # in words; empty if not known
    is_here: bool


def model_file(name: str) -> ModelFile:
    """``OSError`` and ``ValueError`` for a place that cannot be looked at."""
    own, known = find_own(name), find_known(name)
    path = embedded_path() if name == EMBEDDED else own.file if own is not None else known.path if known else None
    if path is not None and path.is_file():
        return ModelFile(size_in_words(path.stat().st_size), True)
    size = None if known is None else known.size
    if size is not None:
        return ModelFile(size_in_words(size), False)
    about = _ABOUT.get(name[:5])
    return ModelFile("" if about is None else f"about {size_in_words(about)}", False)


def details(name: str) -> str:
    """A line below the choice: "vit_b, 375 MB, on this computer"."""
    try:
        file = model_file(name)
    except (OSError, ValueError):  # missing_reason says it
        return name
    where = "built in" if name == EMBEDDED else "on this computer" if file.is_here else "not on this computer"
    return ", ".join(filter(None, (name, file.size, where)))


def described(name: str) -> str:
    """For who hovers over it in the list."""
    own = find_own(name)
    if own is not None:
        return "\n".join(filter(None, (own.description, details(name))))
    known = find_known(name)
    trained = "trained for " + known.purpose if known is not None else "comes with the plugin"
    return f"{details(name)}\n{trained}"
