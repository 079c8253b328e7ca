"""Groups of a comparison's rows for tables, plots and the page: values as text, best and second best, footnotes.

Rows of one degradation and one scale form a group. Only rows with the group's most frequent protocol are ranked; each
other row has a footnote that names the difference.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcan_plugin._files import require_file, written_beside

FILE = "results.json"
FORMAT = 1
ABSENT = "–"
DEGRADATIONS = {"given": "LR as given"}
"""Headings for degradations of a results file, if they differ from its name."""

OF_NETWORKS = ("inference", "ensemble", "precision")
"""Parts of a protocol that say how a network was run; bicubic interpolation and finished pictures lack them."""

Results = Mapping[str, Any]
"""The content of results.json."""


@dataclass(frozen=True)
class Cell:
    """One metric of one method on one set.

    Attributes:
        value: the mean over the set's images; infinite for equal images.
        text: the value with the metric's digits.
        rank: 1 best, 2 second best, 0 neither or not ranked. Equal texts have equal ranks.
        published: the published figure with the metric's digits; empty if there is none.
    """

    value: float
    text: str
    rank: int = 0
    published: str = ""


@dataclass(frozen=True)
class Line:
    """One method in a group.

    Attributes:
        method: its entry of `methods`.
        facts: its entry of `by_scale` for the group's scale: parameters, multiply_adds, latency, ...
        rows: its rows by set id.
        cells: by set id and metric id.
        notes: letters of the group's footnotes by set id.
    """

    method: Mapping[str, Any]
    facts: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the method."""
        return str(self.method["name"])


@dataclass(frozen=True)
class Group:
    """All rows of one degradation and one scale.

    Attributes:
        sets: entries of `sets`.
        protocol: that of most networks, or of most rows where there is no network; only rows that have it are ranked.
        notes: footnotes by letter.
        set_notes: letters of the footnotes that hold for all rows of a set, by set id.
    """

    degradation: str
    scale: int
    sets: Sequence[Mapping[str, Any]]
    lines: Sequence[Line]
    protocol: Mapping[str, Any]
    notes: Mapping[str, str]
    set_notes: Mapping[str, tuple[str, ...]]

    def differs(self, line: Line, set_id: str) -> bool:
        """Whether a row of a line has another protocol than the group, and is not ranked."""
        return bool(difference(line.rows[set_id]["protocol"], self.protocol, line.method["kind"] == "network"))

    @property
    def id(self) -> str:
        """Name for files and links: `BI_x4`."""
        return f"{self.degradation}_x{self.scale}"

    @property
    def title(self) -> str:
        """Heading: `BI ×4`."""
        return f"{DEGRADATIONS.get(self.degradation, self.degradation)} ×{self.scale}"


def read(folder: str | Path) -> Results:
    """Read the results file of a comparison.

    Args:
        folder: the comparison's output folder.

    Raises:
        FileNotFoundError: there is no results.json.
        ValueError: it is not a results file, or has another format.
    """
    path = Path(folder) / FILE
    require_file("results of a comparison", path, "run `rcan compare` first, or name its output folder")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): run `rcan compare` again.") from None
    found = results.get("format") if isinstance(results, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format is {found!r}; expected {FORMAT}: run `rcan compare` again.")
    return results


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8 under a temporary name in its folder, then rename it."""
    with written_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def groups(results: Results) -> list[Group]:
    """Return the groups of a comparison: by degradation in the order of the sets, then by scale."""
    order = list(dict.fromkeys(entry["degradation"] for entry in results["sets"]))
    keys = {(order.index(entry["degradation"]), entry["scale"]) for entry in results["sets"]}
    made = (_group(results, order[index], scale) for index, scale in sorted(keys))
    return [group for group in made if group.lines]


def _group(results: Results, degradation: str, scale: int) -> Group:
    sets = [entry for entry in results["sets"] if (entry["degradation"], entry["scale"]) == (degradation, scale)]
    lines = [line for method in results["methods"] for line in _lines(results, method, scale, sets)]
    networks = {method["id"] for method in results["methods"] if method["kind"] == "network"}
    rows = [row for line in lines for row in line.rows.values()]
    protocol = _most_common([row["protocol"] for row in rows if row["method"] in networks])
    if not protocol:
        protocol = {
            key: value
            for key, value in _most_common([row["protocol"] for row in rows]).items()
            if key not in OF_NETWORKS
        }
    differs = {id(row): difference(row["protocol"], protocol, row["method"] in networks) for row in rows}
    notes = {id(row): _texts(row, differs[id(row)]) for row in rows}
    set_notes = {
        entry["id"]: list(
            dict.fromkeys(
                [*entry.get("marks", ()), *_common([notes[id(row)] for row in rows if row["set"] == entry["id"]])]
            )
        )
        for entry in sets
    }
    own = {id(row): [text for text in notes[id(row)] if text not in set_notes[row["set"]]] for row in rows}
    texts = dict.fromkeys([text for found in set_notes.values() for text in found])
    texts |= dict.fromkeys([text for row in rows for text in own[id(row)]])
    letters = {text: note_letters(number) for number, text in enumerate(texts)}
    ranked = [row for row in rows if not differs[id(row)]]
    best = _best(results, ranked)
    complete = [
        Line(
            method=line.method,
            facts=line.facts,
            rows=line.rows,
            cells={
                key: cell
                for row in line.rows.values()
                for key, cell in _cells(results, row, {} if differs[id(row)] else best)
            },
            notes={key: tuple(letters[text] for text in own[id(row)]) for key, row in line.rows.items()},
        )
        for line in lines
    ]
    return Group(
        degradation=degradation,
        scale=scale,
        sets=sets,
        lines=complete,
        protocol=protocol,
        notes={letter: text for text, letter in letters.items()},
        set_notes={key: tuple(letters[text] for text in found) for key, found in set_notes.items()},
    )


def _lines(
    results: Results, method: Mapping[str, Any], scale: int, sets: Sequence[Mapping[str, Any]]
) -> Iterator[Line]:
    """Lines of a method: one, or more if it has several rows (of several protocols) on a set."""
    ids = [entry["id"] for entry in sets]
    found = {key: [row for row in results["rows"] if (row["method"], row["set"]) == (method["id"], key)] for key in ids}
    facts = method["by_scale"].get(str(scale)) or {}
    for number in range(max(map(len, found.values()))):
        yield Line(method, facts, {key: rows[number] for key, rows in found.items() if number < len(rows)})


def _most_common(protocols: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The protocol of most rows; of equally frequent ones the first."""
    keys = [json.dumps(protocol, sort_keys=True) for protocol in protocols]
    return protocols[keys.index(Counter(keys).most_common(1)[0][0])] if keys else {}


def _texts(row: Mapping[str, Any], differs: str) -> list[str]:
    """Footnotes of a row: what differs in its protocol, its marks, and the explanation."""
    return [text for text in dict.fromkeys([differs, *row.get("marks", ()), row.get("explanation")]) if text]


def _common(notes: Sequence[Sequence[str]]) -> list[str]:
    """Footnotes that all rows have, if there is more than one row."""
    return [text for text in notes[0] if all(text in other for other in notes)] if len(notes) > 1 else []


def note_letters(number: int) -> str:
    """Footnote letters: a to z, then aa, ab, ...

    >>> note_letters(0), note_letters(25), note_letters(26), note_letters(53)
    ('a', 'z', 'aa', 'bb')
    """
    return ("" if number < 26 else note_letters(number // 26 - 1)) + chr(ord("a") + number % 26)


def value_text(metric: Mapping[str, Any], value: float | None) -> str:
    """A metric's value with its digits; `∞` for equal images, `–` for none."""
    if value is None or math.isnan(value):
        return ABSENT
    return "∞" if math.isinf(value) else f"{value:.{metric['digits']}f}"


def _mean(row: Mapping[str, Any], key: str, metric: Mapping[str, Any]) -> float:
    """The mean of a metric; NaN if there is none. JSON has no infinity: the PSNR of equal images may be null."""
    value = row["mean"].get(key, math.nan)
    if value is None:
        return math.inf if metric["better"] == "higher" else math.nan
    return float(value)


def _best(results: Results, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """The best and the second best text of each set and metric that several rows have."""
    best = {}
    for set_id in {row["set"] for row in rows}:
        for key, metric in results["metrics"].items():
            means = [_mean(row, key, metric) for row in rows if row["set"] == set_id]
            means = sorted((value for value in means if not math.isnan(value)), reverse=metric["better"] == "higher")
            if len(means) > 1:
                best[set_id, key] = list(dict.fromkeys(value_text(metric, value) for value in means))[:2]
    return best


def _cells(
    results: Results, row: Mapping[str, Any], best: Mapping[tuple[str, str], list[str]]
) -> Iterator[tuple[tuple[str, str], Cell]]:
    for key, metric in results["metrics"].items():
        value, place = _mean(row, key, metric), (row["set"], key)
        if math.isnan(value):
            continue
        text, top = value_text(metric, value), best.get((row["set"], key), [])
        published = (row.get("published") or {}).get(key)
        yield (
            place,
            Cell(
                value=value,
                text=text,
                rank=top.index(text) + 1 if text in top else 0,
                published="" if published is None else value_text(metric, published),
            ),
        )


def protocol_words(protocol: Mapping[str, Any]) -> list[str]:
    """A protocol in words: `["on Y", "border of 4 pixels cut", "8 bit", "whole images", ...]`."""
    return [_word(key, value) for key, value in protocol.items() if value is not None]


def difference(protocol: Mapping[str, Any], usual: Mapping[str, Any], is_network: bool = True) -> str:
    """What differs between a row's protocol and the usual one, as a footnote; empty if they are equal.

    >>> difference({"color": "RGB", "border": 4}, {"color": "Y", "border": 4})
    'Other protocol, not ranked: on RGB instead of on Y'
    """
    keys = [key for key in {**usual, **protocol} if is_network or key not in OF_NETWORKS]
    parts = [
        f"{_word(key, protocol.get(key))} instead of {_word(key, usual.get(key))}"
        for key in keys
        if protocol.get(key) != usual.get(key)
    ]
    return f"Other protocol, not ranked: {'; '.join(parts)}" if parts else ""


def _word(key: str, value: Any) -> str:
    if value is None:
        return f"no {key}"
    if key == "color":
        return f"on {value}"
    if key == "border":
        return f"border of {value} pixel{'s' if value != 1 else ''} cut" if value else "border not cut"
    if key == "gray":
        return {"gray": "gray images as they are", "color": "gray images as three channels"}.get(value, str(value))
    if key == "ensemble":
        return "self-ensemble" if value else "no self-ensemble"
    if key == "inference":
        return {"whole": "whole images", "pictures": "finished pictures"}.get(value, str(value))
    if key == "rounding":
        return f"{value} rounding"
    return f"{value}" if key == "precision" else f"{key}: {value}"


def count(number: float | None) -> str:
    """A number of parameters or operations with a prefix; `–` for none.

    >>> count(15592379), count(8032), count(916.9e9), count(None)
    ('15.6M', '8.03K', '917G', '–')
    """
    if number is None:
        return ABSENT
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{float(f'{number / size:.3g}'):g}{prefix}"
    return f"{number:g}"


def multiply_adds(facts: Mapping[str, Any]) -> float | None:
    """Multiply-adds for an output of 1280x720 pixels, as in papers; None if they were not counted."""
    return (facts.get("multiply_adds") or {}).get("1280x720")


def milliseconds(facts: Mapping[str, Any]) -> float | None:
    """Median latency in ms; None if it was not measured."""
    return (facts.get("latency") or {}).get("median_ms")
