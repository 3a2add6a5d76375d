"""Keep Python's garbage collector from stopping the screen.

A full collection walks everything that modules have made, 30 to 60 ms once numpy, pyarrow and a tokeniser are
loaded, and no frame is drawn meanwhile.  What is loaded stays loaded, so it need not be walked again.
"""

from __future__ import annotations

import gc


def keep_loaded() -> None:
    """Leave out of future collections what is there now; call it after something large was imported."""
    gc.freeze()
