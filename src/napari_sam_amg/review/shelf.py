"""Values that are used again, in memory as far as a budget goes, and beyond it in files of a folder of their own."""

import pickle
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from napari_sam_amg.errors import LOGGER


class Shelf:
    """Those that were used last are in memory, up to ``budget`` bytes and at least one; all others in files.

    The folder appears when it is needed, readable by its owner alone, and goes with this object, or with the process.
    What cannot be written stays in memory. Threads may share it.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._used = budget, 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with their bytes, the last used last
        self._files: dict[Hashable, tuple[Path, int]] = {}
        self._lock = threading.RLock()
        self._remove: weakref.finalize[Any, Any] | None = None
        self._folder: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where files are; None while there are none."""
        return self._folder

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """``size``: bytes that the value takes in memory, about. A value never changes."""
        with self._lock:
            self._held[key] = value, size
            self._used += size
            self._make_room()

    def get(self, key: Hashable) -> Any:
        """``KeyError`` if there is no such value."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
            path, size = self._files[key]
            value = pickle.loads(path.read_bytes())  # our own file, in a folder of our own
            self.put(key, value, size)
            return value

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held or key in self._files

    def close(self) -> None:
        """Forget all, and remove the files."""
        with self._lock:
            self._held.clear()
            self._files.clear()
            self._used, self._folder = 0, None
            if self._remove is not None:
                self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _make_room(self) -> None:
        while self._used > self._budget and len(self._held) > 1:
            key, (value, size) = next(iter(self._held.items()))
            if key not in self._files:
                try:
                    self._files[key] = self._written(value), size
                except OSError as error:
                    LOGGER.warning("candidates stay in memory, since they cannot be written: %s", error)
                    self._budget = self._used
                    return
            del self._held[key]
            self._used -= size

    def _written(self, value: Any) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="napari-sam-amg-"))
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / f"{len(self._files)}.pickle"
        path.write_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        return path
