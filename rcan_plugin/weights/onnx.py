"""Exports networks as ONNX files, and compares each file with its network before it is renamed into place.

torch's tracing exporter (`dynamo=False`) exports all networks of this project, with free height, width and batch, in a
tenth of the time of the newer exporter (`dynamo=True`), and does not need onnxscript.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from rcan_plugin._checks import is_whole
from rcan_plugin._files import written_beside
from rcan_plugin._version import __version__
from rcan_plugin.archs import LumaOnly
from rcan_plugin.weights import half_precision, networks
from rcan_plugin.weights.loading import Weights

PACKAGES = ("onnx", "onnxruntime")
OPSET = 17
"""Version of the operators: torch 2.5 and later write it, ONNX Runtime 1.13 and later read it."""
BOUND = 1e-4
"""Largest difference between file and network, range 0 to 1."""
ROUNDING = 1e-4
"""Largest difference that comes from rounding float32, relative to the largest value."""
SHAPES = ((1, 16, 16), (1, 17, 31), (2, 40, 24))
"""Batch, height and width at which a file of any size is compared with its network."""
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written.

    Attributes:
        path: the file.
        scale: scale of the network.
        size: height and width of its input; None: any.
        difference: largest difference from the network in float32, range 0 to 1.
        remarks: information for users of the file, one sentence each.
    """

    path: Path
    scale: int
    size: tuple[int, int] | None
    difference: float
    remarks: list[str] = field(default_factory=list)


def export(
    weights: Weights,
    path: str | os.PathLike[str],
    *,
    scale: int | None = None,
    size: Sequence[int] | None = None,
    fp16: bool = False,
) -> Exported:
    """Write a network as an ONNX file, after checking that ONNX Runtime gives the network's results with it.

    The input `input` and the output `output` are float32, N x C x H x W, range 0 to 1; the output is not clipped. Name,
    arguments, scale, range, source and version are in the file's `metadata_props`.

    Args:
        weights: what `weights.read` returns.
        path: the file; it is complete or not there at all, and one of this name is replaced.
        scale: the scale to export, for networks with several scales (MDSR).
        size: height and width of all inputs, with batch 1; by default height, width and batch are free.
        fp16: store weights and compute in half precision, except input, output and means over the image.

    Raises:
        RuntimeError: onnx or onnxruntime is not installed.
        ValueError: an argument is wrong; the network cannot be exported, or not with free height and width; the file
            differs from the network by more than `BOUND`, or in fp16 by more than `half_precision.BOUND`.
        OSError: it could not be written.
    """
    require_packages()
    path, scale = Path(path), chosen_scale(weights, scale)
    fixed = _checked_size(size)
    network, channels = _Network(weights, scale).eval(), input_channels(weights)
    shapes = [(1, *fixed)] if fixed else SHAPES
    inputs = [_noise((batch, channels, *sides), seed) for seed, (batch, *sides) in enumerate(shapes)]
    try:
        expected = [_expected(network, x, scale) for x in inputs]
        with written_beside(path) as temporary:
            _trace(network, inputs[-1], temporary, free=fixed is None)
            _describe(temporary, weights, scale, inputs[-1], expected[-1], free=fixed is None, fp16=fp16)
            difference = _difference(temporary, inputs, expected)
            remarks = []
            if fp16:
                half_precision.convert(temporary)
                remarks = half_precision.check(network, _runner(temporary), inputs[0])
    except ValueError as error:
        of_size = fixed is None and isinstance(error, _SizeError)
        hint = ": choose a fixed size (--size HxW; in Python size=(H, W))" if of_size else ""
        raise ValueError(f"{path} is not written: {str(error).rstrip('.')}{hint}.") from None
    return Exported(path, scale, fixed, difference, remarks)


def require_packages() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        RuntimeError: a package is missing or cannot be imported; the message names the command that installs it.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            reason = "is not installed" if getattr(error, "name", None) == name else f"cannot be imported ({error})"
            raise RuntimeError(f'The package {name} {reason}: pip install "rcan_plugin[onnx]".') from None


def chosen_scale(weights: Weights, scale: int | None = None) -> int:
    """The scale to export.

    Raises:
        ValueError: the network has several scales and none is chosen, or lacks the chosen one.
    """
    listed = ", ".join(map(str, weights.scales))
    if scale is None and len(weights.scales) > 1:
        raise ValueError(f"{weights.name} has the scales {listed}, an ONNX file has one: choose it (--scale).")
    if scale is not None and scale not in weights.scales:
        raise ValueError(f"scale is {scale}; {weights.name} has {listed}.")
    return weights.scales[0] if scale is None else scale


def input_channels(weights: Weights) -> int:
    """The number of channels of a network's input, by its argument `num_in_ch` or `in_chans`; 3 if it has none."""
    if weights.name == LumaOnly.__name__:
        return 3
    parameters = inspect.signature(networks.find(weights.name)).parameters
    values = {name: parameter.default for name, parameter in parameters.items()} | weights.arguments
    return next((values[name] for name in ("num_in_ch", "in_chans") if name in values), 3)


class _SizeError(ValueError):
    """The network cannot be exported with free sizes; with a fixed size it may be possible."""


class _Network(nn.Module):
    """Wraps a network whose forward pass also takes the scale (MDSR), so that it takes only the image."""

    def __init__(self, weights: Weights, scale: int) -> None:
        super().__init__()
        self.name = weights.name
        self.network = weights.build()
        self.scale = (scale,) if getattr(self.network, "scales", None) else ()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x, *self.scale)
        return out


def _checked_size(size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) != 2 or not all(is_whole(side) for side in size):
        raise ValueError(f"size is {size!r}; expected height and width, whole numbers of 1 or more: 256x256.")
    return (size[0], size[1])


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _expected(network: _Network, x: Tensor, scale: int) -> Tensor:
    sides = " x ".join(map(str, x.shape[2:]))
    try:
        out = network(x)
    except Exception as error:
        raise _SizeError(
            f"{network.name} itself does not take an image of {sides} ({networks.one_line(error)})"
        ) from None
    if not bool(torch.isfinite(out).all()):
        raise ValueError(f"{network.name} gives values that are not finite for a test image: its weights are damaged")
    if out.shape[2:] != (x.shape[2] * scale, x.shape[3] * scale):
        found = " x ".join(map(str, out.shape[2:]))
        raise ValueError(f"{network.name} gives {found} pixels for {sides}, which is not x{scale}")
    return out


def _trace(network: _Network, x: Tensor, path: Path, free: bool) -> None:
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about values traced as constants; the comparison detects wrong ones
        try:
            torch.onnx.export(
                network,
                (x,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamic_axes={INPUT: axes, OUTPUT: axes} if free else None,
                dynamo=False,
            )
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"torch cannot export {network.name} ({networks.one_line(error)})") from None


def _describe(path: Path, weights: Weights, scale: int, x: Tensor, out: Tensor, free: bool, fp16: bool) -> None:
    """Write metadata and the shapes of input and output; torch omits some channel counts, which chaiNNer needs."""
    import onnx

    model = onnx.load(path)
    ends = ((model.graph.input[0], x.shape, 1), (model.graph.output[0], out.shape, scale))
    for value, shape, factor in ends:
        axes = value.type.tensor_type.shape.dim
        for axis, length in zip(axes, shape, strict=True):
            axis.dim_value = length
        if free:
            batch, _, height, width = axes
            times = f"{factor}*" if factor > 1 else ""
            batch.dim_param, height.dim_param, width.dim_param = "batch", f"{times}height", f"{times}width"
    onnx.helper.set_model_props(model, _metadata(weights, scale, fp16))
    onnx.save(model, path)


def _metadata(weights: Weights, scale: int, fp16: bool) -> dict[str, str]:
    return {
        "network": weights.name,
        "arguments": json.dumps(networks.plain(weights.arguments)),
        "scale": str(scale),
        "range": "0 to 1",
        "precision": "fp16" if fp16 else "fp32",
        "source": weights.path.name if weights.path else "",
        "rcan_plugin": __version__,
    }


def _difference(path: Path, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a file's results from the network's.

    Raises:
        _SizeError: it is above `BOUND`, or the file does not run.
    """
    largest = 0.0
    run = _runner(path)
    for x, wanted in zip(inputs, expected, strict=True):
        shape = " x ".join(map(str, x.shape))
        try:
            out = run(x)
        except Exception as error:
            raise _SizeError(
                f"ONNX Runtime does not compute an input of {shape} with it ({networks.one_line(error)})"
            ) from None
        if out.shape != wanted.shape:
            raise _SizeError(f"its output for {shape} has another size than the network's")
        difference = float((out - wanted).abs().max())
        if not difference <= BOUND:
            peak = float(wanted.abs().max())
            # Rounding errors of large values do not depend on the image size.
            kind = ValueError if difference <= ROUNDING * peak else _SizeError
            raise kind(
                f"its result for {shape} differs from the network's by {difference:.2g}, allowed is {BOUND:g} (values "
                f"of the result reach {peak:.2g}; images have 0 to 1)"
            )
        largest = max(largest, difference)
    return largest


def _runner(path: Path) -> Callable[[Tensor], Tensor]:
    """Return a function that computes with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])
