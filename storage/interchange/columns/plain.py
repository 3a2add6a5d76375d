"""Texts of a column that are read as they stand: no conversations, no transcripts, no control characters.

Everything else is left to the readers of one row (`storage.interchange.mapping`), whose words these are.
"""

from __future__ import annotations

from typing import Any

from storage.interchange.clean import clean_text

# As `clean.UNSAFE`, in the language of RE2; Arrow holds no lone surrogates.
UNSAFE = r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]"
# What a prompt could be beside text, or an empty one; `mapping.answers.ask` and `mapping.transcripts` decide.
PERHAPS_CHAT = (
    r"^[\[{<#\s\p{Z}]|^(?:N/A|n/a|NaN|nan)$|^(?:Human|User|USER|System|SYSTEM):|^$|<extra_id_1>Assistant"
    r"|^Below is an instruc"
)
# Messages, or no text: `cells.ABSENT`, and what `mapping.taking` counts.
PERHAPS_MESSAGES = r"^[\[{]|^(?:N/A|n/a|NaN|nan|#N/A|<NA>|None|none|NULL|Null|null)$|^[\s\p{Z}]*$"


def plain_prompts(texts: Any) -> tuple[Any, Any]:
    """The texts cleaned, and which of them are prompts of one turn."""
    import pyarrow.compute as pc

    odd = pc.match_substring_regex(texts, PERHAPS_CHAT)
    texts, changed = _cleaned(texts)
    if changed:
        odd = pc.or_(odd, pc.match_substring_regex(texts, PERHAPS_CHAT))
    return texts, pc.fill_null(pc.invert(odd), False)


def plain_answers(texts: Any) -> tuple[Any, Any]:
    """The texts cleaned, and which of them are answers as they stand."""
    import pyarrow.compute as pc

    odd = pc.match_substring_regex(texts, PERHAPS_MESSAGES)
    texts, changed = _cleaned(texts)
    if changed:
        odd = pc.or_(odd, pc.match_substring_regex(texts, PERHAPS_MESSAGES))
    return texts, pc.fill_null(pc.invert(odd), False)


def _cleaned(texts: Any) -> tuple[Any, bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    unsafe = pc.match_substring_regex(texts, UNSAFE)
    if not pc.any(unsafe).as_py():
        return texts, False
    values = texts.to_pylist()
    for place in pc.indices_nonzero(unsafe).to_pylist():
        values[place] = clean_text(values[place])
    return pa.array(values, pa.string()), True
