"""Defaults out of napari's Preferences, where it has a page for each plugin (0.9 and later), and what is kept there."""

from dataclasses import dataclass
from typing import Any

PLUGIN = "napari-sam-amg"
SECTION, REMEMBERED = "defaults", "remembered"  # keys below ``configurations`` in napari.yaml
GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the widget begins with. Names and defaults are those of napari.yaml."""

    model: str = "embedded"
    device: str = "auto"
    results_folder: str = ""  # empty: none is chosen
    memory: float = 0.0  # GB that labels may take before a folder is asked for; 0: a quarter of what there is

    @property
    def memory_bytes(self) -> int | None:
        """None: the plugin's own rule."""
        return round(self.memory * GIGABYTE) if self.memory > 0 else None

    @property
    def candidate_bytes(self) -> int | None:
        """What the candidates of a run may take in memory beside its labels; the others lie in files."""
        return None if self.memory_bytes is None else self.memory_bytes // 4


def preferences() -> Preferences:
    """As they are now; the defaults in a napari that has no such page, and of what is not as it should be."""
    section = _section(SECTION)
    if section is None:
        return Preferences()
    default = Preferences()
    return Preferences(**{name: _of_type(section, name, getattr(default, name)) for name in Preferences.__slots__})


def remembered_columns() -> str:
    """Which columns were measured on demand the last time, in words; empty where nothing is remembered."""
    return str(getattr(_section(REMEMBERED), "columns", "") or "")


def remember_columns(words: str) -> None:
    """For the next session of napari; for none in a napari that has no such page."""
    section = _section(REMEMBERED)
    if section is not None and remembered_columns() != words:
        try:
            section.columns = words  # napari writes it to its file
        except OSError:  # a folder in which nothing can be written: it is forgotten
            return


def _section(name: str) -> Any:
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari before 0.9
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), name, None)
    except Exception:  # not registered with npe2, or a file that cannot be read: the widget opens all the same
        return None


def _of_type(section: Any, name: str, default: Any) -> Any:
    value = getattr(section, name, default)
    return value.strip() if isinstance(value, str) else type(default)(value)
