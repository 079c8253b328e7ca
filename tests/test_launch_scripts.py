"""The scripts that start several processes: what they run, with stand-ins for Python and srun."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def script(name: str, *arguments: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / name, *arguments], cwd=folder, env={"PATH": os.environ["PATH"], **env},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["dist_train.sh", "slurm_train.sh"])
def test_help_and_what_is_refused(name, tmp_path):
    usage = f"usage: scripts/{name} GPUS OPTION_FILE"
    for arguments in (["--help"], ["-h"], ["--help", "o.yml"]):
        done = script(name, *arguments, folder=tmp_path, env={})
        assert done.returncode == 0 and done.stdout.startswith(usage) and not done.stderr
    for arguments in ([], ["2"], ["--nonsense", "o.yml"], ["o.yml", "2"]):
        done = script(name, *arguments, folder=tmp_path, env={})
        assert done.returncode == 2 and done.stderr.startswith(usage) and not done.stdout


GPU = 'if [ "$1" = -c ]; then exit 0; fi; echo "$@"; exit 3'  # a Python that says that there is one


def test_dist_train_on_gpus(tmp_path):
    python = program(tmp_path / "python", GPU)
    done = script("dist_train.sh", "4", "my options.yml", "--auto_resume", folder=tmp_path, env={"PYTHON": python})
    assert done.returncode == 3, "the exit code is passed through"
    assert done.stdout == (
        "-m torch.distributed.run --standalone --nproc_per_node 4 "
        "basicsr/train.py -opt my options.yml --launcher pytorch --auto_resume\n"
    )

    several = {"PYTHON": python, "NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node0"}
    done = script("dist_train.sh", "8", "o.yml", folder=tmp_path, env=several | {"MASTER_PORT": "1234"})
    assert done.stdout == (
        "-m torch.distributed.run --nnodes 2 --node_rank 1 --master_addr node0 --master_port 1234 --nproc_per_node 8 "
        "basicsr/train.py -opt o.yml --launcher pytorch\n"
    )
    for name in ("NODE_RANK", "MASTER_ADDR"):
        done = script("dist_train.sh", "8", "o.yml", folder=tmp_path, env={**several, name: ""})
        assert done.returncode not in (0, 3) and f"{name}: is not set" in done.stderr


def test_dist_train_without_a_gpu(tmp_path):
    python = program(tmp_path / "python", GPU.replace("exit 0", "exit 1"))
    done = script("dist_train.sh", "2", "o.yml", folder=tmp_path, env={"PYTHON": python})
    assert done.stdout.endswith("--nproc_per_node 2 -m rcan_plugin.train -opt o.yml --launcher pytorch\n")


def test_slurm_train(tmp_path):
    program(tmp_path / "srun", 'for word; do echo "$word"; done; echo "port $MASTER_PORT"; exit 5')
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = script("slurm_train.sh", "4", "my options.yml", "--auto_resume", folder=tmp_path, env=env)
    assert done.returncode == 5
    *words, port = done.stdout.splitlines()
    expected = "--nodes 1 --ntasks 4 --ntasks-per-node 4 --gres gpu:4 --cpus-per-task 8 --kill-on-bad-exit=1 "
    expected += "python -u -m rcan_plugin.train -opt"
    assert words == [*expected.split(), "my options.yml", "--launcher", "slurm", "--auto_resume"]
    assert 20000 <= int(port.removeprefix("port ")) < 30000

    env |= {"NNODES": "3", "MASTER_PORT": "1234", "SRUN_ARGS": "--partition gpu", "CPUS_PER_TASK": "6"}
    done = script("slurm_train.sh", "4", "o.yml", folder=tmp_path, env=env)
    assert "--nodes\n3\n--ntasks\n12\n--ntasks-per-node\n4\n" in done.stdout
    assert "--cpus-per-task\n6\n--kill-on-bad-exit=1\n--partition\ngpu\npython\n" in done.stdout
    assert done.stdout.endswith("port 1234\n")
