"""Draws the pictures of the documents: SVG without scripts or fonts of other hosts, in light and in dark."""

from html import escape
from typing import NamedTuple


class Palette(NamedTuple):
    background: str
    text: str
    quiet: str
    accent: str
    box: str
    bar: str


class Bar(NamedTuple):
    name: str
    share: float
    lowest: float
    highest: float
    other: float


# Contrast of every text with its background is at least 4.5:1, measured by tests/test_pictures.py.
PALETTES = {
    "light": Palette("#ffffff", "#1f2328", "#57606a", "#a40e26", "#f3f5f7", "#8c959f"),
    "dark": Palette("#0d1117", "#e6edf3", "#9da7b3", "#ff9492", "#1b222b", "#6e7681"),
}
MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
SANS = "system-ui, -apple-system, Segoe UI, sans-serif"


def _svg(width: int, height: int, title: str, palette: Palette, body: str) -> str:
    size = f'width="{width}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{palette.background}"/>\n'
        f"{body}</svg>\n"
    )


def _text(x: int, y: int, words: str, colour: str, *, size: int = 14, family: str = SANS, more: str = "") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-family="{family}" font-size="{size}" xml:space="preserve"{more}>'
        f"{escape(words)}</text>\n"
    )


def terminal(title: str, lines: list[str], palette: Palette) -> str:
    """Lines as a terminal shows them: commands quiet, what was refused in the accent."""
    body = ""
    for number, line in enumerate(lines):
        colour = palette.quiet if line.startswith("$") else palette.accent if line.startswith("  - ") else palette.text
        body += _text(20, 36 + 22 * number, line, colour, family=MONOSPACE)
    return _svg(30 + 9 * max(map(len, lines)), 30 + 22 * len(lines), title, palette, body)


def layers(title: str, rows: list[tuple[str, str, str]], palette: Palette) -> str:
    """Boxes below each other: a name, what it does, and what it refuses; a request goes down, its response up."""
    width, step = 760, 52
    body = _text(60, 30, "request", palette.quiet, more=' text-anchor="middle"')
    body += _text(width - 60, 30, "response", palette.quiet, more=' text-anchor="middle"')
    bottom = 44 + step * len(rows)
    for x, first, last in ((60, 40, bottom), (width - 60, bottom, 40)):
        head = -8 if last > first else 8
        body += (
            f'<path d="M{x} {first}V{last}m-5 {head}l5 {-head}l5 {head}" fill="none" stroke="{palette.quiet}"'
            ' stroke-width="2"/>\n'
        )
    for number, (name, work, refusal) in enumerate(rows):
        y = 44 + step * number
        body += f'<rect x="90" y="{y}" width="{width - 180}" height="{step - 8}" rx="6" fill="{palette.box}"/>\n'
        body += _text(106, y + 19, name, palette.text, more=' font-weight="600"')
        body += _text(106, y + 36, work, palette.quiet, size=13)
        body += _text(width - 106, y + 27, refusal, palette.accent, more=' text-anchor="end"')
    return _svg(width, bottom + 16, title, palette, body)


def boundaries(title: str, columns: list[tuple[str, list[str]]], palette: Palette) -> str:
    """Boxes beside each other with a boundary between each two; below each, the attacks that arrive there."""
    step, gap = 140, 16
    rows = max(len(attacks) for _, attacks in columns)
    body = ""
    for number, (name, attacks) in enumerate(columns):
        x = 20 + (step + gap) * number
        body += f'<rect x="{x}" y="20" width="{step}" height="{64 + 22 * rows}" rx="6" fill="{palette.box}"/>\n'
        body += _text(x + step // 2, 48, name, palette.text, more=' font-weight="600" text-anchor="middle"')
        for row, attack in enumerate(attacks):
            body += _text(x + step // 2, 74 + 22 * row, attack, palette.accent, size=13, more=' text-anchor="middle"')
        if number:
            line = x - gap // 2
            stroke = f'stroke="{palette.quiet}" stroke-width="2" stroke-dasharray="5 4"'
            body += f'<path d="M{line} 12V{92 + 22 * rows}" {stroke}/>\n'
    return _svg(20 + (step + gap) * len(columns), 104 + 22 * rows, title, palette, body)


def bars(title: str, rows: list[Bar], notes: list[str], palette: Palette) -> str:
    """Shares of 1 below each other: a bar, a line from the lowest to the highest, a diamond for another share."""
    left, scale, step = 340, 380, 34
    top = 24 + 20 * len(notes)
    bottom = top + 24 + step * len(rows)
    body = "".join(_text(20, 32 + 20 * number, note, palette.quiet, size=13) for number, note in enumerate(notes))
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + round(scale * share)
        body += f'<path d="M{x} {top + 22}V{bottom}" stroke="{palette.quiet}" stroke-width="1" opacity="0.4"/>\n'
        body += _text(x, top + 16, f"{share:g}", palette.quiet, size=13, more=' text-anchor="middle"')
    for number, row in enumerate(rows):
        y = top + 30 + step * number
        middle = y + 11
        first, last = (left + round(scale * share) for share in (row.lowest, row.highest))
        body += _text(left - 60, y + 16, row.name, palette.text, more=' text-anchor="end"')
        body += _text(left - 14, y + 16, f"{row.share:.2f}", palette.text, more=' font-weight="600" text-anchor="end"')
        body += (
            f'<rect x="{left}" y="{y}" width="{round(scale * row.share)}" height="22" rx="3" fill="{palette.bar}"/>\n'
        )
        body += f'<path d="M{first} {middle}H{last}" stroke="{palette.text}" stroke-width="2"/>\n'
        body += f'<path d="M{left + round(scale * row.other)} {middle - 6}l6 6l-6 6l-6 -6z" fill="{palette.accent}"/>\n'
    return _svg(left + scale + 30, bottom + 16, title, palette, body)
