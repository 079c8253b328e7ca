"""Memory: what is free, what a call takes, which errors mean that there was too little."""

import sys
from pathlib import Path

import pytest
import torch

from rcan_plugin.inference import memory
from rcan_plugin.inference.memory import bytes_per_pixel, free_bytes, is_out_of_memory, peak_bytes

CPU = torch.device("cpu")


def test_peak_of_a_call_is_that_of_its_living_tensors():
    x = torch.zeros(1000)

    def call() -> None:
        first = x + 1  # 4,000 bytes
        second = torch.cat([first, first])  # 8,000 more
        second.add_(1)  # none
        del first
        third = second[:500].clone()  # 2,000 more, in place of the 4,000
        assert third.shape == (500,)

    assert peak_bytes(call, CPU) == 12_000
    assert x.sum() == 0


def test_bytes_per_pixel_of_an_image():
    assert bytes_per_pixel(lambda lq: torch.cat([lq, lq], 1), 3, CPU) == 24


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux only")
def test_free_memory_of_this_machine_is_less_than_it_has():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free_bytes(CPU) < total


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, sys.maxsize),
        ({"memory.max": "max\n", "memory.current": "5\n", "memory.stat": "anon 5\n"}, sys.maxsize),
        ({"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 5\ninactive_file 200\n"}, 500),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "700",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
            },
            301,
        ),
    ],
    ids=["no container", "no limit", "version 2", "version 1"],
)
def test_what_the_limit_of_a_container_leaves(files, left, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory._left_to_container(tmp_path) == left


def test_errors_that_mean_too_little_memory():
    with pytest.raises(RuntimeError) as of_cpu:
        torch.empty(1 << 55)
    assert is_out_of_memory(of_cpu.value), "torch's own on the CPU"
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(RuntimeError("could not create a primitive")), "oneDNN's, seen in tiles on a CPU"
