"""RCANArch against BasicSR's RCAN and against the official layout."""

import itertools
import logging

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.rcan_arch import RCAN

from rcan_plugin.archs.rcan_arch import DIV2K_MEAN, RCANArch

SMALL = {"num_feat": 8, "num_group": 2, "num_block": 2, "squeeze_factor": 4}


def small(**arguments) -> RCANArch:
    torch.manual_seed(0)
    return RCANArch(**{**SMALL, **arguments})


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("upscale", [2, 3, 4, 8])
@pytest.mark.parametrize("res_scale", [1, 0.1])
def test_basicsr_checkpoints_load_and_give_the_same_output(upscale, res_scale):
    torch.manual_seed(0)
    theirs = RCAN(3, 3, upscale=upscale, res_scale=res_scale, **SMALL).eval()
    ours = RCANArch(upscale=upscale, res_scale=res_scale, **SMALL).eval()
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
    import inspect

    theirs = list(inspect.signature(RCAN).parameters)
    own = ["use_checkpoint", "long_skip", "short_skip", "channel_attention", "upsampler", "kernels"]
    assert list(inspect.signature(RCANArch).parameters) == [*theirs, *own]


def test_checkpointing_gives_the_same_gradients():
    x = image(1, 3, 8, 8)
    gradients = []
    for use_checkpoint in (False, True):
        net = small(use_checkpoint=use_checkpoint).train()
        (net(x) ** 2).mean().backward()
        gradients.append({name: parameter.grad for name, parameter in net.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
    assert gradients[1]["conv_first.weight"].abs().min() > 0


def test_checkpointing_keeps_fewer_tensors_for_the_backward_pass():
    def kept(use_checkpoint):
        sizes = []
        net = small(use_checkpoint=use_checkpoint).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            net(image(1, 3, 8, 8)).sum()
        return sum(sizes)

    assert kept(True) < 0.6 * kept(False)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 1), (3, 1), (1, 3), (4, 4), (6, 3)])
def test_any_number_of_channels(channels_in, channels_out):
    net = small(num_in_ch=channels_in, num_out_ch=channels_out, upscale=2).eval()
    torch.nn.init.zeros_(net.conv_last.weight)
    torch.nn.init.zeros_(net.conv_last.bias)
    out = net(image(1, channels_in, 5, 6))
    assert out.shape == (1, channels_out, 10, 12)
    # A last layer of zeros leaves the mean that is put back.
    mean = DIV2K_MEAN if (channels_in, channels_out) == (3, 3) else [sum(DIV2K_MEAN) / 3] * channels_out
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.tensor(mean))


def test_an_input_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="the input has 1 channels, num_in_ch is 3"):
        small()(image(1, 1, 8, 8))


def test_the_mean_is_a_buffer_outside_the_state_dict():
    net = small(rgb_mean=(0.1, 0.2, 0.3))
    assert "rgb_mean" in dict(net.named_buffers())
    assert not any("mean" in key for key in net.state_dict())
    assert net.to(torch.float64).rgb_mean.dtype == torch.float64


def test_forward_changes_neither_state_nor_input():
    net, x = small(), image(1, 3, 6, 6)
    before = {name: tensor.clone() for name, tensor in [*net.named_parameters(), *net.named_buffers()]}
    attributes, x_before = dict(vars(net)), x.clone()
    net(x)
    assert torch.equal(x, x_before)
    assert vars(net) == attributes
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        assert torch.equal(tensor, before[name]), name


def test_channels_last_is_kept():
    net = small(upscale=2).eval().to(memory_format=torch.channels_last)
    x = image(1, 3, 8, 10).to(memory_format=torch.channels_last)
    out = net(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, small(upscale=2).eval()(x.contiguous()), rtol=0, atol=2e-6)


@pytest.mark.parametrize("use_checkpoint", [False, True])
def test_compiles_in_one_graph(use_checkpoint):
    net, x = small(use_checkpoint=use_checkpoint).train(), image(1, 3, 8, 8)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), rtol=0, atol=2e-6)


def test_exports_with_any_height_and_width():
    net = small(upscale=3).eval()
    size = {2: torch.export.Dim("height", min=4, max=4096), 3: torch.export.Dim("width", min=4, max=4096)}
    exported = torch.export.export(net, (image(1, 3, 16, 20),), dynamic_shapes=(size,)).module()
    x = image(1, 3, 7, 31)
    torch.testing.assert_close(exported(x), net(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("res_scale", "expected"), [(1, 0), (0.5, 1)])
def test_attention_and_skip_are_one_kernel(res_scale, expected):
    """A block of res_scale 1 multiplies nothing by itself; another one multiplies the weights of the channels alone."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append((str(function), args[0].shape if args and isinstance(args[0], torch.Tensor) else None))
            return function(*args, **(kwargs or {}))

    calls: list = []
    block = small(res_scale=res_scale).body[0].residual_group[0].eval()
    with torch.no_grad(), Counting():
        block(image(1, 8, 6, 6))
    names = [name for name, _ in calls]
    assert names.count("aten.addcmul.default") == 1
    multiplications = [shape for name, shape in calls if name.startswith("aten.mul")]
    assert multiplications == [torch.Size([1, 8, 1, 1])] * expected
    assert not any(name.startswith("aten.add.") for name in names)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"upscale": 5}, "upscale=5: expected 3 or a power of two"),
        ({"upscale": 6}, "upscale=6"),
        ({"num_feat": 8, "squeeze_factor": 16}, "raise num_feat to 16 or more, or set squeeze_factor to 8 or less"),
        ({"rgb_mean": (0.5,)}, "1 values and num_in_ch is 3"),
        ({"num_in_ch": 1, "rgb_mean": DIV2K_MEAN}, "3 values and num_in_ch is 1"),
        ({"num_block": 0}, "num_block=0: expected a whole number"),
        ({"num_group": 2.5}, "num_group=2.5"),
        ({"img_range": 0}, "img_range=0"),
    ],
)
def test_bad_arguments_name_the_remedy(arguments, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        small(**arguments)


SWITCHES = ("long_skip", "short_skip", "channel_attention")
CELLS = [dict(zip(SWITCHES, values, strict=True)) for values in itertools.product((False, True), repeat=3)]
"""The eight networks of the paper's ablation study (table 1)."""


# Each of 200 attentions has 64 * 4 + 4 weights and biases down and 4 * 64 + 64 up, 580 in all; a skip has none.
@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_leave_no_parameters(cell):
    with torch.device("meta"):
        net, whole = RCANArch(**cell), RCANArch()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert parameters == 15_592_355 - (0 if cell["channel_attention"] else 116_000)
    kept = [key for key in whole.state_dict() if cell["channel_attention"] or ".attention." not in key]
    assert list(net.state_dict()) == kept
    assert len(whole.state_dict()) - len(kept) == (0 if cell["channel_attention"] else 200 * 4)


def by_hand(
    net: RCANArch, x: torch.Tensor, long_skip: bool, short_skip: bool, channel_attention: bool, res_scale: float
):
    """The paper's equations 1 to 13, x2, on the tensors of `net`, in float64."""
    w = {key: value.double() for key, value in net.state_dict().items()}

    def conv(name, x):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=w[f"{name}.weight"].shape[-1] // 2)

    mean = torch.tensor(DIV2K_MEAN, dtype=torch.float64).view(1, 3, 1, 1)
    shallow = deep = conv("conv_first", (x.double() - mean) * 255)
    for g in range(2):
        group = deep
        for b in range(2):
            name = f"body.{g}.residual_group.{b}.rcab"
            residual = conv(f"{name}.2", conv(f"{name}.0", deep).clamp(min=0))
            if channel_attention:
                squeezed = conv(f"{name}.3.attention.1", residual.mean(dim=(2, 3), keepdim=True)).clamp(min=0)
                residual = residual / (1 + torch.exp(-conv(f"{name}.3.attention.3", squeezed)))
            deep = deep + res_scale * residual
        deep = conv(f"body.{g}.conv", deep) + (group if short_skip else 0)
    deep = conv("conv_after_body", deep) + (shallow if long_skip else 0)
    n, c, h, width = deep.shape
    large = (
        conv("upsample.0", deep).view(n, c, 2, 2, h, width).permute(0, 1, 4, 2, 5, 3).reshape(n, c, 2 * h, 2 * width)
    )
    return conv("conv_last", large) / 255 + mean


@pytest.mark.parametrize("res_scale", [1.0, 0.3])
@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_are_left_out(cell, res_scale):
    net, x = small(upscale=2, res_scale=res_scale, **cell).eval(), image(2, 3, 6, 7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)  # so that what lies deep counts in the output
        out = net(x).double()
    torch.testing.assert_close(out, by_hand(net, x, **cell, res_scale=res_scale), rtol=0, atol=1e-5)
    for switch in SWITCHES:
        if switch != "channel_attention" or cell[switch]:  # without its weights it cannot be written out
            other = by_hand(net, x, **{**cell, switch: not cell[switch]}, res_scale=res_scale)
            assert (out - other).abs().max() > 1e-3, switch


@pytest.mark.parametrize("cell", CELLS)
def test_parts_that_are_left_out_leave_no_parameter_without_a_gradient(cell):
    for use_checkpoint in (False, True):
        net = small(upscale=2, use_checkpoint=use_checkpoint, **cell).train()
        (net(image(2, 3, 6, 6)) ** 2).mean().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_all_parts_are_there_by_default():
    torch.manual_seed(0)
    plain, x = RCANArch(**SMALL), image(1, 3, 5, 6)
    spelled = small(long_skip=True, short_skip=True, channel_attention=True, upsampler="subpixel")
    assert torch.equal(plain(x), spelled(x))


def test_without_attention_the_squeeze_factor_is_free():
    net = small(num_feat=8, squeeze_factor=16, channel_attention=False)
    assert net(image(1, 3, 5, 5)).shape == (1, 3, 20, 20)


def test_a_whole_networks_weights_start_one_without_attention():
    whole, net = small(), small(channel_attention=False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    net.load_state_dict(whole.state_dict(), strict=False)
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[key]), key
    with pytest.raises(RuntimeError, match="Unexpected key"):
        small(channel_attention=False).load_state_dict(whole.state_dict())


@pytest.mark.parametrize("upscale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["subpixel", "transposed", "nearest"])
def test_every_kind_of_upsampler_gives_the_size(kind, upscale):
    net = small(upsampler=kind, upscale=upscale).eval()
    with torch.no_grad():
        assert net(image(2, 3, 4, 5)).shape == (2, 3, 4 * upscale, 5 * upscale)


@pytest.mark.parametrize(
    ("kind", "upscale", "keys"),
    [
        ("subpixel", 4, ["0", "2"]),
        ("subpixel", 3, ["0"]),
        ("transposed", 8, ["0", "1", "2"]),
        ("transposed", 3, ["0"]),
        ("nearest", 4, ["1", "3"]),
        ("nearest", 3, ["1"]),
    ],
)
def test_keys_of_the_upsamplers(kind, upscale, keys):
    state = small(upsampler=kind, upscale=upscale).state_dict()
    found = [key for key in state if key.startswith("upsample.")]
    assert found == [f"upsample.{number}.{part}" for number in keys for part in ("weight", "bias")]
    others = [key for key in small().state_dict() if not key.startswith("upsample.")]
    assert [key for key in state if not key.startswith("upsample.")] == others


@pytest.mark.parametrize(
    ("kind", "upscale", "weights"),
    # In 64 channels: convolution 3x3 to 256 or 576; filters 4x4 or 9x9; convolution 3x3 to 64; and biases.
    [
        ("subpixel", 2, 9 * 64 * 256 + 256),
        ("subpixel", 3, 9 * 64 * 576 + 576),
        ("transposed", 2, 16 * 64 * 64 + 64),
        ("transposed", 3, 81 * 64 * 64 + 64),
        ("transposed", 4, 2 * (16 * 64 * 64 + 64)),
        ("nearest", 3, 9 * 64 * 64 + 64),
        ("nearest", 8, 3 * (9 * 64 * 64 + 64)),
    ],
)
def test_parameters_of_the_upsamplers(kind, upscale, weights):
    with torch.device("meta"):
        net = RCANArch(upsampler=kind, upscale=upscale)
    x2 = 15_444_643 - (9 * 64 * 256 + 256)
    assert sum(parameter.numel() for parameter in net.parameters()) == x2 + weights


def test_weights_go_on_to_another_kind_of_upsampler(caplog):
    source, net = small(upscale=2), small(upscale=2, upsampler="nearest")
    with caplog.at_level(logging.INFO, logger="basicsr"):
        net.load_state_dict(source.state_dict(), strict=False)
    assert "not in the file: upsample.1.bias, upsample.1.weight" in caplog.text
    assert torch.equal(net.conv_last.weight, source.conv_last.weight)


@pytest.mark.parametrize("upscale", [2, 3, 8])
@pytest.mark.parametrize("kind", ["bicubic", "", None])
def test_an_unknown_kind_of_upsampler_is_refused(kind, upscale):
    said = f"RCANArch: upsampler={kind!r}: expected subpixel, transposed or nearest"
    with pytest.raises(ValueError, match=said):
        small(upsampler=kind, upscale=upscale)


def official_layout(net: RCANArch, prefix: str = "") -> dict[str, torch.Tensor]:
    """The weights of `net` under the official keys, written from the description of the authors' files."""
    own, official = net.state_dict(), {}

    def put(theirs, ours):
        for kind in ("weight", "bias"):
            official[f"{prefix}{theirs}.{kind}"] = own.pop(f"{ours}.{kind}")

    put("head.0", "conv_first")
    for g, group in enumerate(net.body):
        for b in range(len(group.residual_group)):
            theirs, ours = f"body.{g}.body.{b}.body", f"body.{g}.residual_group.{b}.rcab"
            put(f"{theirs}.0", f"{ours}.0")
            put(f"{theirs}.2", f"{ours}.2")
            put(f"{theirs}.3.conv_du.0", f"{ours}.3.attention.1")
            put(f"{theirs}.3.conv_du.2", f"{ours}.3.attention.3")
        put(f"body.{g}.body.{len(group.residual_group)}", f"body.{g}.conv")
    put(f"body.{len(net.body)}", "conv_after_body")
    for i in range(0, len(net.upsample), 2):
        put(f"tail.0.{i}", f"upsample.{i}")
    put("tail.1", "conv_last")
    assert not own
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        official[f"{prefix}{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        official[f"{prefix}{name}.bias"] = sign * 255 * torch.tensor(DIV2K_MEAN)
    return official


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_official_files_load(prefix, upscale):
    source, net = small(upscale=upscale), RCANArch(upscale=upscale, **SMALL)
    net.load_state_dict(official_layout(source, prefix), strict=True)
    for key, tensor in source.state_dict().items():
        assert torch.equal(net.state_dict()[key], tensor), key


def test_official_files_lacking_a_tensor_are_refused():
    official = official_layout(small())
    del official["body.1.body.0.body.2.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*body\.1\.residual_group\.0\.rcab\.2\.weight"):
        small().load_state_dict(official)


@pytest.mark.parametrize("strict", [True, False])
def test_official_files_of_another_range_are_refused(strict):
    with pytest.raises(ValueError, match=r"img_range 255, rgb_mean \[0.4488, 0.4371, 0.404\]"):
        small(img_range=1.0).load_state_dict(official_layout(small()), strict=strict)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize(
    ("upscale", "fresh"),
    [
        (3, ["upsample.0.bias", "upsample.0.weight"]),
        (4, ["upsample.2.bias", "upsample.2.weight"]),
        (8, ["upsample.2.bias", "upsample.2.weight", "upsample.4.bias", "upsample.4.weight"]),
    ],
)
def test_starting_another_scale_from_x2_takes_all_that_fits(upscale, fresh, official, caplog):
    x2 = small(upscale=2)
    torch.manual_seed(7)
    net = RCANArch(upscale=upscale, **SMALL)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with caplog.at_level(logging.INFO, logger="basicsr"):
        net.load_state_dict(official_layout(x2) if official else x2.state_dict(), strict=False)
    after = net.state_dict()
    assert [key for key in sorted(after) if torch.equal(after[key], before[key])] == fresh
    for key in after.keys() - set(fresh):
        assert torch.equal(after[key], x2.state_dict()[key]), key
    assert f"{len(after) - len(fresh)} of {len(after)} tensors taken" in caplog.text
    assert all(key in caplog.text for key in fresh)


def test_a_file_of_which_nothing_fits_is_refused_naming_both_sides():
    with pytest.raises(ValueError, match=r"begins with conv_first\.weight.*begins with params, params_ema"):
        small().load_state_dict({"params": {}, "params_ema": {}}, strict=False)


def test_strict_loading_of_another_scale_fails():
    with pytest.raises(RuntimeError, match=r"size mismatch for upsample\.0\.weight"):
        small(upscale=3).load_state_dict(small(upscale=2).state_dict(), strict=True)
