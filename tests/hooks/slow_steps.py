"""For a training run in another process: steps of 50 seconds, during which a signal can arrive."""

import time


def install() -> None:
    """Replace the model's training step, and shorten the time in which two signals count as one."""
    from rcan_plugin.cli import train
    from rcan_plugin.models.accelerated_model import AcceleratedSRModel

    def slow(self: AcceleratedSRModel, current_iter: int) -> None:
        print("a slow step", flush=True)
        for _ in range(500):  # during one long sleep a signal would only be seen at its end
            time.sleep(0.1)

    train.DUPLICATE_SIGNAL_S = 0.2
    AcceleratedSRModel.optimize_parameters = slow
