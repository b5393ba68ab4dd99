"""A second reader of nginx's syntax, a character at a time; not the product's."""

from __future__ import annotations


def statements(text: str, *, depth: int | None = None) -> list[list[str]]:
    """The words of each statement; only those inside of so many blocks, if `depth` says.

    Raises ValueError when the text does not end what it begins, or ends more.
    """
    found: list[list[str]] = []
    words: list[str] = []
    level = at = 0
    text += "\n"
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char == "#":
            at = text.index("\n", at)
        elif char in ";{}":
            if bool(words) == (char == "}"):
                raise ValueError(f"{char} where none may be")
            if words and depth in (None, level):
                found.append(words)
            words = []
            level += {";": 0, "{": 1, "}": -1}[char]
            if level < 0:
                raise ValueError("more blocks end than begin")
            at += 1
        else:
            word, at = _quoted(text, at) if char in "\"'" else _bare(text, at)
            words.append(word)
    if words or level:
        raise ValueError("it does not end")
    return found


def _bare(text: str, at: int) -> tuple[str, int]:
    begin = at
    while text[at] not in " \t\r\n;{":
        at += 2 if text[at] == "\\" or text.startswith("${", at) else 1
        if at >= len(text):
            raise ValueError("a backslash at the end")
    return text[begin:at], at


def _quoted(text: str, at: int) -> tuple[str, int]:
    begin, quote = at, text[at]
    at += 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    if at + 1 >= len(text) or text[at + 1] not in " \t\r\n;{)":
        raise ValueError("a quote that does not end, or more behind it")
    return text[begin + 1 : at], at + 1
