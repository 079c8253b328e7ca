"""The state dict in a file, and the `param_key_g` that an option file must name."""

import pytest
import torch

from rcan_plugin.weights import state_dicts
from tests.comparison import same
from tests.weights.saved import WEIGHTS

OTHER = {name: value + 1 for name, value in WEIGHTS.items()}
PREFIXED = {f"module.{name}": value for name, value in WEIGHTS.items()}
LAYOUTS = {
    "flat": WEIGHTS,
    "params": {"params": WEIGHTS},
    "ema alone": {"params_ema": WEIGHTS},
    "both": {"params": WEIGHTS, "params_ema": OTHER},
    "state_dict": {"state_dict": WEIGHTS, "epoch": 3, "best": torch.ones(1)},
    "generator and more": {"generator": WEIGHTS, "critic": OTHER},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_prefix_of_parallel_training_is_dropped(layout):
    content = {
        name: {f"module.{key}": tensor for key, tensor in value.items()} if isinstance(value, dict) else value
        for name, value in (PREFIXED if layout == "flat" else LAYOUTS[layout]).items()
    }
    found, expected = state_dicts.state_dicts(content), state_dicts.state_dicts(LAYOUTS[layout])
    assert found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)


@pytest.mark.parametrize(
    ("layout", "key", "taken"),
    [
        ("flat", None, WEIGHTS),
        ("params", "params", WEIGHTS),
        ("params", "params_ema", WEIGHTS),
        ("ema alone", "params_ema", WEIGHTS),
        ("both", "params", WEIGHTS),
        ("both", "params_ema", OTHER),
        ("state_dict", "state_dict", WEIGHTS),
        ("generator and more", "critic", OTHER),
    ],
)
def test_what_basicsr_loads_is_chosen_for_both_models(layout, key, taken):
    for any_layout in (False, True):
        assert same(state_dicts.choose(LAYOUTS[layout], key, any_layout=any_layout)[1], taken)


@pytest.mark.parametrize(
    ("layout", "key", "written"),
    [
        ("flat", "params", "write param_key_g: ~$"),
        ("params", None, "not flat: write param_key_g: params$"),
        ("params", "weights", "not under 'weights': write param_key_g: params$"),
        ("ema alone", "params", "not under 'params': write param_key_g: params_ema$"),
        ("both", None, r"write param_key_g: params \(or params_ema\)$"),
        ("state_dict", "params", "write param_key_g: state_dict$"),
        ("state_dict", None, "write param_key_g: state_dict$"),
        ("generator and more", "params", r"write param_key_g: generator \(or critic\)$"),
    ],
)
def test_what_basicsr_does_not_load_is_refused_with_the_key_to_write(layout, key, written):
    with pytest.raises(ValueError, match=written):
        state_dicts.choose(LAYOUTS[layout], key)


@pytest.mark.parametrize("key", ["params", "params_ema", None])
@pytest.mark.parametrize("layout", ["flat", "params", "ema alone", "state_dict"])
def test_any_layout_takes_the_only_weights_there_are(layout, key):
    assert same(state_dicts.choose(LAYOUTS[layout], key, any_layout=True)[1], WEIGHTS)


@pytest.mark.parametrize("key", ["params", None, "weights"])
def test_any_layout_does_not_guess(key):
    with pytest.raises(ValueError, match=r"write param_key_g: generator \(or critic\)$"):
        state_dicts.choose(LAYOUTS["generator and more"], key, any_layout=True)


def test_the_message_names_the_option_of_the_network():
    with pytest.raises(ValueError, match=r"write param_key_d: ~$"):
        state_dicts.choose(WEIGHTS, "params", "param_key_d")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 1, "iter": 60, "optimizers": [], "schedulers": []}, r"training state.*net_g_60\.pth"),
        ({"params": {}, "other": 1}, "holds no weights, only params, other$"),
        ({}, "holds no weights, only an empty dict$"),
        ([1, 2], "holds no weights, only a list$"),
        (torch.ones(3), "holds no weights, only a Tensor$"),
    ],
)
def test_content_without_weights_is_named(content, message):
    for any_layout in (False, True):
        with pytest.raises(ValueError, match=message):
            state_dicts.choose(content, "params", any_layout=any_layout)


def test_tensors_with_values_that_are_not_finite_are_named():
    weights = {"a": torch.ones(2), "b": torch.tensor([1, float("nan")]), "c": torch.tensor([float("inf")])}
    weights["d"] = torch.tensor([3])
    assert state_dicts.not_finite(weights) == ["b", "c"]
