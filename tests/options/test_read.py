"""Option files are read without running what is in them; what is no plain YAML is refused with its line."""

import itertools
import re
import sys
from pathlib import Path

import pytest

from rcan_plugin.options.mistakes import Mistakes
from rcan_plugin.options.read import read


def refusal(path: Path, text: str | bytes, *changes: str) -> list[str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Mistakes) as raised:
        read(path, changes)
    return str(raised.value).splitlines()


def test_values_and_lines(tmp_path):
    path = tmp_path / "o.yml"
    path.write_bytes("\ufeffname: é\r\ntrain:\r\n  lr: 1.0e-4\r\n  betas: [0.9, 1]\r\nval: ~  # none\r\n".encode())
    file = read(path)
    assert file.options == {"name": "é", "train": {"lr": 1e-4, "betas": [0.9, 1]}, "val": None}
    assert file.lines == {("name",): 1, ("train",): 2, ("train", "lr"): 3, ("train", "betas"): 4, ("val",): 5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n\tc: 2\n", "line 3: found character '\\t' that cannot start any token: the line holds a tab; "),
        ("a: 1\nb:2\n", "line 3: this is not YAML: could not find expected ':': check the indentation here and in"),
        ("a:\n  b: 1\n c: 2\n", "line 3: this is not YAML: "),
        ("z: 1\na: {b: 1\nc: 2\n", "line 2: this is not YAML: expected ',' or '}', but got ':', while parsing a flow"),
        ("z: 1\na: 'b\nc: 2\n", "line 2: this is not YAML: found unexpected end of stream, while scanning a quoted sc"),
        ('a: "C:\\data"\n', "line 1: this is not YAML: found unknown escape character 'd', while scanning a double-"),
        ('a: "C:\\data"\n', ": write single quotes, in which `\\` is no more than a character."),
        ("a: @b\n", "line 1: this is not YAML: found character '@' that cannot start any token: quote the value."),
        ("a: *b\n", "line 1: this is not YAML: found undefined alias 'b': `*` begins a reference; quote the value."),
        ("a:\n  b: 1\n  b: 2\n", "line 3: a: b: the key is here twice, first in line 2: remove one."),
        ("a: 1\nyes: 2\n", 'line 2: yes: this key is not text for YAML, but True: quote it, "yes".'),
        ("2: 1\n", '2: this key is not text for YAML, but 2: quote it, "2".'),
        ("a: 1\n---\nb: 1\n", "line 3: a second document begins here, after `---`; expected one."),
        ("", "the file is empty; expected `KEY: VALUE` lines"),
        ("- a\n", "the file is not a mapping; expected `KEY: VALUE` lines"),
        (b"a: caf\xe9\n", "the option file is not UTF-8 text (byte 6)."),
        ("a: 1\nb: \0\n", "line 2: character #x0000 is not allowed in YAML: remove it."),
        ("a:\n  <<: {b: 1}\n", "line 2: a: <<: BasicSR does not read merge keys: write the keys out."),
        ("a: 2024-01-01\n", "line 1: a: YAML reads 2024-01-01 as a date: quote it."),
        ("a: !!bool maybe\n", "line 1: a: is 'maybe', which is not of the type that its tag names."),
        ("a: !!set {b}\n", "line 1: a: !!set is not supported: write a plain value"),
        ("a: 010\n", "line 1: a: YAML reads 010 as 8: write 8, or quote it."),
        ("a: 1:30\n", "line 1: a: YAML reads 1:30 as 90: write 90, or quote it."),
        ("a: &x\n  b: *x\n", "line 1: a: b: refers to a section that it is part of."),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml(text, expected, tmp_path):
    messages = refusal(tmp_path / "o.yml", text)
    assert len(messages) == 1 and expected in messages[0], messages


@pytest.fixture(params=[1000, 10_000])
def recursion_limit(request):
    """Libraries raise Python's bound on recursion (torch's compiler does): what is refused must not depend on it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
def test_levels(tmp_path):
    path = tmp_path / "o.yml"
    too_deep = ["the file nests sections deeper than 50 levels; an option file needs six."]
    path.write_text("a: " + "[" * 49 + "]" * 49)
    assert len(read(path).options["a"]) == 1
    for text in ("a: " + "[" * 50 + "]" * 50, "[" * 900, "a: &a0 []\n" + by_reference(49)):
        assert refusal(path, text) == too_deep
    path.write_text("a: &a0 []\n" + by_reference(48))
    assert read(path).options["b48"] == [read(path).options["b47"]]


def by_reference(levels: int) -> str:
    return "".join(f"b{i}: &a{i} [*a{i - 1}]\n" for i in range(1, levels + 1))


def test_references_that_would_fill_the_memory(tmp_path):
    rows = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise("abcdefghi")]
    messages = refusal(tmp_path / "o.yml", "\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *rows]))
    assert messages == ["the file's references make it longer than 100000 values."]


@pytest.mark.parametrize("tag", ["python/object/apply:os.mkdir [ran]", "python/name:os.mkdir", "python/tuple [1]"])
@pytest.mark.parametrize("place", ["{}", "a: {}", "a:\n  b: [1, {} ]", "? {}\n: 1"])
def test_no_code_runs(tag, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    messages = refusal(tmp_path / "o.yml", "x: 1\n" * ("a" in place) + place.format(f"!!{tag}"))
    assert messages and not Path("ran").exists()
    if place.startswith("a"):
        assert "would run code: write a plain value." in messages[0]


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("a:b=2", 2), ("a: b = 2", 2), ("a:b=1e-4", 1e-4), ("a:b=!!float 1e-5", 1e-5), ("a:b=None", None),
        ("a:b=true", True), ("a:b=[1, 2]", [1, 2]), ("a:b={c: 1}", {"c": 1}), ("a:b=x y", "x y"), ("a:b=c: d", "c: d"),
        ("a:b=x #y", "x #y"), ("a:b=*x", "*x"), ("a:b=/data/HR=1", "/data/HR=1"), ("a:b='2'", "2"), ("a:new=1", 1),
    ],
)  # fmt: skip
def test_force_yml(change, value, tmp_path):
    (tmp_path / "o.yml").write_text("a:\n  b: 1\n")
    section = read(tmp_path / "o.yml", [change]).options["a"]
    assert section["new" if "new" in change else "b"] == value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("a:b", "expected KEY:KEY=VALUE, such as train:total_iter=1000."),
        ("=1", "expected KEY:KEY=VALUE"),
        ("a.b=1", "expected KEY:KEY=VALUE, such as train:total_iter=1000."),
        ("trian:b=1", "the option file has no section trian. Did you mean train?"),
        ("a:b:c=1", "the option file has no section a: b."),
        ("a:b=[1", "this is not YAML"),
        ('a:b=[__import__("os").mkdir("ran")]', ""),
        ("a:b=!!python/object/apply:os.mkdir [ran]", "would run code"),
    ],
)
def test_force_yml_that_is_refused(change, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if expected:
        assert refusal(tmp_path / "o.yml", "a:\n  b: 1\ntrain: {}\n", change)[0].startswith(f"--force_yml: {change}: ")
        assert expected in refusal(tmp_path / "o.yml", "a:\n  b: 1\ntrain: {}\n", change)[0]
    else:
        (tmp_path / "o.yml").write_text("a:\n  b: 1\n")
        assert read(tmp_path / "o.yml", [change]).options["a"]["b"] == ['__import__("os").mkdir("ran")']
    assert not Path("ran").exists()


def test_files_that_cannot_be_opened(tmp_path):
    for path, problem in ((tmp_path, "is a folder; expected a file"), (tmp_path / "none.yml", "does not exist")):
        with pytest.raises(Mistakes, match=f"option file: {re.escape(str(path))} {problem}"):
            read(path)
