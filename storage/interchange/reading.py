"""Which responses a file holds, without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.ids import Chat, canonical_messages, policy_id, prompt_id
from storage.ids import imported_response_id as response_id
from storage.interchange.importing import _open, _shape, taken
from storage.interchange.shapes import Job, Options, find_columns
from storage.interchange.staging import Staging, Verdict
from storage.store import Store


@dataclass
class _Listing(Staging):
    """Takes rows like an import and only notes the responses."""

    found: list[FileResponse] = field(default_factory=list)
    _chat: Chat = field(default_factory=list)

    def __post_init__(self) -> None:
        """No temporary tables."""

    def prompt(self, chat: Chat, *, source: str | None = None, metadata: str | None = None) -> str:
        self._chat = chat
        return prompt_id(canonical_messages(chat))

    def response(self, prompt: str, policy: str, text: str) -> str:
        response = response_id(prompt, policy_id(policy), text)
        self.found.append(FileResponse(response, prompt, self._chat, policy, text))
        return response

    def ranked_row(self, group: str, prompt: str, annotator: str, verdict: Verdict) -> None:
        """Judgements are not asked for."""

    def judgement(self, prompt: str, annotator: str, kind: str, verdicts: object) -> None:
        """Judgements are not asked for."""


@dataclass(frozen=True, slots=True)
class FileResponse:
    """A response in a file, under the id that importing it gives."""

    response_id: str
    prompt_id: str
    messages: Chat
    policy: str
    text: str


def responses_in(
    store: Store,
    path: Path,
    *,
    shape: str = "auto",
    columns: Mapping[str, str] | None = None,
    policy: str | None = None,
) -> Iterator[FileResponse]:
    """The responses of a file in its order, each once; raises what `import_file` raises."""
    table = _open(path)
    roles = find_columns(table, columns)
    chosen = _shape(table, roles, shape)
    used = {role: column for role, column in roles.items() if role in chosen.roles}
    listing = _Listing(store, path.name)
    job = Job(listing, used, Options(policy=policy or "imported"), ())
    known: set[str] = set()
    for _ in taken(table, chosen, job):
        for response in listing.found:
            if response.response_id not in known:
                known.add(response.response_id)
                yield response
        listing.found.clear()
