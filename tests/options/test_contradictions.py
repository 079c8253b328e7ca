"""Values that are right by themselves and contradict each other."""

import pytest
import yaml

from tests.options.wrong import BASES, MISSING, changed, refused, training, understood

PERCEPTUAL = {"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1}}
COSINE = {"type": "CosineAnnealingRestartLR", "periods": [4], "eta_min": 1e-7}
SINGLE = {"name": "s", "type": "SingleImageDataset", "dataroot_lq": "LR", "io_backend": {"type": "disk"}}

PAIRS = [
    # schedule
    ("SRModel", {"train__scheduler__milestones": [2, 5]}, "milestones: is [2, 5], and total_iter is 4: correct one of"),
    ("SRModel", {"train__scheduler": {**COSINE, "periods": [3]}}, "periods: is [3], together 3; expected total_iter 4"),
    ("SRModel", {"train__scheduler": {**COSINE, "eta_min": 1}}, "eta_min: is 1, above the rate 0.0001 (optim_g: lr)"),
    ("SRModel", {"train__scheduler": {**COSINE, "restart_weights": [1, 1]}}, "train: scheduler: periods and restart_w"),
    ("SRModel", {"train__scheduler__restarts": [0, 1]}, "train: scheduler: restarts and their weights do not match."),
    ("SRModel", {"train__warmup_iter": 5}, "train: warmup_iter: is 5, more than total_iter 4; expected less, or -1"),
    (
        "SRModel",
        {"train__scheduler": {"type": "WarmupCosineLR", "total": 4}},
        "and SRModel does not have it: write mod",
    ),
    (
        "ours",
        {"train__scheduler": {"type": "WarmupCosineLR", "total": 3}},
        "total: is 3, less than total_iter 4: 1 ite",
    ),
    (
        "ours",
        {"train__scheduler": {"type": "WarmupCosineLR", "total": 4, "warmup": 4}},
        "scheduler: warmup: is 4; expec",
    ),
    (
        "ours",
        {"train__scheduler": {"type": "WarmupCosineLR", "total": 4, "warmup": 1}, "train__warmup_iter": 2},
        "warmup: is 1, and warmup_iter 2 is a second warm-up: remove one.",
    ),
    # optimizers and losses
    (
        "SRModel",
        {"train__optim_g": {"type": "AdamW", "lr": 1e-4}},
        "type: is AdamW, which SRModel does not have: write",
    ),
    ("ours", {"train__optim_g": {"type": "SGD", "lr": 1e-4, "nesterov": True}}, "optim_g: Nesterov momentum requires"),
    ("ours", {"train__optim_g__layer_rates": {"tial": 0.1}}, "layer_rates: names 'tial'; expected a part of a param"),
    ("ours", {"train__freeze": {"parts": ["trunk"], "until": 1}}, "freeze: parts: names 'trunk'; expected a part of a"),
    (
        "ours",
        {"train__freeze": {"parts": ["a", "o"], "until": 1}},
        "parts: is ['a', 'o'], which is in the na",
    ),
    ("ours", {"train__freeze": {"parts": ["body"], "until": 4}}, "until: is 4, and total_iter is 4: expected less"),
    ("ours", {"train__optim_g": {"type": "SparseAdam", "lr": 1e-4}}, "SparseAdam cannot run a training step with thes"),
    ("ours", {"train__optim_g": {"type": "LBFGS", "lr": 1e-4}}, "optim_g: LBFGS cannot run a training step with these"),
    ("SRModel", {"train__optim_g__differentiable": True}, "optim_g: Adam cannot run a training step with these setti"),
    ("ours", {"train__compile": "blocks"}, "train: compile: RCANArch has no repeated blocks; for training, use compil"),
    ("ours", {"val__compile": "blocks"}, "val: compile: RCANArch has no repeated blocks"),
    ("gan", {"train__net_d_init_iters": 4}, "net_d_init_iters: is 4, and total_iter is 4, so that network_g is never"),
    (
        "gan",
        {"train__net_d_iters": 5},
        "net_d_iters: is 5, and total_iter is 4, so that network_g is never trained; ex",
    ),
    ("gan", {"train__ldl_opt": {"type": "L1Loss"}}, "ldl_opt: is built by SRGANModel and not used: remove it, or wri"),
    ("SRModel", {"train__pixel_opt": None}, "pixel_opt: the key is missing, and there is no perceptual_opt: the run"),
    ("gan", {"train__gan_opt__gan_type": "gan"}, "train: gan_opt: GAN type gan is not implemented."),
    ("SRModel", {"train__perceptual_opt": {**PERCEPTUAL, "layer_weights": {"conv9_9": 1}}}, "conv9_9: vgg19 has no su"),
    ("SRModel", {"train__perceptual_opt": {**PERCEPTUAL, "layer_weights": {"bn5_4": 1}}}, "bn5_4: vgg19 has no such"),
    ("SRModel", {"train__perceptual_opt": {**PERCEPTUAL, "vgg_type": "vgg20"}}, "is vgg20; expected one of vgg11, vgg"),
    ("SRModel", {"train__perceptual_opt": {**PERCEPTUAL, "criterion": "L1"}}, "is L1; expected l1, l2 or fro."),
    (
        "gan",
        {"train__pixel_opt": {"type": "GANLoss", "gan_type": "vanilla"}},
        "type: is GANLoss; expected L1Loss, MSE",
    ),
    ("gan", {"train__pixel_opt": {"type": "WeightedTVLoss"}}, "pixel_opt: type: is WeightedTVLoss; expected L1Loss,"),
    ("gan", {"train__perceptual_opt": {"type": "L1Loss"}}, "type: is L1Loss; expected PerceptualLoss."),
    ("gan", {"train__gan_opt": {"type": "L1Loss"}}, "gan_opt: type: is L1Loss; expected GANLoss, MultiScaleGANLoss."),
    ("ours", {"train__pixel_opt": PERCEPTUAL}, "pixel_opt: type: is PerceptualLoss; expected L1Loss, MSELoss"),
    ("SRModel", {"logger__wandb": {"resume_id": "x"}}, "wandb: resume_id: is read only with wandb: project: write it"),
    ("SRModel", {"logger__wandb": {"project": "x"}, "logger__use_tb_logger": True}, "needs the package wandb"),
    ("SRModel", {"path__ignore_resume_networks": ["network_d"]}, "names network_d, which this file does not have."),
    # data sets
    (
        "SRModel",
        {"datasets__train__gt_size": 15},
        "train: gt_size: is 15; expected a multiple of scale 2: use 14 or 16",
    ),
    ("stock", {"datasets__train__gt_size": 1}, "train: gt_size: is 1; expected a multiple of scale 2, such as 2."),
    ("SRModel", {"datasets__train__scale": 3}, "scale: is 3, and the top level's scale 2 replaces it: remove one"),
    ("SRModel", {"scale": MISSING}, "scale: the key is missing; expected a whole number, such as 4."),
    ("SRModel", {"scale": 1, "network_g__upscale": 1}, "scale: is 1, and LR images are made by enlarging nothing"),
    ("SRModel", {"datasets__train__scales": [2, 3]}, "scales: is [2, 3], and the top level has scale 2: remove it;"),
    ("SRModel", {"datasets__train__lq_size": 8}, "train: lq_size: is 8 and gt_size is 16: give one of the two."),
    ("SRModel", {"datasets__train__degradation": MISSING}, "train: neither dataroot_lq nor degradation is given"),
    ("SRModel", {"datasets__train__degradation__sigma": 2}, "degradation: sigma: is 2 but belongs to BD"),
    ("SRModel", {"datasets__train__filename_tmpl": "{}x2"}, "is {}x2, and there is no dataroot_lq with LR files"),
    ("stock", {"datasets__train__filename_tmpl": "x2"}, "is x2; expected text with one {} for the name, such as {}x4."),
    ("stock", {"datasets__train__filename_tmpl": "{"}, "is {; expected text with one {} for the name"),
    (
        "stock",
        {"datasets__train__io_backend__type": "lmdb"},
        "dataroot_gt: is HR, and io_backend: type is lmdb: lmdb is for",
    ),
    ("stock", {"datasets__val__io_backend__readonly": True}, "io_backend: readonly: is for type: lmdb; remove it."),
    ("stock", {"datasets__train__mean": [0.5] * 3}, "mean is [0.5, 0.5, 0.5] and std is ~; expected both or none."),
    (
        "SRModel",
        {"datasets__train__mean": [1, 1], "datasets__train__std": [1, 1]},
        "mean: is [1, 1]; expected 3 values",
    ),
    ("SRModel", {"datasets__train__persistent_workers": True}, "is true, and there are no workers: set num_worker_per"),
    ("SRModel", {"datasets__val__persistent_workers": True}, "is true, and there are no workers: remove it."),
    ("SRModel", {"datasets__train__prefetch_mode": "cuda"}, "is cuda; BasicSR expects pin_memory: true with it."),
    (
        "SRModel",
        {"datasets__val_2": {**training()["datasets"]["val"]}},
        "name: is v, as that of val: their results wou",
    ),
    ("SRModel", {"val": MISSING}, "datasets: val: is validated only with a section val; add one, or remove the data"),
    # data and model
    ("stock", {"datasets__val": SINGLE}, "val: type: is SingleImageDataset, which has no HR images: train and measure"),
    ("SRModel", {"model_type": "VideoBaseModel"}, "is DegradationPairedDataset, and VideoBaseModel is not for the sa"),
    ("SRModel", {"model_type": "RealESRNetModel"}, "and RealESRNetModel makes LR images: write RealESRGANDataset"),
    # AcceleratedSRModel
    ("ours", {"train__grad_accum": 3}, "train: grad_accum: is 3, which does not divide batch_size_per_gpu 2"),
    ("ours", {"train__grad_clip": {"norm": 1, "value": 1}}, "train: grad_clip: is {'norm': 1, 'value': 1}; expected o"),
    ("ours", {"val__tile": {"size": 16, "overlap": 9}}, "val: tile: is {'size': 16, 'overlap': 9}; expected {size: N"),
    # metrics
    (
        "SRModel",
        {"val__metrics__psnr__type": "calculate_psnr_pt"},
        "val: metrics: psnr: calculate_psnr_pt refuses thes",
    ),
    (
        "SRModel",
        {"val__metrics": {"n": {"type": "calculate_niqe", "crop_border": 0, "convert_to": "x"}}},
        "metrics: n: ",
    ),
]


@pytest.mark.parametrize(("base", "changes", "expected"), PAIRS, ids=[str(entry[1])[:60] for entry in PAIRS])
def test_a_contradiction(base, changes, expected, tmp_path):
    messages = refused(tmp_path / "o.yml", changed(BASES[base](), **changes), is_train=base != "test")
    assert expected in messages[0], messages


def test_what_agrees_passes(tmp_path):
    for base, changes in (
        ("ours", {"train__scheduler": {"type": "WarmupCosineLR", "total": 9, "warmup": 1}}),
        ("SRModel", {"train__scheduler": COSINE, "train__warmup_iter": 4}),
        ("ours", {"train__optim_g": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "layer_rates": {"bias": 0}}}),
        ("ours", {"train__freeze": {"parts": ["body"], "until": 3}}),
        ("ours", {"datasets__val": SINGLE}),
        ("ours", {"train__compile": "blocks", "val__compile": "blocks", "network_g__num_block": 2}),
        ("gan", {"train__net_d_init_iters": 3, "train__net_d_iters": 4}),
        ("stock", {"scale": 1, "network_g__upscale": 1}),
        (
            "SRModel",
            {"train__perceptual_opt": {**PERCEPTUAL, "vgg_type": "vgg16_bn", "layer_weights": {"bn5_3": 1}}},
        ),
        ("SRModel", {"val__metrics": {"n": {"type": "calculate_niqe", "crop_border": 0, "better": "lower"}}}),
    ):
        understood(tmp_path / "o.yml", changed(BASES[base](), **changes))


def test_a_check_that_fails_itself_names_its_section(tmp_path, monkeypatch):
    def fail(view, is_train):
        raise TypeError("unexpected")

    monkeypatch.setattr("rcan_plugin.options.contradictions.datasets", fail)
    assert refused(tmp_path / "o.yml", "\n" + yaml.safe_dump(training())) == [
        "line 2: datasets: cannot be checked: TypeError: unexpected."
    ]
