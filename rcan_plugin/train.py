"""`python -m rcan_plugin.train -opt FILE`: BasicSR's own training, from any folder and on any machine.

What differs from `python basicsr/train.py`:
- Output goes under the current folder; without a GPU it resumes, and runs under `torchrun` (gloo).
- Data and weights are looked for before anything is built or moved, whatever classes the option file names.
- A sample's random choices come from `manual_seed` and its place in the run's stream of samples, and a resumed run goes
  on at that place: with `AcceleratedSRModel` it ends with the weights of a run that was not stopped.
- `--auto_resume` passes over a damaged state, to the one before.
- SIGTERM and Ctrl-C save and stop after the step at hand, with exit code 143 or 130.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

import rcan_plugin

from . import options
from .data.stream import StreamSampler

log = logging.getLogger("basicsr")


def main() -> None:
    """Train as the command line says (BasicSR's arguments)."""
    # Before BasicSR is imported, which without it fails where the plugin does not load itself.
    rcan_plugin.register()
    import basicsr.train

    run = Run()
    basicsr.train.parse_options = options.checked(basicsr.train.parse_options, only_ours=False)
    basicsr.train.load_resume_state = run.load_resume_state
    basicsr.train.EnlargedSampler = run.make_sampler
    basicsr.train.build_model = run.build_model
    if not torch.cuda.is_available():
        run_without_gpu()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, run.ask_to_stop)
    basicsr.train.train_pipeline(str(Path.cwd()))


class Run:
    """What the parts of one training run have to know of each other; each method stands in for one of BasicSR's."""

    def __init__(self) -> None:
        self.opt: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None
        self.sampler: StreamSampler | None = None
        self.signal = 0

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """The newest state that is whole, on the CPU, where BasicSR's function asks for a CUDA device; None to begin.

        As in BasicSR, paths of weights in `opt` are set to the resumed run's.
        """
        from basicsr.utils import check_resume

        from .models import checkpoints

        self.opt = opt
        path = options.resumed_state(opt)
        if path is None:
            return None
        candidates = checkpoints.states(path.parent) if opt.get("auto_resume") else [path]
        for candidate in candidates:
            try:
                self.state = checkpoints.load(candidate)
                opt["path"]["resume_state"] = str(candidate)
                check_resume(opt, self.state["iter"])
                for key, value in opt["path"].items():
                    if key.startswith("pretrain_network") and value:
                        checkpoints.load(value)
                break
            except (ValueError, FileNotFoundError, KeyError, TypeError) as error:
                self.state = None
                print(f"{candidate} cannot be gone on from: {error}", file=sys.stderr)
        if self.state is None:
            sys.exit(
                "\nThere is no whole state to go on from: name another in path: resume_state, or begin anew without "
                "--auto_resume (the earlier run is moved aside). Nothing was moved."
            )
        if candidate != candidates[0]:
            print(f"Going on from {candidate}, the newest that is whole.", file=sys.stderr)
        return self.state

    def make_sampler(self, dataset: Any, num_replicas: int, rank: int, ratio: float = 1) -> StreamSampler:
        """In the place of `EnlargedSampler`."""
        self.sampler = StreamSampler(dataset, num_replicas, rank, ratio, self.opt["manual_seed"])
        if self.state is not None:
            batch = self.opt["datasets"]["train"]["batch_size_per_gpu"]
            if not self.opt["dist"]:
                batch *= max(1, self.opt["num_gpu"])
            # BasicSR's loader drops what does not fill a batch.
            done = self.state["iter"] - self.state["epoch"] * (len(self.sampler) // batch)
            if 0 <= done * batch <= len(self.sampler):
                self.sampler.skip = done * batch
            else:
                log.warning("The state is of another data set or batch: the stream of samples begins a new epoch.")
        return self.sampler

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
                log.info(
                    "Asked to stop (signal %d): saved at iteration %d. --auto_resume goes on.", number, current_iter
                )
                sys.exit(128 + number)

        model.optimize_parameters = step_and_look
        return model

    def ask_to_stop(self, number: int, frame: object) -> None:
        """A signal's handler; the second signal stops at once."""
        if self.signal or self.sampler is None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number

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
