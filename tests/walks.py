"""Counts how often code looks at a module of a network: host work that a GPU waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn


def modules_walked(call: Callable[[], Any]) -> int:
    """How many modules a call visits by walking: `modules`, `parameters`, `buffers`, `state_dict`, `eval`, `train`."""
    count = 0
    named, state, train = nn.Module.named_modules, nn.Module.state_dict, nn.Module.train

    def counted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal count
        for module in named(*args, **kwargs):
            count += 1
            yield module

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return method(*args, **kwargs)

        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "named_modules", counted)
        patch.setattr(nn.Module, "state_dict", counting(state))
        patch.setattr(nn.Module, "train", counting(train))
        call()
    return count
