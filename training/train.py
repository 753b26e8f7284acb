"""Train the embedded model: ``python -m training.train --data DIR --name NAME``. Resumes by itself."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from training.batches import Sample, stream_batches
from training.dataset import Example, read_split
from training.losses import batch_loss
from training.optimizers import schedule, set_rate
from training.recipe import ModelConfig, Recipe, add_recipe_options, describe, recipe_from, recipe_options
from training.state import STATE_NAME, TrainingState, load_state, new_state, save_state, start_from, update_average
from training.workers import any_process, average_gradients, rank, share, start_workers

RUNS = Path(__file__).parent / "runs"
LOG_EVERY = 25  # steps
SAVE_EVERY = 180.0  # seconds
# glibc gives large blocks back to the system at once, and taking them again costs half of a step
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "200000000",
}

log = logging.getLogger("training")


def train_step(state: TrainingState, samples: list[Sample], recipe: Recipe) -> dict[str, float]:
    """One step; returns figures for the log. A step whose gradient is not finite is skipped."""
    set_rate(state.optimizers, schedule(recipe, state.step))
    state.model.zero_grad(set_to_none=True)
    loss, figures = batch_loss(state.model, samples, recipe)
    loss.backward()
    average_gradients(state.model.parameters())
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
    if torch.isfinite(norm):
        for optimizer in state.optimizers:
            optimizer.step()
    state.step += 1
    update_average(state.average, state.model, recipe.ema, state.step)
    return figures | {"norm": norm.item()}


def stop_on_signal() -> threading.Event:
    """Set by SIGTERM or Ctrl-C: the run saves its state and ends."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def train(
    state: TrainingState, examples: Sequence[Example], recipe: Recipe, folder: Path, stop: threading.Event
) -> None:
    """From the state's step to the recipe's last or until told to stop, saving on the way."""
    state.model.train()
    sums: Counter[str] = Counter()
    saved = started = time.monotonic()
    for samples in stream_batches(examples, recipe, state.model.config.img_size, state.step, share()):
        sums.update(train_step(state, samples, recipe), steps=1)
        if state.step % LOG_EVERY == 0:
            now = time.monotonic()
            log_figures(state.step, schedule(recipe, state.step), sums, recipe.batch / (now - started))
            sums, started = Counter(), now
        if any_process(stop.is_set()):
            break
        if rank() == 0 and time.monotonic() - saved > SAVE_EVERY:
            save_state(state, folder, recipe)
            saved = time.monotonic()
    if rank() == 0:
        save_state(state, folder, recipe)


def log_figures(step: int, rate: float, sums: "Counter[str]", crops_per_second: float) -> None:
    """``crops_per_second``: as if only one step had been taken."""
    steps = sums.pop("steps")
    figures = " ".join(f"{name} {value / steps:.3f}" for name, value in sums.items())
    log.info("step %d rate %.3f crops/s %.1f %s", step, rate, crops_per_second * steps, figures)


def log_to(folder: Path) -> None:
    if rank() != 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(folder / "log.txt"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)


def restart_with_malloc_settings() -> None:
    """glibc reads its settings at the start of the process only."""
    if any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, "-m", "training.train", *sys.argv[1:]], os.environ | MALLOC)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<dataset>/NNN_image.png")
    parser.add_argument("--name", required=True, help="of the run: its folder under training/runs")
    parser.add_argument("--init", type=Path, help="exported checkpoint to start from; default: fresh weights")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--workers", type=int, default=1, help="processes that share each batch")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process")
    add_recipe_options(parser)
    return parser.parse_args()


def main() -> None:
    restart_with_malloc_settings()
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    folder = RUNS / arguments.name
    start_workers(arguments.workers, folder / "meeting")
    log_to(folder)
    recipe = recipe_from(recipe_options(arguments))
    state = new_state(ModelConfig(), recipe)
    if arguments.resume and (folder / STATE_NAME).exists():
        load_state(state, folder)
    elif arguments.init:
        start_from(state, arguments.init)
    log.info("from step %d: %s", state.step, describe(recipe))
    train(state, read_split(arguments.data, "train"), recipe, folder, stop_on_signal())


if __name__ == "__main__":
    main()
