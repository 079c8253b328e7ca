"""What an option file may ask of `AcceleratedSRModel`, and the learning rates."""

import itertools
import math

import pytest

from rcan_plugin.models import accelerated_model
from rcan_plugin.models.settings import Settings
from tests.comparison import names_all
from tests.models.conftest import build

AMP = "expected bf16 or fp16, or no key for float32."
GUARD = "expected {factor: F, stop_after: N}, with F above 1 and a whole number N."
TILE = "expected {size: N, overlap: M} in LR pixels, M at most half of N, or {protocol: official_chop}."
CLIP = "expected one of {norm: N}, {value: N}, {adjustable: N}, {adjustable_norm: N}."
MODES = "expected true or one of blocks, default, reduce-overhead, max-autotune, max-autotune-no-cudagraphs."
LESS = "expected a whole number of 0 or more, less than total 9."
PARTS = "expected a whole number of 1 or more."

WRONG = [
    *(("train", "amp", value, AMP) for value in ("fp8", True, ["bf16"])),
    *(("train", "channels_last", value, "expected true or false.") for value in ("yes", 1)),
    *(("train", "compile", value, MODES) for value in ("fast", 1, ["default"])),
    *(("train", "grad_accum", value, PARTS) for value in (0, -2, 2.0, "2", True)),
    *(("train", "grad_clip", value, CLIP) for value in (1.0, {"norm": 0}, {"nrom": 1})),
    *(("train", "guard", value, GUARD) for value in (
        True, 10, {}, {"factor": 10}, {"factor": 1, "stop_after": 3}, {"factor": math.nan, "stop_after": 3},
        {"factor": 10, "stop_after": 0}, {"factor": 10, "stop_after": 2.5}, {"factor": 10, "stop_after": True},
        {"factor": "10", "stop_after": 3}, {"factor": 10, "stop_after": 3, "more": 1},
    )),
    *(("train", "cuda_graph", value, "expected true or false.") for value in ("yes", 1)),
    *(("val", "amp", value, AMP) for value in ("fp8", True)),
    *(("val", "compile", value, "expected blocks, or no key.") for value in (True, "default")),
    *(("val", "cuda_graph", value, "expected true or false.") for value in ("yes", 1)),
    *(("val", "self_ensemble", value, "expected true or false.") for value in ("x8", 8)),
    *(("val", "tile", value, TILE) for value in (
        64, {}, {"size": 64}, {"size": 64, "overlap": 33}, {"size": 0, "overlap": 0}, {"size": 64, "overlap": -1},
        {"size": 64.0, "overlap": 8}, {"size": 64, "overlap": False}, {"protocol": "chop"},
    )),
    *(("val", "pictures", value, "expected a whole number of 0 or more.") for value in (-1, "3", True, 1.5)),
    *(("logger", "keep_last", value, PARTS) for value in (0, "5", True)),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key", "value", "expected"), WRONG)
def test_a_wrong_value_is_refused_by_key_value_and_what_was_expected(section, key, value, expected, options):
    opt = options(**{section: {key: value}})
    for look in (Settings.read, accelerated_model.check, build):
        with pytest.raises(ValueError) as caught:
            look(opt)
        assert str(caught.value) == f"{section}: {key} is {value!r}; {expected}"


def test_parts_that_do_not_fit_the_batch_or_its_loss_are_refused(options):
    opt = options(train={"grad_accum": 3})
    for look in (accelerated_model.check, build):
        with pytest.raises(ValueError, match=r"train: grad_accum is 3.* batch_size_per_gpu 4 .*divisor"):
            look(opt)
    opt = options(train={"grad_accum": 2, "pixel_opt": {"type": "L1Loss", "reduction": "sum"}})
    for look in (accelerated_model.check, build):
        with pytest.raises(ValueError, match=r"grad_accum is 2 and pixel_opt: reduction sum; expected mean\."):
            look(opt)
    opt["train"]["grad_accum"] = 1
    accelerated_model.check(opt)


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_two_kinds_of_cuda_graphs_are_refused(mode, options):
    opt = options(train={"compile": mode, "cuda_graph": True})
    for look in (accelerated_model.check, build):
        with pytest.raises(ValueError) as caught:
            look(opt)
        assert names_all(caught.value, "train: compile", mode, "cuda_graph", "blocks")


def test_what_is_read(options):
    assert Settings.read(options()) == Settings()
    train = {
        "amp": "fp16", "channels_last": True, "compile": "reduce-overhead", "grad_accum": 2, "grad_clip": {"value": 1},
        "guard": {"factor": 10, "stop_after": 3},
    }  # fmt: skip
    val = {"self_ensemble": True, "tile": {"size": 64, "overlap": 32}, "pictures": 3}
    opt = options(train=train, val=val, logger={"keep_last": 5})
    accelerated_model.check(opt)
    assert Settings.read(opt) == Settings(
        amp="fp16", channels_last=True, compile="reduce-overhead", grad_accum=2, grad_clip=("value", 1.0),
        guard=(10.0, 3), self_ensemble=True, tile=(64, 32), pictures=3, keep_last=5,
    )  # fmt: skip
    opt = options(
        train={"cuda_graph": True, "compile": "blocks"}, val={"amp": "bf16", "cuda_graph": True, "compile": "blocks"}
    )
    assert Settings.read(opt) == Settings(
        compile="blocks", cuda_graph=True, val_amp="bf16", val_cuda_graph=True, val_compile=True
    )
    assert Settings.read(options(train={"compile": True})).compile == "default"
    assert Settings.read(options(val={"tile": {"protocol": "official_chop"}})).tile == "official_chop"


def test_nothing_and_off_are_the_default(options):
    opt = options()
    opt["train"] |= dict.fromkeys(("amp", "channels_last", "compile", "grad_accum", "grad_clip", "guard"))
    opt["val"] |= dict.fromkeys(("self_ensemble", "tile", "pictures"))
    opt["logger"] |= {"keep_last": None}
    assert Settings.read(opt) == Settings()
    opt["train"] |= {"amp": False, "channels_last": False, "compile": False}
    assert Settings.read(opt) == Settings()
    assert Settings.read({"val": None}) == Settings(), "an option file for testing"


# -- learning rates


def rates(model, last: int) -> list[float]:
    """Of iterations 1 to `last`, as BasicSR's loop sets them."""
    found = []
    for number in range(1, last + 1):
        model.update_learning_rate(number, warmup_iter=-1)
        model.optimizer_g.step()
        found += model.get_current_learning_rate()
    return found


def test_warm_up_and_half_a_cosine(options):
    scheduler = {"type": "WarmupCosineLR", "total": 105, "warmup": 4, "eta_min": 1e-5}
    found = rates(build(options(train={"scheduler": scheduler})), 110)
    assert found[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3], rel=1e-12), (
        "the last of the warm-up is the rate"
    )
    assert found[4] == 1e-3
    assert found[54] == pytest.approx((1e-3 + 1e-5) / 2, rel=1e-12), "halfway from the 5th to the 105th"
    assert found[29] == pytest.approx(1e-5 + (1e-3 - 1e-5) * (1 + math.sqrt(0.5)) / 2, rel=1e-12)
    assert found[104:] == pytest.approx([1e-5] * 6, rel=1e-12), "the last, and what is trained beyond"
    assert all(earlier > later for earlier, later in itertools.pairwise(found[4:105]))


def test_without_warm_up(options):
    found = rates(build(options(train={"scheduler": {"type": "WarmupCosineLR", "total": 3}})), 3)
    assert found == pytest.approx([1e-3, 0.5e-3, 0], rel=1e-12, abs=1e-18)
    assert rates(build(options(train={"scheduler": {"type": "WarmupCosineLR", "total": 1}})), 2) == [1e-3, 0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "train: scheduler: total is None; expected a whole number of iterations."),
        ({"total": "1e6"}, "train: scheduler: total is '1e6'; expected a whole number of iterations."),
        ({"total": 9, "warmup": 9}, f"train: scheduler: warmup is 9; {LESS}"),
        ({"total": 9, "warmup": -1}, f"train: scheduler: warmup is -1; {LESS}"),
        # YAML takes 1e-7 for a text
        ({"total": 9, "eta_min": "1e-7"},
         "train: scheduler: eta_min is '1e-7'; expected a rate such as 1.0e-7, or 0."),
        ({"total": 9, "milestones": [3]}, "train: scheduler has milestones; expected only total, warmup and eta_min."),
    ],
)  # fmt: skip
def test_a_wrong_schedule_is_refused_before_anything_is_built(settings, said, options):
    opt = options(train={"scheduler": {"type": "WarmupCosineLR", **settings}})
    for look in (accelerated_model.check, build):
        with pytest.raises(ValueError) as caught:
            look(opt)
        assert str(caught.value) == said
