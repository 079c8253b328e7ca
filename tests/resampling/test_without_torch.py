"""Scripts start fast and data workers stay small because these rooms do not import torch."""

import json

PROGRAM = """
import importlib, json, pkgutil, sys
import rcan_plugin.degradations, rcan_plugin.resampling
for package in (rcan_plugin.degradations, rcan_plugin.resampling):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name) if module.name != "rcan_plugin.resampling.bicubic_modules" else None
print(json.dumps(sorted({"torch", "basicsr"} & sys.modules.keys())))
"""


def test_resampling_and_degradations_import_neither_torch_nor_basicsr(run):
    assert json.loads(run("-c", PROGRAM).stdout) == []
