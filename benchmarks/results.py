"""The file of finished measurements, one line of JSON each, so that a long set can be resumed."""

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median

import napari_sam_amg
from benchmarks.agreement import Records
from benchmarks.cases import MICRO_SAM, OURS

_PACKAGE = Path(napari_sam_amg.__file__).parent
_ENGINE = ("sam", "amg", "run.py", "params.py")  # what a measurement of ours runs
_WEIGHTS = _PACKAGE / "weights" / "embedded.pt"
_MEASURED = ("widen.py", "models.py", "images.py", "engines.py", "measure.py")  # of this package: what is measured


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to be equal for two measurements to be of the same thing."""

    engine: str
    version: str  # changes when the engine's code, the weights or the way of measuring do
    cpu: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One finished measurement."""

    case: str
    condition: Condition
    seconds: float
    encoder_seconds: float  # of these, in the image encoder
    peak_bytes: int  # above the loaded model
    masks: int
    prompts: int
    survivors: int  # prompts with a mask above the predicted-IoU threshold
    load: tuple[float, float]  # load average before and after
    others: float | None  # cores used by other processes meanwhile
    torch: str
    date: str

    @property
    def surviving(self) -> float:
        """Share of the prompts, NaN where there are none."""
        return self.survivors / self.prompts if self.prompts else float("nan")


@dataclass(frozen=True, slots=True)
class Summary:
    """The repeats of one case by one engine; medians."""

    last: Measurement
    repeats: int
    seconds: float
    encoder_seconds: float
    peak_bytes: float
    others: float  # the most, 0 where unknown


def summarize(repeats: Sequence[Measurement]) -> Summary:
    return Summary(
        last=repeats[-1],
        repeats=len(repeats),
        seconds=median(m.seconds for m in repeats),
        encoder_seconds=median(m.encoder_seconds for m in repeats),
        peak_bytes=median(m.peak_bytes for m in repeats),
        others=max(m.others or 0.0 for m in repeats),
    )


class Results:
    """A folder with ``measurements.jsonl`` and the masks of every case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "measurements.jsonl"

    def read(self) -> list[Measurement]:
        """All finished measurements; a last line that was cut off by an interruption is left out.

        Raises ``ValueError`` if another line is damaged.
        """
        if not self.path.exists():
            return []
        *lines, rest = self.path.read_text(encoding="utf-8").split("\n")
        del rest  # empty, or a line without its end
        return [self._parse(number, line) for number, line in enumerate(lines, 1)]

    def _parse(self, number: int, line: str) -> Measurement:
        try:
            entries = json.loads(line)
            condition = Condition(**entries.pop("condition"))
            return Measurement(**{**entries, "condition": condition, "load": tuple(entries["load"])})
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path}, line {number} is no measurement ({error}): remove the line") from error

    def append(self, measurement: Measurement) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.path.read_bytes() if self.path.exists() else b""
        if whole and not whole.endswith(b"\n"):  # a line that was cut off
            self.path.write_bytes(whole[: whole.rfind(b"\n") + 1])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(measurement)) + "\n")

    def masks_path(self, case: str, condition: Condition) -> Path:
        return self.folder / "masks" / f"{case}-{condition.engine}-{condition.version}.json.gz"

    def masks(self, case: str, condition: Condition) -> Records:
        """The masks that a measurement found."""
        with gzip.open(self.masks_path(case, condition), "rt") as file:
            records: Records = json.load(file)
        return records

    def newest(self, case: str, engine: str) -> Summary | None:
        """The repeats under the conditions of the newest measurement."""
        found = [m for m in self.read() if m.case == case and m.condition.engine == engine]
        same = [m for m in found if m.condition == found[-1].condition]
        return summarize(same) if same else None


@cache
def engine_version(engine: str) -> str:
    """A short hash of what is measured: our code, or the version of a peer, with weights and method."""
    digest = hashlib.sha256(_WEIGHTS.read_bytes())
    sources = [Path(__file__).parent / name for name in _MEASURED]
    if engine == OURS:
        sources += [path for part in _ENGINE for path in _python_files(_PACKAGE / part)]
    else:
        names = ["segment-anything-py", *(["micro_sam"] if engine == MICRO_SAM else [])]
        digest.update(" ".join(f"{name} {version(name)}" for name in names).encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
