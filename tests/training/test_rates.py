"""Learning rates on the device."""

import pytest
import torch
from torch import nn

from rcan_plugin.training.rates import DeviceRates, move_step_counts


def optimizer_of(cls=torch.optim.Adam, **settings):
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))]
    groups = [{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:], "lr": 0.25}]
    return cls(groups, **settings)


def test_rates_are_tensors_inside_and_numbers_outside():
    optimizer = optimizer_of()
    rates = DeviceRates(optimizer, torch.device("cpu"))
    rates.update()
    with rates.installed():
        inside = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
        assert [(rate.item(), capturable) for rate, capturable in inside] == [(0.5, True), (0.25, True)]
    assert [(group["lr"], group["capturable"]) for group in optimizer.param_groups] == [(0.5, False), (0.25, False)]
    optimizer.param_groups[1]["lr"] = 0.125
    rates.update()
    assert [rate.item() for rate, _ in inside] == [0.5, 0.125], "the same tensors"


def test_an_error_inside_restores_them():
    optimizer = optimizer_of(torch.optim.SGD)
    rates = DeviceRates(optimizer, torch.device("cpu"))
    with pytest.raises(KeyError), rates.installed():
        raise KeyError
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]
    assert "capturable" not in optimizer.param_groups[0]


def test_step_counts_are_moved_but_those_of_fused_optimizers():
    for fused in (False, True):
        optimizer = optimizer_of(fused=fused)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        counts = [state["step"] for state in optimizer.state.values()]
        for to_parameters in (True, False):
            move_step_counts(optimizer, to_parameters)
            assert [state["step"].item() for state in optimizer.state.values()] == [1, 1]
        if fused:
            assert all(state["step"] is count for state, count in zip(optimizer.state.values(), counts, strict=True))


def test_step_counts_of_an_optimizer_that_was_made_capturable_stay_on_the_device():
    weight = torch.nn.Parameter(torch.zeros(1))
    for capturable, device in ((True, "meta"), (False, "cpu")):
        optimizer = torch.optim.NAdam([weight])
        optimizer.param_groups[0]["capturable"] = capturable
        optimizer.state[weight]["step"] = torch.zeros((), device="meta" if capturable else "cpu")
        move_step_counts(optimizer, to_parameters=False)
        assert optimizer.state[weight]["step"].device.type == device
