"""Train with BasicSR, from any folder and on any machine: `rcan train -opt FILE.yml`.

The arguments are those of `python basicsr/train.py`. The differences:
- Output is written under the current folder. Without a GPU, runs can resume, and `torchrun` works (gloo).
- The option file, the data and the weights are checked before anything is built or moved.
- The random choices of a sample depend on `manual_seed` and its position in the run's stream of samples, and a resumed
  run continues at that position: with `DegradationPairedDataset` and `AcceleratedSRModel` it ends with the weights of
  an uninterrupted run.
- It trains until `total_iter`. BasicSR ends earlier if epochs have incomplete batches.
- If the earlier run was stopped between its last checkpoint and the validation, the resumed run validates first.
- SIGTERM and Ctrl-C save and stop after the current step, with exit code 143 or 130; before training and at a second
  signal they stop at once.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

import rcan_plugin
from rcan_plugin._files import naming
from rcan_plugin.cli import stopping_at_once
from rcan_plugin.data.stream import StreamSampler
from rcan_plugin.options import check as options
from rcan_plugin.training import checkpoints
from rcan_plugin.training.guard import StuckError

log = logging.getLogger("basicsr")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
DUPLICATE_SIGNAL_S = 2.0
"""Seconds within which a second signal counts as a copy of the first: torchrun forwards signals that its processes also
received directly."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train.

    Args:
        argv: BasicSR's arguments; by default those of the process.

    Raises:
        SystemExit: wrong arguments or options, or a signal asked the run to stop.
    """
    with stopping_at_once():
        # Before the import of BasicSR, which fails with recent versions of torchvision unless the plugin is loaded.
        rcan_plugin.register()
        import basicsr.train

    set_arguments("rcan train", argv)

    run = Run()
    basicsr.train.parse_options = options.checked(basicsr.train.parse_options, only_ours=False)
    basicsr.train.load_resume_state = run.load_resume_state
    basicsr.train.copy_opt_file = naming_copy(basicsr.train.copy_opt_file)
    basicsr.train.init_tb_loggers = run.keeping_writer(basicsr.train.init_tb_loggers)
    basicsr.train.create_train_val_dataloader = run.with_enough_epochs(basicsr.train.create_train_val_dataloader)
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
    except StuckError as error:
        sys.exit(f"\nTraining stopped at {error}")
    finally:
        end_workers()
    return 0


def set_arguments(program: str, argv: Sequence[str] | None) -> None:
    """Set `sys.argv`, which BasicSR reads, to a program's name and arguments; None leaves it as it is."""
    if argv is not None:
        sys.argv = [program, *argv]


class Run:
    """State of one training run. Its methods replace functions of `basicsr.train`."""

    def __init__(self) -> None:
        self.opt: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None
        self.sampler: StreamSampler | None = None
        self.val_loaders: list[Any] = []
        self.tb_logger: Any = None
        self.signal = 0
        self.signal_time = 0.0

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """Load the training state that the check chose to the CPU (BasicSR's needs a CUDA device); None for a new run.

        As in BasicSR, paths of weights in `opt` are set to the resumed run's.
        """
        from basicsr.utils import check_resume

        self.opt = opt
        if path := opt["path"].get("resume_state"):
            self.state = checkpoints.load(path)
            check_resume(opt, self.state["iter"])
        if opt["dist"]:
            iterations: list[Any] = [None] * opt["world_size"]
            torch.distributed.all_gather_object(iterations, self.state and self.state["iter"])
            if len(set(iterations)) > 1:
                sys.exit(
                    f"\nThe processes would resume from different iterations, {iterations} (None: a new run): all must "
                    "see the same folder experiments. Nothing was moved."
                )
        return self.state

    def keeping_writer(self, init_tb_loggers: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap BasicSR's `init_tb_loggers`: keep TensorBoard's writer; errors of the disk name its folder."""

        def init(opt: dict[str, Any]) -> Any:
            named = naming(Path(opt["root_path"], "tb_logger", opt["name"]))
            self.tb_logger = named(init_tb_loggers)(opt)
            if self.tb_logger:
                writer = self.tb_logger.file_writer
                writer.add_event = named(writer.add_event)
                self.tb_logger.close = named(self.tb_logger.close)
            return self.tb_logger

        return init

    def with_enough_epochs(self, create_train_val_dataloader: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap BasicSR's `create_train_val_dataloader`: count as many epochs as `total_iter` needs; keep the loaders.

        BasicSR counts an epoch's iterations rounded up, but its loader drops what does not fill a batch.
        """

        def create(opt: dict[str, Any], logger: logging.Logger) -> tuple[Any, ...]:
            loader, sampler, self.val_loaders, epochs, total = create_train_val_dataloader(opt, logger)
            needed = math.ceil(total / len(loader))
            if needed != epochs:
                logger.info(f"An epoch has {len(loader)} full batches: training for {needed} epochs, not {epochs}.")
            return loader, sampler, self.val_loaders, needed, total

        return create

    def make_sampler(self, dataset: Any, num_replicas: int, rank: int, ratio: float = 1) -> StreamSampler:
        """Make the sampler that replaces BasicSR's `EnlargedSampler`."""
        batch = self.opt["datasets"]["train"]["batch_size_per_gpu"]
        if not self.opt["dist"]:
            batch *= max(1, self.opt["num_gpu"])
        self.sampler = StreamSampler(dataset, num_replicas, rank, ratio, self.opt["manual_seed"], batch)
        per_epoch = len(self.sampler) // batch  # BasicSR's loader drops what does not fill a batch
        if self.state is not None and per_epoch:
            epoch, done = divmod(self.state["iter"], per_epoch)
            self.sampler.resume_at = epoch, done * batch
        return self.sampler

    def build_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Build BasicSR's data loader, with a random generator of its own."""
        from basicsr.data import build_dataloader

        loader = build_dataloader(*args, **kwargs)
        # A loader draws a number at the start of each epoch. From torch's global generator, a resumed run would draw
        # one more than an uninterrupted run.
        loader.generator = torch.Generator()
        loader.generator.manual_seed(torch.initial_seed() + (self.state["iter"] if self.state else 0))
        return loader

    def build_model(self, opt: dict[str, Any]) -> Any:
        """Build BasicSR's model.

        After each step it saves and stops if a signal was received. When resumed, it starts at the sampler's epoch and
        runs a validation that the earlier run missed.
        """
        from basicsr.models import build_model

        from rcan_plugin.models.accelerated_model import AcceleratedSRModel

        model = build_model(opt)
        step, resume = model.optimize_parameters, model.resume_training

        def resume_and_validate(state: dict[str, Any]) -> None:
            resume(state)
            assert self.sampler is not None
            state["epoch"] = self.sampler.resume_at[0]  # BasicSR reads it next
            if isinstance(model, AcceleratedSRModel):
                model.validate_missed(self.val_loaders, self.tb_logger)

        def step_and_check(current_iter: int) -> None:
            step(current_iter)
            if number := self._agreed_signal(current_iter):
                assert self.sampler is not None
                model.save(self.sampler.epoch, current_iter)
                if opt["dist"]:
                    torch.distributed.barrier()  # torchrun ends all processes when the first one exits
                saved = "saved"
                if isinstance(model, AcceleratedSRModel) and model.last_saved[1] != current_iter:
                    saved = "not saved"  # the log has the reason
                log.info(
                    "Stopped by signal %d: %s at iteration %d. Resume with --auto_resume.", number, saved, current_iter
                )
                sys.exit(128 + number)

        model.resume_training = resume_and_validate
        model.optimize_parameters = step_and_check
        return model

    def ask_to_stop(self, number: int, frame: object) -> None:
        """Handle a signal: stop after the current step. Before training, or at a second signal, stop at once."""
        if self.sampler is None:
            os._exit(128 + number)  # nothing runs yet; another package's import could swallow an exception
        if self.signal and time.monotonic() > self.signal_time + DUPLICATE_SIGNAL_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not self.signal:
            self.signal, self.signal_time = number, time.monotonic()
            # Not with a logger or `print`, whose locks the interrupted code may hold.
            os.write(2, b"Stopping after the current step; a second signal stops at once.\n")

    def _agreed_signal(self, current_iter: int) -> int:
        """The number of the signal that any rank received, 0 for none; the same on all ranks."""
        if not self.opt["dist"]:
            return self.signal
        on_gpu = torch.cuda.is_available()
        if on_gpu and current_iter % 10:
            return 0  # reading the answer waits for the GPU
        number = torch.tensor(self.signal, device="cuda" if on_gpu else "cpu")
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)


def naming_copy(copy_opt_file: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Wrap BasicSR's `copy_opt_file`: errors of the disk name the copy of the option file."""

    def copy(option_file: str, folder: str) -> None:
        with naming(Path(folder, Path(option_file).name)):
            copy_opt_file(option_file, folder)

    return copy


process_start = BaseProcess.start


def start_masked(self: BaseProcess) -> None:
    """Start a data loader's worker with SIGTERM and SIGINT blocked; only the main process stops it.

    Ctrl-C, torchrun and `pkill` send signals to the workers too, but the main process needs them to finish its step.
    Forked and spawned workers inherit the mask, so signals are blocked before they run any code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process_start(self)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_workers() -> None:
    """Kill the remaining workers. Python would send SIGTERM, which they block, and wait forever."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report a failed worker
    for worker in multiprocessing.active_children():
        worker.kill()


def run_without_gpu() -> None:
    """Replace BasicSR's calls that need CUDA: gloo instead of NCCL, no device for each process."""
    from basicsr.models import base_model
    from basicsr.utils import options as basicsr_options

    basicsr_options.init_dist = lambda launcher, **_: torch.distributed.init_process_group("gloo")
    torch.cuda.current_device = lambda: 0
    base_model.DistributedDataParallel = _DistributedOnCpu


class _DistributedOnCpu(DistributedDataParallel):
    """DistributedDataParallel without the device numbers that BasicSR passes."""

    def __init__(self, module: torch.nn.Module, device_ids: list[int], **kwargs: Any) -> None:
        super().__init__(module, **kwargs)
