"""Lets all of BasicSR's models load weights in every layout that the network supports."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rcan_plugin.weights.fit import own_weights

Compare = Callable[..., None]


def with_own_keys(compare: Compare) -> Compare:
    """Wrap `BaseModel._print_different_keys_loading`: weights are renamed in place to the network's keys first.

    Before a network loads a file, BasicSR compares their key names and logs each difference: 3,262 lines for an
    official RCAN file, which `RCANArch` loads completely.
    """
    compare = inspect.unwrap(compare)

    @functools.wraps(compare)
    def renamed(self: Any, crt_net: nn.Module, load_net: dict[str, Tensor], strict: bool = True) -> None:
        weights = own_weights(self.get_bare_model(crt_net), load_net)
        load_net.clear()
        load_net.update(weights)
        compare(self, crt_net, load_net, strict)

    return renamed
