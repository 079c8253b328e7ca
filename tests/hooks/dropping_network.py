"""For a training run in another process: a network that draws random numbers as it trains."""

import torch

from rcan_plugin.archs.rcan_arch import RCANArch


class Dropping(RCANArch):
    """RCAN with dropout of its input, so that weights depend on torch's random state."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.nn.functional.dropout(x, 0.1, self.training))


def register() -> None:
    """Let option files name it."""
    from basicsr.utils.registry import ARCH_REGISTRY

    ARCH_REGISTRY.register(Dropping)
