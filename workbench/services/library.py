"""What is in the store: prompts, responses, policies, reward models; importing and exporting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from storage import artifacts, judgements, policies, prompts, responses
from storage.import_records import ImportReport
from storage.records import Counts, Overview, PolicyRow, PromptRow, ResponseRow, RewardModelRow
from storage.store import Store

if TYPE_CHECKING:
    from storage.interchange.formats.writing import Exported

Chat = list[dict[str, str]]


class Library:
    """The contents of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def prompts(
        self, search: str = "", *, limit: int = 500, offset: int = 0, after: str | None = None
    ) -> list[PromptRow]:
        """Prompts whose text or source holds `search`, oldest first, a page at a time.

        A page begins `offset` rows behind the first, or behind the prompt `after`, which is quicker.
        """
        return prompts.listed(self.store, search, limit=limit, offset=offset, after=after)

    def count(self, search: str = "") -> int:
        """How many prompts `prompts(search)` has in all its pages."""
        return prompts.count(self.store, search)

    def messages(self, prompt_id: str) -> Chat:
        """The conversation that a response continues."""
        return prompts.messages(self.store, prompt_id)

    def sources(self) -> list[tuple[str | None, int]]:
        """Where prompts come from, with how many."""
        return prompts.sources(self.store)

    def responses(self, prompt_id: str) -> list[ResponseRow]:
        """Every response to a prompt, with its mean rank and scores."""
        return responses.of_prompt(self.store, prompt_id)

    def policies(self) -> list[PolicyRow]:
        """Every policy with what it has answered."""
        return policies.listed(self.store)

    def reward_models(self) -> list[RewardModelRow]:
        """Every reward model with its latest export and held-out figures."""
        return artifacts.reward_models(self.store)

    def annotators(self) -> list[tuple[str, str]]:
        """(name, kind) of everyone who has judged."""
        return judgements.annotators(self.store)

    def overview(self) -> Overview:
        """Counts of everything."""
        return prompts.overview(self.store)

    def counts(self) -> Counts:
        """How many prompts, responses and judgements there are: what the header shows."""
        return prompts.counts(self.store)

    def add_prompts(self, texts: list[str], *, source: str) -> list[str]:
        """Add prompts of one user turn each, unless they are there already; their ids, in order."""
        from storage.interchange.clean import clean_text

        chats = [[{"role": "user", "content": clean_text(text)}] for text in texts]
        return prompts.add_many(self.store, chats, source=source)

    def import_file(
        self,
        path: Path | str,
        *,
        kind: str = "auto",
        columns: Mapping[str, str] | None = None,
        policy: str | None = None,
        annotator: str | None = None,
        on_progress: Callable[[int, float], None] | None = None,
    ) -> ImportReport:
        """Import a file in one step; `Importing` shows first what it would become.

        `kind` says what the rows are (`import_kinds`) where the columns do not tell; `columns` maps our field
        names to the file's; `on_progress` hears rows read and the share of the file, 0 … 1.
        Raises `ImportFileError` with the place in the file.
        """
        from storage.interchange.importing import import_file

        return import_file(
            self.store,
            Path(path),
            shape=kind,
            columns=columns,
            policy=policy,
            annotator=annotator,
            on_progress=on_progress,
        )

    def import_kinds(self) -> tuple[str, ...]:
        """What rows can be, besides `auto`."""
        from storage.interchange.mapping.taking import LAYOUTS

        return LAYOUTS

    def export(self, what: str, path: Path | str) -> int:
        """Write a table, a view or `pairs` to a .csv, .parquet or .jsonl file; the number of rows."""
        from storage.interchange.exporting import export

        return export(self.store, what, Path(path))

    def export_as(
        self,
        what: str,
        path: Path | str,
        layout: str,
        *,
        anonymous: bool = False,
        spreadsheet: bool = False,
    ) -> Exported:
        """Write pairs, prompts or responses as other tools read them; `docs/formats.md` lists the layouts.

        A path without an ending is a folder of Parquet files with a data card.  `anonymous` leaves out who
        judged and where prompts come from; `spreadsheet` makes a CSV file of which no cell is run.
        """
        from storage.interchange.formats.writing import export_as

        return export_as(self.store, what, path, layout, anonymous=anonymous, spreadsheet=spreadsheet)
