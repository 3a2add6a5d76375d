"""One annotator's page: every visitor judges with the token of this page, in a process of their own."""

from __future__ import annotations

import os
import sys

from textual_serve.server import Server

COMMAND = "workbench rank --at {socket} --token-file {token}"


def main() -> None:
    """Serve at the address that visitors see, `sys.argv[1]`; behind a proxy with a login, never without."""
    command = COMMAND.format(
        socket=os.environ.get("STUDY_SOCKET", "/run/study/socket"),
        token=os.environ.get("STUDY_TOKEN", "/run/secrets/token"),
    )
    port = int(os.environ.get("STUDY_PORT", "8000"))
    Server(
        command,
        host=os.environ.get("STUDY_HOST", "0.0.0.0"),
        port=port,
        title="Study",
        public_url=sys.argv[1],
    ).serve()


if __name__ == "__main__":
    main()
