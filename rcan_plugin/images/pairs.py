"""Which LR image belongs to which HR image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from rcan_plugin.images.store import ImageStore


class Pair(NamedTuple):
    """Names of two images in their stores; where the LR is made on the fly, `lq` is the HR image's."""

    gt: str
    lq: str


def find_pairs(
    gt: ImageStore,
    lq: ImageStore | None,
    *,
    gt_template: str = "{}",
    lq_template: str = "{}",
    meta_info_file: str | os.PathLike[str] | None = None,
) -> list[Pair]:
    """Pair images by name, sorted by the HR image's name.

    Args:
        gt: HR images.
        lq: LR images, or None.
        gt_template: how an HR name is made from the name both share, without its ending: `{}_HR_x4`.
        lq_template: the same for LR: `{}_LRBI_x4`. With a `gt_template` of `{}` this is BasicSR's `filename_tmpl`.
        meta_info_file: a text file whose lines begin with the HR names to take; left out, all are taken.

    Raises:
        FileNotFoundError: `meta_info_file`, or an image that it names, is missing.
        ValueError: a template without exactly one `{}`, an HR name that does not fit its template, an image without
            partner, or one with two.
    """
    prefix, suffix = _split(gt_template, "gt_filename_tmpl")
    _split(lq_template, "filename_tmpl")
    names = gt.names if meta_info_file is None else _listed(meta_info_file, gt)

    if lq is None:
        return [Pair(name, name) for name in names]

    partners: dict[str, str] = {}
    for name in lq.names:
        other = partners.setdefault(stem := lq.stem(name), name)
        if other != name:
            raise ValueError(f"{lq.root} holds two images of one name, {other} and {name}: remove or rename one.")

    pairs = []
    for name in names:
        stem = gt.stem(name)
        if not (stem.startswith(prefix) and stem.endswith(suffix) and len(stem) > len(prefix) + len(suffix)):
            raise ValueError(f"{gt.describe(name)} does not fit gt_filename_tmpl {gt_template!r}: mend either.")
        wanted = lq_template.format(stem[len(prefix) : len(stem) - len(suffix)])
        if wanted not in partners:
            raise ValueError(
                f"{gt.describe(name)} has no partner: no image named {wanted!r} in {lq.root}, which holds "
                f"{len(lq)} images, {lq.names[0]!r} first. Add it, or say in gt_filename_tmpl and filename_tmpl how "
                "the names are made, such as '{}_HR_x4' and '{}_LRBI_x4'."
            )
        pairs.append(Pair(name, partners.pop(wanted)))
    if partners and meta_info_file is None:
        alone = next(iter(partners.values()))
        raise ValueError(
            f"{lq.describe(alone)} has no partner in {gt.root} ({len(partners)} such images): remove it, add its HR "
            "image, or list the HR images to take in meta_info_file."
        )
    return pairs


def _split(template: str, option: str) -> tuple[str, str]:
    if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
        raise ValueError(f"{option}: {template!r}: expected one '{{}}', which stands for the name, as in '{{}}_x4'.")
    prefix, suffix = template.split("{}")
    return prefix, suffix


def _listed(meta_info_file: str | os.PathLike[str], gt: ImageStore) -> list[str]:
    path = Path(meta_info_file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"meta_info_file {path} does not exist (looked for from {Path.cwd()}).")
    listed = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if gt.is_lmdb:
        listed = [name.split(".")[0] for name in listed]
    there = set(gt.names)
    for name in listed:
        # A folder's own names are those directly in it; BasicSR's lists may name files in folders below.
        if name not in there and (gt.is_lmdb or not (gt.root / name).is_file()):
            raise FileNotFoundError(f"{path} names {name!r}, which is not in {gt.root}.")
    if not listed:
        raise ValueError(f"meta_info_file {path} lists no image.")
    return sorted(set(listed))
