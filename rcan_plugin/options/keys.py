"""The keys of option files that are not arguments of a registered class: type, range, default, and what each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rcan_plugin.options.kinds import (
    FLAG,
    MAPPING,
    NAME,
    NUMBER,
    TEXT,
    Kind,
    count,
    either,
    list_of,
    nullable,
    number,
    one_of,
    whole,
)

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "required"})()


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        kind: what its value may be; a `Section` for a mapping with known keys.
        text: one line of what it is.
        default: what is used without the key; `REQUIRED` if there must be one.
        only: the classes that read it (models or data sets), or the types of the section; empty for all.
    """

    kind: Kind | Section
    text: str
    default: Any = None
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A mapping with known keys.

    Attributes:
        keys: by name.
        registry: registry of the class that `type` names; the other keys are its arguments. None for fixed keys.
    """

    keys: Mapping[str, Key] = field(default_factory=dict)
    registry: str | None = None
    optional: bool = True

    @property
    def expected(self) -> str:
        """Completes "expected ..."."""
        return f"a mapping with {', '.join(self.keys)}" if self.keys else "a mapping of keys to values"


OUR_MODELS = ("AcceleratedSRModel",)
OUR_DATA = ("DegradationPairedDataset",)
GAN = ("SRGANModel", "ESRGANModel", "RealESRGANModel")

NETWORK = Section(registry="networks")
LOSS = Section(registry="losses")
SCHEDULER = Section(registry="schedulers")

WANDB = Section(
    {
        "project": Key(nullable(TEXT), "project at wandb.ai; ~ for none. Needs use_tb_logger"),
        "resume_id": Key(nullable(TEXT), "run at wandb.ai to continue"),
    }
)

IO_BACKEND = Section(
    {
        "type": Key(one_of("disk", "lmdb"), "disk for folders of image files, lmdb for folders named *.lmdb", REQUIRED),
        "readonly": Key(FLAG, "argument of lmdb.open", True),
        "lock": Key(FLAG, "argument of lmdb.open", False),
        "readahead": Key(FLAG, "argument of lmdb.open", False),
    }
)

DEGRADATION = Section(
    {
        "type": Key(one_of("BI", "BD", "DN"), "BI: bicubic; BD: blur, then decimation; DN: BI and noise", REQUIRED),
        "border": Key(
            one_of("replicate", "symmetric"), "values that BI takes for pixels outside the HR image", "replicate"
        ),
        "sigma": Key(number(above=0, most=100), "of BD's Gaussian, in pixels", 1.6, ("BD",)),
        "kernel_size": Key(whole(1, most=1000), "of BD's Gaussian; by default from the scale and sigma", None, ("BD",)),
        "noise": Key(number(least=0), "standard deviation of DN's noise, of 255", 30, ("DN",)),
        "seed": Key(whole(None), "of DN's noise in validation", 0, ("DN",)),
    }
)

DATASET: dict[str, Key] = {
    "name": Key(NAME, "name in the log, in TensorBoard and of the folder of results", REQUIRED),
    "type": Key(TEXT, "class of the data set", REQUIRED),
    "phase": Key(one_of("train", "val", "test"), "set by BasicSR from the section's name"),
    "scale": Key(whole(), "integer scale factor; by default that of the top level"),
    "io_backend": Key(IO_BACKEND, "how files are read"),
    "dataroot_gt": Key(TEXT, "folder or LMDB of HR images"),
    "dataroot_lq": Key(nullable(TEXT), "folder or LMDB of LR images"),
    "meta_info_file": Key(nullable(TEXT), "text file whose lines begin with the names of the HR images to take"),
    "filename_tmpl": Key(TEXT, "how LR names are made from the name that both images share", "{}"),
    "gt_filename_tmpl": Key(TEXT, "how HR names are made from the name that both images share", "{}", OUR_DATA),
    "mean": Key(list_of(NUMBER), "subtracted from the tensors, a value a channel"),
    "std": Key(list_of(number(above=0)), "what the tensors are divided by, a value a channel"),
    "color": Key(one_of("y"), "y: only luma"),
    "degradation": Key(DEGRADATION, "how LR images are made, or were made", None, OUR_DATA),
    "scales": Key(list_of(whole(2), least=1), "several scales for one network, instead of scale", None, OUR_DATA),
    "pre_upsample": Key(FLAG, "enlarge LR images to the HR size by bicubic", False, OUR_DATA),
    "keep_depth": Key(FLAG, "keep 16 bits a value where BasicSR cuts to 8", False, OUR_DATA),
    "channels": Key(one_of(1, 3), "1 for gray, 3 for colour", 3, OUR_DATA),
}

TRAINING_DATA: dict[str, Key] = {
    "gt_size": Key(whole(), "side of the HR crop in pixels"),
    "lq_size": Key(whole(), "side of the LR crop in pixels, instead of gt_size", None, OUR_DATA),
    "use_hflip": Key(FLAG, "flip left and right at random", REQUIRED),
    "use_rot": Key(FLAG, "flip top and bottom and transpose at random", REQUIRED),
    "num_worker_per_gpu": Key(whole(0, most=1000), "processes that load data, for each GPU", REQUIRED),
    "batch_size_per_gpu": Key(whole(), "images a step, for each GPU", REQUIRED),
    "dataset_enlarge_ratio": Key(number(above=0, most=10**6), "how many times an epoch has each image", 1),
    "use_shuffle": Key(
        Kind("true, since training data is always shuffled", lambda value: value is True, {"const": True}),
        "of older versions; true",
    ),
}
"""Keys that only the data set `train` has."""

LOADER: dict[str, Key] = {
    "pin_memory": Key(FLAG, "load into pinned memory, from which copies to a GPU need no waiting", False),
    "persistent_workers": Key(FLAG, "keep the workers between epochs", False),
    "prefetch_mode": Key(nullable(one_of("cpu", "cuda")), "load batches ahead, in a thread or on the GPU"),
    "num_prefetch_queue": Key(whole(), "batches ahead with prefetch_mode cpu", 1),
}
"""Keys of the loader, for any data set."""

PATH: dict[str, Key] = {
    "pretrain_network_g": Key(nullable(TEXT), "file of weights to start from or to test"),
    "param_key_g": Key(nullable(TEXT), "key of the weights in that file; ~ for a file without", "params"),
    "strict_load_g": Key(FLAG, "false: load the tensors that fit, keep the others as initialised", True),
    "resume_state": Key(nullable(TEXT), "training state to resume from"),
    "ignore_resume_networks": Key(list_of(TEXT), "networks whose weights are not taken from the resumed run"),
    "pretrain_network_d": Key(nullable(TEXT), "file of the discriminator's weights", None, GAN),
    "param_key_d": Key(nullable(TEXT), "key of the weights in that file", "params", GAN),
    "strict_load_d": Key(FLAG, "false: load the tensors that fit, keep the others as initialised", True, GAN),
}

GUARD = Section(
    {
        "factor": Key(number(above=1), "skip steps whose loss is above this many times its running mean", REQUIRED),
        "stop_after": Key(whole(), "skipped steps in a row after which training ends", REQUIRED),
    }
)
CLIP = "norm of all gradients together", "each gradient", "each gradient times the rate", "norm times the rate"
FREEZE = Section(
    {
        "parts": Key(list_of(TEXT, least=1), "parts of the names of parameters that keep their values", REQUIRED),
        "until": Key(whole(), "last iteration in which these parameters keep their values", REQUIRED),
    }
)
GRAD_CLIP = Section(
    {
        name: Key(number(above=0), f"bound of {what}")
        for name, what in zip(("norm", "value", "adjustable", "adjustable_norm"), CLIP, strict=True)
    }
)
COMPILE_MODES = ("blocks", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

TRAIN: dict[str, Key] = {
    "total_iter": Key(count(), "iterations of the run", REQUIRED),
    "warmup_iter": Key(either(one_of(-1), count(0)), "iterations of linear warm-up; -1 for none", -1),
    "ema_decay": Key(number(least=0, below=1), "of the averaged weights; 0 for no average", 0),
    "optim_g": Key(Section(registry="optimizers"), "optimizer of the network", REQUIRED),
    "scheduler": Key(SCHEDULER, "schedule of the learning rate", REQUIRED),
    "pixel_opt": Key(LOSS, "loss between images"),
    "perceptual_opt": Key(LOSS, "loss between features of VGG"),
    "amp": Key(nullable(one_of("bf16", "fp16")), "precision of activations; none for float32", None, OUR_MODELS),
    "channels_last": Key(FLAG, "store activations channels last", False, OUR_MODELS),
    "compile": Key(
        either(FLAG, one_of(*COMPILE_MODES), Kind("~", lambda v: v is None, {"type": "null"})),
        "torch.compile: blocks for the network's repeated blocks, true for all",
        False,
        OUR_MODELS,
    ),
    "cuda_graph": Key(FLAG, "record the training step as a CUDA graph", False, OUR_MODELS),
    "freeze": Key(FREEZE, "parameters that are not trained at first", None, OUR_MODELS),
    "grad_accum": Key(whole(), "parts that a batch is cut into to save memory", 1, OUR_MODELS),
    "grad_clip": Key(GRAD_CLIP, "bound of the gradients, one of", None, OUR_MODELS),
    "guard": Key(GUARD, "skip steps that would destroy the weights", None, OUR_MODELS),
    "optim_d": Key(Section(registry="optimizers"), "optimizer of the discriminator", REQUIRED, GAN),
    "gan_opt": Key(LOSS, "adversarial loss, from the discriminator's output", REQUIRED, GAN),
    "ldl_opt": Key(LOSS, "locally discriminative loss", None, GAN),
    "net_d_iters": Key(whole(), "train the network every N iterations", 1, GAN),
    "net_d_init_iters": Key(whole(0), "iterations at the start that train only the discriminator", 0, GAN),
}

TILE = Section(
    {
        "size": Key(whole(), "side of a tile in LR pixels, overlap included"),
        "overlap": Key(whole(0), "overlap of neighbouring tiles in LR pixels"),
        "protocol": Key(one_of("official_chop"), "cut as the authors of RCAN do, instead of size and overlap"),
    }
)

VAL: dict[str, Key] = {
    "val_freq": Key(count(), "iterations between validations", REQUIRED),
    "save_img": Key(FLAG, "save the results as images", REQUIRED),
    "suffix": Key(nullable(NAME), "appended to the names of saved images"),
    "metrics": Key(nullable(MAPPING), "a metric each, by any name"),
    "pbar": Key(FLAG, "show a progress bar", False),
    "self_ensemble": Key(FLAG, "average eight flips and rotations (RCAN+)", False, OUR_MODELS),
    "amp": Key(nullable(one_of("bf16", "fp16")), "precision of the network; none for float32", None, OUR_MODELS),
    "compile": Key(one_of("blocks", False), "blocks: compile the network's repeated blocks", False, OUR_MODELS),
    "cuda_graph": Key(FLAG, "record the network as a CUDA graph for each image shape", False, OUR_MODELS),
    "tile": Key(TILE, "upscale in tiles", None, OUR_MODELS),
    "pictures": Key(whole(0), "images of each set that are written to TensorBoard", 0, OUR_MODELS),
}

METRIC: dict[str, Key] = {
    "type": Key(TEXT, "name of the metric", REQUIRED),
    "crop_border": Key(whole(0), "pixels that are left out at each side", REQUIRED),
    "input_order": Key(one_of("HWC"), "of the arrays that BasicSR compares", "HWC"),
    "test_y_channel": Key(FLAG, "measure on Y (luma), as the papers do", False),
    "better": Key(one_of("higher", "lower"), "which values are better", "higher"),
}

OUR_CROP_BORDER = Key(
    either(whole(0), one_of("scale")), "pixels that are left out at each side; `scale` for the data set's", REQUIRED
)

LAYER_RATES = Key(
    Kind(
        "a mapping of parts of parameters' names to numbers of 0 or more, such as {bias: 0.1}",
        lambda value: isinstance(value, Mapping) and all(value) and all(map(number(least=0).accepts, value.values())),
        {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    ),
    "factors on the rate, by parts of parameters' names",
)

SCHEDULES: dict[str, Key] = {
    "milestones": Key(list_of(count()), "iterations at which the rate is multiplied by gamma", REQUIRED),
    "gamma": Key(number(above=0, most=1), "factor on the rate at each milestone", 0.1),
    "restarts": Key(list_of(count(0)), "iterations at which the rate is set anew", (0,)),
    "periods": Key(list_of(count(), least=1), "iterations of each cosine", REQUIRED),
    "restart_weights": Key(list_of(number(above=0)), "factor on the rate at each restart", (1,)),
    "eta_min": Key(number(least=0), "the lowest rate", 0),
    "total": Key(whole(), "iterations from the start to eta_min", REQUIRED),
    "warmup": Key(whole(0), "iterations of linear warm-up", 0),
}
"""Arguments of the schedulers. Their signatures do not show types and ranges."""

LOSSES: dict[str, Key] = {
    "loss_weight": Key(number(least=0), "factor on the loss", 1.0),
    "reduction": Key(one_of("mean", "sum"), "of the pixels' losses to one number", "mean"),
}
"""Arguments of losses. Their signatures do not show types and ranges."""

LOGGER: dict[str, Key] = {
    "print_freq": Key(count(), "iterations between lines of the log", REQUIRED),
    "save_checkpoint_freq": Key(count(), "iterations between checkpoints", REQUIRED),
    "use_tb_logger": Key(FLAG, "write TensorBoard files", REQUIRED),
    "wandb": Key(WANDB, "copy TensorBoard's values to wandb.ai"),
    "keep_last": Key(whole(), "checkpoints to keep; all by default", None, OUR_MODELS),
}

DIST_PARAMS: dict[str, Key] = {
    "backend": Key(one_of("nccl", "gloo", "mpi"), "of torch.distributed, with --launcher slurm", "nccl"),
    "port": Key(whole(1, most=65535), "of the first process, with --launcher slurm", 29500),
}

TOP: dict[str, Key] = {
    "name": Key(NAME, "name of the run and of its folder in experiments/ or results/", REQUIRED),
    "model_type": Key(TEXT, "class of the model", REQUIRED),
    "scale": Key(whole(), "integer scale factor of all data sets"),
    "num_gpu": Key(either(one_of("auto"), whole(0)), "auto for all GPUs that are there; 0 for the CPU", REQUIRED),
    "manual_seed": Key(nullable(whole(0, most=4 * 10**9)), "of all random choices; a random one by default"),
    "find_unused_parameters": Key(FLAG, "of DistributedDataParallel", False),
    "datasets": Key(Section(), "data sets: train and val, val_1, ..., or test, test_1, ...", REQUIRED),
    "network_g": Key(NETWORK, "the network", REQUIRED),
    "network_d": Key(NETWORK, "the discriminator", REQUIRED, GAN),
    "path": Key(Section(PATH), "files of weights and states", REQUIRED),
    "train": Key(Section(TRAIN), "how the network is trained"),
    "val": Key(Section(VAL), "how it is validated"),
    "logger": Key(Section(LOGGER), "what is logged and saved, and when"),
    "dist_params": Key(Section(DIST_PARAMS), "of torch.distributed"),
    "allow": Key(list_of(TEXT), "unknown keys to accept, such as `train: KEY`"),
}
