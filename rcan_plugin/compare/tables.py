"""Tables of a comparison as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rcan_plugin.compare import layout
from rcan_plugin.compare.layout import ABSENT, Cell, Group, Line, Results

_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "×": r"$\times$",
        "−": r"$-$",
        "∞": r"$\infty$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # at the start of a row, `[` and `*` would be arguments of the `\\` before it
        "*": "{*}",
    }
)


def write(folder: str | Path) -> list[Path]:
    """Write `table.md`, `table.csv` and `table.tex` beside the results of a comparison.

    Args:
        folder: the comparison's output folder.

    Returns:
        The files.

    Raises:
        FileNotFoundError, ValueError: there are no results of a comparison in the folder.
    """
    results = layout.read(folder)
    found = layout.groups(results)
    texts = {
        "table.md": markdown(results, found),
        "table.csv": comma_separated(results, found),
        "table.tex": latex(results, found),
    }
    for name, text in texts.items():
        layout.write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]


def markdown(results: Results, found: Sequence[Group]) -> str:
    """One table per group; best values bold, second best underlined; footnotes below."""
    parts = [f"# {results['title']}"]
    for group in found:
        parts += [f"## {group.title}", _markdown_table(results, group)]
        parts.append(f"Protocol, unless a footnote says otherwise: {', '.join(layout.protocol_words(group.protocol))}.")
        if group.notes:
            parts.append("\n".join(f"- <sup>{letter}</sup> {text}" for letter, text in group.notes.items()))
    return "\n\n".join(parts) + "\n"


def _markdown_table(results: Results, group: Group) -> str:
    metrics = results["metrics"]
    heads = ["Method", "Parameters", "Multiply-adds", "Latency, ms"]
    for entry in group.sets:
        sup = _sup(group.set_notes[entry["id"]])
        heads += [f"{_cell(entry['name'])} {metric['name']}{sup}" for metric in metrics.values()]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for line in group.lines:
        facts = [layout.count(line.facts.get("parameters")), layout.count(layout.multiply_adds(line.facts))]
        values = [_value(line, entry["id"], key) for entry in group.sets for key in metrics]
        lines.append([_cell(line.name), *facts, _latency(line), *values])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def _bold(cell: Cell) -> str:
    return {1: f"**{cell.text}**", 2: f"<u>{cell.text}</u>"}.get(cell.rank, cell.text)


def _sup(notes: Sequence[str]) -> str:
    return f"<sup>{','.join(notes)}</sup>" if notes else ""


def _latency(line: Line) -> str:
    milliseconds = layout.milliseconds(line.facts)
    return ABSENT if milliseconds is None else f"{milliseconds:.1f}"


def _value(line: Line, set_id: str, metric: str) -> str:
    """A cell with its rank and the letters of the row's footnotes."""
    cell = line.cells.get((set_id, metric))
    return f"{_bold(cell)}{_sup(line.notes[set_id])}" if cell else ABSENT


def comma_separated(results: Results, found: Sequence[Group]) -> str:
    """One line for each method and set, all values in full: for programs and spreadsheets."""
    metrics = results["metrics"]
    protocol_keys = list(dict.fromkeys(key for row in results["rows"] for key in row["protocol"]))
    heads = ["method", "set", "degradation", "scale", *metrics, *(f"published_{key}" for key in metrics)]
    heads += ["parameters", "multiply_adds_1280x720", "multiply_adds_256x256", "latency_ms", "memory_mb"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*heads, *protocol_keys, "marks"])
    for group, line, entry, row in _rows(found):
        published = row.get("published") or {}
        counts = line.facts.get("multiply_adds") or {}
        facts = [line.facts.get("parameters"), counts.get("1280x720"), counts.get("256x256")]
        notes = [group.notes[letter] for letter in (*group.set_notes[entry["id"]], *line.notes[entry["id"]])]
        writer.writerow(
            [
                *(line.name, entry["name"], group.degradation, group.scale),
                *(row["mean"].get(key) for key in metrics),
                *(published.get(key) for key in metrics),
                *(*facts, layout.milliseconds(line.facts), line.facts.get("memory_mb")),
                *(row["protocol"].get(key) for key in protocol_keys),
                " | ".join(notes),
            ]
        )
    return text.getvalue()


def _rows(found: Sequence[Group]) -> Iterator[tuple[Group, Line, Mapping[str, Any], Mapping[str, Any]]]:
    for group in found:
        for line in group.lines:
            for entry in group.sets:
                if row := line.rows.get(entry["id"]):
                    yield group, line, entry, row


def latex(results: Results, found: Sequence[Group]) -> str:
    """One `table` with booktabs for each degradation, a block of lines for each scale."""
    degradations = itertools.groupby(found, key=lambda group: group.degradation)
    tables = [_latex_table(results, list(members)) for _, members in degradations]
    return "% \\usepackage{booktabs}\n" + "\n".join(tables)


def _latex_table(results: Results, members: Sequence[Group]) -> str:
    metrics = results["metrics"]
    names = list(dict.fromkeys(entry["name"] for group in members for entry in group.sets))
    width = len(metrics)
    spans = [f"\\cmidrule(lr){{{4 + width * i}-{3 + width * (i + 1)}}}" for i in range(len(names))]
    lines = [
        " & ".join(["", "", "", *(f"\\multicolumn{{{width}}}{{c}}{{{_escape(name)}}}" for name in names)]) + r" \\",
        "".join(spans),
        " & ".join(["Method", "Scale", "Params", *[_escape(item["name"]) for item in metrics.values()] * len(names)])
        + r" \\",
    ]
    texts = dict.fromkeys(text for group in members for text in group.notes.values())
    letters = {text: layout.note_letters(number) for number, text in enumerate(texts)}
    notes = [f"{_latex_sup([letter])} {_escape(text)}." for text, letter in letters.items()]
    for group in members:
        lines.append(r"\midrule")
        lines += [_latex_line(group, line, names, list(metrics), letters) for line in group.lines]
    what = f"{results['title']}: {', '.join(item['name'] for item in metrics.values())}; {members[0].degradation}"
    caption = f"{what}; {_protocols(members)}. Best bold, second underlined."
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            f"\\caption{{{_escape(caption)}}}",
            f"\\begin{{tabular}}{{lcr{'c' * width * len(names)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip\footnotesize", *notes] if notes else []),
            r"\end{table}",
            "",
        ]
    )


def _latex_line(
    group: Group, line: Line, names: Sequence[str], metrics: Sequence[str], letters: Mapping[str, str]
) -> str:
    ids = {entry["name"]: entry["id"] for entry in group.sets}
    cells = [_escape(line.name), f"$\\times${group.scale}", _escape(_count(line))]
    for name, metric in itertools.product(names, metrics):
        set_id = ids.get(name, "")
        cell = line.cells.get((set_id, metric))
        texts = [group.notes[key] for key in (*group.set_notes.get(set_id, ()), *line.notes.get(set_id, ()))]
        cells.append(f"{_latex_mark(cell)}{_latex_sup([letters[text] for text in texts])}" if cell else "--")
    return " & ".join(cells) + r" \\"


def _count(line: Line) -> str:
    return layout.count(line.facts.get("parameters")).replace(ABSENT, "--")


def _protocols(members: Sequence[Group]) -> str:
    """The protocols of the groups. Protocols that differ only in a border as wide as the scale are given once."""
    texts = []
    for group in members:
        border = group.protocol.get("border")
        as_scale = {"border": "scale"} if border == group.scale and len(members) > 1 else {}
        texts.append(", ".join(layout.protocol_words({**group.protocol, **as_scale})))
    return "; ".join(dict.fromkeys(texts))


def _latex_mark(cell: Cell) -> str:
    text = _escape(cell.text)
    return {1: f"\\textbf{{{text}}}", 2: f"\\underline{{{text}}}"}.get(cell.rank, text)


def _latex_sup(notes: Sequence[str]) -> str:
    return f"\\textsuperscript{{{','.join(notes)}}}" if notes else ""


def _escape(text: str) -> str:
    """A text for LaTeX.

    >>> _escape("RCAN_x4 & 50%")
    'RCAN\\\\_x4 \\\\& 50\\\\%'
    """
    return text.translate(_LATEX)
