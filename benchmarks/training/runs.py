"""Train the runs of a folder beside this file, one after another; finished runs are kept, stopped ones resumed.

    python benchmarks/training/runs.py light                       # all runs of light/runs.yml
    python benchmarks/training/runs.py light --only g3b4f32 VDSR
    python benchmarks/training/runs.py light --commands            # only print the commands
    python benchmarks/training/runs.py light --table               # of the runs' logs; and light/curves.png

`FOLDER/runs.yml` has the option file that all runs change (`options`), and for each run its changes, which
`--force_yml` takes. Logs without machine and options are kept in `FOLDER/logs`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import FINISHED, ROOT, finished
from rcan_plugin._files import written_beside
from rcan_plugin.cli import _exit_codes
from rcan_plugin.compare.runs import PSNR, Run, read, without_seed

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Train, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folders = sorted(path.parent.name for path in HERE.glob("*/runs.yml"))
    parser.add_argument(
        "folder", metavar="FOLDER", type=lambda text: Path(text).name, choices=folders, help=", ".join(folders)
    )
    parser.add_argument("--only", metavar="RUN", nargs="+", help="only these runs; without _seedN all seeds")
    parser.add_argument("--force_yml", metavar="KEY:KEY=VALUE", nargs="+", default=[], help="change options further")
    parser.add_argument("--commands", action="store_true", help="print the commands")
    parser.add_argument("--table", action="store_true", help="print the table, draw the curves")
    args = parser.parse_args()
    if args.table and (args.only or args.force_yml or args.commands):
        parser.error("--table shows all runs as they were logged: leave out --only, --force_yml and --commands")
    if any(change.partition("=")[0].strip() == "name" for change in args.force_yml):
        parser.error("--force_yml name: names are FOLDER_RUN, by which finished runs are found: leave it out")
    folder = HERE / args.folder
    return _exit_codes.run(lambda: table(folder) if args.table else train(folder, args))


def train(folder: Path, args: argparse.Namespace) -> int:
    """Train the runs that are not finished, or print their commands; returns the exit code."""
    for name, command in commands(folder, args.only, args.force_yml).items():
        if args.commands:
            print(shlex.join(command))
            continue
        run = ROOT / "experiments" / f"{folder.name}_{name}"
        if not finished(run):
            print(shlex.join(command), flush=True)
            code = subprocess.run(
                [sys.executable, *command[1:], "--auto_resume"], cwd=ROOT, env=environment()
            ).returncode
            if code:
                return code
            (run / FINISHED).touch()
        keep_log(run, folder / "logs" / f"{name}.log")
    return 0


def commands(folder: Path, only: Sequence[str] | None = None, changes: Sequence[str] = ()) -> dict[str, list[str]]:
    """The command of each run, by its name.

    Raises:
        ValueError: `only` names a run that the folder does not have.
    """
    described = yaml.safe_load((folder / "runs.yml").read_text())
    runs: dict[str, list[str]] = {}
    for name, given in described["runs"].items():
        own = [f"{key}={_on_one_line(value)}" for key, value in given.items()]
        for seed in described.get("seeds", [None]):
            seeded = [] if seed is None else [f"manual_seed={seed}"]
            run = name if seed is None else f"{name}_seed{seed}"
            all_changes = [f"name={folder.name}_{run}", *own, *seeded, *changes]
            file = (folder / described["options"]).relative_to(ROOT)
            runs[run] = ["python", "-m", "rcan_plugin.train", "-opt", str(file), "--force_yml", *all_changes]
    if unknown := sorted(set(only or ()) - set(runs) - set(described["runs"])):
        raise ValueError(f"{folder.name} has no runs {', '.join(unknown)}; it has {', '.join(runs)}.")
    return {name: command for name, command in runs.items() if not only or {name, without_seed(name)} & set(only)}


def _on_one_line(value: object) -> str:
    """YAML that is read as this value: `1.0e-07`, where JSON has `1e-07`, which is text in YAML."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()


def environment() -> dict[str, str]:
    """The environment of a run: one thread by default, so that two parallel runs use two cores."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT)}


def keep_log(run: Path, log: Path) -> None:
    """Write what a run logged from its start on, without options, versions and names of the machine."""
    lines = [line for file in sorted(run.glob("train_*.log")) for line in file.read_text().splitlines()]
    kept = re.compile(r"\[epoch:|Validation|The validation at|# \w+:|(Start|End of) training|Network: |parameters")
    log.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(log) as beside:
        beside.write_text("\n".join(line for line in lines if kept.search(line) and str(ROOT) not in line) + "\n")


def table(folder: Path) -> int:
    """Print the last PSNR of each set and the minutes of training, seeds as mean and deviation; draw the curves.

    Raises:
        FileNotFoundError: there are no logs.
    """
    from rcan_plugin.compare import curves

    found = [read(log) for log in sorted((folder / "logs").glob("*.log"))]
    if not found:
        raise FileNotFoundError(f"{folder / 'logs'} has no logs: train the runs first, without --table.")
    groups: dict[str, list[Run]] = {}
    for run in found:
        groups.setdefault(without_seed(run.name), []).append(run)
    sets = list(dict.fromkeys(name for run in found for kind, name in run.series if kind == PSNR))
    print(f"| run | {' | '.join(sets)} | minutes |\n{'| --- ' * (len(sets) + 2)}|")
    for name, members in groups.items():
        cells = [_mean([run.series[PSNR, one].values[-1] for run in members]) for one in sets]
        minutes = statistics.median(60 * run.series[PSNR, sets[0]].hours[-1] for run in members)
        print(f"| {name} | {' | '.join(cells)} | {minutes:.0f} |")
    curves.draw(found, folder / "curves.png", over="iterations")
    return 0


def _mean(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


if __name__ == "__main__":
    sys.exit(main())
