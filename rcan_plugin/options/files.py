"""Checks that a machine has the data, weights, states, GPUs and output folders that options need, and that they fit."""

from __future__ import annotations

import importlib.util
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from rcan_plugin._files import describe_error
from rcan_plugin.data.options import DatasetOptions
from rcan_plugin.data.scan import keep_scan
from rcan_plugin.options import keys as tables
from rcan_plugin.options.basicsr_data import check_roots
from rcan_plugin.options.mistakes import KeyPath, Mistake
from rcan_plugin.options.outputs import check_outputs
from rcan_plugin.options.pairs import Size, check_crops, check_pairs, sizes_of
from rcan_plugin.options.signatures import needs_gpu, registered
from rcan_plugin.options.weights import check_weights
from rcan_plugin.training import checkpoints

WAIT_S = 20
"""Seconds to wait for the server of a file to download."""


def check_files(opt: dict[str, Any], option_file: str, all_epochs: bool) -> list[Mistake]:
    """Check the data, weights, states, GPUs and folders that the options need on this machine.

    Args:
        opt: what BasicSR's `parse_options` returns; changed when resuming (`models.resuming.choose_state`).
        option_file: its path.
        all_epochs: the trainer runs as many epochs as `total_iter` takes, as `rcan train` does.
    """
    from rcan_plugin.models.resuming import choose_state  # these need BasicSR, which imports this module
    from rcan_plugin.models.run_length import check_run_length

    gpu_mistakes = list(_check_gpus(opt))
    mistakes = [*gpu_mistakes, *_check_logger(opt), *_check_vgg(opt)]
    mistakes += _tried((), lambda: check_outputs(opt, option_file, is_resumed(opt)))
    data_mistakes = [mistake for phase, data in opt["datasets"].items() for mistake in _check_data(opt, phase, data)]
    mistakes += data_mistakes
    state: list[Any] = []
    if opt["is_train"]:
        mistakes += _tried(("path", "resume_state"), lambda: state.append(choose_state(opt)))
    if state not in ([], [None]):
        mistakes += _check_resume(opt, state[0], all_epochs)
    if not opt["is_train"] or state == [None]:
        mistakes += _tried(("path",), lambda: check_weights(opt))
    if opt["is_train"] and state and not (data_mistakes or gpu_mistakes):
        mistakes += _tried(("datasets", "train"), lambda: check_run_length(opt, state[0], all_epochs))
    return mistakes


def is_resumed(opt: Mapping[str, Any]) -> bool:
    """Whether there is a state that BasicSR would resume from with these options."""
    if opt["is_train"] and opt.get("auto_resume"):
        return bool(checkpoints.states(Path("experiments", opt["name"], "training_states")))
    return bool(opt["is_train"] and opt["path"].get("resume_state"))


def _tried(keys: KeyPath, check: Callable[[], object]) -> Iterator[Mistake]:
    """Run a check; yields its error as a mistake at `keys`, or at a longer path that the error begins with."""
    try:
        check()
    except (OSError, ValueError) as error:
        text = describe_error(error)
        if keys and text.startswith(prefix := ": ".join(keys) + ": "):
            text = text.removeprefix(prefix)
            name, colon, rest = text.partition(": ")
            if keys == ("path",) and colon:
                keys, text = (*keys, name), rest
        yield Mistake(keys, text, missing=isinstance(error, FileNotFoundError))


def _check_gpus(opt: Mapping[str, Any]) -> Iterator[Mistake]:
    asked, present = opt["num_gpu"], torch.cuda.device_count()
    if asked > present:
        text = f"is {asked}, and this machine has {present}: write auto, or {present}{' for the CPU' * (present == 0)}."
        yield Mistake(("num_gpu",), text, missing=True)
    elif asked > 1 and not opt["dist"]:
        program = "train" if opt["is_train"] else "test"
        text = (
            f"is {asked} without a launcher. BasicSR would use DataParallel, which is slow and multiplies the batch. "
            f"Run `torchrun --nproc_per_node {asked} basicsr/{program}.py -opt FILE --launcher pytorch`, or use one "
            "GPU with CUDA_VISIBLE_DEVICES=0."
        )
        yield Mistake(("num_gpu",), text, missing=True)
    model = registered("models").get(opt["model_type"])
    if asked == 0 and model is not None and needs_gpu(model):
        text = f"is {opt['model_type']}, which needs a GPU, and this run has none."
        yield Mistake(("model_type",), text, missing=True)
    for name, option in (opt.get("train") or {}).items():
        if asked == 0 and name.startswith("optim_") and option.get("capturable"):
            text = "is true, which needs a GPU, and this run has none."
            yield Mistake(("train", name, "capturable"), text, missing=True)
    if present == 0 and (opt["datasets"].get("train") or {}).get("prefetch_mode") == "cuda":
        text = "is cuda, and this machine has no GPU: write ~."
        yield Mistake(("datasets", "train", "prefetch_mode"), text, missing=True)


def _check_resume(opt: Mapping[str, Any], state: Mapping[str, Any], all_epochs: bool) -> Iterator[Mistake]:
    total = opt["train"]["total_iter"]
    if total < state["iter"]:
        text = f"is {total}, and the state to resume from is of iteration {state['iter']}: nothing would be trained."
        yield Mistake(("train", "total_iter"), text)
    if not all_epochs:
        try:
            torch.cuda.current_device()
        except (RuntimeError, AssertionError):  # torch without CUDA raises the latter
            text = "BasicSR's train.py resumes only on a GPU, and this machine has none: use `rcan train`."
            yield Mistake(("path", "resume_state"), text, missing=True)


def _check_logger(opt: Mapping[str, Any]) -> Iterator[Mistake]:
    if (opt.get("logger") or {}).get("use_tb_logger") and importlib.util.find_spec("tensorboard") is None:
        text = "is true, and tensorboard is not installed: `pip install tensorboard`, or write false."
        yield Mistake(("logger", "use_tb_logger"), text, missing=True)


def _check_vgg(opt: Mapping[str, Any]) -> Iterator[Mistake]:
    """Check that VGG's weights, which BasicSR's perceptual loss downloads, are here or can be downloaded."""
    for name, loss in (opt.get("train") or {}).items():
        if not name.endswith("_opt") or not loss or loss.get("type") != "PerceptualLoss":
            continue
        from basicsr.archs.vgg_arch import VGG_PRETRAIN_PATH  # it may not be imported before us
        from torchvision.models import get_model_weights

        url = get_model_weights(loss.get("vgg_type", "vgg19"))["IMAGENET1K_V1"].url
        kept = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        if not Path(VGG_PRETRAIN_PATH).exists() and not kept.exists() and (reason := unreachable(url)):
            text = f"needs VGG's weights, which cannot be downloaded ({reason}): save {url} as {kept}."
            yield Mistake(("train", name), text, missing=True)


def unreachable(url: str) -> str | None:
    """Why a file cannot be downloaded; None if it can."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=WAIT_S):
            return None
    except OSError as error:
        return str(getattr(error, "reason", error))


def _check_data(opt: Mapping[str, Any], phase: str, data: Mapping[str, Any]) -> list[Mistake]:
    keys, sizes = ("datasets", phase), list[Size]()
    if data["type"] in tables.OUR_DATA:
        mistakes = list(_tried(keys, lambda: keep_scan(DatasetOptions.read(data))))
        sizes += sizes_of(data) if phase != "train" and not mistakes else ()
    else:
        mistakes = list(_tried(keys, lambda: check_roots(data)))
        mistakes = mistakes or list(_tried(keys, lambda: sizes.extend(check_pairs(data))))
    return mistakes or list(check_crops(opt, data, sizes) if phase != "train" else ())
