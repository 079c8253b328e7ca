"""`weights.read`, `load` and `save`: a file gives its network by itself, or is refused."""

import json
import pickle
import sys
from typing import ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rcan_plugin import weights
from rcan_plugin.archs import NETWORKS
from rcan_plugin.weights import networks
from tests.archs.rcan import official_layout, small_rcan
from tests.archs.small import SMALL
from tests.comparison import names_all, same
from tests.disks import files_up_to
from tests.weights.built import ARGUMENTS, THEIRS, VDSR, built
from tests.weights.saved import save

SCALES = {"DRRNArch": (1,), "LapSRNArch": (4,), "LumaOnly": (2,), "MDSRArch": (2, 3, 4), "MemNetArch": (1,)}
SCALES |= {"RCANArch": (4,), "VDSRArch": (1,)}


@torch.no_grad()
def image_of(net):
    channels = 1 if isinstance(getattr(net, "num_in_ch", None), int) and net.num_in_ch == 1 else 3
    image = torch.rand(1, channels, 16, 16, generator=torch.Generator().manual_seed(2))
    return net(image, 3) if hasattr(net, "scales") else net(image)


def refused(path, **arguments) -> str:
    """The message after the path, which is one line."""
    with pytest.raises(ValueError, match=path.name) as error:
        weights.read(path, **arguments)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [*ARGUMENTS, *THEIRS])
def test_a_file_gives_its_network_by_itself(name, ending, tmp_path):
    assert {network.__name__ for network in NETWORKS} == set(ARGUMENTS)
    net, path = built(name), tmp_path / f"net{ending}"
    weights.save(path, net, **{**ARGUMENTS, **THEIRS}[name])
    loaded = weights.load(path)
    assert type(loaded) is type(net) and not loaded.training
    assert same(loaded.state_dict(), net.state_dict()) and torch.equal(image_of(loaded), image_of(net))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_metadata_hold_name_arguments_and_scale(name, tmp_path):
    path = tmp_path / "net.safetensors"
    weights.save(path, weights.Weights(dict(built(name).state_dict()), name, ARGUMENTS[name]))
    scales = SCALES.get(name, (3,))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("arguments")) == ARGUMENTS[name]
    assert metadata == {"format": "pt", "network": name, "scale": ", ".join(map(str, scales))}
    read = weights.read(path)
    assert (read.name, read.scales, read.path, read.remarks) == (name, scales, path, [])
    if len(scales) == 1:
        assert read.scale == scales[0]
    else:
        with pytest.raises(ValueError, match=r"MDSRArch has several scales, 2, 3, 4"):
            read.scale  # noqa: B018


@pytest.mark.parametrize("key", [None, "params", "params_ema", "state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_rcan_under_any_key(key, prefix, tmp_path):
    net = small_rcan(upscale=2)
    content = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    path = save(tmp_path / "net.pth", content if key is None else {key: content, "iter": 5})
    read = weights.read(path)
    assert same(read.state_dict, dict(net.state_dict())) and read.layout == ("flat" if key is None else f"under {key}")
    assert (read.name, read.scale, read.arguments["num_group"]) == ("RCANArch", 2, 2)
    assert [remark.partition(":")[0] for remark in read.remarks] == ["img_range"]  # an assumption, which is said


def test_the_averaged_weights_are_taken_unless_others_are_named(tmp_path):
    net, average = small_rcan(), small_rcan(num_feat=16)
    path = save(tmp_path / "net.pth", {"params": net.state_dict(), "params_ema": average.state_dict()})
    assert weights.read(path).arguments["num_feat"] == 16
    assert weights.read(path, param_key="params").arguments["num_feat"] == 8
    assert refused(path, param_key="weights") == "it has no key 'weights'; it begins with params, params_ema."


@pytest.mark.parametrize("layout", ["authors", "spandrel"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt"])
def test_the_authors_layout_and_back(layout, ending, tmp_path):
    net = small_rcan(upscale=2)
    weights.save(tmp_path / f"net{ending}", net, layout=layout, **SMALL["RCANArch"], upscale=2)
    read = (load_file if ending == ".safetensors" else torch.load)(tmp_path / f"net{ending}")
    expected = official_layout(net)
    assert read.keys() == expected.keys()
    assert all(torch.allclose(read[key], expected[key], rtol=1e-7, atol=0) for key in expected)  # 255 times the mean
    assert same(weights.load(tmp_path / f"net{ending}").state_dict(), net.state_dict())
    assert weights.read(tmp_path / f"net{ending}").layout == "flat, with the key names of RCAN's authors"


def test_basicsrs_layout_is_what_basicsr_writes_and_the_networks_options(tmp_path):
    net = built("VDSRArch")
    weights.save(tmp_path / "net.pth", net, **VDSR)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert same(content, {"params": dict(net.state_dict()), "network_g": {"type": "VDSRArch", **VDSR}})


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("net.onnx", None, "the ending of its name is '.onnx'; expected .pth, .pt or .safetensors"),
        ("net", None, "the ending of its name is ''"),
        ("net.pth", "safetensors", "layout safetensors is written to files that end in .safetensors"),
        ("net.safetensors", "basicsr", "layout basicsr is written to files that end in .pth or .pt"),
        ("net.pth", "hdf5", "layout is 'hdf5'; expected one of basicsr, authors, spandrel, safetensors"),
        ("net.pth", "authors", "layout authors is RCAN's; these are weights of VDSRArch"),
    ],
)
def test_a_layout_that_does_not_belong_to_file_or_network(name, layout, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        weights.save(tmp_path / name, built("VDSRArch"), layout=layout, **VDSR)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("forgotten", ["img_range", "num_feat"])
def test_arguments_that_are_not_the_networks_are_refused_on_writing(forgotten, tmp_path):
    arguments = {**SMALL["RCANArch"], "img_range": 1.0}
    del arguments[forgotten]
    with pytest.raises(ValueError, match=r"gives another image|it does not fit RCANArch"):
        weights.save(tmp_path / "net.pth", small_rcan(img_range=1.0), **arguments)


def test_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = save(tmp_path / "net.pth", {"a": 1})
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        weights.save(path, built("VDSRArch"), **VDSR)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_both_formats_have_the_usual_rights(tmp_path):
    net = built("VDSRArch")
    (tmp_path / "usual").touch()
    for name in ("net.pth", "net.safetensors"):
        weights.save(tmp_path / name, net, **VDSR)
        assert (tmp_path / name).stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_network_that_the_file_does_not_name_is_given_by_hand(tmp_path):
    net = built("VDSRArch")
    path = save(tmp_path / "net.pth", {"params": net.state_dict()})
    assert names_all(refused(path), "its network is not known", "convs.0.weight", "--network NAME", "--opt")
    assert same(weights.load(path, name="VDSRArch", **VDSR).state_dict(), net.state_dict())
    assert "it does not fit VDSRArch" in refused(path, name="VDSRArch")
    assert "it does not fit EDSR" in refused(path, name="EDSR", **THEIRS["EDSR"])


def test_arguments_by_hand_win_over_the_files(tmp_path):
    weights.save(tmp_path / "net.pth", small_rcan(), **SMALL["RCANArch"])
    read = weights.read(tmp_path / "net.pth", res_scale=0.5)
    assert read.arguments["res_scale"] == 0.5 and read.arguments["num_feat"] == 8
    assert "num_feat is 8 in its tensors, 16 is given" in refused(tmp_path / "net.pth", num_feat=16)


def test_another_name_by_hand_drops_the_files_arguments(tmp_path):
    path = save(tmp_path / "net.pth", {"params": built("VDSRArch").state_dict(), "network_g": {"type": "X", "y": 1}})
    assert weights.read(path, name="VDSRArch", **VDSR).arguments == VDSR


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"type": "VDSRArch", "num_layer": 4}, "VDSRArch has no argument num_layer; expected some of num_in_ch, "),
        ({"type": "VDSRArch", "bias": "no"}, "VDSRArch: bias is 'no'; expected true or false"),
        ({"type": "VDSRArch", "num_layers": 10**9}, "VDSRArch: num_layers is 1000000000; expected at most 100000"),
        ({"type": "VDSRArch", "num_feat": 2.5}, "VDSRArch cannot be built: VDSRArch: num_feat is 2.5"),
        ({"type": "VDSR"}, "VDSR is not a registered network; the nearest name is VDSRArch."),
        ({"type": "BasicVSR", "spynet_path": "x.pth"}, "its network has an argument spynet_path, which names a file"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(option, message, tmp_path):
    path = save(tmp_path / "net.pth", {"params": built("VDSRArch").state_dict(), "network_g": option})
    assert refused(path).startswith(message)


def test_metadata_that_are_not_json_are_refused(tmp_path):
    state_dict = built("VDSRArch").state_dict()
    for arguments in ("{", "[1]"):
        save_file(state_dict, tmp_path / "net.safetensors", {"network": "VDSRArch", "arguments": arguments})
        assert "expected a JSON object" in refused(tmp_path / "net.safetensors")


def test_how_the_training_computed_is_not_an_argument_of_the_weights(tmp_path):
    option = {"type": "RCANArch", **SMALL["RCANArch"], "use_checkpoint": True, "kernels": "triton"}
    path = save(tmp_path / "net.pth", {"params": small_rcan().state_dict(), "network_g": option})
    assert not weights.read(path).arguments.keys() & {"use_checkpoint", "kernels"}


def test_nan_is_refused(tmp_path):
    net = built("VDSRArch")
    weights.save(tmp_path / "net.safetensors", net, **VDSR)
    net.convs[1].bias.data[0] = torch.nan
    weights.save(tmp_path / "net.safetensors", weights.Weights(dict(net.state_dict()), "VDSRArch", VDSR))
    assert refused(tmp_path / "net.safetensors") == "1 of its 8 tensors hold NaN or infinity, first convs.1.bias."


def test_not_strict_leaves_out_and_keeps_initial_values_and_reports_both(tmp_path):
    net = built("VDSRArch", seed=3)
    content = {**net.state_dict(), "more": torch.ones(1)}
    del content["convs.2.bias"]
    path = save(tmp_path / "net.pth", {"params": content, "network_g": {"type": "VDSRArch", **VDSR}})
    assert names_all(refused(path), "1 not in the file (convs.2.bias)", "1 only in the file (more)")
    read = weights.read(path, strict=False)
    assert read.state_dict.keys() == net.state_dict().keys() and same(read.build().state_dict(), read.state_dict)
    assert same(read.state_dict["convs.0.weight"], net.state_dict()["convs.0.weight"])
    assert read.remarks == [
        "1 tensors are not in the file and have their initial values: convs.2.bias",
        "1 tensors of the file are not the network's and are left out: more",
    ]
    assert "does not fit" in refused(path, strict=False, num_feat=7)  # another shape
    path = save(tmp_path / "net.pth", {"params": {"a": torch.ones(1)}})
    assert "does not fit" in refused(path, strict=False, name="VDSRArch", **VDSR)  # another network


def test_a_training_state_is_named_with_its_weights(tmp_path):
    path = save(tmp_path / "5.state", {"epoch": 0, "iter": 5, "optimizers": [], "schedulers": []})
    assert names_all(refused(path), "it is a training state", "net_g_5.pth")


def test_numbers_beside_flat_weights_are_passed_over(tmp_path):
    path = save(tmp_path / "net.pth", {**small_rcan().state_dict(), "epoch": 3})
    assert "epoch" not in weights.read(path).state_dict


class OldPickler(pickle._Pickler):
    """Pickles text as Python 2 did, in which weights of 2018 were written."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str) -> None:
        self.write(b"U" + bytes([len(text)]) + text.encode())
        self.memoize(text)

    dispatch[str] = save_text


@pytest.mark.parametrize("pickler", [pickle._Pickler, OldPickler])
def test_pickles_of_torch_before_1_6(pickler, tmp_path):
    class Module:
        """What `torch.save` needs of the module `pickle`."""

        Pickler = pickler
        dump = staticmethod(lambda value, file, protocol: pickler(file, protocol).dump(value))

    net = small_rcan()
    content = {name: torch.nn.Parameter(value) for name, value in official_layout(net).items()}
    torch.save(content, tmp_path / "old.pt", pickle_module=Module, _use_new_zipfile_serialization=False)
    assert same(weights.load(tmp_path / "old.pt").state_dict(), net.state_dict())


def test_the_import_is_cheap(run):
    code = "import sys; from rcan_plugin import weights; print('torch' in sys.modules)"
    assert run("-c", code, fresh=True).stdout.strip() == "False"


def test_our_own_networks_need_no_basicsr(monkeypatch):
    monkeypatch.setitem(sys.modules, "basicsr", None)
    assert weights.Weights(dict(built("LumaOnly").state_dict()), "LumaOnly", ARGUMENTS["LumaOnly"]).scale == 2
    with pytest.raises(ValueError, match=r"EDSR is not a network of this project .* run `rcan doctor`"):
        networks.find("EDSR")


CONV = "body.0.residual_group.0.rcab.0.weight"
SMALL_OPTION = {"type": "RCANArch", **SMALL["RCANArch"]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({CONV: torch.ones(8, 8, 3, 3, dtype=torch.int32)}, f"its tensor {CONV} is of type int32; expected float32, "),
        ({CONV: torch.ones(8, 8, 3, 3, dtype=torch.complex64)}, f"its tensor {CONV} is of type complex64; expected"),
        ({CONV: torch.ones(8, 8, 3, 3).to(torch.float8_e4m3fn)}, f"its tensor {CONV} is of type float8_e4m3fn; "),
        ({CONV: torch.ones(8, 8, 3, 3).to_sparse()}, f"its tensor {CONV} has sparse or quantized values; "),
        ({CONV: torch.ones(8, 8, 3, 3, device="meta")}, f"its tensor {CONV} has no values; "),
        ({"conv_first.weight": torch.ones(8)}, "its network is not known: it is no RCAN; "),
        ({"conv_first.weight": torch.ones(0, 3, 3, 3)}, "its network is not known: it is no RCAN; "),
        ({"conv_last.weight": torch.tensor(1.0)}, "its network is not known: it is no RCAN; "),
        ({f"body.{'9' * 5000}.residual_group.0.rcab.0.weight": torch.ones(8, 8, 3, 3)}, "it does not fit RCANArch: 1 "),
        (
            {"body.999.residual_group.9999.rcab.0.weight": torch.ones(8, 8, 3, 3)},
            "RCANArch cannot be built: RCANArch: ",
        ),
    ],
)
def test_tensors_that_are_no_weights_are_refused(changed, message, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "MOST_MODULES", 500)  # as many take a fraction of a second
    path = save(tmp_path / "net.pth", {"params": {**small_rcan().state_dict(), **changed}})
    assert refused(path).startswith(message)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"type": "RCANArch", 5: 6}, "its network has an argument 5; expected a name"),
        ({"type": "BasicVSR", "spynet_path": "x.pth"}, "its network has an argument spynet_path, which names a file: "),
        (
            {"type": "LumaOnly", "network": {"type": "BasicVSR", "spynet_path": "x.pth"}},
            "its network has an argument spynet_path, which names a file: ",
        ),
        ({"type": "VGGFeatureExtractor", "layer_name_list": ["relu1_1"]}, "its network is VGGFeatureExtractor, which "),
        ({**SMALL_OPTION, "img_range": "x"}, "img_range is 'x'; expected a number above 0."),
        ({**SMALL_OPTION, "unshuffle": 0}, "unshuffle is 0; expected a whole number of 1 or more"),
        ({**SMALL_OPTION, "rgb_mean": None}, "rgb_mean is None; expected a list of numbers"),
    ],
)
def test_networks_that_a_file_may_not_ask_for(option, message, tmp_path):
    content = {"params": small_rcan().state_dict(), "network_g": option}
    assert refused(save(tmp_path / "net.pth", content)).startswith(message)


@pytest.mark.parametrize("name", ["DRRNArch", "EDSR"])
def test_a_network_that_takes_hours_to_build_is_refused_at_once(name, monkeypatch):
    """DRRN shares its convolutions: it has many modules, and few numbers. EDSR's scale is refused after its body."""
    monkeypatch.setattr(networks, "MOST_MODULES", 500)
    arguments = {"num_unit": 100_000} if name == "DRRNArch" else {"num_feat": 100_000, "upscale": 7}
    arguments |= {} if name == "DRRNArch" else {"num_in_ch": 3, "num_out_ch": 3}
    with pytest.raises(ValueError, match=rf"^{name} cannot be built: .*it has more than [\d,]+ (modules|numbers)\.$"):
        networks.checked(name, arguments)


def test_a_network_whose_results_are_not_finite_is_not_written(tmp_path):
    net = small_rcan()
    with torch.no_grad():
        net.conv_last.weight.fill_(1e38)
    with pytest.raises(ValueError, match="RCANArch gives values that are not finite for a test image"):
        weights.save(tmp_path / "net.pth", net, **SMALL["RCANArch"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_disk_that_takes_no_more_is_reported(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    with files_up_to(500), pytest.raises(OSError, match="File too large") as error:
        weights.save(path, built("VDSRArch"), **VDSR)
    assert error.value.filename == str(path) and not list(tmp_path.iterdir())
