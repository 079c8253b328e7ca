"""The page of a comparison: `index.html` beside the pictures. It opens without a server and without internet access.

A page opened from a disk may not read the pixels of a PNG beside it (same-origin policy). Each picture therefore has a
twin, `NAME.png.js`: a script that passes the same bytes to the page when the picture is shown.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rcan_plugin._files import written_beside
from rcan_plugin.compare import layout, plots
from rcan_plugin.compare.layout import ABSENT, Group, Line, Results

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("state.js", "table.js", "pixels.js", "crops.js", "stage.js", "strip.js", "main.js")
"""In order of dependency: each uses only scripts before it."""


def write(folder: str | Path) -> Path:
    """Write the page of a comparison from its results, pictures and plots.

    Args:
        folder: the comparison's output folder. `pictures/` and `plots/` in it may be absent.

    Returns:
        The page, `index.html` in the folder.

    Raises:
        FileNotFoundError, ValueError: there are no results of a comparison in the folder.
    """
    folder = Path(folder)
    results = layout.read(folder)
    found = layout.groups(results)
    as_gray = {row["set"] for row in results["rows"] if row["protocol"].get("gray") == "gray"}
    pictures = {entry["id"]: _pictures(folder, entry, entry["id"] in as_gray) for entry in results["sets"]}
    for path in (folder / "pictures").glob("*/*/*.png"):
        _write_twin(folder, path)
    parts = {
        "TITLE": html.escape(results["title"]),
        "ABOUT": _about(results),
        "STYLE": (ASSETS / "page.css").read_text(encoding="utf-8"),
        "GROUPS": _group_choice(found),
        "TABLES": "\n".join(_table(results, group) for group in found),
        "PLOTS": "\n".join(_plot_lines(folder, found)),
        "SETS": "\n".join(_set_line(entry) for entry in results["sets"]),
        "DATA": _json(_data(results, pictures)),
        "SCRIPT": "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    page = (ASSETS / "page.html").read_text(encoding="utf-8")
    layout.write_text(folder / "index.html", re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], page))
    return folder / "index.html"


def _pictures(folder: Path, entry: Mapping[str, Any], as_gray: bool) -> list[dict[str, Any]]:
    """The images of a set that have an HR picture, each with its pictures, and whether gray values are compared."""
    found = []
    for image in entry["images"]:
        place = folder / "pictures" / entry["id"] / image["name"]
        ids = sorted(path.stem for path in place.glob("*.png")) if place.is_dir() else []
        if "hr" in ids:
            gray = as_gray and _is_gray(place / "hr.png")
            found.append({"name": image["name"], "pictures": ids, "gray": gray})
    return found


def _is_gray(png: Path) -> bool:
    """Whether a PNG has one channel, by its header."""
    with png.open("rb") as file:
        return file.read(26)[-1:] == b"\0"


def _write_twin(folder: Path, picture: Path) -> None:
    """Write `NAME.png.js` beside `NAME.png`, unless it is there with the same time and the right size."""
    twin = picture.with_name(f"{picture.name}.js")
    name = json.dumps(picture.relative_to(folder / "pictures").with_suffix("").as_posix())
    stat = picture.stat()
    size = len(f'deliver({name}, "");\n') + 4 * math.ceil(stat.st_size / 3)
    if twin.is_file() and (twin.stat().st_mtime_ns, twin.stat().st_size) == (stat.st_mtime_ns, size):
        return
    with written_beside(twin) as temporary:
        temporary.write_text(f'deliver({name}, "{base64.b64encode(picture.read_bytes()).decode()}");\n')
        os.utime(temporary, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _data(results: Results, pictures: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Data for the scripts: the sets with pictures, the names of the methods, PSNR by set, method and image."""
    psnr: dict[str, dict[str, dict[str, float]]] = {}
    for row in results["rows"]:
        found = {image: metrics["psnr"] for image, metrics in row["images"].items() if "psnr" in metrics}
        values = {image: math.inf if value is None else value for image, value in found.items()}  # of equal images
        psnr.setdefault(row["set"], {}).setdefault(row["method"], values)
    return {
        "sets": [
            {"id": entry["id"], "name": entry["name"], "group": _group_id(entry), "images": pictures[entry["id"]]}
            for entry in results["sets"]
            if pictures[entry["id"]]
        ],
        "methods": [{key: method[key] for key in ("id", "name", "kind")} for method in results["methods"]],
        "psnr": psnr,
    }


def _group_id(entry: Mapping[str, Any]) -> str:
    return f"{entry['degradation']}_x{entry['scale']}"


def _json(value: Any) -> str:
    """JSON for a page: infinite values as text, no `<` that could end the script."""

    def finite(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: finite(value) for key, value in item.items()}
        if isinstance(item, list):
            return [finite(value) for value in item]
        return str(item) if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(finite(value), ensure_ascii=False).replace("<", "\\u003c")


def _about(results: Results) -> str:
    versions = [f"{name} {version}" for name, version in results["versions"].items()]
    parts = [str(results["created"]).replace("T", " ")[:16], str(results["device"]), ", ".join(versions)]
    return " · ".join(f"<span>{html.escape(part)}</span>" for part in parts if part)


def _group_choice(found: Sequence[Group]) -> str:
    return "\n".join(
        f'<label><input type="radio" name="group" value="{html.escape(group.id)}"><span>{html.escape(group.title)}'
        "</span></label>"
        for group in found
    )


def _table(results: Results, group: Group) -> str:
    """The table of a group; scripts sort it, and show footnotes under the mouse pointer."""
    metrics = results["metrics"]
    facts = _facts(group)
    heads = [_sort_head("name", "Method", "", 'rowspan="2"')]
    for entry in group.sets:
        note = _note_button(group, group.set_notes[entry["id"]], f"Notes on {entry['name']}")
        heads.append(
            f'<th scope="colgroup" class="set" colspan="{len(metrics)}">{html.escape(entry["name"])}{note}</th>'
        )
    for number, (key, (name, unit, _)) in enumerate(facts.items()):
        heads.append(_sort_head(key, name, unit, f'rowspan="2" class="{"" if number else "fact"}"'))
    subheads = [
        _sort_head(f"{entry['id']}:{key}", metric["name"], metric["unit"], 'class="first"' if not number else "")
        for entry in group.sets
        for number, (key, metric) in enumerate(metrics.items())
    ]
    protocol = ", ".join(layout.protocol_words(group.protocol))
    notes = "".join(
        f'<li id="note-{group.id}-{letter}"><sup>{letter}</sup> {html.escape(text)}</li>'
        for letter, text in group.notes.items()
    )
    title = html.escape(group.title)
    return f"""<div class="group" data-group="{html.escape(group.id)}" hidden>
<div class="scroll" role="region" tabindex="0" aria-label="Table of {title}">
<table><caption class="unseen">Results for {title}</caption>
<thead><tr>{"".join(heads)}</tr><tr>{"".join(subheads)}</tr></thead>
<tbody>
{"".join(_table_line(results, group, line) for line in group.lines)}</tbody></table></div>
<p class="protocol"><b>Protocol</b> {html.escape(protocol)}. <b class="best">Best</b> and <span class="second">second
best</span> among rows of this protocol. Letters mark what differs.</p>
<ul class="notes">{notes}</ul></div>"""


def _facts(group: Group) -> dict[str, tuple[str, str, dict[str, tuple[float | None, str]]]]:
    """The columns of network costs that are not empty: head, unit, and value and text by the method's id."""
    parameters = {line.method["id"]: line.facts.get("parameters") for line in group.lines}
    adds = {line.method["id"]: layout.multiply_adds(line.facts) for line in group.lines}
    times = {line.method["id"]: layout.milliseconds(line.facts) for line in group.lines}
    columns = {
        "parameters": ("Parameters", "", {key: (value, layout.count(value)) for key, value in parameters.items()}),
        "adds": ("Multiply-adds", "1280×720", {key: (value, layout.count(value)) for key, value in adds.items()}),
        "latency": (
            "Latency",
            "ms",
            {key: (value, ABSENT if value is None else f"{value:.1f}") for key, value in times.items()},
        ),
    }
    return {key: column for key, column in columns.items() if any(value is not None for value, _ in column[2].values())}


def _sort_head(key: str, name: str, unit: str, attributes: str) -> str:
    small = f' <small class="unit">{html.escape(unit)}</small>' if unit else ""
    return (
        f'<th scope="col" aria-sort="none" data-key="{html.escape(key)}" {attributes}>'
        f'<button type="button" class="sort">{html.escape(name)}{small}</button></th>'
    )


def _note_button(group: Group, letters: Sequence[str], label: str) -> str:
    if not letters:
        return ""
    ids = " ".join(f"note-{group.id}-{letter}" for letter in letters)
    return (
        f'<button type="button" class="note" aria-label="{html.escape(label)}: {", ".join(letters)}" '
        f'aria-describedby="{html.escape(ids)}">{",".join(letters)}</button>'
    )


def _table_line(results: Results, group: Group, line: Line) -> str:
    cells = [f'<th scope="row" data-value="{html.escape(line.name)}">{html.escape(line.name)}</th>']
    for entry in group.sets:
        note = _note_button(group, line.notes.get(entry["id"], ()), f"Notes on {line.name}, {entry['name']}")
        for number, key in enumerate(results["metrics"]):
            cell = line.cells.get((entry["id"], key))
            if cell is None:
                cells.append(_number_cell(None, ABSENT, "first" if not number else ""))
                continue
            rank = ("", "best", "second")[cell.rank]
            published = f'<small class="published">published {cell.published}</small>' if cell.published else ""
            unseen = f'<span class="unseen"> ({rank}{" best" if cell.rank == 2 else ""})</span>' if cell.rank else ""
            text = f'<span class="{rank}">{cell.text}</span>{unseen}{note if not number else ""}{published}'
            cells.append(_number_cell(cell.value, text, "first" if not number else ""))
    for number, (_, _, values) in enumerate(_facts(group).values()):
        cells.append(_number_cell(*values[line.method["id"]], name="" if number else "fact"))
    return f"<tr>{''.join(cells)}</tr>\n"


def _number_cell(value: float | None, text: str, name: str = "") -> str:
    """A cell; `text` is HTML."""
    return f'<td data-value="{"" if value is None else value}" class="{name}">{text}</td>'


def _plot_lines(folder: Path, found: Sequence[Group]) -> Iterator[str]:
    """The plots of `plots/`, inlined so that they have the page's colours."""
    for group in found:
        for entry in group.sets:
            paths = [folder / "plots" / f"{name}_{entry['id']}.svg" for name in plots.NAMES]
            if paths := [path for path in paths if path.is_file()]:
                figures = "".join(f"<figure>{_inline(path)}</figure>" for path in paths)
                yield (
                    f'<div class="plots" data-group="{html.escape(group.id)}" hidden>'
                    f'<h3>{html.escape(entry["name"])}</h3><div class="figures">{figures}</div></div>'
                )


def _inline(path: Path) -> str:
    """An SVG to inline: without prolog, with unique ids, and as wide as its container."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    own = re.sub(r"\W", "-", path.stem)
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda match: f"{match[1]}{own}-", text)
    label = re.search(r"<title>(.*?)</title>", text)
    name = label[1] if label else html.escape(path.stem)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', rf'<svg \1role="img" aria-label="{name}"', text, count=1)


def _set_line(entry: Mapping[str, Any]) -> str:
    name = html.escape(f"{entry['name']} ×{entry['scale']}")
    count = len(entry["images"])
    return (
        f"<dt>{name}</dt><dd>{count} image{'s' if count != 1 else ''}; LR: {html.escape(str(entry['identified']))}</dd>"
    )
