"""What goes on in several turns of the event loop, or in a worker, and waits there until it is told to go on."""

import threading
from typing import Any

import pytest

from napari_sam_amg.plugin.reviewing import object_actions
from napari_sam_amg.plugin.reviewing.turns import in_turns


class HeldEdit:
    """Objects deleted, merged or brought back: each turn is told to come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(object_actions, "in_turns", self._begin)

    def _begin(self, *of: Any) -> None:
        self._of = of

    def turn(self) -> None:
        next(self._of[0])

    def end(self) -> None:
        in_turns(*self._of)


class HeldWork:
    """Of a worker: whatever function ``replace`` has replaced waits when it is called."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = 0, threading.Event()

    def replace(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        work = getattr(module, name)

        def held(*of: Any) -> Any:
            self.begun += 1
            assert self.may_go_on.wait(30)
            return work(*of)

        monkeypatch.setattr(module, name, held)
