"""Methods at one scale: network, weights or folder, and how the network is run. Needs no torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcan_plugin._files import require_file
from rcan_plugin.compare.cache import key_of
from rcan_plugin.compare.data import Hashes, SetAtScale
from rcan_plugin.compare.spec import Method, filled
from rcan_plugin.images.pairs import find_pairs
from rcan_plugin.images.store import ImageStore
from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.options.read import read


@dataclass(frozen=True)
class Entrant:
    """A method at a scale.

    Attributes:
        network: registered network and its arguments; None if the file of weights determines them.
        weights: file of weights; None for a network without weights.
        sha256: SHA-256 of that file.
    """

    method: Method
    scale: int
    network: Mapping[str, Any] | None = None
    weights: Path | None = None
    sha256: str | None = None

    @functools.cached_property
    def identity(self) -> list[Any]:
        """What its upscaled images depend on, besides the LR image."""
        method = self.method
        if method.kind != "network":
            return [method.kind]
        return [self.network, self.sha256, method.param_key, method.ensemble, method.tile, method.precision]

    @property
    def key(self) -> str:
        """Hash of its identity."""
        return key_of([*self.identity, self.scale])

    @property
    def inference(self) -> str:
        """How images are processed: `whole`, `tiles 128/32`, `official chop`, `pictures`, `bicubic`."""
        if self.method.kind != "network":
            return self.method.kind
        tile = self.method.tile
        if tile is None:
            return "whole"
        return "official chop" if "protocol" in tile else f"tiles {tile['size']}/{tile['overlap']}"

    def pictures(self, test_set: SetAtScale) -> tuple[ImageStore, dict[str, str]]:
        """The folder of finished pictures for a test set, and the picture's name by the image's.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: an image without picture, or a picture without image.
        """
        assert self.method.pictures is not None
        store = ImageStore(filled(self.method.pictures, self.scale, test_set.name))
        pairs = find_pairs(test_set.hr, store, gt_template=None, lq_template=None)
        by_hr = {pair.gt: pair.lq for pair in pairs}
        return store, {image.name: by_hr[image.pair.gt] for image in test_set.images}


def resolve(method: Method, scale: int, hashes: Hashes) -> Entrant:
    """Find the network and the weights of a method at a scale.

    Raises:
        FileNotFoundError: the option file or the file of weights is missing.
        ValueError: the option file cannot be read, or has another scale.
    """
    if method.kind != "network":
        return Entrant(method, scale)
    network, weights, remedy = filled(method.network, scale), method.weights, "correct the path"
    if method.options is not None:
        file = filled(method.options, scale)
        network, default = _of_option_file(file, scale)
        if weights is None:
            weights, remedy = default, f"`rcan train -opt {file}` makes it"
    if isinstance(weights, Mapping):
        weights = weights[scale]
    path = None if weights is None else Path(filled(weights, scale)).expanduser()
    if path is not None:
        require_file("weights", path, remedy)
    return Entrant(method, scale, network, path, None if path is None else hashes.of_file(path))


def _of_option_file(file: str, scale: int) -> tuple[dict[str, Any], str]:
    """Network of a training option file, and the file of weights that its run writes."""
    require_file("options", file)
    try:
        options = read(file).options
    except Mistakes as error:
        raise ValueError(f"options: {file}: {error}") from None
    network = options.get("network_g")
    name = options.get("name")
    if not isinstance(network, Mapping) or not isinstance(network.get("type"), str) or not isinstance(name, str):
        raise ValueError(f"options: {file} has no name or no network_g: type; expected an option file of training.")
    if options.get("scale", scale) != scale:
        raise ValueError(f"options: {file} is of scale {options['scale']}, not {scale}: correct the name or scales.")
    network = dict(network)
    datasets = options.get("datasets")
    sections = datasets.values() if isinstance(datasets, Mapping) else ()
    if any(isinstance(section, Mapping) and section.get("pre_upsample") for section in sections):
        network["upscale"] = scale  # in training the data set enlarges the images, here the network does
    return network, f"experiments/{name}/models/net_g_latest.pth"
