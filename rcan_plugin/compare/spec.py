"""Reads and checks the option file of a comparison."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcan_plugin._checks import is_whole
from rcan_plugin.compare import published
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.options.keys import REQUIRED, Key
from rcan_plugin.options.kinds import (
    FLAG,
    MAPPING,
    NAME,
    TEXT,
    Kind,
    either,
    list_of,
    nullable,
    one_of,
    remedy,
    whole,
)
from rcan_plugin.options.mistakes import KeyPath, Mistake, Mistakes, did_you_mean
from rcan_plugin.options.read import OptionFile, read
from rcan_plugin.options.values import as_short_yaml

OWN_METRICS = ("psnr", "ssim")
"""Metrics that BasicSR computes; all others are pyiqa's."""

_SCALE = one_of(2, 3, 4, 8)
_SCALES = list_of(_SCALE, least=1)


def _is_tile(value: Any) -> bool:
    if value == {"protocol": "official_chop"}:
        return True
    if not isinstance(value, Mapping) or value.keys() != {"size", "overlap"}:
        return False
    size, overlap = value["size"], value["overlap"]
    return is_whole(size) and is_whole(overlap, 0) and 2 * overlap <= size


def _is_scale_to_file(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        re.fullmatch(r"x\d", str(key)) and TEXT.accepts(file) for key, file in value.items()
    )


_TILE = Kind(
    "{size: N, overlap: M} in LR pixels, M at most half of N, or {protocol: official_chop}, or ~ for the whole image",
    lambda value: value is None or _is_tile(value),
)
_FILES = either(TEXT, Kind("a mapping of scales to files, such as {x2: A, x4: B}", _is_scale_to_file))

HOW = {
    "ensemble": Key(FLAG, "mean over eight flips and rotations of the image", False),
    "tile": Key(_TILE, "networks run on tiles; ~ for the whole image", None),
    "precision": Key(one_of("fp32", "bf16", "fp16"), "of networks", "fp32"),
}
"""Keys that say how networks are run: at the top level for all methods, or in a method's section."""

COMPARISON = {
    "title": Key(TEXT, "of the report; by default the file's name"),
    "out": Key(TEXT, "folder of the report; by default results/compare/ and the file's name"),
    "scales": Key(_SCALES, "scales to compare at", REQUIRED),
    "methods": Key(list_of(either(one_of("bicubic"), MAPPING), least=1), "what is compared", REQUIRED),
    "sets": Key(list_of(MAPPING, least=1), "test sets", REQUIRED),
    "color": Key(one_of("Y", "RGB"), "colour space of PSNR and SSIM", "Y"),
    "gray": Key(one_of("gray", "color"), "gray HR images: as they are, or as three equal channels", "gray"),
    "border": Key(either(one_of("scale"), whole(0, 1000)), "pixels left out along the border", "scale"),
    "metrics": Key(list_of(TEXT, least=1), "psnr, ssim, and names of pyiqa's metrics", list(OWN_METRICS)),
    "pictures": Key(FLAG, "write the upscaled images", True),
    "latency": Key(FLAG, "measure time and memory of networks for an output of 1280x720", True),
    "explain": Key(FLAG, "for figures that differ from the published ones, look for the cause", True),
    "device": Key(TEXT, "auto, cpu, cuda, cuda:1, ...", "auto"),
    **HOW,
}

METHOD = {
    "name": Key(NAME, "in tables, plots and file names", REQUIRED),
    "bicubic": Key(one_of(True), "MATLAB's bicubic"),
    "pictures": Key(TEXT, "folder of finished pictures; {scale} and {set} stand for scale and name of the set"),
    "options": Key(
        TEXT, "option file of training: gives network, and weights unless given; {scale} stands for a scale"
    ),
    "network": Key(MAPPING, 'registered network and its arguments, as network_g; "{scale}" stands for the scale'),
    "weights": Key(_FILES, "file of weights; {scale} stands for the scale; or a file for each scale"),
    "param_key": Key(nullable(TEXT), "key of the weights in the file; by default params_ema, params, or the only one"),
    "scales": Key(_SCALES, "scales of this method, if not all"),
    "published": Key(nullable(TEXT), "name among the published figures; by default the method's name; ~ for none"),
    **HOW,
}

SET = {
    "name": Key(NAME, "in tables and file names", REQUIRED),
    "hr": Key(TEXT, "folder or LMDB of HR images; {scale} stands for the scale", REQUIRED),
    "lr": Key(TEXT, "folder or LMDB of LR images; {scale} stands for the scale"),
    "degradation": Key(MAPPING, "how LR images are made, if lr is not given: {type: BI}, as in data sets"),
    "hr_template": Key(TEXT, "how HR names are made from the name that both images share, such as '{}_HR_x4'"),
    "lr_template": Key(TEXT, "the same for LR images"),
    "scales": Key(_SCALES, "scales of this set, if not all"),
}


@dataclass(frozen=True)
class Method:
    """A method to compare.

    Attributes:
        id: name for files: letters, digits, `_-+`.
        kind: `network`, `pictures` or `bicubic`.
        pictures: folder of finished pictures, with `{scale}` and `{set}`.
        options: option file of training, with `{scale}`.
        network: registered network and its arguments.
        weights: file of weights with `{scale}`, or a file for each scale.
        published: name among the published figures.
    """

    id: str
    name: str
    kind: str
    keys: KeyPath
    scales: tuple[int, ...]
    pictures: str | None = None
    options: str | None = None
    network: Mapping[str, Any] | None = None
    weights: str | Mapping[int, str] | None = None
    param_key: str | None = None
    published: str | None = None
    ensemble: bool = False
    tile: Mapping[str, Any] | None = None
    precision: str = "fp32"


@dataclass(frozen=True)
class TestSet:
    """A test set: HR images, and LR images or the degradation that makes them. `hr` and `lr` may contain `{scale}`."""

    __test__ = False  # pytest must not collect it

    name: str
    keys: KeyPath
    scales: tuple[int, ...]
    hr: str
    lr: str | None = None
    recipe: Recipe | None = None
    hr_template: str | None = None
    lr_template: str | None = None


@dataclass(frozen=True)
class Spec:
    """A comparison. Attributes are the keys of its option file; `border` is None for as many pixels as the scale."""

    title: str
    out: Path
    scales: tuple[int, ...]
    methods: tuple[Method, ...]
    sets: tuple[TestSet, ...]
    color: str
    gray: str
    border: int | None
    metrics: tuple[str, ...]
    pictures: bool
    latency: bool
    explain: bool
    device: str
    lines: Mapping[KeyPath, int]

    def border_at(self, scale: int) -> int:
        """Pixels left out along the border at a scale."""
        return scale if self.border is None else self.border


def read_spec(source: str | os.PathLike[str] | Mapping[str, Any], changes: Iterable[str] = ()) -> Spec:
    """Read and check a comparison.

    Args:
        source: an option file (YAML), or its content.
        changes: `KEY:KEY=VALUE` each, see `options.read`.

    Raises:
        Mistakes: all mistakes, with their lines.
    """
    file = _file_of(source, list(changes))
    mistakes = list(_check(file.options, COMPARISON, ()))
    sections = {"methods": METHOD, "sets": SET}
    for section, table in sections.items():
        entries = file.options.get(section)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                mistakes += _check(entry, table, (section, str(number)))
    if mistakes:
        raise Mistakes(mistakes, file.lines)
    mistakes = []
    spec = _build(file, mistakes)
    if mistakes:
        raise Mistakes(mistakes, file.lines)
    return spec


def is_comparison(file: str | os.PathLike[str]) -> bool:
    """Whether a file is the option file of a comparison rather than BasicSR's: it has a section `methods` or `sets`."""
    try:
        options = read(file, []).options
    except Mistakes:
        return False
    return "model_type" not in options and bool({"methods", "sets"} & options.keys())


def _file_of(source: str | os.PathLike[str] | Mapping[str, Any], changes: list[str]) -> OptionFile:
    if isinstance(source, Mapping):
        return OptionFile(Path("comparison"), dict(source))
    return read(source, changes)


def _check(options: Mapping[str, Any], table: Mapping[str, Key], path: KeyPath) -> Iterator[Mistake]:
    for name, value in options.items():
        if name not in table:
            known = did_you_mean(name, table) or f" Known are {', '.join(table)}."
            yield Mistake((*path, name), f"is {as_short_yaml(value)}; there is no such key.{known}")
            continue
        kind = table[name].kind
        assert isinstance(kind, Kind)
        if not kind.accepts(value) and not (value is None and table[name].default is None):
            yield Mistake((*path, name), f"is {as_short_yaml(value)}; expected {kind.expected}.{remedy(value, kind)}")
    for name, key in table.items():
        if key.default is REQUIRED and name not in options:
            assert isinstance(key.kind, Kind)
            yield Mistake((*path, name), f"the key is missing; expected {key.kind.expected}: {key.text}.")


def _build(file: OptionFile, mistakes: list[Mistake]) -> Spec:
    options = {name: key.default for name, key in COMPARISON.items()} | file.options
    scales = tuple(sorted(set(options["scales"])))
    methods = [
        _method({"name": "Bicubic", "bicubic": True} if entry == "bicubic" else entry, options, number, mistakes)
        for number, entry in enumerate(options["methods"])
    ]
    sets = [_set(entry, scales, number, mistakes) for number, entry in enumerate(options["sets"])]
    for section, names in (("methods", [method.id for method in methods]), ("sets", [ident(s.name) for s in sets])):
        for number, name in enumerate(names):
            if name in names[:number]:
                text = f"two have the name {name!r} in file names: rename one."
                mistakes.append(Mistake((section, str(number), "name"), text))
    title = options["title"] or file.path.stem
    return Spec(
        title=title,
        out=Path(options["out"] or Path("results", "compare", file.path.stem)),
        scales=scales,
        methods=tuple(methods),
        sets=tuple(sets),
        color=options["color"],
        gray=options["gray"],
        border=None if options["border"] == "scale" else options["border"],
        metrics=tuple(dict.fromkeys(options["metrics"])),
        pictures=options["pictures"],
        latency=options["latency"],
        explain=options["explain"],
        device=options["device"],
        lines=file.lines,
    )


def _method(entry: Mapping[str, Any], options: Mapping[str, Any], number: int, mistakes: list[Mistake]) -> Method:
    keys = ("methods", str(number))
    kinds = [name for name in ("bicubic", "pictures", "options", "network") if entry.get(name) is not None]
    if len(kinds) > 1 or not (kinds or entry.get("weights")):
        given = f"has {' and '.join(kinds)}" if kinds else "has none"
        text = f"{given}; expected one of bicubic, pictures, options, network, or weights alone."
        mistakes.append(Mistake((*keys, "name"), text))
    kind = "network" if not kinds or kinds[0] in ("options", "network") else kinds[0]
    wrong = [name for name in ("weights", "param_key", *HOW) if kind != "network" and entry.get(name) is not None]
    if wrong:
        text = f"is {as_short_yaml(entry[wrong[0]])}, and only networks have it: remove it."
        mistakes.append(Mistake((*keys, wrong[0]), text))
    if entry.get("network") is not None and not TEXT.accepts(entry["network"].get("type")):
        mistakes.append(Mistake((*keys, "network", "type"), "the key is missing; expected the name of a network."))
    if entry.get("published") is not None and entry["published"] not in published.names():
        hint = did_you_mean(entry["published"], published.names()) or f" Known are {', '.join(published.names())}."
        text = f"is {as_short_yaml(entry['published'])}; no figures of this name are known.{hint}"
        mistakes.append(Mistake((*keys, "published"), text))
    how: dict[str, Any] = {name: entry.get(name, options[name]) for name in HOW} if kind == "network" else {}
    scales = tuple(sorted(entry.get("scales") or options["scales"]))
    weights = entry.get("weights")
    if isinstance(weights, Mapping):
        weights = {int(key[1:]): file for key, file in weights.items()}
        scales = tuple(scale for scale in scales if scale in weights)
    return Method(
        id=ident(entry["name"]),
        name=entry["name"],
        kind=kind,
        keys=keys,
        scales=scales,
        published=entry.get("published", entry["name"]),
        pictures=entry.get("pictures"),
        options=entry.get("options"),
        network=entry.get("network"),
        weights=weights,
        param_key=entry.get("param_key"),
        **how,
    )


def _set(entry: Mapping[str, Any], scales: tuple[int, ...], number: int, mistakes: list[Mistake]) -> TestSet:
    keys = ("sets", str(number))
    recipe = None
    if (entry.get("lr") is None) == (entry.get("degradation") is None):
        text = "expected either lr, a folder of LR images, or degradation, such as {type: BI}."
        mistakes.append(Mistake((*keys, "lr"), text))
    if entry.get("degradation") is not None:
        try:
            recipe = Recipe.from_option(entry["degradation"])
        except ValueError as error:
            mistakes.append(Mistake((*keys, "degradation"), str(error).removeprefix("degradation: ")))
    return TestSet(
        name=entry["name"],
        keys=keys,
        scales=tuple(sorted(entry.get("scales") or scales)),
        hr=entry["hr"],
        lr=entry.get("lr"),
        recipe=recipe,
        hr_template=entry.get("hr_template"),
        lr_template=entry.get("lr_template"),
    )


def ident(name: str) -> str:
    """Make a name usable in file names: characters other than letters, digits and `_-+` become `_`.

    >>> ident("RCAN+ (x8, EMA)")
    'RCAN+_x8_EMA'
    """
    return re.sub(r"[^A-Za-z0-9+-]+", "_", name).strip("_") or "_"


def filled(value: Any, scale: int, set_name: str = "") -> Any:
    """Replace `{scale}` and `{set}` by a scale and the name of a set; the text `"{scale}"` becomes the number.

    >>> filled({"upscale": "{scale}", "file": "a_x{scale}.pth"}, 4)
    {'upscale': 4, 'file': 'a_x4.pth'}
    """
    if isinstance(value, Mapping):
        return {key: filled(entry, scale, set_name) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(entry, scale, set_name) for entry in value]
    if value == "{scale}":
        return scale
    return value.replace("{scale}", str(scale)).replace("{set}", set_name) if isinstance(value, str) else value
