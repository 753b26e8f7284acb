"""How much memory the candidates of one run, and what is remembered of its planes, may take."""

#: Of the memory, one part in so many: several results may be open.
SHARE = 16


def budget() -> int:
    """Bytes."""
    from napari_sam_amg.io.memory import memory_limit
    from napari_sam_amg.review.kept import BUDGET

    return (memory_limit() or SHARE * BUDGET) // SHARE
