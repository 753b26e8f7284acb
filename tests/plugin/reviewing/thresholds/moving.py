"""Results whose thresholds move, and data that is worth it."""

from typing import Any

import cv2
import numpy as np

from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from tests.plugin.conftest import TIMEOUT


def segment(plugin: Any, data: np.ndarray, link: str = "per plane", **layer: Any) -> Any:
    plugin.viewer.add_image(data, **layer)
    if data.ndim > 2:
        plugin.widget.image_box.planes.setCurrentText("All planes")
        plugin.choose(link=link)
    plugin.run()
    review = reviewed(plugin.viewer.layers[-1 if link != "through time" else -2])
    assert review.refilter is not None, plugin.docked.thresholds_box.summary.text()
    return review


def settle(plugin: Any, review: Any) -> None:
    plugin.qtbot.waitUntil(lambda: review.refilter.waiting == 0 and review.refilter.is_idle, timeout=TIMEOUT)


def growing(planes: int) -> np.ndarray:
    """Discs through some planes each, thought of differently well in every plane."""
    stack = []
    for at in range(planes):
        image = np.zeros((96, 112), np.uint8)
        for number, (y, x) in enumerate([(15, 15), (15, 55), (15, 95), (50, 30), (50, 80), (80, 20), (80, 60)]):
            if number <= at + 3 and at < number + 5:
                cv2.circle(image, (x + at, y), 7 + number % 3, 200, -1)
        stack.append(image)
    return np.stack(stack)
