"""`python -m rcan_plugin.train -opt FILE`: BasicSR's own training, from any folder and on any machine.

What differs from `python basicsr/train.py`:
- Output goes under the current folder; without a GPU it resumes, and runs under `torchrun` (gloo).
- Data and weights are looked for before anything is built or moved, whatever classes the option file names.
- A sample's random choices come from `manual_seed` and its place in the run's stream of samples, and a resumed run goes
  on at that place: with `DegradationPairedDataset` and `AcceleratedSRModel` it ends with the weights of a run that was
  not stopped.
- `--auto_resume` passes over a damaged state, to the one before.
- SIGTERM and Ctrl-C save and stop after the step at hand, with exit code 143 or 130; a second one stops at once.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

import rcan_plugin
from rcan_plugin.data.stream import StreamSampler
from rcan_plugin.options import check as options

log = logging.getLogger("basicsr")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME = 2.0  # seconds in which two signals are one, that torchrun passes on and its processes got besides


def main() -> None:
    """Train as the command line says (BasicSR's arguments)."""
    # Before BasicSR is imported, which without it fails where the plugin does not load itself.
    rcan_plugin.register()
    import basicsr.train

    run = Run()
    basicsr.train.parse_options = options.checked(basicsr.train.parse_options, only_ours=False)
    basicsr.train.load_resume_state = run.load_resume_state
    basicsr.train.EnlargedSampler = run.make_sampler
    basicsr.train.build_dataloader = run.build_dataloader
    basicsr.train.build_model = run.build_model
    if not torch.cuda.is_available():
        run_without_gpu()
    for number in SIGNALS:
        signal.signal(number, run.ask_to_stop)
    if hasattr(signal, "pthread_sigmask"):
        BaseProcess.start = start_masked  # type: ignore[method-assign]
    try:
        basicsr.train.train_pipeline(str(Path.cwd()))
    finally:
        end_workers()


class Run:
    """What the parts of one training run have to know of each other; each method stands in for one of BasicSR's."""

    def __init__(self) -> None:
        self.opt: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None
        self.sampler: StreamSampler | None = None
        self.signal = 0
        self.signal_time = 0.0

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """The newest state that is whole, on the CPU, where BasicSR's function asks for a CUDA device; None to begin.

        As in BasicSR, paths of weights in `opt` are set to the resumed run's.
        """
        self.opt = opt
        path = options.resumed_state(opt)
        if path is not None:
            self.state = self._newest_whole(path)
        if opt["dist"]:
            iterations: list[Any] = [None] * opt["world_size"]
            torch.distributed.all_gather_object(iterations, self.state and self.state["iter"])
            if len(set(iterations)) > 1:
                sys.exit(
                    f"\nThe processes would go on from different iterations, {iterations} (None: from the start): each "
                    "must see the same folder experiments. Nothing was moved."
                )
        return self.state

    def _newest_whole(self, path: Path) -> dict[str, Any]:
        from basicsr.utils import check_resume

        from rcan_plugin.training import checkpoints

        candidates = checkpoints.states(path.parent) if self.opt.get("auto_resume") else [path]
        paths = self.opt["path"]
        for candidate in candidates:
            try:
                state = checkpoints.load(candidate)
                paths["resume_state"] = str(candidate)
                check_resume(self.opt, state["iter"])
                for key, value in paths.items():
                    if key.startswith("pretrain_network") and value:
                        checkpoints.load(value)
            except (ValueError, FileNotFoundError, KeyError, TypeError) as error:
                print(f"{candidate} cannot be resumed from: {error}", file=sys.stderr)
                continue
            if candidate != candidates[0]:
                print(f"Going on from {candidate}, the newest that is whole.", file=sys.stderr)
            return state
        sys.exit(
            "\nThere is no whole state to go on from: name another in path: resume_state, or begin anew without "
            "--auto_resume (the earlier run is moved aside). Nothing was moved."
        )

    def make_sampler(self, dataset: Any, num_replicas: int, rank: int, ratio: float = 1) -> StreamSampler:
        """In the place of `EnlargedSampler`."""
        batch = self.opt["datasets"]["train"]["batch_size_per_gpu"]
        if not self.opt["dist"]:
            batch *= max(1, self.opt["num_gpu"])
        self.sampler = StreamSampler(dataset, num_replicas, rank, ratio, self.opt["manual_seed"], batch)
        per_epoch = len(self.sampler) // batch  # BasicSR's loader drops what does not fill a batch
        if self.state is not None and per_epoch:
            self.state["epoch"], done = divmod(self.state["iter"], per_epoch)
            self.sampler.resume_at = self.state["epoch"], done * batch
        return self.sampler

    def build_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """BasicSR's data loader, with random numbers of its own."""
        from basicsr.data import build_dataloader

        loader = build_dataloader(*args, **kwargs)
        # An epoch begins with a draw: not from the model's numbers, which a resumed run would then miss.
        loader.generator = torch.Generator()
        loader.generator.manual_seed(torch.initial_seed() + (self.state["iter"] if self.state else 0))
        return loader

    def build_model(self, opt: dict[str, Any]) -> Any:
        """BasicSR's model, whose steps look whether they were asked to stop."""
        from basicsr.models import build_model

        model = build_model(opt)
        step = model.optimize_parameters

        def step_and_look(current_iter: int) -> None:
            step(current_iter)
            if number := self._agreed_signal(current_iter):
                assert self.sampler is not None
                model.save(self.sampler.epoch, current_iter)
                if opt["dist"]:
                    torch.distributed.barrier()  # torchrun ends all processes when the first has left
                log.info(
                    "Asked to stop (signal %d): saved at iteration %d. --auto_resume goes on.", number, current_iter
                )
                sys.exit(128 + number)

        model.optimize_parameters = step_and_look
        return model

    def ask_to_stop(self, number: int, frame: object) -> None:
        """A signal's handler. Where there is nothing to save it stops at once, and so does a second signal."""
        if self.sampler is None or (self.signal and time.monotonic() > self.signal_time + SAME):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not self.signal:
            self.signal, self.signal_time = number, time.monotonic()
            # Not by a logger or a file, which may be in the middle of a line.
            os.write(2, b"Stopping after the step at hand; a second signal stops at once.\n")

    def _agreed_signal(self, current_iter: int) -> int:
        """The signal that any rank got, on all of them alike."""
        if not self.opt["dist"]:
            return self.signal
        on_gpu = torch.cuda.is_available()
        if on_gpu and current_iter % 10:
            return 0  # asking means waiting for the GPU
        number = torch.tensor(self.signal, device="cuda" if on_gpu else "cpu")
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)


process_start = BaseProcess.start


def start_masked(self: BaseProcess) -> None:
    """Start a data loader's worker: what stops it is the main process alone.

    Ctrl-C, torchrun and `pkill` reach the workers too, which the main process needs to finish its step. The mask is
    inherited, by fork and by spawn, so that there is no moment at which a worker could be stopped, as there is before
    it can ignore signals by itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process_start(self)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_workers() -> None:
    """Python would end what workers are left with SIGTERM, and wait for ever."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes a worker's end for a failure
    for worker in multiprocessing.active_children():
        worker.kill()


def run_without_gpu() -> None:
    """Replace what BasicSR asks of CUDA without need: the process group's backend, a device for each process."""
    from basicsr.models import base_model
    from basicsr.utils import options as basicsr_options

    basicsr_options.init_dist = lambda launcher, **_: torch.distributed.init_process_group("gloo")
    torch.cuda.current_device = lambda: 0
    base_model.DistributedDataParallel = _DistributedOnCpu


class _DistributedOnCpu(DistributedDataParallel):
    """Without the device number that BasicSR always gives."""

    def __init__(self, module: torch.nn.Module, device_ids: list[int], **kwargs: Any) -> None:
        super().__init__(module, **kwargs)


if __name__ == "__main__":
    main()
