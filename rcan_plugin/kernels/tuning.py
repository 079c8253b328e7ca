"""Searches launch settings on the card at hand and times the fused RCAB against PyTorch's.

    python -m rcan_plugin.kernels.tuning [--seconds 40] [--channels 64] [--dtype bfloat16] [--shapes 16x48x48 ...]

Prints every setting as it is timed, then the best ones in the form of `configs.TABLE`. Times are microseconds per call
inside a CUDA graph, so without the launch overhead of the host.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from rcan_plugin.kernels import configs, rcab
from rcan_plugin.kernels.attention import attend, attend_backward
from rcan_plugin.kernels.configs import LARGE, TABLE, Launch, launch
from rcan_plugin.kernels.conv import convolve, pack
from rcan_plugin.kernels.gradients import cudnn_weight_gradient, parameter_gradients, weight_gradients

SHAPES = ((16, 48, 48), (1, 270, 480), (1, 540, 960))
"""N x H x W: a training batch, and LR frames of 1080p and 4K (x4)."""


def graph_time(call: Callable[[], object], calls: int = 10, replays: int = 5) -> float:
    """Microseconds per call: median of three rounds of `replays` replays of a CUDA graph of `calls` calls."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles outside the capture
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    graph.replay()
    rounds = []
    for _ in range(3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(replays):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        rounds.append(start.elapsed_time(end) * 1e3 / (replays * calls))
    return statistics.median(rounds)


def random_inputs(
    n: int, c: int, height: int, width: int, dtype: torch.dtype, squeezed: int = 4
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Input, output gradient (channels-last, of `dtype`) and float32 parameters on the card, in the order of `rcab`."""
    torch.manual_seed(0)
    x, grad = (
        torch.randn(n, c, height, width, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
        for _ in range(2)
    )
    shapes = [(c, c, 3, 3), (c,), (c, c, 3, 3), (c,), (squeezed, c, 1, 1), (squeezed,), (c, squeezed, 1, 1), (c,)]
    parameters = [torch.randn(s, device="cuda") / max(1, torch.Size(s[1:]).numel()) ** 0.5 for s in shapes]
    return x, grad, [p.to(memory_format=torch.channels_last) if p.ndim == 4 else p for p in parameters]


def plain_rcab(x: Tensor, *parameters: Tensor) -> Tensor:
    """The block in PyTorch's operations, in any dtype."""
    weight_1, bias_1, weight_2, bias_2, down, down_bias, up, up_bias = parameters
    y = F.conv2d(F.relu(F.conv2d(x, weight_1, bias_1, padding=1)), weight_2, bias_2, padding=1)
    hidden = F.relu(F.conv2d(F.adaptive_avg_pool2d(y, 1), down, down_bias))
    return torch.addcmul(x, y, torch.sigmoid(F.conv2d(hidden, up, up_bias)))


def candidates(kernel: str, first: Launch) -> Iterable[Launch]:
    """Settings to try, `first` before all others. Those that do not fit the card fail and are skipped."""
    axes: dict[str, tuple[tuple[int, ...], ...]] = {  # in the order of `Launch`
        "conv": ((128, 64, 256), (4, 8), (4, 3, 5, 2, 1), (1,)),
        "pointwise": ((64, 32, 128, 256), (4, 8), (1,), (1,)),
        # Blocks, warps and stages need a compilation; splits do not.
        "weight_gradient": ((64, 32, 128), (4, 8), (3, 2, 4), (44, 22, 33, 88)),
    }
    yield first
    yield from (option for values in itertools.product(*axes[kernel]) if (option := Launch(*values)) != first)


def tune(n: int, c: int, height: int, width: int, dtype: torch.dtype, seconds: float) -> dict[str, Launch]:
    """Time settings of every kernel and return the best ones by kernel. Prints as it goes; changes nothing.

    Args:
        n, c, height, width: shape of the input.
        dtype: float16 or bfloat16.
        seconds: time for all kernels; the search of a kernel stops at its share, in the order of `candidates`.
    """
    x, grad, parameters = random_inputs(n, c, height, width, dtype)
    weights = pack(parameters[0], parameters[2], dtype)
    pixels = n * height * width
    default = launch("conv", c, pixels)
    y, sums = convolve(x, weights[0], default, bias=parameters[1], sums=True)
    attention = tuple(parameters[4:])
    _, gates = attend(x, y, sums, attention, 1.0, launch("pointwise", c, pixels), True)
    assert gates is not None

    def pointwise(s: Launch) -> None:
        attend(x, y, sums, attention, 1.0, s, True)
        attend_backward(grad, y, gates, parameters[4], parameters[6], 1.0, s)

    calls: dict[str, tuple[float, Callable[[Launch], object]]] = {
        "conv": (0.45, lambda s: convolve(x, weights[0], s, bias=parameters[1], relu=True)),
        "weight_gradient": (0.4, lambda s: weight_gradients(x, grad, y, grad, s)),
        "pointwise": (0.15, pointwise),
    }
    best: dict[str, Launch] = {}
    for kernel, (share, call) in calls.items():
        end = time.monotonic() + share * seconds
        times: list[tuple[float, Launch]] = []
        for settings in candidates(kernel, launch(kernel, c, pixels)):
            if time.monotonic() > end:
                print(f"  {kernel}: out of time after {len(times)} settings", flush=True)
                break
            try:
                microseconds = graph_time(partial(call, settings))
            except Exception as error:  # too much shared memory, most often: the next setting may fit
                print(f"  {kernel} {settings}: {type(error).__name__} {str(error)[:90]}", flush=True)
                continue
            times.append((microseconds, settings))
            print(f"  {kernel} {settings}: {microseconds:.1f} us", flush=True)
        times.sort()
        if times:
            best[kernel] = times[0][1]
            ranking = "; ".join(f"{t:.1f} {tuple(s)}" for t, s in times[:4])
            print(f"  best {kernel}, {n}x{c}x{height}x{width}: {ranking}", flush=True)
    return best


def time_kernels(n: int, c: int, height: int, width: int, dtype: torch.dtype) -> None:
    """Print the time of every step of the block, with the settings of the table."""
    x, grad, parameters = random_inputs(n, c, height, width, dtype)
    pixels = n * height * width
    conv, points, weights = (launch(k, c, pixels) for k in ("conv", "pointwise", "weight_gradient"))
    w1, w2 = pack(parameters[0], parameters[2], dtype)
    y1, _ = convolve(x, w1, conv, bias=parameters[1], relu=True)
    y2, sums = convolve(y1, w2, conv, bias=parameters[3], sums=True)
    attention = tuple(parameters[4:])
    _, gates = attend(x, y2, sums, attention, 1.0, points, True)
    assert gates is not None
    down, up = parameters[4], parameters[6]
    grad_y2, per_image = attend_backward(grad, y2, gates, down, up, 1.0, points)
    _, rows = convolve(grad_y2, w2, conv, transposed=True, mask=y1, sums=True)
    parts = weight_gradients(x, grad, y1, grad, weights)
    tensors = tuple(parameters)
    steps: dict[str, Callable[[], object]] = {
        "pack": lambda: pack(parameters[0], parameters[2], dtype),
        "conv + bias + relu": lambda: convolve(x, w1, conv, bias=parameters[1], relu=True),
        "conv + bias + sums": lambda: convolve(y1, w2, conv, bias=parameters[3], sums=True),
        "attention": lambda: attend(x, y2, sums, attention, 1.0, points, True),
        "attention backward (2 kernels)": lambda: attend_backward(grad, y2, gates, down, up, 1.0, points),
        "input gradient, mask, sums": lambda: convolve(grad_y2, w2, conv, transposed=True, mask=y1, sums=True),
        "input gradient, skip": lambda: convolve(grad_y2, w1, conv, transposed=True, add=grad),
        "weight gradients (both)": lambda: weight_gradients(x, grad, y1, grad_y2, weights),
        "weight gradient, cuDNN (one of two)": lambda: cudnn_weight_gradient(x, grad, w1),
        "parameter gradients": lambda: parameter_gradients(tensors, parts[0], parts[1], rows, gates, per_image),
    }
    for name, step in steps.items():
        try:
            print(f"  {name}: {graph_time(step):.1f} us", flush=True)
        except Exception as error:  # the other steps are still worth their times
            print(f"  {name}: {type(error).__name__} {str(error)[:200]}", flush=True)


def compare(n: int, c: int, height: int, width: int, dtype: torch.dtype, errors: bool) -> None:
    """Print times of the whole block, fused, eager and compiled, and (`errors`) relative errors against float64."""
    x, grad, parameters = random_inputs(n, c, height, width, dtype)
    leaves = [value.detach().requires_grad_() for value in (x, *parameters)]
    half = [p.to(dtype) for p in parameters]

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast("cuda", dtype, cache_enabled=False)

    def forward(block: Callable[..., Tensor]) -> Tensor:
        with torch.no_grad():
            return block(x, *half)

    def both(block: Callable[..., Tensor]) -> list[Tensor]:
        with autocast():
            output = block(*leaves)
        return [output.detach(), *torch.autograd.grad(output, leaves, grad)]

    reference: list[Tensor] = []
    if errors:
        rounded = [v.detach().to(dtype) if v.ndim == 4 and v.shape[-1] == 3 else v.detach() for v in leaves]
        inputs = [value.double().requires_grad_() for value in rounded]
        output = plain_rcab(*inputs)
        reference = [output.detach(), *torch.autograd.grad(output, inputs, grad.double())]
    blocks: dict[str, tuple[Callable[..., Tensor], str]] = {
        "fused": (rcab, "triton"),
        "fused, weight gradients by cuDNN": (rcab, "cudnn"),
        "eager": (plain_rcab, "triton"),
        "compiled": (torch.compile(plain_rcab), "triton"),
    }
    kept = configs.WEIGHT_GRADIENT
    for name, (block, configs.WEIGHT_GRADIENT) in blocks.items():
        try:
            times = f"{graph_time(partial(forward, block)):.1f} / {graph_time(partial(both, block)):.1f} us"
            pairs = zip(both(block), reference, strict=True) if errors else ()
            far = " ".join(f"{float((a.double() - b).norm() / b.norm()):.1e}" for a, b in pairs)
            print(f"  RCAB {name}: forward / forward + backward {times} {far}", flush=True)
        except Exception as error:  # the other blocks are still worth their times
            print(f"  RCAB {name}: {type(error).__name__} {str(error)[:300]}", flush=True)
    configs.WEIGHT_GRADIENT = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="time for the search, over all shapes")
    parser.add_argument("--channels", type=int, default=64, choices=configs.CHANNELS)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    parser.add_argument("--shapes", nargs="+", default=["x".join(map(str, shape)) for shape in SHAPES])
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    dtype, c = getattr(torch, arguments.dtype), arguments.channels
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {dtype}, {c} channels", flush=True)
    shapes = [tuple(map(int, shape.split("x"))) for shape in arguments.shapes]
    # The first shape pays for most compilations.
    shares = [0.6, *([0.4 / (len(shapes) - 1)] * (len(shapes) - 1))] if len(shapes) > 1 else [1.0]
    for (n, height, width), share in zip(shapes, shares, strict=True):
        print(f"\n{n} x {c} x {height} x {width}", flush=True)
        large = n * height * width >= LARGE
        for kernel, settings in tune(n, c, height, width, dtype, share * arguments.seconds).items():
            TABLE[kernel, c, large] = settings
        time_kernels(n, c, height, width, dtype)
        compare(n, c, height, width, dtype, errors=not n * height * width > 200_000)
    print("\nconfigs.TABLE:")
    for (kernel, channels, large), settings in TABLE.items():
        if channels == c:
            print(f'    ("{kernel}", {channels}, {large}): {settings},')


if __name__ == "__main__":
    main()
