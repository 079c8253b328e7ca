"""Finds the sets, networks, weights and pictures of a comparison before any work; lists all that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rcan_plugin._files import describe_error
from rcan_plugin.compare import metrics
from rcan_plugin.compare.data import Hashes, SetAtScale, open_set
from rcan_plugin.compare.entrants import Entrant, resolve
from rcan_plugin.compare.spec import Method, Spec
from rcan_plugin.images.store import ImageStore
from rcan_plugin.options.mistakes import KeyPath, Mistake, Mistakes, line_of

Result = TypeVar("Result")


@dataclass
class Plan:
    """What is compared.

    Attributes:
        sets: test sets, by scale.
        entrants: methods, by scale.
        pictures: folder and names of finished pictures, by key of `pictures_key`.
        left_out: descriptions of what is missing and therefore left out.
    """

    spec: Spec
    sets: dict[int, list[SetAtScale]] = field(default_factory=dict)
    entrants: dict[int, list[Entrant]] = field(default_factory=dict)
    pictures: dict[tuple[str, str], tuple[ImageStore, dict[str, str]]] = field(default_factory=dict)
    hashes: Hashes = field(default_factory=Hashes)
    left_out: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[Entrant, SetAtScale]]:
        """Yield each method with each set of its scale, by set."""
        for scale, sets in self.sets.items():
            for test_set in sets:
                for entrant in self.entrants[scale]:
                    if entrant.method.kind != "pictures" or (entrant.method.id, test_set.id) in self.pictures:
                        yield entrant, test_set


def make_plan(spec: Spec, available: bool = False) -> Plan:
    """Find sets, networks, weights and pictures.

    Args:
        spec: the comparison.
        available: leave out what is not on this machine.

    Raises:
        Mistakes: something is missing (unless `available`) or does not fit; all of it.
    """
    plan = Plan(spec)
    finder = _Finder(plan, available)
    if problem := metrics.missing_package(spec.metrics):
        finder.mistakes.append(Mistake(("metrics",), problem, missing=True))
    for scale in spec.scales:
        plan.sets[scale] = finder.sets(scale)
        plan.entrants[scale] = finder.entrants(scale)
        for entrant in plan.entrants[scale]:
            if entrant.method.kind == "pictures":
                for test_set in plan.sets[scale]:
                    finder.find(entrant.method.keys, _find_pictures, plan, entrant, test_set)
    if finder.missing:
        text = "--available continues without what is missing (in Python: available=True)."
        finder.mistakes.append(Mistake((), text, missing=True))
    if finder.mistakes:
        raise Mistakes(finder.mistakes, spec.lines)
    if not any(True for _ in plan.rows()):
        text = "this machine has no method and test set of the same scale."
        raise Mistakes([Mistake((), " ".join([text, *plan.left_out]))], spec.lines)
    return plan


class _Finder:
    def __init__(self, plan: Plan, available: bool) -> None:
        self.plan, self.available = plan, available
        self.mistakes: list[Mistake] = []
        self.missing = False

    def sets(self, scale: int) -> list[SetAtScale]:
        """The test sets of a scale."""
        sets = [test_set for test_set in self.plan.spec.sets if scale in test_set.scales]
        found = [self.find(test_set.keys, open_set, test_set, scale, self.plan.hashes) for test_set in sets]
        return [test_set for test_set in found if test_set is not None]

    def entrants(self, scale: int) -> list[Entrant]:
        """The methods of a scale."""
        methods = [method for method in self.plan.spec.methods if scale in method.scales]
        found = [self.find(method.keys, resolve, method, scale, self.plan.hashes) for method in methods]
        return [entrant for entrant in found if entrant is not None]

    def find(self, keys: KeyPath, search: Callable[..., Result], *arguments: Any) -> Result | None:
        """Return what a search finds. If it raises, note the mistake and return None."""
        try:
            return search(*arguments)
        except FileNotFoundError as error:
            if self.available:
                self.plan.left_out.append(f"{self._name(keys)}: {describe_error(error)}")
            else:
                self.missing = True
                self._add(keys, describe_error(error))
        except (OSError, ValueError) as error:
            self._add(keys, describe_error(error))
        return None

    def _add(self, keys: KeyPath, text: str) -> None:
        line = line_of((*keys, "name"), self.plan.spec.lines)
        self.mistakes.append(Mistake((keys[0], self._name(keys)), text, line))

    def _name(self, keys: KeyPath) -> str:
        section, number = keys
        entries: tuple[Method, ...] = getattr(self.plan.spec, section)
        return entries[int(number)].name


def _find_pictures(plan: Plan, entrant: Entrant, test_set: SetAtScale) -> None:
    store, names = entrant.pictures(test_set)
    for image in test_set.images:
        header, hr = store.header(names[image.name]), test_set.hr.header(image.pair.gt)
        if (header.height, header.width) not in ((image.height, image.width), (hr.height, hr.width)):
            raise ValueError(
                f"{store.describe(names[image.name])} is {header.width}x{header.height}; expected "
                f"{image.width}x{image.height}, as its HR image: correct the folder."
            )
    plan.pictures[entrant.method.id, test_set.id] = store, names
