"""Parts of a network that keep their weights in the first iterations of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rcan_plugin._checks import is_whole


@dataclass(frozen=True)
class Freeze:
    """Parameters with one of `parts` in their name are not trained in iterations 1 to `until`."""

    parts: tuple[str, ...]
    until: int

    @classmethod
    def read(cls, option: Any) -> Freeze | None:
        """Read `train: freeze`: {parts: [PART, ...], until: N}.

        Raises:
            ValueError: it is malformed.
        """
        if option is None:
            return None
        if isinstance(option, Mapping) and option.keys() == {"parts", "until"}:
            parts, until = option["parts"], option["until"]
            named = isinstance(parts, Sequence) and not isinstance(parts, str) and parts
            if named and all(isinstance(part, str) and part for part in parts) and is_whole(until):
                return cls(tuple(parts), until)
        raise ValueError(
            f"train: freeze is {option!r}; expected {{parts: [PART, ...], until: N}}: parts of parameters' names, such "
            "as [conv_first, body], and the last iteration in which they keep their values."
        )

    def names(self, names: Iterable[str]) -> list[str]:
        """Return the names that contain one of the parts.

        Raises:
            ValueError: a part is in no name, or all names are chosen.
        """
        names = list(names)
        for part in self.parts:
            if not any(part in name for name in names):
                raise ValueError(
                    f"train: freeze: parts names {part!r}; expected a part of a parameter's name, such as {names[0]!r}."
                )
        chosen = [name for name in names if any(part in name for part in self.parts)]
        if len(chosen) == len(names):
            raise ValueError(
                f"train: freeze: parts is {list(self.parts)}, which is in the names of all parameters and leaves none "
                "to train; expected fewer."
            )
        return chosen


class Freezer:
    """Switches the training of parameters off and on: `freezer.at(iteration)`, before each step.

    Frozen parameters get no gradients, so an optimizer ignores them (also for weight decay), and the backward pass
    stops before layers whose inputs need no gradient. BatchNorm's running means are not parameters and are still
    updated.

    Args:
        net: the network.
        freeze: which parameters, and for how long.

    Raises:
        ValueError: see `Freeze.names`.
    """

    def __init__(self, net: nn.Module, freeze: Freeze) -> None:
        named = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
        self.parameters = [named[name] for name in freeze.names(named)]
        self.until = freeze.until
        self.frozen = False

    def at(self, iteration: int) -> bool:
        """Freeze or release the parameters for iteration `iteration` (from 1); return whether anything changed."""
        frozen = iteration <= self.until
        if frozen == self.frozen:
            return False
        self.frozen = frozen
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)
            parameter.grad = None
        return True
