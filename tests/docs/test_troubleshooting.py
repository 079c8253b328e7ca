"""Each message that `docs/troubleshooting.md` quotes is one of the code's."""

import ast
import re
from pathlib import Path

import basicsr
import pytest

from tests.conftest import ROOT

ANY = "…"
HEADING = re.compile(r"^### (?P<quote>`+) ?(?P<text>.+?) ?(?P=quote)(?: \{data-from=(?P<source>\w+)\})?$", re.M)
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
QUOTED = [match["text"] for match in HEADING.finditer(PAGE) if match["source"] != "basicsr"]


def text_of(node: ast.AST) -> str | None:
    """A text in the code, `ANY` in place of values; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", ANY, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or ANY for part in node.values)
    return None


def texts(folder: Path) -> list[str]:
    """All texts in the modules of a folder, without docstrings."""
    found = []
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [text for node in ast.walk(tree) if id(node) not in docstrings and (text := text_of(node))]
    return found


@pytest.fixture(scope="module")
def messages() -> list[str]:
    return texts(ROOT / "rcan_plugin")


def is_in(quoted: str, messages: list[str]) -> bool:
    """Whether the parts between values are in one message, in this order."""
    pattern = re.compile(".*?".join(map(re.escape, quoted.strip(ANY).split(ANY))), re.S)
    return any(pattern.search(message) for message in messages)


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_message_is_in_the_code(quoted, messages):
    assert is_in(quoted, messages)


def test_other_messages_are_basicsrs():
    quoted = [match["text"] for match in HEADING.finditer(PAGE) if match["source"] == "basicsr"]
    assert len(quoted) == 2
    sources = "\n".join(path.read_text() for path in Path(basicsr.__file__).parent.rglob("*.py"))
    assert "torchvision.transforms.functional_tensor" in sources and "registry!" in sources


def test_the_check_sees_a_message_that_is_gone(messages):
    assert len(QUOTED) + 2 == len(re.findall(r"^### ", PAGE, re.M)) > 50
    assert is_in("… cannot be read (…): make the LMDB again.", messages)
    assert not is_in("… cannot be read (…): make the LMDB anew.", messages)
    assert not is_in("make the LMDB again. … cannot be read", messages)


@pytest.mark.parametrize("entry", re.split(r"^### ", PAGE, flags=re.M)[1:], ids=lambda entry: entry.split("\n")[0][:50])
def test_each_has_a_cause_or_says_that_it_is_none(entry):
    text = entry.split("\n", 2)[2].strip()
    assert text.startswith(("Cause: ", "A warning", "The last line"))
    assert not text.startswith("Cause: ") or re.search(r"Remedy:", text)
