import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_parameters_is_up_to_date():
    assert runpy.run_path(str(ROOT / "docs/make_parameter_table.py"))["with_table"](TEXT) == TEXT


def test_every_file_it_points_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
