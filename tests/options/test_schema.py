"""Each key of an option file: unknown, misplaced, missing, of the wrong type, out of range, not read by the model."""

import math

import pytest

from tests.options.wrong import BASES, MISSING, changed, evaluation, gan, refused, stock, training, understood

SHORT = {"allow": ["train: mine"], "train__mine": 1}

ONE_KEY = [
    # misspelt
    ("SRModel", {"num_gp": 0, "num_gpu": MISSING}, "num_gp: is 0; no code reads this key. Did you mean num_gpu?"),
    ("SRModel", {"dataset": {}, "datasets": MISSING}, "dataset: is {}; no code reads this key. Did you mean datasets?"),
    ("SRModel", {"datasets__train__chanels": 1}, "does not read this key. Did you mean channels?"),
    ("SRModel", {"path__pretrained_network_g": "a.pth"}, "Did you mean pretrain_network_g?"),
    ("SRModel", {"network_g__num_feats": 8}, "is 8; RCANArch has no such argument. Did you mean num_feat?"),
    ("SRModel", {"train__optim_g__momentum": 0.9}, "is 0.9; Adam has no such argument. Known are amsgrad, betas,"),
    ("SRModel", {"val__metrics__psnr__test_y_chanel": True}, "Did you mean test_y_channel?"),
    ("SRModel", {"val__metric": {}}, "val: metric: is {}; no code reads this key. Did you mean metrics?"),
    ("SRModel", {"train__mine": 1}, "To keep it: `allow: ['train: mine']`."),
    ("ours", {"train__ampp": "bf16"}, "train: ampp: is bf16; no code reads this key. Did you mean amp?"),
    (
        "ours",
        {"val__self_ensamble": True},
        "val: self_ensamble: is true; no code reads this key. Did you mean self_ensem",
    ),
    ("ours", {"datasets__train__dataroot_hr": "HR"}, "does not read this key. Did you mean dataroot_gt?"),
    ("ours", {"train__accum_iter": 2}, "train: accum_iter: is 2; no code reads this key. Did you mean grad_accum?"),
    # misplaced
    ("SRModel", {"gt_size": 16}, "gt_size: is 16; it is not read here, but under datasets: train: move it there."),
    ("SRModel", {"train__lr": 1e-4}, "it is not read here, but under train: optim_g: move it there."),
    ("SRModel", {"crop_border": 2}, "it is not read here, but under val: metrics: psnr: move it there."),
    ("SRModel", {"datasets__val__gt_size": 16}, "is 16; it is only read under datasets: train: remove it."),
    (
        "SRModel",
        {"datasets__val2": {}},
        "datasets: val2: is not a data set that training reads; expected train, val, val_1",
    ),
    (
        "SRModel",
        {"datasets__test": {}},
        "datasets: test: is not a data set that training reads; expected train, val, v",
    ),
    ("test", {"datasets__train": {}}, "datasets: train: is not a data set that testing reads; expected test, test_1"),
    ("test", {"train": {"total_iter": 1}}, "train: is {total_iter: 1}; testing does not read it: remove it."),
    # of another model or data set
    (
        "SRModel",
        {"train__guard": {"factor": 2}},
        "and SRModel does not read it: remove it, or write model_type: Accelera",
    ),
    (
        "SRModel",
        {"logger__keep_last": 2},
        "and SRModel does not read it: remove it, or write model_type: AcceleratedSR",
    ),
    ("SRModel", {"train__net_d_iters": 1}, "and SRModel does not read it: remove it, or write model_type: SRGANModel."),
    (
        "stock",
        {"datasets__train__channels": 1},
        "and PairedImageDataset does not read it: remove it, or write type: De",
    ),
    ("stock", {"model_type": "SwinIRModel"}, "network_g: window_size: the key is missing, and SwinIRModel reads it"),
    # missing
    ("SRModel", {"num_gpu": MISSING}, "num_gpu: the key is missing; expected auto, or a whole number of 0 or more"),
    ("SRModel", {"train__optim_g__lr": MISSING}, "train: optim_g: lr: the key is missing; expected a number above 0"),
    (
        "SRModel",
        {"val__metrics__psnr__crop_border": MISSING},
        "crop_border: the key is missing; expected a whole number",
    ),
    ("stock", {"datasets__train__gt_size": MISSING}, "datasets: train: gt_size: the key is missing; expected a whole"),
    ("gan", {"network_d": MISSING}, "network_d: the key is missing"),
    ("gan", {"train__gan_opt": MISSING}, "train: gan_opt: the key is missing"),
    ("test", {"val__suffix": MISSING}, "val: suffix: the key is missing"),
    ("SRModel", {"datasets__train": MISSING}, "datasets: there is no data set to train on; expected train."),
    # names of classes
    ("SRModel", {"model_type": "srmodel"}, "is srmodel; no model of this name is registered. Did you mean SRModel?"),
    ("SRModel", {"network_g__type": "RCANarch"}, "is RCANarch; no network of this name is registered. Did you mean RC"),
    (
        "SRModel",
        {"val__metrics__psnr__type": "psnr"},
        "no metric of this name is registered. Did you mean calculate_psnr?",
    ),
    (
        "SRModel",
        {"train__scheduler__type": "Cosine"},
        "is Cosine; no scheduler of this name is registered. Did you mean",
    ),
    ("SRModel", {"train__optim_g__type": None}, "train: optim_g: type: is ~; expected the name of an optimizer."),
    # values
    ("SRModel", {"train__total_iter": -5}, "train: total_iter: is -5; expected a whole number from 1 to 1000000000."),
    ("SRModel", {"train__total_iter": "1e3"}, 'is "1e3"; expected a whole number from 1'),
    (
        "SRModel",
        {"train__optim_g__lr": math.inf},
        "train: optim_g: lr: is .inf; expected a number above 0, at most 100.",
    ),
    ("SRModel", {"train__optim_g__lr": "1e-4"}, "YAML reads 1e-4 as text: write 0.0001."),
    ("SRModel", {"train__optim_g__betas": [0.9, 0.99, 0.999]}, "expected a list of 2 values, each a number."),
    ("SRModel", {"train__optim_g__betas": "0.9, 0.99"}, "It is text: write [0.9, 0.99]."),
    ("SRModel", {"train__scheduler__milestones": "2,3"}, "It is text: write [2, 3]."),
    ("SRModel", {"train__scheduler__milestones": ["2e0", 3]}, "It holds text: write [2, 3]."),
    ("SRModel", {"val__val_freq": "5e3"}, "YAML reads 5e3 as text: write 5000."),
    ("SRModel", {"scale": "2e0"}, "YAML reads 2e0 as text: write 2."),
    ("stock", {"datasets__train__use_shuffle": False}, "is false; expected true, since training data is always shuff"),
    ("ours", {"val__compile": True}, "val: compile: is true; expected blocks or false."),
    ("SRModel", {"train__scheduler__milestones": 2}, "is 2; expected a list of values, each a whole number from 1"),
    ("SRModel", {"train__scheduler__gamma": 5}, "is 5; expected a number above 0, at most 1."),
    ("SRModel", {"train__pixel_opt__reduction": "avg"}, "is avg; expected mean or sum."),
    ("SRModel", {"datasets__train__use_hflip": "false"}, "It is text: write false, without quotes."),
    ("SRModel", {"datasets__train__mean": 0.5}, "is 0.5; expected a list of values, each a number. Write [0.5]."),
    ("SRModel", {"datasets__train__phase": "val"}, "datasets: train: phase: is val; BasicSR replaces it by train"),
    ("SRModel", {"datasets__train__num_worker_per_gpu": 10**9}, "expected a whole number from 0 to 1000."),
    ("SRModel", {"datasets__train__dataset_enlarge_ratio": 10**12}, "expected a number above 0, at most 1e+06."),
    ("SRModel", {"val__metrics__psnr__better": "highest"}, "is highest; expected higher or lower."),
    ("SRModel", {"val__metrics__psnr__crop_border": "scale"}, "is scale; expected a whole number of 0 or more."),
    ("SRModel", {"val__metrics__psnr__input_order": "CHW"}, "is CHW; expected HWC."),
    ("SRModel", {"val__metrics": ["psnr"]}, "val: metrics: is [psnr]; expected a mapping of keys to values"),
    ("SRModel", {"name": True}, "YAML reads yes and on as true: quotes make them text."),
    ("SRModel", {"name": 3}, 'Quotes make it text: "3".'),
    ("SRModel", {"num_gpu": "1"}, 'is "1"; expected auto, or a whole number of 0 or more. It is text: write 1,'),
    ("SRModel", {"manual_seed": 2**40}, "expected a whole number from 0 to 4000000000"),
    ("SRModel", {"path__resume_state": "None"}, "YAML writes none as ~."),
    ("SRModel", {"logger": [1]}, "logger: is [1]; expected a mapping with print_freq, save_checkpoint_freq"),
    ("SRModel", {"datasets__val": ["v"] * 50}, "[v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, ...]; expected"),
    ("ours", {"train__amp": "BF16"}, "train: amp: is BF16; expected bf16 or fp16, or ~."),
    (
        "ours",
        {"train__guard": {"factor": 1, "stop_after": 3}},
        "train: guard: factor: is 1; expected a number above 1.",
    ),
    (
        "ours",
        {"train__optim_g__layer_rates": {"bias": -1}},
        "train: optim_g: layer_rates: is {bias: -1}; expected a map",
    ),
    ("ours", {"train__optim_g__layer_rates": {"": 0.1}}, "layer_rates: is {: 0.1}; expected a mapping of parts of"),
    ("ours", {"train__freeze": {"parts": [], "until": 1}}, "is []; expected a list of 1 or more values, each text."),
]


@pytest.mark.parametrize(("base", "changes", "expected"), ONE_KEY, ids=[str(entry[1])[:60] for entry in ONE_KEY])
def test_one_mistake(base, changes, expected, tmp_path):
    messages = refused(tmp_path / "o.yml", changed(BASES[base](), **changes), is_train=base != "test")
    assert len(messages) == 1 and expected in messages[0], messages


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a\0b", "a\nb", "x" * 201, "  "])
@pytest.mark.parametrize("place", ["name", "datasets__val__name", "val__suffix"])
def test_names_that_are_no_folders(name, place, tmp_path):
    messages = refused(tmp_path / "o.yml", changed(training(), **{place: name}))
    assert len(messages) == 1 and "expected a name without `/` of at most 200 bytes" in messages[0]


def test_all_mistakes_at_once_by_line(tmp_path):
    options = changed(training(), scal=2, train__total_iter=0, val__val_freq="5e3", logger=MISSING)
    path = tmp_path / "o.yml"
    lines = [message.partition(": ")[0] for message in refused(path, options)]
    rows = path.read_text().splitlines()
    assert [rows[int(line.removeprefix("line ")) - 1].split(":")[0].strip() for line in lines[:3]] == [
        "total_iter", "val_freq", "scal",
    ]  # fmt: skip
    assert lines[3:] == ["logger"]


def test_keys_are_allowed_one_by_one(tmp_path):
    path = tmp_path / "o.yml"
    understood(path, changed(training(), **SHORT))
    assert "train: other" in refused(path, changed(training(), **SHORT, train__other=1))[0]
    assert "allow: names scale, which is not an unread key of this file" in " ".join(
        refused(path, changed(training(), scale="2", allow=["scale"]))
    )


def test_what_is_right_passes(tmp_path):
    for base in BASES:
        understood(tmp_path / "o.yml", BASES[base](), is_train=base != "test")
    float_counts = {"train__total_iter": 4.0, "val__val_freq": 5e3, "logger__save_checkpoint_freq": 5e3}
    understood(tmp_path / "o.yml", changed(stock(), **float_counts))
    understood(tmp_path / "o.yml", changed(gan(), path__pretrain_network_d=None, datasets__val__phase="val"))
    understood(tmp_path / "o.yml", changed(evaluation(), val__metrics=MISSING, datasets__test_2={
        "name": "s", "type": "SingleImageDataset", "dataroot_lq": "LR", "io_backend": {"type": "disk"},
    }), is_train=False)  # fmt: skip
    understood(tmp_path / "o.yml", changed(BASES["ours"](), val__metrics__psnr__crop_border="scale"))
    for base in ("ours", "stock", "gan"):  # a key that most option files of BasicSR's forks have
        understood(tmp_path / "o.yml", changed(BASES[base](), datasets__train__use_shuffle=True))


def test_quotes_are_advised_where_text_is_taken_alone(tmp_path):
    (message,) = refused(tmp_path / "o.yml", changed(BASES["ours"](), train__amp=True))
    assert message.endswith("train: amp: is true; expected bf16 or fp16, or ~.")


def test_what_a_model_reads_that_is_not_registered_is_not_known(tmp_path):
    keys = {"resize_prob": [1], "train__l1_opt": {"type": "L1Loss"}, "val__use_chop": True}
    (message,) = refused(tmp_path / "o.yml", changed(training("HATModel"), **keys))
    assert "model_type: is HATModel; no model of this name is registered." in message
    misspelt = refused(tmp_path / "o.yml", changed(training("SRModle"), **keys))
    assert [message.split(": is ")[0].partition(": ")[2] for message in misspelt] == [
        "model_type", "train: l1_opt", "val: use_chop", "resize_prob",
    ]  # fmt: skip
