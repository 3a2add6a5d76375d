"""A workspace without a database: the services' signatures over plain lists, deterministic."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from storage.records import SessionPolicy
from workbench.services.live import NOTHING, Agreement, LiveState
from workbench.services.ranking.draft import Draft
from workbench.services.ranking.judging import JudgingSession, Pace, RankItem
from workbench.settings import Settings

PROMPTS = (
    "How do I keep basil alive on a window sill in winter?",
    "Explain to a ten-year-old why the sky is blue.",
    "Write a polite message that declines an invitation to a wedding.",
    "What is the difference between a virus and a bacterium?",
    "Suggest three names for a bakery run by two sisters.",
    "Summarise the plot of Hamlet in two sentences.",
)
RESPONSES = (
    "Give it the brightest window, water it when the top centimetre of soil is dry, and keep it away "
    "from the cold glass at night.\n\nPinch the tips every week: a bushy plant lives longer.",
    "Basil needs **light**:\n\n- a south-facing window\n- water from below\n- no draught\n\nIf leaves turn "
    "black, it is too cold.",
    "Buy a new one every month.",
    "Basil is a culinary herb of the family Lamiaceae. It is native to tropical regions from central Africa "
    "to Southeast Asia. There are many varieties of basil, as well as several related species.",
    "Water it.",
)
POLICIES = ("smollm2", "ppo-concise", "import", "other", "fifth")


def candidate(response_id: str, text: str) -> Any:
    return SimpleNamespace(response_id=response_id, text=text)


class FakeLibrary:
    """Prompts and responses from lists; `texts` replaces the responses of every prompt."""

    def __init__(self, prompts: int, responses: int, texts: tuple[str, ...] | None = None) -> None:
        self.size, self.samples = prompts, responses
        self.texts = texts or RESPONSES
        self.prompt_texts = texts or PROMPTS
        self.judged: dict[str, int] = {}
        self.import_error: Exception | None = None

    def text(self, number: int) -> str:
        start = self.prompt_texts[number % len(self.prompt_texts)]
        return start if number < len(self.prompt_texts) else f"{start} ({number})"

    def row(self, number: int) -> Any:
        prompt_id = f"p{number:016x}"
        return SimpleNamespace(
            prompt_id=prompt_id,
            text=self.text(number),
            source="demo",
            responses=self.samples,
            judgements=self.judged.get(prompt_id, 0),
        )

    def found(self, search: str) -> list[int]:
        return [i for i in range(self.size) if search.lower() in self.text(i).lower()]

    def prompts(
        self, search: str = "", *, limit: int = 500, offset: int = 0, after: str | None = None
    ) -> list[Any]:
        behind = [i for i in self.found(search) if after is None or i > int(after[1:], 16)]
        return [self.row(i) for i in behind[offset : offset + limit]]

    def count(self, search: str = "") -> int:
        return len(self.found(search))

    def messages(self, prompt_id: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.text(int(prompt_id[1:], 16))}]

    def responses(self, prompt_id: str) -> list[Any]:
        number = int(prompt_id[1:], 16)
        return [
            SimpleNamespace(
                response_id=f"r{number:08x}{k:08x}",
                policy=POLICIES[k % len(POLICIES)],
                text=self.texts[k % len(self.texts)],
                tokens=40 + 7 * k,
                finish_reason="stop",
                mean_rank=1.0 + k if self.judged.get(prompt_id) else None,
                scores={"concise-rm": 0.25 * k - 0.4},
            )
            for k in range(self.samples)
        ]

    def policies(self) -> list[Any]:
        return [
            SimpleNamespace(
                policy_id=name, name=name, model="smollm2", parent=None, run_id=None, responses=self.size
            )
            for name in POLICIES[: self.samples]
        ]

    def reward_models(self) -> list[Any]:
        return [
            SimpleNamespace(
                reward_model_id="a1",
                name="concise-rm",
                folder="/rm",
                run_id=None,
                onnx_folder=None,
                precisions=(),
                accuracy=0.71,
                created_at=None,
            )
        ]

    def overview(self) -> Any:
        return SimpleNamespace(
            prompts=self.size, responses=self.size * self.samples, judgements=sum(self.judged.values())
        )

    def counts(self) -> Any:
        return self.overview()

    def propose(self, files: Any, request: Any) -> Any:
        """What a file holds: only the error is played here; `ui_import` reads real files."""
        assert self.import_error is not None
        raise self.import_error


class FakeQueue:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.order = "oldest"
        self.shows_agreement = True

    def set_order(self, order: str) -> None:
        self.order = order

    def set_shows_agreement(self, wanted: bool) -> None:
        self.shows_agreement = wanted


class FakeLive:
    """A live model that stays as it is; every response longer than the others is better to it."""

    def __init__(self, state: LiveState = NOTHING) -> None:
        self.state = state
        self.noticed = 0
        self.asked: list[Any] = []

    def features_config(self) -> Any:
        return None

    def notice(self) -> LiveState:
        self.noticed += 1
        return self.state

    def agreement(self, ranks: Mapping[str, int]) -> Agreement | None:
        if not self.state.refits:
            return None
        return Agreement(4, 6, tuple(sorted(ranks)))

    def compute_features(self, jobs: Any) -> str:
        self.asked.append(jobs)
        return "reward-1a2b3c"

    def fits(self, model: Any) -> bool:
        return False


class FakeReading:
    """Remembers how one reads."""

    def __init__(self) -> None:
        self.views: dict[str, str] = {}
        self.together = False
        self.text: str | Exception = "# Guidelines\n\nPrefer the shorter one."

    def view(self, terminal: str) -> str:
        return self.views.get(terminal, "auto")

    def remember(self, terminal: str, view: str, together: bool) -> None:
        self.views[terminal], self.together = view, together

    def guidelines(self) -> str:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text


class FakeJudging:
    """Judges the library's prompts in order; `fail` is raised by the next record."""

    criteria: Mapping[str, tuple[str, ...]] = {"help": ("poor", "fair", "good"), "harm": ("none", "some")}

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library
        self.queue = FakeQueue()
        self.reading = FakeReading()
        self.records: list[tuple[Any, dict[str, int], dict[str, Any]]] = []
        self.drafts: list[Draft] = []
        self.undone: list[tuple[Any, dict[str, int], dict[str, Any]]] = []
        self.skips: list[tuple[str, str]] = []
        self.fail: Exception | None = None
        self.begun: Any = None
        self.wait = 0.0
        self.seen: set[str] = set()

    def _item(self, number: int, mode: str) -> RankItem:
        library = self.library
        rows = library.responses(f"p{number:016x}")[: 2 if mode == "pair" else None]
        random.Random(number).shuffle(rows)
        shown = tuple(row.response_id for row in rows)
        return RankItem(
            prompt_id=f"p{number:016x}",
            messages=library.messages(f"p{number:016x}"),
            responses=tuple(candidate(row.response_id, row.text) for row in rows),
            mode=mode,  # type: ignore[arg-type]
            draft=Draft(shown, mode=mode, criteria=tuple(self.criteria)),  # type: ignore[arg-type]
        )

    def may_reveal(self, setting: str) -> bool:
        return setting == "end"

    def follows(self, item: Any) -> bool:
        return True

    def resume(self, annotator: str) -> Any:
        return self.begun

    def keep(self, item: Any, annotator: str, draft: Draft) -> None:
        self.drafts.append(draft)

    def next_item(self, annotator: str, *, mode: str = "rank", exclude: Any = (), **_: Any) -> Any:
        time.sleep(self.wait)
        for number in range(self.library.size):
            prompt_id = f"p{number:016x}"
            if prompt_id not in self.seen and prompt_id not in exclude and self.library.samples >= 2:
                return self._item(number, mode)
        return None

    def item(self, prompt_id: str, annotator: str, *, mode: str = "rank", **_: Any) -> Any:
        return self._item(int(prompt_id[1:], 16), mode)

    def submit(self, item: Any, annotator: str, draft: Draft, *, seconds: float | None) -> list[str]:
        time.sleep(self.wait)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        details = {"seconds": seconds, "flagged": draft.flagged, "note": draft.note, "draft": draft}
        self.records.append((item, dict(draft.verdict().ranks), details))
        self.seen.add(item.prompt_id)
        self.library.judged[item.prompt_id] = 1
        self.undone.clear()
        return [f"j{len(self.records):016x}"]

    def skip(self, item: Any, annotator: str, reason: str, **_: Any) -> str:
        self.skips.append((item.prompt_id, reason))
        self.seen.add(item.prompt_id)
        return f"j{len(self.skips):016x}"

    def undo(self, annotator: str, **_: Any) -> Any:
        if not self.records:
            return None
        self.undone.append(self.records.pop())
        item, _, details = self.undone[-1]
        self.seen.discard(item.prompt_id)
        self.library.judged.pop(item.prompt_id, None)
        return replace(item, draft=details["draft"])

    def redo(self, annotator: str) -> Any:
        if not self.undone:
            return None
        self.records.append(self.undone.pop())
        item, _, details = self.records[-1]
        self.seen.add(item.prompt_id)
        return replace(item, draft=details["draft"])

    def session(self, annotator: str, *, names: bool) -> JudgingSession:
        policies = tuple(SessionPolicy(name, 3, 0.5) for name in POLICIES[: self.library.samples])
        return JudgingSession(len(self.records), len(self.skips), 12.0, policies if names else ())

    def pace(self, annotator: str, **_: Any) -> Pace:
        done = len(self.records)
        return Pace(done, self.library.size - done, done, 96.0 if done else None)

    def prepare(self, annotator: str, **_: Any) -> None:
        """Nothing takes long here."""


class FakeComparing:
    """The first response of each policy to every prompt; win, loss, tie in turn."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library

    def win_rate(self, a: str, b: str, reward_model: str | None = None) -> Any:
        wins = len(range(0, self.library.size, 3))
        losses = len(range(1, self.library.size, 3))
        ties = self.library.size - wins - losses
        rate = (wins + ties / 2) / self.library.size
        return SimpleNamespace(
            a=a,
            b=b,
            judge=reward_model or "people",
            wins=float(wins),
            ties=float(ties),
            losses=float(losses),
            prompts=self.library.size,
            rate=rate,
            low=max(0.0, rate - 0.2),
            high=min(1.0, rate + 0.2),
        )

    def outcomes(self, a: str, b: str, reward_model: str | None = None) -> list[Any]:
        return [self.item(number, a, b) for number in range(self.library.size)]

    def items_of(self, a: str, b: str, found: list[Any], reward_model: str | None = None) -> list[Any]:
        return found

    def item(self, number: int, a: str, b: str) -> Any:
        rows = {row.policy: row for row in self.library.responses(f"p{number:016x}")}
        sides = [
            (
                SimpleNamespace(
                    response_id=row.response_id, text=row.text, score=0.1 * i - 0.3, tokens=row.tokens
                ),
            )
            for i, row in enumerate((rows[a], rows[b]))
        ]
        return SimpleNamespace(
            prompt_id=f"p{number:016x}",
            text=self.library.text(number),
            a=sides[0],
            b=sides[1],
            score_a=-0.3,
            score_b=-0.2,
            outcome=("win", "loss", "tie")[number % 3],
        )


class FakeJobs:
    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.pumped = 0

    def pump(self) -> list[Any]:
        self.pumped += 1
        return []

    moves = 0

    def unfinished(self) -> list[Any]:
        return [run for run in self.runs if run.status in ("queued", "running")]

    def list(self) -> list[Any]:
        return list(self.runs)


def fake_workspace(prompts: int = 6, responses: int = 4, texts: tuple[str, ...] | None = None) -> Any:
    """A workspace of `prompts` prompts with `responses` responses each; `texts` replaces both."""
    library = FakeLibrary(prompts, responses, texts)
    return SimpleNamespace(
        settings=SimpleNamespace(**vars(Settings(db="/somewhere/demo.duckdb", annotator="ada"))),
        library=library,
        judging=FakeJudging(library),
        importing=SimpleNamespace(propose=library.propose),
        comparing=FakeComparing(library),
        live=FakeLive(),
        estimating=SimpleNamespace(sentence=lambda config: "About a minute."),
        jobs=FakeJobs(),
        log_folder=None,
        close=lambda: None,
    )
