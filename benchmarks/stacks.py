"""Objects through z, measured: ``python -m benchmarks.stacks --help``. Times are those of the processor, on one thread.

``score``: how well a whole stack is segmented with the shipped model and defaults. ``speed``: planes of a stack, linked
and not, against the same planes as single images. ``links``: linking alone, of made-up planes full of discs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.runner import ROOT
from napari_sam_amg import AmgParameters, PlaneStack, link_planes, segment_planes
from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.evaluation.scores import evaluate_labels
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import merged

IMAGE = ROOT / "src" / "napari_sam_amg" / "plugin" / "data" / "nuclei_stack.tif"
TRUTH = ROOT / "tests" / "data" / "nuclei_stack_truth.tif"
SIDE = 512  # px of a made-up plane


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacks", description="Measure objects through z.")
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser("score", help="AP and SEG of a stack against its truth, as volumes")
    score.add_argument("image", type=Path, nargs="?", default=IMAGE, help="TIFF of planes; default: the sample stack")
    score.add_argument("truth", type=Path, nargs="?", default=TRUTH, help="TIFF of labels, one id an object")
    speed = commands.add_parser("speed", help="planes of a stack against single images")
    speed.add_argument("image", type=Path, nargs="?", default=IMAGE)
    speed.add_argument("--planes", type=int, default=8, help="from the middle of the stack (8)")
    links = commands.add_parser("links", help="linking alone")
    links.add_argument("--planes", type=int, default=200)
    links.add_argument("--objects", type=int, default=300, help="in each plane, 300 at most")
    for command in (speed, links):
        command.add_argument("--repeats", type=int, default=3, help="each of them in turn (3); the least counts")
    return parser.parse_args(arguments)


def score(image: Path, truth: Path) -> str:
    """A line on the whole stack."""
    model, planes, labels = load_model(), tifffile.imread(image), tifffile.imread(truth)
    if planes.shape != labels.shape or planes.ndim != 3:
        raise ValueError(f"{image} has shape {planes.shape}, and {truth} {labels.shape}: they must be one stack")
    began = time.process_time()
    found = np.stack([result.labels for result in results(planes, model, link="z")])
    scores = evaluate_labels(labels.astype(np.int32), found)
    return (
        f"{image.name}: {len(planes)} planes, {scores.true_objects} objects, {found.max()} found: AP at .5 "
        f"{scores.ap():.3f}, at .75 {scores.ap(0.75):.3f}, SEG {scores.seg:.3f}; {time.process_time() - began:.1f} s"
    )


def speed(image: Path, planes: int, repeats: int) -> Iterator[str]:
    """A line on single images, the stack, and the stack linked."""
    stack = tifffile.imread(image)
    if stack.ndim != 3 or not 1 < planes <= len(stack):
        raise ValueError(f"--planes {planes} is not allowed: {image} has shape {stack.shape}")
    first, model = (len(stack) - planes) // 2, load_model()
    chosen = stack[first : first + planes]
    ways: dict[str, Callable[[], object]] = {
        "single images": lambda: [results(plane, model, link="none") for plane in chosen],
        "stack": lambda: results(chosen, model, link="none"),
        "stack, linked": lambda: results(chosen, model, link="z"),
    }
    times = measured(ways, repeats)
    for name, seconds in times.items():
        yield f"{name}: {planes / seconds:.2f} planes a second, {times['single images'] / seconds:.2f} of single images"


def results(planes: NDArray[Any], model: Model, **params: Any) -> list[Any]:
    steps = segment_planes(PlaneStack(planes), model, merged(model.info.amg_defaults, params))
    return [step.result for step in steps if step.result is not None]


def links(planes: int, objects: int, repeats: int) -> str:
    stored = list(discs(planes, objects))
    seconds = measured({"links": lambda: list(link_planes(stored, stored[0].params))}, repeats)["links"]
    return f"{planes} planes x {objects} objects: {seconds:.2f} s, {seconds / planes * 1e3:.1f} ms a plane"


def discs(planes: int, objects: int) -> Iterator[StoredCandidates]:
    """Discs on a grid that stay where they are, but for a pixel."""
    random = np.random.default_rng(0)
    places = np.mgrid[12:SIDE:26, 12:500:30].reshape(2, -1).T[:objects] + random.integers(-4, 5, (objects, 2))
    params = AmgParameters(pred_iou_thresh=0.3, stability_score_thresh=0.3, link="z")
    radii = random.integers(8, 12, objects)
    for _ in range(planes):
        moved = places + random.integers(-1, 2, places.shape)
        found = [disc(y, x, radius) for (y, x), radius in zip(moved.tolist(), radii.tolist(), strict=True)]
        candidates = Candidates(
            boxes=np.array([box for box, _ in found], np.int64).reshape(-1, 4),
            predicted_iou=random.uniform(0.5, 0.9, len(found)).astype(np.float32),
            stability_score=np.full(len(found), 0.9, np.float32),
            points=np.zeros((len(found), 2)),
            crop_boxes=np.tile([0, 0, SIDE, SIDE], (len(found), 1)),
            bits=[bits for _, bits in found],
        )
        yield StoredCandidates(params, (SIDE, SIDE), (candidates,))


def disc(y: int, x: int, radius: int) -> tuple[tuple[int, int, int, int], NDArray[np.uint8]]:
    """Its box, and its pixels as bits."""
    frame = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(frame, (x, y), radius, 1, -1)
    rows, columns = np.nonzero(frame)
    y0, y1, x0, x1 = rows.min(), rows.max(), columns.min(), columns.max()
    packed = np.packbits(frame[y0 : y1 + 1, x0 // 8 * 8 : x1 + 1], axis=1)
    return (int(x0), int(y0), int(x1), int(y1)), packed


def measured(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of the processor that each takes at least, in turn, so that all have the same neighbours."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(1, repeats)):
        for name, way in ways.items():
            began = time.process_time()
            way()
            times[name].append(time.process_time() - began)
    return {name: min(all_of) for name, all_of in times.items()}


def main(arguments: list[str] | None = None) -> int:
    chosen = parse_arguments(arguments)
    if chosen.command == "score":
        print(score(chosen.image, chosen.truth))
    elif chosen.command == "speed":
        for line in speed(chosen.image, chosen.planes, chosen.repeats):
            print(line, flush=True)
    else:
        print(links(chosen.planes, chosen.objects, chosen.repeats))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
