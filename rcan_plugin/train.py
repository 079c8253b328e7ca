"""`python -m rcan_plugin.train -opt FILE`: BasicSR's own training, from any folder and on any machine.

What differs from `python basicsr/train.py`: output goes under the current folder; `--auto_resume` and `resume_state`
work without a GPU, and so does `--launcher pytorch` under `torchrun` (gloo); data and weights are looked for before
anything is built or moved, whatever classes the option file names.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

import rcan_plugin

from . import options


def main() -> None:
    """Train as the command line says (BasicSR's arguments)."""
    # Before BasicSR is imported, which without it fails where the plugin does not load itself.
    rcan_plugin.register()
    import basicsr.train

    basicsr.train.parse_options = options.checked(basicsr.train.parse_options, only_ours=False)
    basicsr.train.load_resume_state = load_resume_state
    if not torch.cuda.is_available():
        run_without_gpu()
    basicsr.train.train_pipeline(str(Path.cwd()))


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """BasicSR's function of this name, which asks for a CUDA device even where there is none.

    Args:
        opt: the run's options; as in BasicSR, paths of weights in it are set to the resumed run's.

    Returns:
        The training state, on the CPU (BasicSR's optimisers move it to their parameters' device), or None.
    """
    from basicsr.utils import check_resume

    path = options.resumed_state(opt)
    if path is None:
        return None
    opt["path"]["resume_state"] = str(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # BasicSR writes states in place: a run that was killed meanwhile leaves half of one.
        sys.exit(f"\n{path} cannot be read ({error}): remove it, to go on from the one before or from the start.")
    check_resume(opt, state["iter"])
    for key, value in opt["path"].items():
        if key.startswith("pretrain_network") and value and not Path(value).is_file():
            sys.exit(
                f"\n{path} belongs to {value}, which does not exist: put it back, or resume from an earlier state "
                "with path: resume_state."
            )
    return state


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
