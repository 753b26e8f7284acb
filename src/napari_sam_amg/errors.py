"""Errors in words for people who look at cells, not at code: in a line of the terminal, or in a napari notification."""

import logging

LOGGER = logging.getLogger("napari_sam_amg")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: each library says it in its own words."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def explain(error: BaseException, when_out_of_memory: str = "") -> str:
    """What went wrong, in a line; what can be done if memory ran out."""
    text = str(error)
    if is_out_of_memory(error):
        return " ".join([f"not enough memory{when_out_of_memory}", f"({text or 'no more is known'})"])
    where = "" if isinstance(error, ValueError) or getattr(error, "strerror", None) else " (--debug shows where)"
    return in_words(error) + where


def in_words(error: BaseException) -> str:
    """What went wrong, in a line."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, ValueError) and text:  # ours are written for users
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def explain_in_window(error: BaseException) -> str:
    """What went wrong and what to do, in a sentence. Everything unforeseen goes to the log with its traceback."""
    text = str(error)
    if is_out_of_memory(error):
        return (
            "There is not enough memory. Choose fewer points per batch, a smaller model, or the device 'cpu', "
            "and close other programs that use the graphics card."
        )
    if isinstance(error, ValueError):  # ours are written for users
        return text[:1].upper() + text[1:]
    LOGGER.error("segmentation failed", exc_info=error)
    if isinstance(error, OSError):
        return f"A file could not be read: {error}"
    first_line = (text.splitlines() or ["no message"])[0][:200]
    return f"The segmentation stopped unexpectedly ({type(error).__name__}: {first_line}). Details are in the log."
