"""Upscales the images of test sets and measures them. Earlier measurements are taken from the cache."""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from rcan_plugin.compare import metrics
from rcan_plugin.compare.cache import Cache, Table, key_of, write_bytes
from rcan_plugin.compare.data import SetAtScale, SetImage
from rcan_plugin.compare.entrants import Entrant
from rcan_plugin.compare.metrics import Protocol
from rcan_plugin.compare.plan import Plan
from rcan_plugin.compare.spec import OWN_METRICS
from rcan_plugin.images.decode import decode_verified
from rcan_plugin.options.mistakes import Mistake, Mistakes, line_of
from rcan_plugin.resampling.bicubic import imresize

if TYPE_CHECKING:
    from rcan_plugin.compare.networks import EntrantNetwork

Upscaled = tuple[np.ndarray, "np.ndarray | None"]
"""An upscaled image, uint8, and the same before rounding, float of range 0 to 1; None if it is not known."""


@dataclass(frozen=True)
class Task:
    """One image of a set by one method.

    Attributes:
        names: metrics wanted.
        others: whether PSNR by other protocols is wanted, too.
        picture: whether the upscaled image is to be written.
    """

    entrant: Entrant
    test_set: SetAtScale
    image: SetImage
    names: tuple[str, ...]
    others: bool
    picture: bool


class Worker:
    """Does tasks, and records which are done.

    Args:
        plan: what is compared.
        cache: of results.
        device: where networks run.
        before_work: called before BasicSR is imported.

    Attributes:
        did_work: whether any task had to be computed.
    """

    def __init__(self, plan: Plan, cache: Cache, device: str, before_work: Callable[[], object]) -> None:
        self.before_work = before_work
        self.plan, self.cache, self.device = plan, cache, device
        self.folder = plan.spec.out
        self.networks: dict[str, EntrantNetwork] = {}
        self.checked: set[str] = set()
        self.did_work = False

    def protocol(self, scale: int) -> Protocol:
        """The protocol of PSNR and SSIM at a scale."""
        spec = self.plan.spec
        return Protocol(spec.color, spec.border_at(scale), spec.gray)

    def entry(self, task: Task) -> dict[str, Any]:
        """The results of a task so far: `values` by metric and protocol, `others` by protocol, `picture`."""
        return self._table(task).get(self._key(task)) or {}

    def values(self, task: Task) -> dict[str, float]:
        """The metrics of a task that is done."""
        known = self.entry(task)["values"]
        return {name: known[self._value_key(task, name)] for name in task.names}

    def others(self, task: Task) -> dict[str, float]:
        """PSNR by other protocols, of a task that is done with `others`."""
        others: dict[str, float] = self.entry(task)["others"][self.protocol(task.test_set.scale).key]
        return others

    def do(self, tasks: Iterable[Task]) -> None:
        """Do the tasks that are not done yet. Each result is written to the cache at once.

        Raises:
            Mistakes: networks that cannot be built or weights that do not fit, all of them, before any work.
            ValueError: an image cannot be read, or a network's result is not finite or of the wrong size.
        """
        tasks = list(tasks)
        self.check(tasks)
        todo = [task for task in tasks if self._lacking(task)]
        inputs = self._inputs_todo(tasks)
        by_image: dict[tuple[str, str], list[Task]] = {}
        for task in todo:
            by_image.setdefault((task.test_set.id + task.test_set.key, task.image.name), []).append(task)
        if not todo and not inputs:
            return
        workers = max(1, os.cpu_count() or 1)
        self.did_work = True
        self.before_work()
        importlib.import_module("basicsr.metrics")  # here, not in several threads at once
        with ThreadPoolExecutor(workers) as pool, tqdm(total=len(todo), unit="image", disable=None, leave=False) as bar:
            queue = _Queue(pool, 2 * workers)
            for test_set, image in inputs:
                queue.add(lambda s=test_set, i=image: self._write_inputs(s, i))  # type: ignore[misc]
            for of_image in by_image.values():
                first = of_image[0]
                bar.set_description(f"{first.test_set.id} {first.image.name}")
                hr = first.test_set.read_hr(first.image)
                lr = first.test_set.read_lr(first.image, hr)
                for task in of_image:
                    queue.add(self._start(task, hr, lr))
                    bar.update()
            queue.finish()

    def network(self, entrant: Entrant) -> EntrantNetwork:
        """The network of an entrant, built at its first use and kept while the scale is the same."""
        from rcan_plugin.compare.networks import EntrantNetwork

        if entrant.key not in self.networks:
            if any(other.entrant.scale != entrant.scale for other in self.networks.values()):
                self.networks.clear()
            self.networks[entrant.key] = EntrantNetwork(entrant, self.device)
        return self.networks[entrant.key]

    def check(self, tasks: Iterable[Task]) -> None:
        """Check the networks and weights of the tasks that are not done.

        Raises:
            Mistakes: networks that cannot be built or weights that do not fit, all of them.
        """
        entrants = {task.entrant.key: task.entrant for task in tasks if self._lacking(task)}.values()
        new = [e for e in entrants if e.method.kind == "network" and e.key not in self.checked]
        if not new:
            return
        self.before_work()
        from rcan_plugin.compare import networks

        mistakes = []
        for entrant in tqdm(new, desc="checking networks and weights", unit="network", disable=None, leave=False):
            try:
                networks.read(entrant)
            except (OSError, ValueError) as error:
                keys, text = entrant.method.keys, f"x{entrant.scale}: {error}"
                line = line_of((*keys, "name"), self.plan.spec.lines)
                mistakes.append(Mistake((keys[0], entrant.method.name), text, line))
        if mistakes:
            raise Mistakes(mistakes, self.plan.spec.lines)
        self.checked |= {entrant.key for entrant in new}

    def _start(self, task: Task, hr: np.ndarray, lr: np.ndarray) -> Callable[[], None]:
        """Run a network in this thread; returns the rest of the task, to be run in another thread."""
        if self._lacking(task) == {"values"} and (kept := self._kept_picture(task)) is not None:
            return lambda: self._finish(task, hr, (kept, None))
        if task.entrant.method.kind == "network":
            upscaled = self._run_network(task, hr, lr)
            return lambda: self._finish(task, hr, upscaled)
        if task.entrant.method.kind == "pictures":
            return lambda: self._finish(task, hr, (self._read_picture(task, hr), None))
        return lambda: self._finish(task, hr, _bicubic(lr, task.entrant.scale, exact=task.others))

    def _run_network(self, task: Task, hr: np.ndarray, lr: np.ndarray) -> Upscaled:
        name, scale = task.entrant.method.name, task.entrant.scale
        sr = self.network(task.entrant)(lr)
        expected = (lr.shape[0] * scale, lr.shape[1] * scale)
        if sr.shape[:2] != expected:
            raise ValueError(
                f"{name} x{scale} makes {sr.shape[1]}x{sr.shape[0]} of {lr.shape[1]}x{lr.shape[0]}; expected "
                f"{expected[1]}x{expected[0]}: correct its arguments, such as upscale: {scale}."
            )
        if not np.isfinite(sr).all():
            raise ValueError(
                f"{name} x{scale}: the result for {task.image.name} of {task.test_set.name} is not finite with "
                f"precision {task.entrant.method.precision}: write precision: fp32 or bf16."
            )
        return metrics.to_8_bits(sr), sr if task.others else None

    def _read_picture(self, task: Task, hr: np.ndarray) -> np.ndarray:
        store, names = self.plan.pictures[task.entrant.method.id, task.test_set.id]
        name = names[task.image.name]
        return store.read(name, channels=1 if store.header(name).gray else 3)

    def _finish(self, task: Task, hr: np.ndarray, upscaled: Upscaled) -> None:
        """Write the picture and measure it."""
        sr, exact = (None if image is None else metrics.with_channels_of(image, hr) for image in upscaled)
        assert sr is not None
        entry = {"values": {}, "others": {}} | self.entry(task)
        protocol = self.protocol(task.test_set.scale)
        lacking = self._lacking(task)
        names = [name for name in task.names if self._value_key(task, name) not in entry["values"]]
        values = metrics.measure(sr, hr, protocol, names)
        entry["values"] = entry["values"] | {self._value_key(task, name): values[name] for name in names}
        if "others" in lacking:
            others = metrics.other_protocols(sr, exact, hr, protocol, task.test_set.scale)
            entry["others"] = entry["others"] | {protocol.key: others}
        if "picture" in lacking:
            entry["picture"] = self._write(self._picture_path(task), sr)
        self._table(task).put(self._key(task), entry)

    def _lacking(self, task: Task) -> set[str]:
        """The missing results of a task: `values`, `others`, `picture`."""
        entry = self.entry(task)
        lacking = set()
        if any(self._value_key(task, name) not in entry.get("values", {}) for name in task.names):
            lacking.add("values")
        if task.others and self.protocol(task.test_set.scale).key not in entry.get("others", {}):
            lacking.add("others")
        if task.picture and not self._is_intact(self._picture_path(task), entry.get("picture")):
            lacking.add("picture")
        return lacking

    def _value_key(self, task: Task, name: str) -> str:
        return f"{name} {self.protocol(task.test_set.scale).key}" if name in OWN_METRICS else name

    def _table(self, task: Task) -> Table:
        entrant = task.entrant
        device = self.device if entrant.method.kind == "network" else ""
        return self.cache.table(f"{entrant.method.id}_x{entrant.scale}", entrant.key, device)

    def _key(self, task: Task) -> str:
        if task.entrant.method.kind != "pictures":
            return task.image.key
        store, names = self.plan.pictures[task.entrant.method.id, task.test_set.id]
        return key_of([task.image.key, self.plan.hashes.of_image(store, names[task.image.name])])

    def _picture_path(self, task: Task) -> Path:
        return self.folder / "pictures" / task.test_set.id / task.image.name / f"{task.entrant.method.id}.png"

    def _kept_picture(self, task: Task) -> np.ndarray | None:
        record, path = self.entry(task).get("picture"), self._picture_path(task)
        if record is None or not path.is_file():
            return None
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            return None
        image = decode_verified(content)
        return image if image.ndim == 3 else image[..., None]

    def _write(self, path: Path, image: np.ndarray) -> dict[str, Any]:
        """Write a PNG; returns what `_is_intact` compares."""
        content = cv2.imencode(".png", image)[1].tobytes()
        write_bytes(path, content)
        stat = path.stat()
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": stat.st_size, "mtime": stat.st_mtime_ns}

    def _is_intact(self, path: Path, record: dict[str, Any] | None) -> bool:
        """Whether a picture is unchanged since it was written. It is read only if its size or time has changed."""
        try:
            stat = path.stat()
        except OSError:
            return False
        if record is None or stat.st_size != record["size"]:
            return False
        if stat.st_mtime_ns == record["mtime"]:
            return True
        return hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]

    def _inputs_todo(self, tasks: Iterable[Task]) -> list[tuple[SetAtScale, SetImage]]:
        """Images whose HR and LR pictures are not written yet."""
        wanted = {(task.test_set.id, task.image.name): task for task in tasks if task.picture}
        table = self.cache.table("inputs")
        todo = []
        for (set_id, name), task in wanted.items():
            entry = table.get(task.image.key) or {}
            folder = self.folder / "pictures" / set_id / name
            if not all(self._is_intact(folder / f"{kind}.png", entry.get(kind)) for kind in ("hr", "lr")):
                todo.append((task.test_set, task.image))
        return todo

    def _write_inputs(self, test_set: SetAtScale, image: SetImage) -> None:
        hr = test_set.read_hr(image)
        folder = self.folder / "pictures" / test_set.id / image.name
        kinds = {"hr": hr, "lr": test_set.read_lr(image, hr)}
        records = {kind: self._write(folder / f"{kind}.png", pixels) for kind, pixels in kinds.items()}
        self.cache.table("inputs").put(image.key, records)


class _Queue:
    """Work for the threads of a pool. At most `size` items wait, so that few images are in memory."""

    def __init__(self, pool: ThreadPoolExecutor, size: int) -> None:
        self.pool = pool
        self.room = threading.BoundedSemaphore(size)
        self.futures: list[Future[None]] = []

    def add(self, work: Callable[[], None]) -> None:
        """Add work; waits while the queue is full. Raises the error of earlier work."""
        self.room.acquire()
        self._raise([future for future in self.futures if future.done()])
        self.futures = [future for future in self.futures if not future.done()]
        self.futures.append(self.pool.submit(self._run, work))

    def finish(self) -> None:
        """Wait for all work."""
        self._raise(self.futures)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self.room.release()

    @staticmethod
    def _raise(futures: Sequence[Future[None]]) -> None:
        for future in futures:
            future.result()


def _bicubic(lr: np.ndarray, scale: int, exact: bool) -> Upscaled:
    return imresize(lr, scale), imresize(lr / 255, scale) if exact else None
