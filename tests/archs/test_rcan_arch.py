"""RCANArch (ECCV 2018), also against BasicSR's RCAN."""

import inspect

import pytest
import torch
from basicsr.archs.rcan_arch import RCAN
from torch.utils._python_dispatch import TorchDispatchMode

from rcan_plugin.archs.layers import DIV2K_MEAN
from rcan_plugin.archs.rcan_arch import RCANArch
from tests.archs.network_tests import NetworkTests, image, weight_and_bias
from tests.archs.rcan import rcan_equations, small_rcan
from tests.archs.small import SMALL


class TestRCAN(NetworkTests):
    network = RCANArch
    papers_arguments = {"num_feat": 64, "num_group": 10, "num_block": 20, "squeeze_factor": 16, "res_scale": 1.0}
    channels = 3
    scales = (2, 3, 4, 8)
    constants = ("rgb_mean", "out_mean")
    keys = weight_and_bias(
        "conv_first",
        *(
            f"body.{group}.residual_group.{block}.rcab.{layer}"
            for group in (0, 1)
            for block in (0, 1)
            for layer in ("0", "2", "3.attention.1", "3.attention.3")
        ),
        "body.0.conv",
        "body.1.conv",
        "conv_after_body",
        "upsample.0",
        "conv_last",
    )
    variants = ({"res_scale": 0.3},)

    def small(self, upscale=2, **arguments):
        return small_rcan(upscale=upscale, num_out_ch=arguments.get("num_in_ch", 3), **arguments)

    def equations(self, w, x, upscale, res_scale=1.0, **_):
        return [rcan_equations(w, x, upscale, res_scale=res_scale)]


@pytest.mark.parametrize("upscale", [2, 3, 4, 8])
@pytest.mark.parametrize("res_scale", [1, 0.1])
def test_basicsr_checkpoints_load_and_give_the_same_output(upscale, res_scale):
    torch.manual_seed(0)
    theirs = RCAN(3, 3, upscale=upscale, res_scale=res_scale, **SMALL["RCANArch"]).eval()
    ours = RCANArch(upscale=upscale, res_scale=res_scale, **SMALL["RCANArch"]).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = image(2, 3, 9, 13)
    with torch.no_grad():
        expected = theirs(x)
        assert ours(x).shape == (2, 3, 9 * upscale, 13 * upscale)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=2e-6)
    assert expected.std() > 1e-3


# x4: the figure of the authors' network; the others by their Upsampler (9F for x3, 4F for each doubling).
@pytest.mark.parametrize(
    ("upscale", "parameters"), [(2, 15_444_643), (3, 15_629_283), (4, 15_592_355), (8, 15_740_067)]
)
def test_defaults_are_the_papers(upscale, parameters):
    with torch.device("meta"):
        net = RCANArch(upscale=upscale)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert (len(net.body), len(net.body[0].residual_group), net.conv_first.out_channels) == (10, 20, 64)
    assert net.body[0].residual_group[0].rcab[3].attention[1].out_channels == 4


def test_arguments_are_basicsrs():
    theirs = list(inspect.signature(RCAN).parameters)
    own = ["use_checkpoint", "long_skip", "short_skip", "channel_attention", "upsampler", "kernels"]
    own += ["activation", "activate_all", "unshuffle"]
    assert list(inspect.signature(RCANArch).parameters) == [*theirs, *own]


def test_checkpointing_gives_the_same_gradients():
    x = image(1, 3, 8, 8)
    gradients = []
    for use_checkpoint in (False, True):
        net = small_rcan(use_checkpoint=use_checkpoint).train()
        (net(x) ** 2).mean().backward()
        gradients.append({name: parameter.grad for name, parameter in net.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
    assert gradients[1]["conv_first.weight"].abs().min() > 0


def test_checkpointing_keeps_fewer_tensors_for_the_backward_pass():
    def kept(use_checkpoint):
        sizes = []
        net = small_rcan(use_checkpoint=use_checkpoint).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            net(image(1, 3, 8, 8)).sum()
        return sum(sizes)

    assert kept(True) < 0.6 * kept(False)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 1), (3, 1), (1, 3), (4, 4), (6, 3)])
def test_any_number_of_channels(channels_in, channels_out):
    net = small_rcan(num_in_ch=channels_in, num_out_ch=channels_out, upscale=2).eval()
    torch.nn.init.zeros_(net.conv_last.weight)
    torch.nn.init.zeros_(net.conv_last.bias)
    out = net(image(1, channels_in, 5, 6))
    assert out.shape == (1, channels_out, 10, 12)
    # A last layer of zeros leaves the mean that is put back.
    mean = DIV2K_MEAN if (channels_in, channels_out) == (3, 3) else [sum(DIV2K_MEAN) / 3] * channels_out
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.tensor(mean))


def test_the_mean_is_a_buffer_outside_the_state_dict():
    net = small_rcan(rgb_mean=(0.1, 0.2, 0.3))
    assert "rgb_mean" in dict(net.named_buffers())
    assert not any("mean" in key for key in net.state_dict())
    assert net.to(torch.float64).rgb_mean.dtype == torch.float64


def test_forward_changes_neither_state_nor_input():
    net, x = small_rcan(), image(1, 3, 6, 6)
    before = {name: tensor.clone() for name, tensor in [*net.named_parameters(), *net.named_buffers()]}
    attributes, x_before = dict(vars(net)), x.clone()
    net(x)
    assert torch.equal(x, x_before)
    assert vars(net) == attributes
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        assert torch.equal(tensor, before[name]), name


def test_channels_last_is_kept():
    net = small_rcan(upscale=2).eval().to(memory_format=torch.channels_last)
    x = image(1, 3, 8, 10).to(memory_format=torch.channels_last)
    out = net(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, small_rcan(upscale=2).eval()(x.contiguous()), rtol=0, atol=2e-6)


@pytest.mark.parametrize("use_checkpoint", [False, True])
def test_compiles_in_one_graph(use_checkpoint):
    net, x = small_rcan(use_checkpoint=use_checkpoint).train(), image(1, 3, 8, 8)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("res_scale", "expected"), [(1, 0), (0.5, 1)])
def test_attention_and_skip_are_one_kernel(res_scale, expected):
    """A block of res_scale 1 multiplies nothing by itself; another one multiplies the weights of the channels alone."""

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append((str(function), args[0].shape if args and isinstance(args[0], torch.Tensor) else None))
            return function(*args, **(kwargs or {}))

    calls: list = []
    block = small_rcan(res_scale=res_scale).body[0].residual_group[0].eval()
    with torch.no_grad(), Counting():
        block(image(1, 8, 6, 6))
    names = [name for name, _ in calls]
    assert names.count("aten.addcmul.default") == 1
    multiplications = [shape for name, shape in calls if name.startswith("aten.mul")]
    assert multiplications == [torch.Size([1, 8, 1, 1])] * expected
    assert not any(name.startswith("aten.add.") for name in names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"upscale": 5}, "upscale is 5; expected 3 or a power of two"),
        ({"upscale": 6}, "upscale is 6"),
        ({"num_feat": 8, "squeeze_factor": 16}, "raise num_feat to 16 or more, or set squeeze_factor to 8 or less"),
        ({"rgb_mean": (114.4, 111.5, 103.0)}, "expected values from 0 to 1, whatever img_range is."),
        ({"rgb_mean": (0.5,)}, "1 values, and num_in_ch is 3"),
        ({"num_in_ch": 1, "rgb_mean": DIV2K_MEAN}, "3 values, and num_in_ch is 1"),
        ({"num_block": 0}, "num_block is 0; expected a whole number"),
        ({"num_group": 2.5}, "num_group is 2.5"),
        ({"img_range": 0}, "img_range is 0"),
    ],
)
def test_bad_arguments_name_the_remedy(arguments, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        small_rcan(**arguments)
