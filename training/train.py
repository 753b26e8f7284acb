"""Train the embedded model: ``python -m training.train --data DIR --name NAME``. Resumes by itself."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from training.batches import Batch, Source, stream_batches, stream_from_processes
from training.dataset import read_split, without_held_out
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


def train_step(state: TrainingState, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """One step; returns figures for the log. A step whose gradient is not finite is skipped."""
    set_rate(state.optimizers, schedule(recipe, state.step))
    state.model.zero_grad(set_to_none=True)
    loss, figures = batch_loss(state.model, batch, recipe)
    loss.backward()
    average_gradients(state.model.parameters())
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
    if torch.isfinite(norm):
        for optimizer in state.optimizers:
            optimizer.step()
    state.step += 1
    update_average(state.average, state.model, recipe.ema, state.step)
    return figures | {"norm": norm}


def stop_on_signal() -> threading.Event:
    """Set by SIGTERM or Ctrl-C: the run saves its state and ends."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def train(state: TrainingState, batches: Iterator[Batch], recipe: Recipe, folder: Path, stop: threading.Event) -> None:
    """Until there are no more batches or told to stop, saving on the way."""
    state.model.train()
    device = next(state.model.parameters()).device
    figures: list[dict[str, Tensor]] = []  # since they were logged: a GPU is not waited for at every step
    saved = started = time.monotonic()
    for batch in batches:
        figures.append(train_step(state, batch.to(device), recipe))
        if state.step % LOG_EVERY == 0:
            log_figures(state.step, schedule(recipe, state.step), figures, recipe.batch, started)
            figures, started = [], time.monotonic()
        if any_process(stop.is_set()):
            break
        if rank() == 0 and time.monotonic() - saved > SAVE_EVERY:
            save_state(state, folder, recipe)
            saved = time.monotonic()
    if rank() == 0:
        save_state(state, folder, recipe)


def log_figures(step: int, rate: float, figures: list[dict[str, Tensor]], batch: int, started: float) -> None:
    """Means of the figures of some steps, which began at ``started``."""
    means = {name: torch.stack([each[name] for each in figures]).mean().item() for name in figures[0]}
    speed = batch * len(figures) / (time.monotonic() - started)
    words = " ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    log.info("step %d rate %.3f crops/s %.1f %s", step, rate, speed, words)


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
    parser.add_argument("--device", type=device, default="cpu", help="cpu, or cuda for a GPU; default %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes that share each batch, on CPUs")
    parser.add_argument("--view-workers", type=int, default=0, help="processes that make batches; default: a thread")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process")
    parser.add_argument("--max-seconds", type=float, help="of training; then it ends as on Ctrl-C")
    add_recipe_options(parser)
    arguments = parser.parse_args()
    if arguments.workers > 1 and arguments.device.type != "cpu":
        parser.error(f"--workers {arguments.workers} is for CPUs: with --device {arguments.device} use --view-workers")
    return arguments


def device(name: str) -> torch.device:
    """Of an option; argparse says what is wrong with it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{name!r} can't be used here: {reason}") from error
    return torch.device(name)


def batches(source: Source, start: int, view_workers: int, on: torch.device) -> Iterator[Batch]:
    """From ``view_workers`` processes, or from a thread if that is 0."""
    if view_workers:
        return stream_from_processes(source, start, view_workers, pin_memory=on.type == "cuda")
    return stream_batches(source, start)


@contextmanager
def arithmetic(threads: int) -> Iterator[None]:
    """Of torch, for this block: in a process that goes on, small numbers flushed to zero break what comes next.

    torch does not say whether it flushes them; it does not by default.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def main() -> None:
    restart_with_malloc_settings()
    arguments = parse_arguments()
    with arithmetic(arguments.threads):
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    folder = RUNS / arguments.name
    start_workers(arguments.workers, folder / "meeting")
    log_to(folder)
    recipe = recipe_from(recipe_options(arguments))
    state = new_state(ModelConfig(), recipe, arguments.device)
    if arguments.resume and (folder / STATE_NAME).exists():
        load_state(state, folder)
    elif arguments.init:
        start_from(state, arguments.init)
    log.info("from step %d: %s", state.step, describe(recipe))
    examples = without_held_out(read_split(arguments.data, "train"), recipe.hold_out)
    source = Source(examples, recipe, state.model.config.img_size, share())
    stop = stop_on_signal()
    if arguments.max_seconds:
        timer = threading.Timer(arguments.max_seconds, stop.set)
        timer.daemon = True
        timer.start()
    train(state, batches(source, state.step, arguments.view_workers, arguments.device), recipe, folder, stop)


if __name__ == "__main__":
    main()
