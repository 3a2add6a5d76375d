"""The few changes that a process may ask of the one that holds a store: who is invited to judge in it.

Whoever may read the file that says where to ask (mode 0600) could open the store itself, were it not held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from storage.share import invitations
from storage.share.remote import RemoteStore
from storage.store import Store

DEEDS: Mapping[str, Callable[[Store, str], Any]] = {
    "invite": invitations.invite,
    "withdraw": invitations.withdraw,
    "invited": lambda store, _: invitations.invited(store),
}
"""All that can be asked to be done, with one text each."""


def do(store: Store, what: str, text: str = "") -> Any:
    """Do one of DEEDS here, or have it done by the process that holds the store; on disk when it returns."""
    if isinstance(store, RemoteStore):
        return store.do(what, text)
    return DEEDS[what](store, text)
