"""Markdown as HTML: headings with anchors, links that may be led elsewhere, tables that scroll."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_SCROLLING = '<div class="scroll" role="region" aria-label="{}" tabindex="0">'


def as_html(text: str, linked: Callable[[str], str | None]) -> Markup:
    """A text as HTML; HTML within it is shown and not obeyed, comments are left out.

    Args:
        text: CommonMark, with tables.
        linked: what a link leads to in the place of its target; None leaves its words alone.
    """
    parser = _parser()
    tokens = parser.parse(_COMMENT.sub("", text))
    for heading, anchor in _anchored(tokens):
        heading.attrSet("id", anchor)
    for token in tokens:
        _align(token)
        if token.children:
            token.children = list(_led(token.children, linked))
    html = parser.renderer.render(tokens, parser.options, {})
    html = html.replace("<table>", f"{_SCROLLING.format('table')}\n<table>")
    html = html.replace("</table>", "</table>\n</div>")
    return Markup(html.replace("<pre>", '<pre tabindex="0">'))


def anchor_of(heading: str) -> str:
    """The anchor of a heading, as GitHub gives it where no other heading has the same words."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def divided(text: str, level: int) -> tuple[str, dict[str, str]]:
    """What stands before the first heading of a level, and what under each, by its words."""
    before: list[str] = []
    sections: dict[str, list[str]] = {}
    lines, mark, in_code = before, "#" * level + " ", False
    for line in text.splitlines(keepends=True):
        in_code ^= line.startswith("```")
        if not in_code and line.startswith(mark):
            lines = sections.setdefault(line.removeprefix(mark).strip(), [])
        else:
            lines.append(line)
    return "".join(before), {heading: "".join(lines) for heading, lines in sections.items()}


def last_section(text: str) -> tuple[str, str]:
    """The last heading of a text, and what stands under it; empty if it has none."""
    heading, lines, in_code = "", [""], False
    for line in text.splitlines(keepends=True):
        in_code ^= line.startswith("```")
        if not in_code and (found := re.match(r"#+ (.+)", line)):
            heading, lines = found[1].strip(), []
        elif heading:
            lines.append(line)
    return heading, "".join(lines)


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _anchored(tokens: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """Headings with their anchors; those whose words were there before are counted."""
    seen: dict[str, int] = {}
    for heading, words in pairwise(tokens):
        if heading.type == "heading_open":
            plain = "".join(each.content for each in words.children or ())
            anchor = anchor_of(plain)
            count = seen[anchor] = seen.get(anchor, -1) + 1
            yield heading, f"{anchor}-{count}" if count else anchor


def _align(token: Token) -> None:
    """Have a cell say by its class where it is aligned, since pages obey no style within them."""
    if style := token.attrs.pop("style", None):
        token.attrSet("class", str(style).removeprefix("text-align:"))


def _led(tokens: Sequence[Token], linked: Callable[[str], str | None]) -> Iterator[Token]:
    """The tokens of a line, its links and pictures led elsewhere or left out."""
    keeps_end = True
    for token in tokens:
        if token.type == "link_close":
            if keeps_end:
                yield token
            continue
        attribute = {"link_open": "href", "image": "src"}.get(token.type)
        if attribute:
            target = linked(str(token.attrs[attribute]))
            if token.type == "link_open":
                keeps_end = target is not None
            if target is None:
                continue
            token.attrSet(attribute, target)
        yield token
