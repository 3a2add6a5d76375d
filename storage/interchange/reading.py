"""Which responses a file holds, without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.ids import Chat, canonical_messages, policy_id, prompt_id
from storage.ids import imported_response_id as response_id
from storage.interchange.asking import require_sure
from storage.interchange.importing import statements
from storage.interchange.mapping.cells import RowError
from storage.interchange.planning import propose


@dataclass(frozen=True, slots=True)
class FileResponse:
    """A response in a file, under the id that importing it gives."""

    response_id: str
    prompt_id: str
    messages: Chat
    policy: str
    text: str


def responses_in(
    path: Path, *, shape: str = "auto", columns: Mapping[str, str] | None = None, policy: str | None = None
) -> Iterator[FileResponse]:
    """The responses of a file in its order, each once; raises what `import_file` raises."""
    plan = propose(path, kind=shape, columns=statements(columns), policy=policy)
    require_sure(plan)
    taker = plan.taker()
    known: set[str] = set()
    for _, _, row in plan.rows():
        if isinstance(row, RowError):
            continue
        try:
            example = taker.take(row)
        except RowError:
            continue
        prompt = prompt_id(canonical_messages(example.chat))
        for answer in example.answers:
            response = response_id(prompt, policy_id(answer.policy), answer.text)
            if response not in known:
                known.add(response)
                yield FileResponse(response, prompt, example.chat, answer.policy, answer.text)
