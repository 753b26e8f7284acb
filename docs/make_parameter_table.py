"""Write the table of parameters into README.md: ``python docs/make_parameter_table.py``."""

import dataclasses
from pathlib import Path
from typing import Any

from napari_sam_amg.params import AmgParameters, parameter_choices

README = Path(__file__).parents[1] / "README.md"
START = "<!-- parameters: made by docs/make_parameter_table.py -->\n"
END = "<!-- end of parameters -->"


def table() -> str:
    """A markdown table, one row a field of AmgParameters."""
    rows = [_row(spec) for spec in dataclasses.fields(AmgParameters)]
    return "\n".join(["| parameter | default | allowed | what it does |", "|---|---|---|---|", *rows]) + "\n"


def _row(spec: "dataclasses.Field[Any]") -> str:
    name = f"**`{spec.name}`**" if spec.metadata["basic"] else f"`{spec.name}`"
    default = f"{spec.default:.4g}" if isinstance(spec.default, float) else str(spec.default)
    allowed = spec.metadata["range"] or ", ".join(parameter_choices(spec.name)) or "lists of points"
    return f"| {name} | {default} | {allowed} | {spec.metadata['help']} |"


def with_table(text: str) -> str:
    """The README's text with the table between its two marks."""
    before, rest = text.split(START)
    return before + START + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
