"""The plugin loads itself: when, into what, and what it leaves alone."""

import json
import pkgutil
import subprocess
import sys

import pytest
import torchvision.transforms._functional_tensor as kept

import rcan_plugin
from rcan_plugin import autoload

MODULES = ["rcan_plugin"] + [
    module.name for module in pkgutil.walk_packages(rcan_plugin.__path__, "rcan_plugin.", onerror=print)
]


CHECK = """
import sys
import basicsr
from basicsr.utils import registry
assert "RCANArch" in registry.ARCH_REGISTRY and "DegradationPairedDataset" in registry.DATASET_REGISTRY
assert "EuclideanLoss" in registry.LOSS_REGISTRY and "AcceleratedSRModel" in registry.MODEL_REGISTRY
assert sys.modules["rcan_plugin.autoload"].problems == []
"""


def test_every_module_is_known():
    """`walk_packages` imports packages to look into them, and passes over those that fail."""
    root = autoload.__file__.removesuffix("autoload.py")
    files = subprocess.run(["find", root, "-name", "*.py"], capture_output=True, text=True, check=True).stdout.split()
    assert len(MODULES) == len(files)


@pytest.mark.parametrize("module", MODULES)
def test_any_module_may_be_imported_first(module, run):
    # The modules of a room that do not import BasicSR leave it to the same import as the room itself.
    check = CHECK if module.count(".") < 2 else f"import sys\nif 'basicsr' in sys.modules:\n    exec({CHECK!r})"
    run("-c", f"import {module}\n{check}")


def test_a_module_imported_first_in_a_new_python(run):
    run("-c", f"import rcan_plugin.models.accelerated_model\n{CHECK}", fresh=True)


def loaded_by_torch(run, switch: str) -> set[str]:
    code = "import sys, json, torch; print(json.dumps(sorted(sys.modules)))"
    return set(json.loads(run("-c", code, env={autoload.SWITCH: switch}, fresh=True).stdout))


def test_at_import_torch_only_its_own_small_module_is_imported(run):
    on = loaded_by_torch(run, "1")
    assert {name for name in on if name.startswith(("rcan_plugin", "basicsr", "cv2", "lmdb"))} == {
        "rcan_plugin",
        "rcan_plugin._version",
        "rcan_plugin.autoload",
    }
    # Switched off, torch still imports the module to ask it: the rest must be the same.
    assert on == loaded_by_torch(run, "0")


def test_switched_off_it_leaves_no_trace(run):
    code = (
        "import sys, torch, rcan_plugin.autoload as a; print(sum('rcan' in type(f).__module__ for f in sys.meta_path))"
    )
    assert run("-c", code, env={autoload.SWITCH: "0"}).stdout.split() == ["0"]
    assert run("-c", code, env={autoload.SWITCH: None}).stdout.split() == ["2"]


def test_switched_off_it_can_be_registered_by_hand(run):
    code = f"import rcan_plugin; rcan_plugin.register(); rcan_plugin.register()\n{CHECK}"
    code += "import basicsr.train, basicsr.test\nassert hasattr(basicsr.train.parse_options, '__wrapped__')"
    run("-c", code, env={autoload.SWITCH: "0"})


def test_loading_never_raises_and_keeps_what_went_wrong(monkeypatch):
    def fail():
        raise RuntimeError("no such luck")

    monkeypatch.setattr(autoload, "problems", [])
    monkeypatch.setattr(autoload, "supply_functional_tensor", fail)
    autoload.load()
    assert autoload.problems == ["loading at `import torch` failed: RuntimeError('no such luck')"]


def test_a_failed_registration_is_kept_and_reported(monkeypatch, capsys):
    def fail():
        raise ImportError("half installed")

    monkeypatch.setattr(autoload, "problems", [])
    monkeypatch.setattr(autoload, "connect", fail)
    autoload._connect_quietly()
    assert autoload.problems == ["registering in BasicSR failed: ImportError('half installed')"]
    assert "rcan doctor" in capsys.readouterr().err


def test_the_dropped_torchvision_module_is_the_renamed_one_whole():
    import torchvision.transforms.functional_tensor as dropped

    assert dropped is kept
    assert sys.modules[autoload.OLD_MODULE] is kept
    assert kept.__spec__.name == autoload.NEW_MODULE


def test_a_torchvision_that_has_the_module_keeps_its_own(run, tmp_path):
    package = tmp_path / "torchvision" / "transforms"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py", package / "functional_tensor.py"):
        file.write_text("")
    code = "import rcan_plugin.autoload as a; a.load(); import torchvision.transforms.functional_tensor as f"
    code += "; print(f.__file__)"
    done = run("-c", code, env={"PYTHONPATH": str(tmp_path)}, fresh=True)
    assert done.stdout.strip() == str(package / "functional_tensor.py")


def test_spawned_workers_have_it_too(run, tiny):
    """Workers under spawn unpickle our data set first of all, and BasicSR's seeding after it."""
    script = tiny / "spawn.py"
    script.write_text(
        """
import sys
import torch

def registered(worker):
    from basicsr.utils.registry import DATASET_REGISTRY
    assert "DegradationPairedDataset" in DATASET_REGISTRY and sys.modules["rcan_plugin.autoload"].problems == []

if __name__ == "__main__":
    from rcan_plugin.data.paired_dataset import DegradationPairedDataset
    opt = {"name": "t", "phase": "val", "scale": 2, "dataroot_gt": "HR", "degradation": {"type": "BI"}}
    loader = torch.utils.data.DataLoader(
        DegradationPairedDataset(opt), num_workers=1, multiprocessing_context="spawn", worker_init_fn=registered
    )
    print([tuple(item["lq"].shape) for item in loader])
"""
    )
    assert run(script).stdout.strip() == "[(1, 3, 20, 24), (1, 3, 28, 20), (1, 3, 20, 21)]"
