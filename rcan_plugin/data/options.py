"""Options of the paired data set, read from an option file's mapping and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rcan_plugin._checks import is_number, is_whole, require_flag, require_whole
from rcan_plugin.degradations.record import Recipe

Options = Mapping[str, Any]


@dataclass(frozen=True)
class PixelOptions:
    """How pixels are decoded and converted.

    Attributes:
        keep_depth: keep 16 bits a value where BasicSR cuts to 8.
        channels: 1 (gray, or luma of colour) or 3.
        luma: convert colour to luma, as floats (`color: y`).
        mean, std: tensors become (value - mean) / std; both or neither are given.
    """

    keep_depth: bool = False
    channels: int = 3
    luma: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def read(cls, opt: Options, where: str) -> PixelOptions:
        """Read from a data set's options; `where` begins messages."""
        channels, color = opt.get("channels", 3), opt.get("color")
        if not is_whole(channels) or channels not in (1, 3):
            raise ValueError(f"{where}: channels is {channels!r}; expected 1 (gray) or 3 (colour).")
        if color not in (None, "y") or (color == "y" and channels == 1):
            raise ValueError(
                f"{where}: color is {color!r} and channels is {channels}; expected color y or none, and none with "
                "channels: 1."
            )
        mean, std = (_numbers(opt, key, where) for key in ("mean", "std"))
        if (mean is None) != (std is None):
            raise ValueError(f"{where}: mean is {opt.get('mean')} and std is {opt.get('std')}; expected both or none.")
        if std is not None and 0 in std:
            raise ValueError(f"{where}: std is {list(std)}; expected numbers other than 0.")
        return cls(_flag(opt, "keep_depth", where), channels, color == "y", mean, std)


@dataclass(frozen=True)
class TrainingOptions:
    """Crop size, flips and number of training samples.

    Attributes:
        gt_size, lq_size: side of the HR or of the LR crop in pixels; one of the two is None.
        use_hflip: flip left and right at random.
        use_rot: flip top and bottom and transpose at random.
        enlarge_ratio: how often each image occurs in an epoch.
        batch_size: samples a process takes in a step.
    """

    gt_size: int | None
    lq_size: int | None
    use_hflip: bool
    use_rot: bool
    enlarge_ratio: float
    batch_size: int

    def hr_size(self, scale: int) -> int:
        """Side of the HR crop at a scale."""
        if self.gt_size is not None:
            return self.gt_size
        assert self.lq_size is not None  # `read` checks it
        return self.lq_size * scale

    @classmethod
    def read(cls, opt: Options, where: str, pre_upsample: bool) -> TrainingOptions:
        """Read from a data set's options; `where` begins messages."""
        gt_size, lq_size = _crop_sizes(opt, where, pre_upsample)
        ratio = opt.get("dataset_enlarge_ratio", 1)
        if not is_number(ratio, (int, float)) or not ratio > 0:
            raise ValueError(f"{where}: dataset_enlarge_ratio is {ratio!r}; expected a number above 0.")
        hflip, rot = (
            require_flag(f"{where}: {key}", _required(opt, key, where, "true or false"))
            for key in ("use_hflip", "use_rot")
        )
        batch_size = require_whole(f"{where}: batch_size_per_gpu", opt.get("batch_size_per_gpu", 1))
        return cls(gt_size, lq_size, hflip, rot, ratio, batch_size)


@dataclass(frozen=True)
class DatasetOptions:
    """All options of `DegradationPairedDataset`, which describes the keys; equal options make the same data set.

    Attributes:
        name: for messages.
        scales: one, or several to draw from.
        scale_in_item: whether an item includes its scale.
        pre_upsample: upsample the LR image to the HR image's size.
        dataroot_gt, dataroot_lq: folders or LMDBs.
        backend: `disk` or `lmdb`, or None if the option file does not say.
        recipe: the degradation that makes the LR images, or made the stored ones.
        gt_template, lq_template: how names are made from the name that the two images share.
        meta_info_file: text file that lists the HR images to take.
        pixels: how images are decoded and converted.
        training: None in validation.
    """

    name: str
    scales: tuple[int, ...]
    scale_in_item: bool
    pre_upsample: bool
    dataroot_gt: str
    dataroot_lq: str | None
    backend: str | None
    recipe: Recipe | None
    gt_template: str
    lq_template: str
    meta_info_file: str | None
    pixels: PixelOptions
    training: TrainingOptions | None

    @classmethod
    def read(cls, opt: Options) -> DatasetOptions:
        """Read and check BasicSR's mapping of one data set's options. Looks at no file.

        Raises:
            ValueError: names the data set, the key, its value and what was expected.
        """
        name = str(opt.get("name", "?"))
        where = f"data set {name}"
        train = _required(opt, "phase", where, "train, val or test") == "train"
        pre_upsample = _flag(opt, "pre_upsample", where)
        lq, meta = opt.get("dataroot_lq"), opt.get("meta_info_file")
        return cls(
            name=name,
            scales=_scales(opt, where, train),
            scale_in_item=opt.get("scales") is not None and not pre_upsample,
            pre_upsample=pre_upsample,
            dataroot_gt=str(_required(opt, "dataroot_gt", where, "a folder or LMDB of HR images")),
            dataroot_lq=None if lq is None else str(lq),
            backend=(opt.get("io_backend") or {}).get("type"),
            recipe=_recipe(opt, where),
            gt_template=opt.get("gt_filename_tmpl") or "{}",
            lq_template=opt.get("filename_tmpl") or "{}",
            meta_info_file=None if meta is None else str(meta),
            pixels=PixelOptions.read(opt, where),
            training=TrainingOptions.read(opt, where, pre_upsample) if train else None,
        )


def _required(opt: Options, key: str, where: str, expected: str) -> Any:
    if opt.get(key) is None:
        raise ValueError(f"{where}: option {key} is missing; expected {expected}.")
    return opt[key]


def _required_whole(opt: Options, key: str, where: str) -> int:
    return require_whole(f"{where}: {key}", _required(opt, key, where, "a whole number of 1 or more"))


def _flag(opt: Options, key: str, where: str) -> bool:
    return require_flag(f"{where}: {key}", False if opt.get(key) is None else opt[key])


def _numbers(opt: Options, key: str, where: str) -> tuple[float, ...] | None:
    values = opt.get(key)
    if values is None:
        return None
    if not isinstance(values, (list, tuple)) or not all(is_number(value, (int, float)) for value in values):
        raise ValueError(f"{where}: {key} is {values!r}; expected a list of numbers, one a channel.")
    return tuple(values)


def _scales(opt: Options, where: str, train: bool) -> tuple[int, ...]:
    scales = opt.get("scales")
    if scales is None:
        return (_required_whole(opt, "scale", where),)
    if not isinstance(scales, list) or not scales or not all(is_whole(scale, least=2) for scale in scales):
        raise ValueError(f"{where}: scales is {scales!r}; expected whole numbers of 2 or more, such as [2, 3, 4].")
    for other, remedy in {"scale": "give one of the two", "dataroot_lq": "LR images are made on the fly"}.items():
        if opt.get(other) is not None:
            raise ValueError(f"{where}: scales is {scales} and {other} is {opt[other]!r}: {remedy}.")
    if not train:
        raise ValueError(f"{where}: scales is {scales}; expected scale, one for each set that is validated.")
    return tuple(scales)


def _recipe(opt: Options, where: str) -> Recipe | None:
    if opt.get("degradation") is not None:
        try:
            return Recipe.from_option(opt["degradation"])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if opt.get("dataroot_lq") is None:
        raise ValueError(
            f"{where}: neither dataroot_lq nor degradation is given: name the LR folder, or say how to make the LR "
            "images, degradation: {type: BI}."
        )
    return None


def _crop_sizes(opt: Options, where: str, pre_upsample: bool) -> tuple[int | None, int | None]:
    """`gt_size` and `lq_size`, one of them None."""
    if opt.get("lq_size") is not None:
        size = _required_whole(opt, "lq_size", where)
        if opt.get("gt_size") is not None:
            raise ValueError(f"{where}: lq_size is {size} and gt_size is {opt['gt_size']!r}: give one of the two.")
        if pre_upsample:
            raise ValueError(f"{where}: lq_size is {size} and pre_upsample is true: give gt_size.")
        return None, size
    size = _required_whole(opt, "gt_size", where)
    if pre_upsample:
        return size, None
    if opt.get("scales") is not None:
        raise ValueError(
            f"{where}: gt_size is {size} and scales is {opt['scales']}: give lq_size, from which each scale's HR size "
            "follows, or pre_upsample: true."
        )
    if size % (scale := opt["scale"]):
        raise ValueError(
            f"{where}: gt_size is {size}; expected a multiple of scale {scale}: "
            f"use {' or '.join(str(parts * scale) for parts in (size // scale, size // scale + 1) if parts)}."
        )
    return size, None
