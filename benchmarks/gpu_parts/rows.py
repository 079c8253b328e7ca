"""What `gpu.py` measures: rows, grouped into jobs in the order in which they run. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

PARTS = ("train", "inference", "tests", "loop")
ALL_PARTS = (*PARTS, "runs")
"""Those of a call without `--only`, and the one that takes all of the time."""

TRAIN = {
    "shipped": "BasicSR's RCAN as shipped: SRModel, float32 with TF32 convolutions, Adam",
    "shipped_graph": "BasicSR's RCAN, the same in one CUDA graph, fused Adam",
    "blocks_graph": "ours: bf16, channels-last, fused Adam, blocks compiled, in a graph",
    "fused_graph": "ours: bf16, channels-last, fused Adam, fused kernels, in a graph",
    "graph": "ours: bf16, channels-last, fused Adam, in a graph",
    "eager": "ours: bf16, channels-last, fused Adam, eager",
    "checkpoint": "ours: blocks compiled, in a graph, use_checkpoint",
    "fused_checkpoint": "ours: fused kernels, in a graph, use_checkpoint",
    "redux_graph": "traiNNer-redux's RCAN (of spandrel), autocast bf16, channels-last, fused Adam, in a graph",
    "redux": "traiNNer-redux's RCAN (of spandrel), autocast bf16, channels-last, fused Adam, eager",
    "redux_compiled": "traiNNer-redux's RCAN (of spandrel), the same, whole network compiled",
    "shipped_again": "BasicSR's RCAN as shipped, measured again at the end",
}
OTHER_NETWORKS = {
    "shipped": "BasicSR's {} as shipped: SRModel, float32 with TF32, Adam",
    "eager": "ours: {}, bf16, channels-last, fused Adam, eager",
    "graph": "ours: {}, bf16, channels-last, fused Adam, in a graph",
}
INFERENCE = {
    "shipped": "BasicSR's RCAN as shipped: SRModel, float32",
    "fp32": "ours: float32",
    "bf16": "ours: bf16 weights, channels-last",
    "blocks_graph": "ours: bf16 weights, channels-last, blocks compiled, in a graph",
    "fused_graph": "ours: bf16 weights, channels-last, fused kernels, in a graph",
    "tiles": "ours: bf16 weights, channels-last, blocks compiled, tiles of 192 with overlap 32, in a graph",
    "shipped_again": "BasicSR's RCAN as shipped, measured again at the end",
}
LOOP = {
    "kill": "train_RCAN_x4_fast.yml, cold compile cache, killed (SIGKILL), resumed with --auto_resume",
    "fast": "train_RCAN_x4_fast.yml",
    "stock": "train_RCAN_x4.yml (BasicSR's SRModel)",
    "nccl": "train_RCAN_x4_fast.yml by torchrun --nproc_per_node 1 ... --launcher pytorch (NCCL)",
}
RUNS = {
    "ours": "RCAN x2 with AcceleratedSRModel: bf16, fused kernels, in a graph (RCAN_x2.yml)",
    "stock": "BasicSR's RCAN x2 with SRModel, for the same minutes (RCAN_x2_stock.yml)",
    "light": "light RCAN x4 with AcceleratedSRModel: bf16, in a graph (light_x4.yml)",
}
SIZES = {"480x270x4": (270, 480, 4), "960x540x2": (540, 960, 2)}
"""Inference: LR height, width and scale by the name in a row's identifier."""

LIMITS = {"train": 60.0, "inference": 60.0, "tests": 150.0, "loop": 120.0, "runs": math.inf}
"""Seconds that one row of a part may take."""

LONG = {"kill": 150.0, "blocks_graph": 110.0, "fused_graph": 110.0, "checkpoint": 90.0, "redux_compiled": 100.0}
"""Seconds for rows that compile or start several programs."""


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        id: name inside its part, `GROUP/KEY`.
        title: first cell of the line.
        limit: seconds after which it is stopped.
    """

    part: str
    id: str
    title: str
    limit: float

    @property
    def group(self) -> str:
        return self.id.split("/")[0]

    @property
    def key(self) -> str:
        return self.id.split("/")[1]


@dataclass(frozen=True)
class Job:
    """Rows that one worker process measures, in order.

    Attributes:
        share: fraction of the whole time that the job may take before the next one begins. Rows that did not fit
            are tried again at the end, if time is left.
    """

    part: str
    rows: tuple[Row, ...]
    share: float


def _job(part: str, group: str, keys: Iterable[str], titles: dict[str, str], share: float) -> Job:
    name = {"edsr": "EDSR", "swinir": "SwinIR"}.get(group, "")
    rows = (Row(part, f"{group}/{key}", titles[key].format(name), LONG.get(key, LIMITS[part])) for key in keys)
    return Job(part, tuple(rows), share)


def jobs(only: Iterable[str] = PARTS, dry_run: bool = False) -> list[Job]:
    """Jobs of the chosen parts, the most important first. Each starts with a cold compile cache.

    A dry run has one job per part: it saves the time in which workers start.
    """
    half = ["shipped", "fp32", "bf16", "blocks_graph", "fused_graph"]
    plan = [
        _job("train", "x4", ["shipped", "shipped_graph", "graph", "eager"], TRAIN, 0.2),
        _job("train", "x4", ["fused_graph", "fused_checkpoint"], TRAIN, 0.3),
        _job("train", "x4", ["blocks_graph", "checkpoint"], TRAIN, 0.25),
        _job("inference", "480x270x4", half, INFERENCE, 0.25),
        _job("loop", "x4", ["kill", "fast", "nccl", "stock"], LOOP, 0.45),
        Job("tests", (Row("tests", "gpu/marked", "pytest -m gpu", LIMITS["tests"]),), 0.35),
        _job("train", "x2", ["shipped", "shipped_graph", "fused_graph", "blocks_graph", "graph"], TRAIN, 0.3),
        _job("train", "x4", ["redux_graph", "redux"], TRAIN, 0.1),
        _job("train", "edsr", OTHER_NETWORKS, OTHER_NETWORKS, 0.1),
        _job("train", "swinir", OTHER_NETWORKS, OTHER_NETWORKS, 0.1),
        _job("inference", "960x540x2", half, INFERENCE, 0.2),
        _job("inference", "480x270x4", ["tiles", "shipped_again"], INFERENCE, 0.15),
        _job("train", "x4", ["shipped_again"], TRAIN, 0.1),
        _job("train", "x4", ["redux_compiled"], TRAIN, 0.25),
        Job("runs", tuple(Row("runs", f"card/{key}", title, LIMITS["runs"]) for key, title in RUNS.items()), 1.0),
    ]
    chosen = set(only)
    plan = [job for job in plan if job.part in chosen]
    if dry_run:
        parts = dict.fromkeys(job.part for job in plan)
        return [Job(part, tuple(row for job in plan if job.part == part for row in job.rows), 1.0) for part in parts]
    return plan
