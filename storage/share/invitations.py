"""Who may judge in a store that another process serves: a token each, of which the store keeps the hash."""

from __future__ import annotations

import hashlib
import secrets

from storage.errors import StoreError
from storage.sql import block
from storage.store import Store

INVITED = "invited:"
"""Begins the key under which the hash of an annotator's token is kept."""
LONGEST_NAME = 100


def invite(store: Store, annotator: str) -> str:
    """A new token for an annotator, in the place of an earlier one; it is told this once.

    Raises StoreError for what is no name.
    """
    if not (annotator.strip() and annotator.isprintable() and len(annotator) <= LONGEST_NAME):
        raise StoreError(f"An annotator's name has 1 to {LONGEST_NAME} characters, none of them invisible.")
    token = secrets.token_urlsafe(32)
    store.write(block("store", "remember"), {"key": INVITED + annotator, "value": _hash(token)})
    return token


def withdraw(store: Store, annotator: str) -> bool:
    """Let an annotator's token count no longer; whether there was one."""
    return store.write(block("store", "forget"), {"key": INVITED + annotator}) > 0


def invited(store: Store) -> list[str]:
    """Names of the annotators who have a token."""
    rows = store.rows(block("store", "remembered_like"), {"beginning": INVITED})
    return [key.removeprefix(INVITED) for key, _ in rows]


def annotator_of(store: Store, token: str) -> str | None:
    """Whose token this is; None for nobody's."""
    rows = store.rows(block("store", "remembered_like"), {"beginning": INVITED})
    hashed = _hash(token)
    return next((key.removeprefix(INVITED) for key, value in rows if value == hashed), None)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
