"""docs/architecture.md is true: its table of imports, and that it names every room and file."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import napari_sam_amg

SOURCE = Path(napari_sam_amg.__file__).parent
PAGE = Path(__file__).parents[1].joinpath("docs", "architecture.md").read_text("utf-8")
NO_ROOMS = {"__init__", "__main__"}  # the doors of the package as a whole: they open onto every room


def room(module: str) -> str:
    """Of "napari_sam_amg.amg.masks": "amg"; of the package itself "__init__"."""
    return [*module.split("."), "__init__"][1]


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= set(modules) if node.module == "napari_sam_amg" else {node.module or ""}
    return {name for name in found if name.startswith("napari_sam_amg.") and not name.endswith(".__version__")}


def arrows() -> dict[str, set[str]]:
    """What each room really imports."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        here = path.relative_to(SOURCE).with_suffix("").parts[0]
        rooms = {room(name) for name in imported(path)}
        found.setdefault(here, set()).update(rooms - {here})
    return {here: rooms for here, rooms in found.items() if here not in NO_ROOMS}


def drawn() -> dict[str, set[str]]:
    """The same as the page has it."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|$", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", rooms)) for name, rooms in rows}


def test_imports_are_those_of_the_page():
    assert arrows() == drawn()


def test_imports_go_one_way():
    order = list(TopologicalSorter(arrows()).static_order())  # CycleError if they go round
    assert order.index("sam") < order.index("amg") < order.index("run") < order.index("io") < order.index("cli")


def test_every_file_is_named():
    files = {path.name for path in SOURCE.rglob("*.py")} - {f"{name}.py" for name in NO_ROOMS}
    named = set(re.findall(r"\w+\.py", PAGE))
    assert files - named - {f"{name}.py" for name in drawn()} == set()
    assert {name for name in named - files if not name.startswith("test_")} == set()
