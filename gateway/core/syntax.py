"""nginx's configuration syntax, read as nginx reads it (src/core/ngx_conf_file.c, ngx_conf_read_token).

Only what that function accepts is accepted, less control characters. Lua blocks have a syntax of
their own; they are refused by name before they matter (core.snippet).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A word goes on over `{` only in `${`; quotes and # count at its beginning only. Nothing that was matched is
# given back (`++`): a comment never turns into a word because what follows it is wrong.
_TOKEN = re.compile(
    r"""(?:[ \t\r\n]++|\#[^\n]*+)*+
      (?: (?P<mark>[;{}])
        | "(?P<double>(?:[^"\\]++|\\.)*+)"(?=[ \t\r\n;{)])
        | '(?P<single>(?:[^'\\]++|\\.)*+)'(?=[ \t\r\n;{)])
        | (?P<bare>(?!["'])(?:[^ \t\r\n;{\\$]++|\\.|\$\{?+)++(?=[ \t\r\n;{]))
        | (?P<end>\Z)
        | (?P<wrong>)
      )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\([\"'\\trn])")
_MEANS = {"t": "\t", "r": "\r", "n": "\n"}
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # a template can make one, and UTF-8 has none
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
DEEPEST = 20  # blocks in blocks; more is no configuration that a person wrote


class SyntaxRefused(ValueError):
    """`line` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")


@dataclass(frozen=True, slots=True)
class Directive:
    """`words` are as nginx sees them, without quotes; the first is the name. `block` None: ends in `;`."""

    words: tuple[str, ...]
    line: int
    block: tuple[Directive, ...] | None = None

    @property
    def name(self) -> str:
        return self.words[0]

    def walk(self) -> Iterator[Directive]:
        """Itself and everything below it."""
        yield self
        for inner in self.block or ():
            yield from inner.walk()


@dataclass(slots=True)
class _Open:
    """A block that has not ended; the outermost stands for the file."""

    words: tuple[str, ...]
    line: int
    inside: list[Directive]


def parse(text: str) -> tuple[Directive, ...]:
    """The directives of a whole file. Raises SyntaxRefused."""
    if found := _CONTROL.search(text):
        raise SyntaxRefused(_line(text, found.start()), "a control character")
    if found := _SURROGATE.search(text):
        raise SyntaxRefused(_line(text, found.start()), "a character that no file can hold")
    words: list[str] = []
    began = 0
    stack = [_Open((), 0, [])]
    for kind, value, line in _tokens(text):
        if kind == "word":
            began = began if words else line
            words.append(value)
        elif value == "}":
            if words or len(stack) == 1:
                raise SyntaxRefused(line, 'unexpected "}"')
            done = stack.pop()
            stack[-1].inside.append(Directive(done.words, done.line, tuple(done.inside)))
        elif not words:
            raise SyntaxRefused(line, f'unexpected "{value}"')
        elif value == "{":
            if len(stack) > DEEPEST:
                raise SyntaxRefused(line, f"more than {DEEPEST} blocks in one another")
            stack.append(_Open(tuple(words), began, []))
            words = []
        else:
            stack[-1].inside.append(Directive(tuple(words), began))
            words = []
    if words:
        raise SyntaxRefused(began, f'"{words[0]}" does not end in ; or {{')
    if len(stack) > 1:
        raise SyntaxRefused(stack[-1].line, f'the block "{stack[-1].words[0]}" does not end')
    return tuple(stack[0].inside)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(word or mark, its value, the line where it begins)."""
    text += "\n"  # so that a last word ends
    line, counted = 1, 0
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        value = found[kind]
        if kind == "end":
            return
        if kind == "wrong":
            raise SyntaxRefused(
                _line(text, found.end()), "a quote that does not end, or more right behind it"
            )
        if kind != "mark" and "\\" in value:
            value = _ESCAPED.sub(lambda m: _MEANS.get(m[1], m[1]), value)
        line += text.count("\n", counted, found.start(kind))
        counted = found.start(kind)
        yield "mark" if kind == "mark" else "word", value, line


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
