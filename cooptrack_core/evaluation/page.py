"""Parts of a self-contained HTML page: sections, tables, figures; nothing in it is ever fetched from elsewhere."""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from cooptrack_core.data.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASH = "\N{EN DASH}"  # a number that does not exist
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SVG_ID = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')

_STYLE = """
:root { color-scheme: light; --text: #1c2530; --muted: #5b6673; --line: #d9dfe6; --band: #f5f7f9; --mark: #0b62a4; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--text); }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 32px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-top: 14px; border-top: 2px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 6px 0; max-width: 90ch; }
p.lead, p.note, figcaption, caption { color: var(--muted); }
p.note, figcaption, caption { font-size: 13px; }
p.warning { border-left: 4px solid #c8500a; background: #fdf3ec; padding: 8px 12px; }
code { font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 10px 0 18px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
caption { text-align: left; padding: 0 0 6px; }
th, td { padding: 5px 14px 5px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #9aa6b3; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:nth-child(even) { background: var(--band); }
td.number, th.number { text-align: right; white-space: nowrap; }
td.best { font-weight: 700; color: var(--mark); }
figure { margin: 14px 0 22px; }
figure svg { max-width: 100%; height: auto; display: block; }
@media print { main { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } }
"""


class Html(str):
    """Text that is markup already; every other string is escaped."""

    __slots__ = ()


def markup(content: object) -> Html:
    """The content as markup: escaped unless it is Html."""
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def number(value: float | None, digits: int = 3) -> str:
    """The number with a fixed number of digits and a true minus; a dash where it does not exist (None, NaN)."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    text = f"{value:,.{digits}f}"
    if text.strip("-0.,") == "":
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}").replace(",", "\N{THIN SPACE}")


def formatted(value: object, digits: int) -> object:
    """What a table shows of a value: numbers and None by `number`, whole ones without digits, others as they are."""
    if value is None or _is_number(value):
        return number(value, 0 if isinstance(value, int) else digits)
    return value


def paragraph(content: object, kind: str = "") -> Html:
    """One paragraph. kind: "", "lead", "note" (small and grey) or "warning"."""
    attribute = f' class="{kind}"' if kind else ""
    return Html(f"<p{attribute}>{markup(content)}</p>")


def code(content: object) -> Html:
    """A command or a file name."""
    return Html(f"<code>{markup(content)}</code>")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", digits: int = 3,
    best: Mapping[int, str] | None = None,
) -> Html:  # fmt: skip
    """A table whose first column names the rows.

    Numbers, None and NaN are printed by `number` with the digits (whole numbers without), aligned to the right;
    Html stays as it is; other values are text. A string that already is a formatted number is right-aligned too.
    best: column -> "max" or "min", to print the best number of that column in bold.
    """
    body = [list(row) for row in rows]
    right = [c > 0 and _is_number_column([row[c] for row in body if c < len(row)]) for c in range(len(columns))]
    winners = {c: _best([row[c] for row in body if c < len(row)], rule) for c, rule in (best or {}).items()}
    head = "".join(_cell("th", name, right[c], ' scope="col"') for c, name in enumerate(columns))
    lines = []
    for row in body:
        cells = [_cell("th", formatted(row[0], digits), right[0], ' scope="row"')] if row else []
        for c, value in enumerate(row[1:], start=1):
            wins = winners.get(c) is not None and value == winners[c]
            cells.append(_cell("td", formatted(value, digits), right[c], "", "best" if wins else ""))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{markup(caption)}</caption>" if caption else ""
    content = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return Html(f'<div class="scroll"><table>{title}{content}</table></div>')


def figure(svg: Html, caption: str = "") -> Html:
    """A figure of `figure_svg` with the words below it."""
    words = f"<figcaption>{markup(caption)}</figcaption>" if caption else ""
    return Html(f"<figure>{svg}{words}</figure>")


def figure_svg(fig: Figure, label: str = "") -> Html:
    """A matplotlib figure as inline SVG: equal figures give equal text, and its ids are its own on the page.

    label: what the figure shows, for those who cannot see it.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": "cooptrack", "svg.fonttype": "path"}):
        fig.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :].strip()
    # HTML knows the namespaces of SVG by itself; without them the page holds no address at all.
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:10] + "-"
    text = _SVG_ID.sub(rf"\g<1>{prefix}\g<2>", text)
    described = f' role="img" aria-label="{html.escape(label, quote=True)}"' if label else ""
    return Html(text.replace("<svg", f"<svg{described}", 1))


def section(heading: str, *parts: object) -> Html:
    """A part of the page under a heading; strings that are no markup become paragraphs."""
    inner = "".join(part if isinstance(part, Html) else paragraph(part) for part in parts)
    return Html(f"<section><h2>{markup(heading)}</h2>{inner}</section>")


def page(title: str, sections: Iterable[object], *, lead: object = "") -> str:
    """The whole page. lead: what the reader must know first; a policy in the page forbids every request."""
    inner = "\n".join(part if isinstance(part, Html) else paragraph(part) for part in sections)
    opening = paragraph(lead, "lead") if lead else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{markup(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{markup(title)}</h1>\n{opening}\n{inner}\n</main>\n</body>\n</html>\n"
    )


def write_page(path: Path, content: str) -> None:
    """Writes a page; CooptrackError where that is not possible."""
    write_file(path, content)


def _cell(tag: str, content: object, right: bool, attributes: str, kind: str = "") -> str:
    kinds = " ".join(name for name in ("number" if right else "", kind) if name)
    attributes += f' class="{kinds}"' if kinds else ""
    return f"<{tag}{attributes}>{markup(content)}</{tag}>"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_number_column(values: Sequence[Any]) -> bool:
    return bool(values) and all(_looks_numeric(value) for value in values)


def _looks_numeric(value: Any) -> bool:
    if value is None or _is_number(value):
        return True
    return isinstance(value, str) and (value in ("", DASH) or re.match(r"[\N{MINUS SIGN}+-]?[\d.]", value) is not None)


def _best(values: Sequence[Any], rule: str) -> Any:
    found = [value for value in values if _is_number(value) and not math.isnan(value)]
    if not found:
        return None
    return max(found) if rule == "max" else min(found)


__all__ = [
    "DASH", "Html", "code", "figure", "figure_svg", "formatted", "markup", "number", "page", "paragraph", "section",
    "table", "write_page",
]  # fmt: skip
