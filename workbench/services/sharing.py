"""The store of this process, open to the questions of others for as long as this process holds it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from storage.errors import StoreError
from storage.store import Store


class Sharing:
    """Shares from a thread, because DuckDB takes a moment to load its protocol; `close` before the store.

    `on_error` hears why a store cannot be shared; whoever holds it works without that.
    """

    def __init__(self, store: Store, on_error: Callable[[Exception], None]) -> None:
        self._store, self._on_error = store, on_error
        self._close: Callable[[], None] | None = None
        self._thread = Thread(target=self._begin, name="share-store", daemon=True)
        if store.path is not None:
            self._thread.start()

    def _begin(self) -> None:
        from storage.share.sharing import share

        try:
            self._close = share(self._store).close
        except (StoreError, OSError) as error:
            self._on_error(error)

    def close(self) -> None:
        """Stop answering."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._close is not None:
            self._close()
            self._close = None
