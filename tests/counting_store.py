"""A Zarr on the disk that counts the chunks that are read."""

from collections import Counter
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore, WrapperStore

METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class CountingStore(WrapperStore[LocalStore]):
    """``read`` counts how often each chunk, by its key, was asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(LocalStore(path, read_only=True))
        self.read: Counter[str] = Counter()

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        if not key.endswith(METADATA):
            self.read[key] += 1
        return await super().get(key, *arguments, **options)
