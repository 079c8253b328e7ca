"""Mistakes in an option file: where they are, what is wrong, what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KeyPath = tuple[str, ...]
"""Keys from the top of an option file down: `("train", "optim_g", "lr")`."""


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        path: keys from the top of the file down to what is wrong; empty for the file as a whole.
        text: the value, what is expected, and what to do.
        line: line, counted from 1; None if it follows from `path`, or there is none.
        missing: true if the file may be right, but this machine, or the command, lacks what the file needs.
    """

    path: KeyPath
    text: str
    line: int | None = None
    missing: bool = False

    def __str__(self) -> str:
        return f"{': '.join(self.path)}: {self.text}" if self.path else self.text


class Mistakes(ValueError):
    """All mistakes of an option file.

    Args:
        mistakes: at least one.
        lines: lines of the file's keys (`read.OptionFile.lines`).
    """

    def __init__(self, mistakes: Iterable[Mistake], lines: Mapping[KeyPath, int] | None = None) -> None:
        lines = lines or {}
        numbered = {(mistake.line or line_of(mistake.path, lines), str(mistake)): None for mistake in mistakes}
        # By line; those without one come last.
        self.numbered = sorted(numbered, key=lambda entry: (entry[0] is None, entry[0] or 0))
        super().__init__("\n".join(f"line {line}: {text}" if line else text for line, text in self.numbered))


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of a key, or of the section in which it is missing; None if the file has neither.

    >>> line_of(("train", "optim_g", "lr"), {("train",): 3, ("train", "optim_g"): 4})
    4
    """
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


OTHER_NAMES = {
    "accum_iter": "grad_accum", "accumulate_grad_batches": "grad_accum", "amp_bf16": "amp",
    "clip_grad_norm": "grad_clip", "crop_size": "gt_size", "dataroot_h": "dataroot_gt",
    "dataroot_hr": "dataroot_gt", "dataroot_l": "dataroot_lq", "gpu_ids": "num_gpu", "gpus": "num_gpu",
    "lr_scheme": "scheduler", "max_norm": "norm", "n_colors": "num_in_ch", "n_workers": "num_worker_per_gpu",
    "niter": "total_iter", "noise_level": "noise", "num_workers": "num_worker_per_gpu",
    "reduction": "squeeze_factor", "save_freq": "save_checkpoint_freq", "tile_pad": "overlap", "tile_size": "size",
    "upscale_factor": "upscale", "use_amp": "amp", "use_chop": "tile",
}  # fmt: skip
"""What keys are named in older versions of BasicSR, in its forks and in the authors' code of RCAN and EDSR."""


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`, or the shortest that contains it; None if none is similar.

    >>> nearest("chanels", ["channels", "scale"]), nearest("psnr", ["calculate_psnr"]), nearest("x", ["channels"])
    ('channels', 'calculate_psnr', None)
    >>> nearest("dataroot_hr", ["dataroot_gt", "dataroot_lq"])
    'dataroot_gt'
    """
    folded = str(name).casefold()
    by_folded = {candidate.casefold(): candidate for candidate in known}
    if OTHER_NAMES.get(folded) in by_folded:
        return by_folded[OTHER_NAMES[folded]]
    like = difflib.get_close_matches(folded, by_folded, 1, 0.7)
    if not like and len(folded) > 1:
        like = sorted((candidate for candidate in by_folded if folded in candidate), key=len)
    return by_folded[like[0]] if like else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """` Did you mean X?` with the nearest of the known names, or nothing.

    >>> did_you_mean("chanels", ["channels", "scale"])
    ' Did you mean channels?'
    >>> did_you_mean("x", ["channels"])
    ''
    """
    name = nearest(name, known)
    return f" Did you mean {name}?" if name else ""
