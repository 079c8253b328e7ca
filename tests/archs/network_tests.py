"""What every network must do. The test class of a network derives from `NetworkTests` and states what is its own.

"Published" in the tests of networks is a paper's figure, mostly of weights without biases, slopes and normalisation.
The exact counts are arithmetic on the papers' tables of layers: kernel area * inputs * outputs, summed.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from rcan_plugin.resampling.bicubic_modules import BicubicUpsample
from tests.archs.equations import Weights, bicubic
from tests.archs.small import SMALL

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def meta(network: type[nn.Module], **arguments: Any) -> Any:
    """A network of full size without memory for its weights."""
    with torch.device("meta"):
        return network(**arguments)


def count(network: type[nn.Module], **arguments: Any) -> tuple[int, int, int]:
    """Parameters: weights of convolutions and of a sum; biases; the rest (slopes, normalisations)."""
    net = meta(network, **arguments)
    convs = [module for module in net.modules() if isinstance(module, CONVOLUTIONS)]
    weights = {module.weight for module in convs} | ({net.weights} if hasattr(net, "weights") else set())
    biases = {module.bias for module in convs} - {None}
    rest = set(net.parameters()) - weights - biases
    return tuple(sum(parameter.numel() for parameter in group) for group in (weights, biases, rest))


def shapes(net: nn.Module) -> list[tuple[int, ...]]:
    """Outputs, inputs and kernel of each convolution; of a transposed one inputs come first."""
    return [tuple(module.weight.shape) for module in net.modules() if isinstance(module, CONVOLUTIONS)]


def weight_and_bias(*prefixes: str) -> list[str]:
    return [f"{prefix}.{name}" for prefix in prefixes for name in ("weight", "bias")]


def norm_keys(prefix: str) -> list[str]:
    return [f"{prefix}.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def pre_activated_keys(prefix: str) -> list[str]:
    return [*norm_keys(f"{prefix}.norm"), *weight_and_bias(f"{prefix}.conv")]


def recursion_keys(prefix: str, convs: int, times: int) -> list[str]:
    norms = [f"{prefix}.norms.{time}.{i}" for time in range(times) for i in range(convs)]
    shared = weight_and_bias(*(f"{prefix}.convs.{i}" for i in range(convs)))
    return [*shared, *(key for norm in norms for key in norm_keys(norm))]


def stir(net: nn.Module) -> nn.Module:
    """Set weights under which every layer counts: initial ones may be near 0, biases are, normalisations do nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, CONVOLUTIONS):
                fan = math.prod(module.kernel_size) * module.in_channels / module.groups
                module.weight.normal_(0, math.sqrt(2 / fan), generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3, generator=generator)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.3, 0.6, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(getattr(net, "weights", None), nn.Parameter):
            net.weights.uniform_(0.1, 1, generator=generator)
    return net


def total(out: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """One number of all images, to which no two pixels contribute alike."""
    images = out if isinstance(out, list) else [out]
    return sum((batch * image(*batch.shape, seed=3).to(batch)).sum() + (batch**2).sum() for batch in images)


def he_std(*taps: int) -> float:
    """He et al. (ICCV 2015)."""
    return math.sqrt(2 / math.prod(taps))


def check_initial_weights(net: nn.Module, std: Callable[[str, nn.Module], float | None]) -> int:
    """Assert that biases are 0 and weights Gaussian with mean 0 and the standard deviation that `std` gives.

    The bounds are five standard deviations of an estimate. Returns how many convolutions were compared; those for which
    `std` gives None are not.
    """
    compared = 0
    for name, module in net.named_modules():
        if not isinstance(module, CONVOLUTIONS):
            continue
        if module.bias is not None:
            assert torch.equal(module.bias, torch.zeros_like(module.bias)), name
        expected = std(name, module)
        if expected is not None:
            weight = module.weight
            assert weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weight.numel())), name
            assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), name
            compared += 1
    return compared


class NetworkTests:
    """Derive from it, with a name that begins with `Test`, in `test_NETWORK_arch.py`."""

    network: type[nn.Module]
    papers_arguments: Mapping[str, Any]
    """Defaults of the constructor that are the paper's."""
    channels = 1
    """Default of `num_in_ch`."""
    scales: Sequence[int] = (2, 3, 4)
    constants: Sequence[str] = ()
    """Buffers that are not in the state dict."""
    keys: Sequence[str]
    """State-dict keys of the small network: files are written with them, another name makes files unreadable."""
    variants: Sequence[dict[str, Any]] = ()
    """More arguments with which the output is compared with the equations, at x2."""
    sizes_in_training: ClassVar[list[tuple[int, int]] | None] = None
    """Of a network that returns a list in training: the sizes of its images at x4, for an input of 5x6."""

    def equations(self, w: Weights, x: torch.Tensor, upscale: int, **arguments: Any) -> list[torch.Tensor]:
        """The small network's output by the paper's equations, in float64; the final image last."""
        raise NotImplementedError

    def small(self, upscale: int = 2, **arguments: Any) -> Any:
        torch.manual_seed(0)
        return self.network(**{"upscale": upscale, **SMALL[self.network.__name__], **arguments})

    def call(self, net: nn.Module, x: torch.Tensor, upscale: int) -> Any:
        return net(x)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrise the tests below with what the class states."""
        cases = [(scale, {}) for scale in self.scales]
        cases += [(2, variant) for variant in (*self.variants, {"num_in_ch": 4 - self.channels})]
        values = {"upscale": self.scales, "case": cases, "argument": self.whole_numbers()}
        for name in values.keys() & set(metafunc.fixturenames):
            ids = [f"x{scale}-{more}" for scale, more in cases] if name == "case" else None
            metafunc.parametrize(name, values[name], ids=ids)

    def defaults(self) -> dict[str, Any]:
        return {name: parameter.default for name, parameter in inspect.signature(self.network).parameters.items()}

    def whole_numbers(self) -> list[str]:
        """Arguments that must be whole numbers of 1 or more."""
        return [name for name, default in self.defaults().items() if type(default) is int and name != "up_size"]

    # -- sizes and keys

    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_size_of_the_output(self, upscale, channels):
        net = self.small(upscale, num_in_ch=channels).eval()
        with torch.no_grad():
            out = self.call(net, image(2, channels, 7, 6), upscale)
        assert out.shape == (2, channels, 7 * upscale, 6 * upscale)

    def test_defaults_are_the_papers(self):
        papers = {"num_in_ch": self.channels, **self.papers_arguments}
        assert {name: self.defaults()[name] for name in papers} == papers

    def test_keys_of_the_state_dict(self):
        assert sorted(self.small().state_dict()) == sorted(self.keys)

    def test_constants_are_not_saved_and_buffers_not_broadcast(self):
        net = self.small(self.scales[-1])
        buffers = [name for name, _ in net.named_buffers()]
        running = [key for key in buffers if key.split(".")[-1].startswith(("running_", "num_batches"))]
        assert bool(running) == ("batch_norm" in self.defaults())
        assert sorted(buffers) == sorted([*self.constants, *running])
        assert set(net.state_dict()) & set(buffers) == set(running)
        assert getattr(net, "_ddp_params_and_buffers_to_ignore", []) == buffers

    def test_without_biases_the_state_dict_has_none(self):
        if "bias" not in self.defaults():
            pytest.skip("this network always has biases")
        with_biases, without = (self.small(bias=bias).state_dict() for bias in (True, False))
        biases = {key for key in with_biases if key.endswith(".bias") and ".norm" not in key}
        assert biases
        assert set(without) == set(with_biases) - biases

    # -- outputs

    def test_the_output_is_the_papers_equations(self, case):
        upscale, arguments = case
        net = stir(self.small(upscale, **arguments)).eval()
        x = image(2, arguments.get("num_in_ch", self.channels), 6, 9)
        expected = self.equations(Weights(net), x.double(), upscale, **arguments)[-1]
        with torch.no_grad():
            out = self.call(net, x, upscale)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=2e-6 * max(1.0, expected.abs().max()))
        # The output differs clearly from the bicubic-upsampled image, so that a wrong layer shows.
        assert expected.std() > 0.02
        assert (expected - bicubic(x.double(), upscale)).std() > 0.02

    def test_what_the_network_returns_in_training(self):
        """An image, or a list of images of which the last is the one that it returns in evaluation."""
        arguments = {"batch_norm": False} if "batch_norm" in self.defaults() else {}
        net, x = stir(self.small(4, **arguments)), image(2, self.channels, 5, 6)
        with torch.no_grad():
            training, final = self.call(net.train(), x, 4), self.call(net.eval(), x, 4)
        if self.sizes_in_training is None:
            assert torch.equal(training, final)
            return
        assert isinstance(training, list)
        assert [tuple(output.shape[-2:]) for output in training] == self.sizes_in_training
        for output, expected in zip(training, self.equations(Weights(net), x.double(), 4, **arguments), strict=True):
            tolerance = 2e-6 * max(1.0, float(expected.abs().max()))
            torch.testing.assert_close(output.double(), expected, rtol=0, atol=tolerance)
        assert torch.equal(training[-1], final)

    def test_forward_leaves_its_input_unchanged(self):
        net, x = stir(self.small(self.scales[0])), image(2, self.channels, 6, 6)
        before = x.clone()
        for training in (False, True):
            self.call(net.train(training), x, self.scales[0])
            assert torch.equal(x, before)

    def test_height_and_width_are_free_in_an_export(self):
        net = stir(self.small(2)).eval()
        size = {2: torch.export.Dim("height", min=4, max=512), 3: torch.export.Dim("width", min=4, max=512)}
        inputs = self.export_inputs(image(1, self.channels, 8, 10))
        dynamic_shapes = (size, *([None] * (len(inputs) - 1)))
        exported = torch.export.export(net, inputs, dynamic_shapes=dynamic_shapes).module()
        inputs = self.export_inputs(image(1, self.channels, 7, 11))
        torch.testing.assert_close(exported(*inputs), net(*inputs), rtol=0, atol=2e-6)

    def export_inputs(self, x: torch.Tensor) -> tuple[Any, ...]:
        return (x,)

    def test_the_network_can_be_cast_to_float64(self):
        x = torch.rand(1, self.channels, 5, 4, dtype=torch.float64)
        with torch.no_grad():
            out = self.call(self.small(2).double().eval(), x, 2)
        assert (out.dtype, out.shape) == (torch.float64, (1, self.channels, 10, 8))

    # -- gradients

    def test_every_parameter_gets_a_gradient(self):
        """From the initial weights, as in training. Normalisations stay as in evaluation: in training the mean that
        they subtract makes the gradient of the bias before them 0."""
        net = self.small(4).train()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for scale in getattr(net, "scales", (4,)):
            total(self.call(net, image(2, self.channels, 6, 6), scale)).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name

    def test_gradients_are_finite_differences(self):
        """Along one direction in the space of all weights, in float64."""
        upscale = self.scales[0]
        net, x = stir(self.small(upscale)).double().eval(), image(1, self.channels, 5, 6).double()
        parameters = self.parameters_used_at(net, upscale)
        generator = torch.Generator().manual_seed(4)
        direction = {
            name: torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            for name, parameter in parameters.items()
        }

        def at(step):
            moved = {name: parameter + step * direction[name] for name, parameter in parameters.items()}
            return total(torch.func.functional_call(net, moved, self.export_inputs(x)))

        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(at(step), step)
        difference = (at(1e-7) - at(-1e-7)) / 2e-7
        assert slope.item() == pytest.approx(difference.item(), rel=1e-5)
        assert abs(slope) > 1

    def parameters_used_at(self, net: nn.Module, upscale: int) -> dict[str, torch.Tensor]:
        return {name: parameter.detach() for name, parameter in net.named_parameters()}

    # -- errors

    @pytest.mark.parametrize("channels", [1, 3])
    def test_an_input_of_other_channels_is_an_error(self, channels):
        net = self.small(num_in_ch=channels)
        words = rf"{self.network.__name__}: the input has {4 - channels} channels, num_in_ch is {channels}: "
        with pytest.raises(ValueError, match=words):
            self.call(net, image(1, 4 - channels, 6, 6), 2)

    @pytest.mark.parametrize("value", [0, -1, 2.5])
    def test_sizes_must_be_whole_numbers(self, argument, value):
        words = f"{self.network.__name__}: {argument} is {value}; expected a whole number"
        with pytest.raises(ValueError, match=words):
            self.network(**{argument: value})


class BicubicFirstTests:
    """More tests, for networks that upsample the image by bicubic first; mix in before `NetworkTests`."""

    scales: Sequence[int] = (1, 2, 3, 4)
    constants: Sequence[str] = ("bicubic.taps",)

    def test_the_same_weights_serve_an_image_that_is_upsampled_before(self):
        """A network of `upscale` 1 takes it."""
        whole, inner = stir(self.small(3)).eval(), self.small(1).eval()
        inner.load_state_dict(whole.state_dict(), strict=True)
        x = image(1, 1, 6, 5)
        with torch.no_grad():
            torch.testing.assert_close(inner(BicubicUpsample(3)(x)), whole(x), rtol=0, atol=1e-6)
            assert (whole(x) - BicubicUpsample(3)(x)).std() > 0.05


class BatchNormTests:
    """More tests, for networks with batch normalisation."""

    first_norm: str
    """The normalisation of the image itself."""

    def test_without_normalisation_the_state_dict_has_none(self):
        with_norm, without = (self.small(batch_norm=kept).state_dict() for kept in (True, False))
        assert set(without) == {key for key in with_norm if ".norm" not in key}
        assert len(without) < len(with_norm)

    def test_in_training_the_batch_is_normalised(self):
        """Each unit has its own statistics, which a forward pass changes in training and not in evaluation."""
        net, x = stir(self.small()), image(4, 1, 8, 8)
        before = {name: tensor.clone() for name, tensor in net.named_buffers() if name.endswith("running_mean")}
        net.eval()(x)
        assert all(torch.equal(dict(net.named_buffers())[name], tensor) for name, tensor in before.items())
        net.train()(x)
        after = dict(net.named_buffers())
        assert all(not torch.equal(after[name], tensor) for name, tensor in before.items())
        first = f"{self.first_norm}.running_mean"
        expected = 0.9 * before[first] + 0.1 * BicubicUpsample(2)(x).mean()
        torch.testing.assert_close(after[first], expected, rtol=1e-5, atol=1e-6)

    def test_normalisations_start_neutral(self):
        norms = [module for module in self.small().modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        for module in norms:
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)
