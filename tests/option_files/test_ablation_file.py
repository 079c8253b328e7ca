"""The option file of the ablation study, and the eight commands at its head."""

import re
import shlex

import pytest
import torch
from basicsr.archs import build_network

from tests.conftest import ROOT, read_options, shrink

FILE = "ablation/RCAN_x2"
SWITCHES = {"LSC": "long_skip", "SSC": "short_skip", "CA": "channel_attention"}

# The paper's table 1: PSNR on Set5 x2 by the parts that the network has.
TABLE = {
    "none": "37.45", "LSC": "37.77", "SSC": "37.81", "CA": "37.52",
    "LSC, SSC": "37.87", "LSC, CA": "37.85", "SSC, CA": "37.86", "LSC, SSC, CA": "37.90",
}  # fmt: skip


def commands() -> dict[str, list[str]]:
    """The arguments of each command at the file's head, by the parts that the line above it names."""
    head = (ROOT / f"options/{FILE}.yml").read_text().split("\n\n")[0].replace("\\\n#", "")
    lines = head.split("\n#\n")[1].replace("# ", "").splitlines()
    labels = [re.fullmatch(r"(.+): (\d\d\.\d\d) dB", line).groups() for line in lines[::2]]
    assert dict(labels) == TABLE
    return {parts: shlex.split(line) for (parts, _), line in zip(labels, lines[1::2], strict=True)}


def test_the_file_differs_from_the_recipe_only_in_what_the_study_needs():
    """Table 1 of the paper: Set5 x2, 5e4 iterations."""
    opt, plain = read_options(FILE), read_options("train_RCAN_x2")
    assert [opt["network_g"].pop(switch) for switch in SWITCHES.values()] == [True, True, True]
    assert opt.pop("name") == "RCAN_x2_LSC_SSC_CA"
    del plain["name"]
    assert opt["datasets"].pop("val") == {
        "name": "Set5", "type": "DegradationPairedDataset", "dataroot_gt": "datasets/benchmark/Set5/HR",
        "degradation": {"type": "BI"},
    }  # fmt: skip
    del plain["datasets"]["val"]
    assert (opt["train"].pop("total_iter"), opt["val"].pop("val_freq")) == (50_000, 1_000)
    assert opt["train"]["scheduler"].pop("milestones") == [50_000]  # at the end
    for section, key in (("train", "total_iter"), ("val", "val_freq")):
        del plain[section][key]
    del plain["train"]["scheduler"]["milestones"]
    assert opt == plain


@pytest.mark.parametrize("cell", TABLE)
def test_each_command_trains_its_cell(cell, tiny, pipeline):
    """BasicSR applies `--force_yml`: two iterations of the network with just these parts, under the cell's name."""
    program, *arguments = commands()[cell]
    assert (program, arguments[:3]) == ("python", ["basicsr/train.py", "-opt", f"options/{FILE}.yml"])
    options = shrink(read_options(FILE), tiny)
    options["network_g"]["squeeze_factor"] = 1  # see test_two_iterations.py
    model, initial = pipeline("train", options, *arguments[3:])
    folder = tiny / "experiments" / ("RCAN_x2_" + cell.replace(", ", "_"))
    trained = torch.load(folder / "models/net_g_2.pth", weights_only=True)["params"]
    assert not [key for key, tensor in initial.items() if torch.equal(tensor, trained[key])], "unchanged by training"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    parts = {switch: part in cell.split(", ") for part, switch in SWITCHES.items()}
    image = torch.rand(1, 3, 12, 12)

    def output(**changed: bool) -> torch.Tensor:
        net = build_network({**options["network_g"], **parts, **changed})
        net.load_state_dict(trained)
        with torch.no_grad():
            return net(image)

    with torch.no_grad():
        assert torch.equal(model.net_g(image), output())
    for switch in ("long_skip", "short_skip"):
        assert not torch.equal(output(), output(**{switch: not parts[switch]}))
    assert any("attention" in key for key in trained) == parts["channel_attention"]
