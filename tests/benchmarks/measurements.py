"""Made-up measurements."""

from benchmarks.results import Condition, Measurement


def measurement(case: str, engine: str = "ours", version: str = "v1", **values) -> Measurement:
    figures = {
        "seconds": 2.0, "encoder_seconds": 0.5, "peak_bytes": 10**9, "masks": 0, "prompts": 100, "survivors": 40,
        "load": (0.0, 1.0), "others": None, "torch": "2.0", "date": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    return Measurement(case=case, condition=Condition(engine, version, "a CPU", 2), **{**figures, **values})
