"""A GPU for each of several processes of a machine, whoever has started them."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_gpu(device: str) -> Iterator[str]:
    """The device on which a process computes: of several GPUs one that no other process has, as long as there is one.

    ``device`` as ``load_model`` takes it; one that is named by its number is taken as it is.
    """
    import torch

    from napari_sam_amg.models.checkpoint import select_device

    if device not in ("auto", "cuda") or select_device(device).type != "cuda":
        yield device
        return
    # by their own names: CUDA_VISIBLE_DEVICES may number them differently in each process
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
    with claimed(names, Path(tempfile.gettempdir())) as number:
        yield f"cuda:{number}"


@contextmanager
def claimed(names: Sequence[str], folder: Path) -> Iterator[int]:
    """The number of the first of these that no other process has claimed in ``folder``; they share if all are taken.

    A claim ends with its process, however that ends.
    """
    from filelock import FileLock, Timeout

    for number, name in enumerate(names):
        lock = FileLock(folder / f"napari-sam-amg-{name}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # somebody else's, who may also have the right to the file alone
            continue
        try:
            yield number
        finally:
            lock.release()
        return
    yield os.getpid() % len(names)
