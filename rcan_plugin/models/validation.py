"""Validation for `AcceleratedSRModel`: shared among ranks, in tiles or by self-ensemble, with pictures."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger
from basicsr.utils.registry import METRIC_REGISTRY
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

from rcan_plugin._files import written_beside
from rcan_plugin.degradations import imresize
from rcan_plugin.inference.ensemble import self_ensemble
from rcan_plugin.inference.official_chop import official_chop
from rcan_plugin.inference.runner import Runner
from rcan_plugin.inference.tiles import tiled
from rcan_plugin.models.checkpointing import CheckpointingModel
from rcan_plugin.models.settings import PRECISIONS
from rcan_plugin.training.random_states import read_random_states

Metrics = dict[str, float]
THREADS = 4
"""Threads that measure images. Each takes some hundred MB for a 2K image: BasicSR's metrics compute in float64."""


class ValidatingModel(CheckpointingModel):
    """The part of `AcceleratedSRModel` that upscales images and measures the results."""

    runner: Runner | None = None  # built at the first image

    @torch.no_grad()
    def validation(
        self, dataloader: DataLoader[dict[str, Any]], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate on a data set. Ranks share its images; the metrics equal those of a single process.

        Args:
            dataloader: BasicSR's; its data set is read directly.
            current_iter: for logs and file names.
            tb_logger: TensorBoard's writer, or None.
            save_img: write the upscaled images to files.
        """
        dataset: Any = dataloader.dataset
        scale = dataset.opt.get("scale")
        rank, world = (self.opt["rank"], self.opt["world_size"]) if self.opt["dist"] else (0, 1)
        if world > 1:
            for buffer in self._validated_network().buffers():
                torch.distributed.broadcast(
                    buffer, 0
                )  # running means differ by rank; the checkpoint has those of rank 0
        indices = range(rank, len(dataset), world)
        measured: dict[int, Future[Metrics]] = {}
        with _evaluating(self._validated_network()), self._measuring() as measure:
            for number, index in enumerate(tqdm(indices, dataset.opt["name"], disable=not self.opt["val"].get("pbar"))):
                data = default_collate([dataset[index]])
                name = Path(data["lq_path"][0]).stem
                images = self._upscaled_and_hr(data, scale, 1 if dataset.opt.get("pre_upsample") else scale)
                if save_img:
                    _write(images["img"], self._result_path(dataset.opt["name"], name, current_iter))
                if tb_logger and "img2" in images and number < self.settings.pictures:
                    picture = _side_by_side(data["lq"], images)
                    tb_logger.add_image(f"{dataset.opt['name']}/{name}", picture, current_iter, dataformats="HWC")
                measured[index] = measure(images, scale)
        metrics = {index: values.result() for index, values in measured.items()}
        if world > 1:
            gathered: list[Any] = [None] * world
            torch.distributed.all_gather_object(gathered, metrics)
            metrics = {index: values for share in gathered for index, values in share.items()}
        if any(metrics.values()):
            self._report(dataset.opt["name"], [metrics[index] for index in sorted(metrics)], current_iter, tb_logger)
        if self.is_train and current_iter == self.last_saved[1]:
            # Save again with the results of this validation: BasicSR saves before it validates.
            self.validated.add(dataset.opt["name"])
            self.save_training_state(*self.last_saved)

    def validate_missed(self, dataloaders: Iterable[DataLoader[dict[str, Any]]], tb_logger: Any) -> None:
        """Validate if a validation was due at the iteration of the resumed state, but the state does not include it.

        This happens if the earlier run was stopped after it had saved the state. Call it after `resume_training`.

        Args:
            dataloaders: BasicSR's, of all data sets to validate.
            tb_logger: TensorBoard's writer, or None.
        """
        val, iteration = self.opt.get("val"), self.last_saved[1]
        if val is None or iteration % val["val_freq"]:
            return
        missed = [loader for loader in dataloaders if loader.dataset.opt["name"] not in self.validated]  # type: ignore[attr-defined]
        if not missed:
            return
        get_root_logger().info(f"The validation at iteration {iteration} is not in the training state: validating now.")
        restored = self.random_states is not None
        self.restore_random_states()
        for loader in missed:
            self.validation(loader, iteration, tb_logger, val["save_img"])
        if restored:
            self.random_states = read_random_states()

    def _validated_network(self) -> torch.nn.Module:
        """The network with the averaged weights if there is one, otherwise the trained network."""
        return getattr(self, "net_g_ema", None) or self.get_bare_model(self.net_g)

    def _runner(self, network: torch.nn.Module) -> Runner:
        settings = self.settings
        return Runner(
            network,
            precision=PRECISIONS[settings.val_amp] if settings.val_amp else None,
            channels_last=settings.channels_last,
            compiled=settings.val_compile,
            cuda_graph=settings.val_cuda_graph,
        )

    def _upscaled_and_hr(self, data: dict[str, Any], scale: int | None, factor: int | None) -> dict[str, np.ndarray]:
        """The upscaled image `img` and the HR image `img2`, as BasicSR's metrics take them; see `upscale`."""
        lq = data["lq"]
        if not isinstance(self.settings.tile, tuple):
            lq = lq.to(self.device)  # tiles are moved one by one
        images = {"img": as_image(self.upscale(lq, scale, factor))}
        if "gt" in data:
            images["img2"] = as_image(data["gt"])
        return images

    def upscale(self, lq: torch.Tensor, scale: int | None, factor: int | None = None) -> torch.Tensor:
        """Upscale images, with the averaged weights if there are any, and with tiles and self-ensemble if configured.

        Args:
            lq: N x C x H x W, range 0 to 1.
            scale: scale of the data; needed only for tiles and for networks with several scales.
            factor: size of the result divided by that of `lq`, if it is not `scale`: 1 for pre-upsampled images.

        Returns:
            N x C' x H * factor x W * factor.
        """
        network = self._validated_network()
        if self.runner is None or self.runner.net is not network:
            self.runner = self._runner(network)
        runner = self.runner

        def plain(image: torch.Tensor) -> torch.Tensor:
            return runner(image, *self._scale_for(network, scale))

        def in_parts(image: torch.Tensor) -> torch.Tensor:
            if self.settings.tile == "official_chop":
                return official_chop(plain, image)
            if isinstance(self.settings.tile, tuple):
                whole_scale: Any = factor or scale  # None is refused by `tiled`
                return tiled(plain, image, whole_scale, *self.settings.tile, device=self.device)
            return plain(image)

        with _evaluating(network):
            return self_ensemble(in_parts, lq) if self.settings.self_ensemble else in_parts(lq)

    def _scale_for(self, net: torch.nn.Module, scale: int | None) -> list[int]:
        """The arguments of a network besides the image: for one with several scales, the scale of the data.

        Raises:
            ValueError: the data has no scale.
        """
        if not hasattr(self.get_bare_model(net), "scales"):
            return []
        if scale is None:
            raise ValueError(
                f"{type(self.get_bare_model(net)).__name__} needs the scale of the data: add scale to each data set, "
                "and scales to the one for training."
            )
        return [scale]

    def test(self) -> None:
        """Upscale `self.lq` to `self.output` (BasicSR's interface)."""
        with torch.no_grad():
            self.output = self.upscale(self.lq, self.scale)

    @contextmanager
    def _measuring(self) -> Iterator[Callable[[dict[str, np.ndarray], int | None], Future[Metrics]]]:
        """Yield a function that measures images: BasicSR's PSNR and SSIM in threads, while the next image is upscaled.

        A GPU upscales an image faster than a CPU core measures it. The first image is measured at once, so that wrong
        options end the validation immediately. Other metrics may use torch, and are measured in this thread, in which
        gradients are off.
        """
        types = [option["type"] for option in (self.opt["val"].get("metrics") or {}).values()]
        in_threads = all(METRIC_REGISTRY.get(name).__module__ == "basicsr.metrics.psnr_ssim" for name in types)
        pending: deque[Future[Metrics]] = deque()

        def measure(images: dict[str, np.ndarray], scale: int | None) -> Future[Metrics]:
            if not (in_threads and pending):
                values: Future[Metrics] = Future()
                values.set_result(self._metrics(images, scale))
            else:
                values = pool.submit(self._metrics, images, scale)
            pending.append(values)
            if len(pending) > 2 * THREADS:  # bounds the images in memory
                pending.popleft().result()
            return values

        with ThreadPoolExecutor(THREADS) as pool:
            yield measure

    def _metrics(self, images: dict[str, np.ndarray], scale: int | None) -> Metrics:
        """The metrics of one image; without an HR image, only those that need none.

        Raises:
            ValueError: `crop_border: scale` for a data set without a scale.
        """
        values = {}
        for name, option in (self.opt["val"].get("metrics") or {}).items():
            if "img2" in images or "img2" not in inspect.signature(METRIC_REGISTRY.get(option["type"])).parameters:
                if option.get("crop_border") == "scale":
                    if scale is None:
                        raise ValueError(
                            f"val: metrics: {name}: crop_border is scale, but the validated data set has no scale: add "
                            "scale to the data set, or set crop_border to a number of pixels."
                        )
                    option = {**option, "crop_border": scale}
                values[name] = float(calculate_metric(images, option))
        return values

    def _result_path(self, dataset: str, name: str, current_iter: int | str) -> Path:
        """BasicSR's path of an upscaled image; with several validation sets, the set's name is added."""
        folder = Path(self.opt["path"]["visualization"])
        if self.is_train:
            # The same image may be in several sets, at different scales.
            several = sum(phase.startswith("val") for phase in self.opt.get("datasets", {})) > 1
            return folder / name / f"{name}_{dataset + '_' if several else ''}{current_iter}.png"
        return folder / dataset / f"{name}_{self.opt['val'].get('suffix') or self.opt['name']}.png"

    def _report(self, dataset: str, metrics: list[Metrics], current_iter: int | str, tb_logger: Any) -> None:
        """Log the means over a data set, and save the weights if its first metric is the best so far."""
        self._initialize_best_metric_results(dataset)
        self.metric_results = {}
        counts = not self.streak()  # while steps are being rejected, weights do not count as the best
        for metric in metrics[0]:
            # Summed in the order of the images, so that the mean does not depend on the number of ranks.
            mean = sum(values[metric] for values in metrics) / len(metrics)
            self.metric_results[metric] = mean
            if counts:
                self._update_best_metric_result(dataset, metric, mean, current_iter)
        self._log_validation_metric_values(current_iter, dataset, tb_logger)
        best = self.best_metric_results
        first_set, first_metric = next(iter(best)), next(iter(metrics[0]))
        is_best = best[dataset][first_metric]["iter"] == current_iter
        if self.is_train and dataset == first_set and is_best:
            self.save_networks("best")


@contextmanager
def _evaluating(network: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside the context. A network in evaluation mode already is left unchanged.

    `eval` and `train` walk through all modules: for RCAN that takes as long as its kernels for an image.
    """
    was_training = network.training
    if was_training:
        network.eval()
    try:
        yield
    finally:
        if was_training:
            network.train()


def as_image(tensor: torch.Tensor) -> np.ndarray:
    """BasicSR's `tensor2img` for one image, computed on the tensor's device: a quarter of the bytes leaves a GPU.

    Args:
        tensor: 1 x C x H x W, range 0 to 1 (clipped), RGB.

    Returns:
        H x W x C, BGR, or H x W for one channel; uint8.
    """
    levels = tensor[0].float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
    image: np.ndarray = levels.flip(0).permute(1, 2, 0).contiguous().cpu().numpy()
    return image[..., 0] if image.shape[2] == 1 else image


def _write(image: np.ndarray, path: Path) -> None:
    """Write a PNG, complete or not at all. `cv2.imwrite` reports no error if the disk does not take the last bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image)[1].data)


def _side_by_side(lq: torch.Tensor, images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Bicubic, upscaled and HR image next to each other, H x W x 3, RGB, uint8."""
    bicubic = imresize(as_image(lq), images["img"].shape[0] // lq.shape[-2])
    panels = [panel if panel.ndim == 3 else panel[..., None] for panel in (bicubic, images["img"], images["img2"])]
    height = min(panel.shape[0] for panel in panels)
    return np.concatenate([panel[:height].repeat(3 // panel.shape[2], 2) for panel in panels], axis=1)[..., ::-1]
