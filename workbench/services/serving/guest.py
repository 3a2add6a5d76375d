"""Judging in a store that another process serves: the same services, asked at its counter.

Nothing of the store is here but the item that is being judged.  What has been recorded is on the server's
disk when `submit` returns; an answer that was lost is asked for again, and recorded once.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError, WorkbenchError
from storage.errors import StoreError
from storage.records import Span
from storage.store import Store
from workbench.services.ranking.draft import Draft, Mode
from workbench.services.ranking.item import Candidate, RankItem
from workbench.services.ranking.judging import Judging
from workbench.services.ranking.label_queue import LabelQueue
from workbench.services.ranking.pace import JudgingSession, Pace
from workbench.services.ranking.reading import Reading

ANSWER_SECONDS = 60.0
TRIES, PAUSE = 3, 0.2
ERRORS = {"usage": UsageError, "store": StoreError, "failed": WorkbenchError}


class CounterClient:
    """Asks the process that serves a study at a socket, as whoever the token says."""

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self._token = token
        self._terminal = secrets.token_urlsafe(9)

    def ask(self, what: str, **values: Any) -> Any:
        """The answer.  Raises UsageError, StoreError and WorkbenchError with the server's sentence."""
        request = {"token": self._token, "terminal": self._terminal, "ask": what, "values": values}
        line = json.dumps(request).encode() + b"\n"
        for left in range(TRIES - 1, -1, -1):
            try:
                answer = json.loads(self._sent(line))
                break
            except (OSError, ValueError) as error:
                if not left:
                    raise WorkbenchError(
                        f"The study at {self.path} does not answer; what was not confirmed is not stored."
                    ) from error
                time.sleep(PAUSE)
        if "error" in answer:
            raise ERRORS.get(str(answer.get("kind")), WorkbenchError)(str(answer["error"]))
        return answer["answer"]

    def _sent(self, line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(self.path))
            connection.sendall(line)
            with connection.makefile("rb") as file:
                return file.readline()


class OwnersOrder(LabelQueue):
    """The order of a queue that somebody else serves."""

    def set_order(self, order: str) -> None:
        """Raises UsageError: the order is not the guest's."""
        raise UsageError("Whoever serves the study sets the order of the queue.")


class GuestJudging(Judging):
    """`Judging` for one annotator at a terminal of their own.

    `store` is an empty one of this process, for what the screen remembers of how it is read.
    """

    def __init__(self, store: Store, counter: CounterClient) -> None:
        """Raises UsageError for a token that opens nothing, WorkbenchError where nobody answers."""
        self._counter = counter
        self.served_at = counter.path
        welcome = counter.ask("welcome")
        self.annotator = str(welcome["annotator"])
        criteria = {name: tuple(words) for name, words in welcome["criteria"].items()}
        super().__init__(store, criteria)
        self.reading = Reading(store, of_project=lambda: str(welcome["guidelines"]))
        self.queue = OwnersOrder(store)

    def may_reveal(self, setting: str) -> bool:
        """Never: guests stay blind."""
        return False

    def next_item(
        self,
        annotator: str,
        *,
        mode: Mode = "rank",
        criterion: str = "overall",
        order: str | None = None,
        seed: int | None = None,
        exclude: Collection[str] = (),
    ) -> RankItem | None:
        """The next item of the annotator's queue, which lies with this terminal from now on."""
        return _item(self._counter.ask("next", mode=mode, exclude=list(exclude)))

    def prepare(self, annotator: str, *, mode: Mode = "rank") -> None:
        """The server fetches for itself."""

    def resume(self, annotator: str) -> RankItem | None:
        """What was begun last and not recorded, also at another terminal that has gone."""
        return _item(self._counter.ask("resume"))

    def follows(self, item: RankItem) -> bool:
        """Whether the item still lies with this terminal."""
        return bool(self._counter.ask("follows", lease=item.assignment))

    def item(
        self, prompt_id: str, annotator: str, *, mode: Mode = "rank", criterion: str = "overall"
    ) -> RankItem | None:
        """None: a guest is given prompts, and chooses none."""
        return None

    def keep(self, item: RankItem, annotator: str, draft: Draft) -> None:
        """Keep what has been begun at the server."""
        self._counter.ask("keep", lease=item.assignment, draft=draft.content())

    def submit(self, item: RankItem, annotator: str, draft: Draft, *, seconds: float | None) -> list[str]:
        """Record a draft; on the server's disk when this returns."""
        made = self._counter.ask("submit", lease=item.assignment, draft=draft.content(), seconds=seconds)
        return [str(judgement) for judgement in made]

    def skip(
        self,
        item: RankItem,
        annotator: str,
        reason: str,
        *,
        seconds: float | None,
        flagged: bool = False,
        note: str | None = None,
        criterion: str | None = None,
        spans: tuple[Span, ...] = (),
    ) -> str:
        """Record that the annotator would not judge these responses."""
        made = self._counter.ask(
            "skip",
            lease=item.assignment,
            reason=reason,
            seconds=seconds,
            flagged=flagged,
            note=note,
            spans=[[span.response_id, span.begins, span.ends, span.comment] for span in spans],
        )
        return str(made[0])

    def undo(self, annotator: str) -> RankItem | None:
        """Take back the annotator's own last judgement; its item."""
        return _item(self._counter.ask("undo"))

    def redo(self, annotator: str) -> RankItem | None:
        """Record again what was taken back last; its item."""
        return _item(self._counter.ask("redo"))

    def session(self, annotator: str, *, names: bool) -> JudgingSession:
        """What the annotator has judged since the study is served; without names of policies."""
        found = self._counter.ask("session")
        return JudgingSession(found["judged"], found["skipped"], found["seconds"], ())

    def pace(self, annotator: str, *, mode: Mode = "rank", criterion: str = "overall") -> Pace:
        """How far the annotator is."""
        return Pace(**self._counter.ask("pace", mode=mode))


def _item(told: Mapping[str, Any] | None) -> RankItem | None:
    """An item of plain values; the lease stands where an entry of a queue has its name."""
    if told is None:
        return None
    responses = tuple(Candidate(key, text) for key, text in told["responses"])
    shown = [each.response_id for each in responses]
    draft = Draft.read(told["mode"], told["draft"], shown) or Draft.of(tuple(shown), mode=told["mode"])
    return RankItem(
        told["prompt_id"],
        told["messages"],
        responses,
        told["mode"],
        told["criterion"],
        previous=told["previous"],
        assignment=told["lease"],
        draft=Draft(**{**vars(draft), "criteria": tuple(told["criteria"])}),
    )
