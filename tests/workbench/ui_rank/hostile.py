"""Texts that a model or a file may hold and that no screen may obey."""

from __future__ import annotations

HOSTILE = (
    "clipboard \x1b]52;c;SGFja2Vk\x07 and \x1b]52;c;SGFja2Vk\x1b\\ done",
    "screen \x1b[2J\x1b[31m\x1b[10;10HRED \x1b[?1049l\x1bc\x1b]0;title\x07 title",
    "link \x1b]8;;http://example.invalid\x07here\x1b]8;;\x07 and \x1bP+q544e\x1b\\",
    "markup [/foo] [type=x, v={'a[0]'}] [bold]x[/] [@click=app.quit]quit[/] [$error]y [link=x]",
    "eight-bit \x9b31m \x9d52;c;SGFja2Vk\x9c \x90x\x9c \x85 \x80",
    "bidi \u202eright to left\u202c \u2066isolate\u2069 \u200f\u061c end",
    "wide 宽字符 👨\u200d👩\u200d👧 e\u0301\u0301\u0301\u0301 ﷽ \ufeff\u200b zero\u2028line\u2029end",
    "long " + "x" * 100_000,
    "words " + "many words " * 9_000,
    "markdown # h\n\n```py\n\x1b]52;c;SGFja2Vk\x07\n```\n\n"
    "| a | [b](http://x) |\n|-|-|\n| \x1b[31m | ![i](x) |\n\n<b>html</b>",
    "controls \x00\x01\x07\x08\x0b\x0c\x0e\x7f\r\rover\rwritten\ttab",
    "",
    " \n\n\n ",
)
SURROGATE = "lone \ud800 surrogate \udfff"
"""Cannot be stored, but could come from somewhere else."""
