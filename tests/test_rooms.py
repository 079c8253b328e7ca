"""The rooms of the package: which way imports run, and what the lower rooms can do without."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "rcan_plugin"
ROOMS = (  # lowest first: a room imports the rooms before it alone
    "resampling",
    "degradations",
    "images",
    "pictures",
    "kernels",
    "archs",
    "losses",
    "weights",
    "data",
    "training",
    "inference",
    "upscaling",
    "models",
    "preparation",
    "options",
    "compare",
    "recognition",
    "cli",
)
LOWEST = ("_version", "_checks", "_files")  # modules beside the rooms that every room may import, and that import none
ABOVE = ("registration", "autoload", "__init__", "train", "test", "doctor")  # modules beside the rooms, above them
MODULES = sorted(PACKAGE.rglob("*.py"))


def place(module: Path) -> str:
    """The room of a module, or the name of a module beside the rooms."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(module: Path) -> set[str]:
    """The rooms, and the modules beside them, that a module imports anywhere in its code."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    places = {(*name.split("."), "__init__")[1] for name in names if name.split(".")[0] == "rcan_plugin"}
    known = {*ROOMS, *LOWEST, *ABOVE}
    return {name if name in known else "__init__" for name in places}  # `from rcan_plugin import __version__`


def test_every_folder_is_a_room_and_every_module_has_its_place():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ROOMS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*LOWEST, *ABOVE}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_run_one_way(module):
    here = place(module)
    if here in ABOVE:
        return
    allowed = set(ROOMS[: ROOMS.index(here)]) | {here, *LOWEST} if here in ROOMS else set()
    if here == "cli":
        allowed |= {"__init__", "autoload", "registration"}  # commands register the plugin, doctor inspects it
    assert imported(module) <= allowed, f"{module} imports {imported(module) - allowed}, which is not below {here}"


def test_the_check_finds_every_form_of_import(tmp_path):
    source = "import rcan_plugin.cli.train\ndef f():\n    from rcan_plugin.models import settings\nimport rcan_plugin\n"
    (tmp_path / "module.py").write_text(source)
    assert imported(tmp_path / "module.py") == {"cli", "models", "__init__"}


@pytest.mark.parametrize("room", ["resampling", "degradations", "images", "pictures"])
def test_the_lowest_rooms_import_neither_torch_nor_basicsr(room, run):
    modules = [module_name(path) for path in (PACKAGE / room).glob("*.py") if path.stem != "bicubic_modules"]
    names = ", ".join(modules)
    code = f"import sys, {names}; print(sorted({{'torch', 'basicsr'}} & sys.modules.keys()))"
    assert run("-c", code).stdout.strip() == "[]"


def test_rooms_below_models_work_without_basicsr(run):
    rooms = ("archs", "losses", "weights", "data", "training", "inference", "upscaling", "kernels")
    modules = [
        module_name(path)
        for room in rooms
        for path in sorted((PACKAGE / room).glob("*.py"))
        if room != "kernels" or path.stem in ("__init__", "configs")  # the rest needs Triton
    ]
    code = f"import sys; sys.modules['basicsr'] = None\nimport {', '.join(modules)}\nprint('imported')"
    assert run("-c", code, env={"RCAN_PLUGIN_AUTOLOAD": "0"}).stdout.strip() == "imported"


def test_planning_of_upscaling_imports_neither_torch_nor_basicsr(run):
    modules = [module_name(path) for path in (PACKAGE / "upscaling").glob("*.py") if path.stem != "network"]
    code = f"import sys, {', '.join(modules)}; print(sorted({{'torch', 'basicsr'}} & sys.modules.keys()))"
    assert run("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_files_stay_short(module):
    assert len(module.read_text().splitlines()) <= 400
