"""Errors in words for people who look at cells, not at code."""

import logging

from napari_sam_amg.out_of_memory import is_out_of_memory

LOGGER = logging.getLogger("napari_sam_amg")


def explain(error: BaseException) -> str:
    """What went wrong and what to do. Everything unforeseen goes to the log with its traceback."""
    if is_out_of_memory(error):
        return (
            "There is not enough memory. Choose fewer points per batch, a smaller model, or the device 'cpu', "
            "and close other programs that use the graphics card."
        )
    if isinstance(error, ValueError):  # ours are written for users
        return _first_letter_up(str(error))
    LOGGER.error("segmentation failed", exc_info=error)
    if isinstance(error, OSError):
        return f"A file could not be read: {error}"
    return (
        f"The segmentation stopped unexpectedly ({type(error).__name__}: {_first_line(error)}). Details are in the log."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no message"])[0][:200]


def _first_letter_up(text: str) -> str:
    return text[:1].upper() + text[1:]
