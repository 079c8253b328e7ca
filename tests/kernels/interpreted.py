"""Tests of the kernels' arithmetic on the CPU, in Triton's interpreter; `test_interpreted.py` runs this file.

Float32 and float16; the interpreter multiplies bfloat16 as if it were integers.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from triton.runtime import interpreter

from rcan_plugin.archs.rcan_arch import RCANArch
from rcan_plugin.kernels import attention, configs, rcab, unsupported
from rcan_plugin.kernels.conv import convolve, pack
from rcan_plugin.kernels.gradients import weight_gradients
from tests.kernels.reference import TOLERANCE, check, error, expected, images, parameters


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, parts and levels of sums from images of a few pixels."""
    for key in configs.TABLE:
        monkeypatch.setitem(configs.TABLE, key, configs.Launch(32, 4, 1, splits=3))
    monkeypatch.setattr(attention, "MAX_ROWS", 2)
    monkeypatch.setattr(configs, "WEIGHTS_PER_PROGRAM", 4096)
    # The checks of integer overflow take half of the interpreter's time.
    options = interpreter.InterpreterOptions(sanitize_overflow=False)
    monkeypatch.setattr(interpreter.interpreter_builder, "options", options)


CASES = [
    # N, C, H, W, hidden channels, factor on the residual
    (2, 16, 5, 7, 3, 0.5),  # tile crosses rows, and ends past the image
    (1, 64, 9, 11, 4, 1.0),  # the paper's channels; 4 tiles, so sums are reduced twice
    (3, 32, 1, 1, 2, 1.0),  # every tap but one outside
    (1, 16, 1, 40, 1, 0.1),  # one row; one hidden channel
    (2, 16, 33, 1, 4, -2.0),  # one column
    (1, 32, 8, 8, 8, 1.0),  # whole tiles
]


@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, torch.float32) for case in CASES), (CASES[0], torch.float16), (CASES[3], torch.float16)],
)
def test_output_and_gradients(case: tuple[int, int, int, int, int, float], dtype: torch.dtype) -> None:
    n, c, height, width, squeezed, res_scale = case
    x, grad = images(n, c, height, width, dtype)
    weights = parameters(c, squeezed, dtype)
    output = rcab(x, *weights, res_scale=res_scale)
    assert output.dtype == dtype
    grads = torch.autograd.grad(output, [x, *weights], grad)
    check(output, grads, expected(x, weights, res_scale, grad), TOLERANCE[dtype])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9), (3, 31)], ids=str)
def test_convolution_of_whole_numbers_is_exact(size: tuple[int, int], transposed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4, 5, (2, 16, *size), generator=generator).float().to(memory_format=torch.channels_last)
    weight = torch.randint(-4, 5, (16, 16, 3, 3), generator=generator).float()
    packed = pack(weight, weight, torch.float32)[0]
    output, sums = convolve(x, packed, configs.Launch(16, 4, 1), transposed=transposed, sums=True)
    function = F.conv_transpose2d if transposed else F.conv2d
    assert torch.equal(output, function(x, weight, padding=1))
    assert torch.equal(sums.sum(1), output.sum((2, 3)))


@pytest.mark.parametrize("splits", [1, 4, 11])
def test_weight_gradient_of_whole_numbers_is_exact(splits: int) -> None:
    """11 parts of at least 16 pixels are more than the 2 * 7 * 9 pixels fill: the last ones are empty."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randint(-4, 5, (2, 16, 7, 9), generator=generator).float().to(memory_format=torch.channels_last)
        for _ in range(4)
    ]
    partial = weight_gradients(*tensors, configs.Launch(16, 4, 1, splits=splits))
    for parts, x, grad in zip(partial, tensors[::2], tensors[1::2], strict=True):
        reference = torch.nn.grad.conv2d_weight(x, (16, 16, 3, 3), grad, padding=1)
        assert torch.equal(parts.sum(0).permute(1, 2, 0).reshape(16, 16, 3, 3), reference)


def test_autocast_computes_in_half_and_gives_gradients_in_the_parameters_dtype() -> None:
    x, grad = images(1, 16, 3, 5, torch.float32)
    weights = parameters(16, 4, torch.float32)
    with torch.autocast("cpu", torch.float16):
        output = rcab(x, *weights)
    assert output.dtype == torch.float16
    grads = torch.autograd.grad(output, [x, *weights], grad.half())
    assert {g.dtype for g in grads} == {torch.float32}
    check(output, grads, expected(x, weights, 1.0, grad.half(), torch.float16), TOLERANCE[torch.float16])


def test_weight_gradients_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "WEIGHT_GRADIENT", "cudnn")
    x, grad = images(1, 16, 3, 5, torch.float32)
    weights = parameters(16, 4, torch.float32)
    output = rcab(x, *weights)
    grads = torch.autograd.grad(output, [x, *weights], grad)
    check(output, grads, expected(x, weights, 1.0, grad), TOLERANCE[torch.float32])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_memory_formats(dtype: torch.dtype) -> None:
    """Contiguous images; channels-last and permuted weights; float16 weights in channels-last are used as they are."""
    x, grad = (t.detach().contiguous() for t in images(2, 16, 2, 3, dtype))
    x.requires_grad_()
    weights = parameters(16, 4, dtype)
    weights[0] = weights[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    weights[2] = weights[2].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    output = rcab(x, *weights)
    assert output.is_contiguous(memory_format=torch.channels_last)
    grads = torch.autograd.grad(output, [x, *weights], grad)
    assert [g.stride() for g in grads[1:]] == [w.stride() for w in weights]
    check(output, grads, expected(x, weights, 1.0, grad), TOLERANCE[dtype])

    odd = [w.detach().transpose(-1, -2).contiguous().transpose(-1, -2) if w.ndim == 4 else w for w in weights]
    assert odd[0].stride() != weights[0].stride()
    with torch.no_grad():
        assert torch.equal(rcab(x, *odd), output)


def test_without_gradients_nothing_is_saved() -> None:
    x, _ = images(1, 16, 3, 5, torch.float32)
    weights = parameters(16, 4, torch.float32)
    saved: list[Tensor] = []

    def keep(t: Tensor) -> Tensor:
        saved.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        with torch.no_grad():
            output = rcab(x, *weights)
        frozen = rcab(x.detach(), *(w.detach() for w in weights))
        assert not saved
        trained = rcab(x, *weights)
        assert saved
    assert not output.requires_grad
    assert not frozen.requires_grad
    assert torch.equal(output, trained)
    assert torch.equal(frozen, trained)


def test_frozen_tensors_get_no_gradient() -> None:
    x, grad = images(1, 16, 3, 5, torch.float32)
    weights = parameters(16, 4, torch.float32)
    all_grads = torch.autograd.grad(rcab(x, *weights), [x, *weights], grad)

    rcab(x, *(w.detach() for w in weights)).backward(grad)
    assert torch.equal(x.grad, all_grads[0])

    some = [w.detach() for w in weights]
    some[2] = weights[2]
    rcab(x.detach(), *some).backward(grad)
    assert torch.equal(weights[2].grad, all_grads[3])
    assert all(w.grad is None for w in weights if w is not weights[2])


def test_checkpoint_gives_the_same_gradients() -> None:
    x, grad = images(1, 16, 3, 5, torch.float32)
    weights = parameters(16, 4, torch.float32)
    plain = torch.autograd.grad(rcab(x, *weights), [x, *weights], grad)
    output = checkpoint(rcab, x, *weights, use_reentrant=False)
    assert all(map(torch.equal, torch.autograd.grad(output, [x, *weights], grad), plain))


def test_second_derivatives_are_refused() -> None:
    x, grad = images(1, 16, 3, 3, torch.float32)
    weights = parameters(16, 4, torch.float32)
    (first,) = torch.autograd.grad(rcab(x, *weights), x, grad.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_bfloat16_is_refused_only_by_the_interpreter() -> None:
    assert unsupported(torch.zeros(1, 16, 2, 2)) is None
    reason = unsupported(torch.zeros(1, 16, 2, 2, dtype=torch.bfloat16))
    assert reason is not None
    assert "torch.bfloat16" in reason


def test_two_blocks_in_a_row() -> None:
    """The second block's input gradient is the first one's output gradient."""
    x, grad = images(1, 16, 3, 5, torch.float32)
    first, second = parameters(16, 4, torch.float32), parameters(16, 2, torch.float32)
    grads = torch.autograd.grad(rcab(rcab(x, *first), *second), [x, *first], grad)
    middle, _ = expected(x, first, 1.0, grad)
    _, backward = expected(middle, second, 1.0, grad)
    _, reference = expected(x, first, 1.0, backward[0])
    assert all(error(g, r) < 2 * TOLERANCE[torch.float32] for g, r in zip(grads, reference, strict=True))


@pytest.mark.parametrize("use_checkpoint", [False, True])
def test_network(use_checkpoint: bool) -> None:
    """The same weights give the same output and gradients as without the kernels."""
    small = {"num_feat": 16, "num_group": 1, "num_block": 2, "squeeze_factor": 4, "res_scale": 0.5}
    torch.manual_seed(0)  # no hidden unit of the attention is dead: no gradient is zero
    plain = RCANArch(**small)
    net = RCANArch(**small, kernels="triton", use_checkpoint=use_checkpoint)
    net.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 3, 5)
    outputs = [n(x) for n in (net, plain)]
    # float32 rounding of values up to 255 in two blocks
    assert error(outputs[0], outputs[1].detach().double()) < 1e-6
    for output in outputs:
        output.square().mean().backward()
    for (name, p), q in zip(net.named_parameters(), plain.parameters(), strict=True):
        assert error(p.grad, q.grad.double()) < 1e-5, name
