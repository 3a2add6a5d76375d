"""The part of the rank screen in which letters and digits become a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from workbench.screens.rank.cards import Cards
from workbench.screens.rank.reading import ReadingScreen
from workbench.services.ranking.draft import BOTH_BAD, CONFIDENCE, LETTERS, Draft, Mode

PAIR_DIGITS: Mapping[int, tuple[int | None, float | None]] = {
    1: (0, 3.0), 2: (0, 1.0), 3: (None, None), 4: (1, 1.0), 5: (1, 3.0),
}  # fmt: skip
"""In pairs: which of the two is better, and by how much, from A much better to B much better."""
CLEARLY = 2.0


class PlacingScreen(ReadingScreen):
    """A screen with an item and the draft of its judgement."""

    def __init__(self) -> None:
        super().__init__()
        self.mode: Mode = "rank"
        self.draft = Draft()
        self.scales: Mapping[str, Sequence[str]] = {}

    @property
    def rating_now(self) -> tuple[str, str] | None:
        """In ratings: the criterion and the letter of the response that a digit is for."""
        card = self.query_one(Cards).opened
        return None if card is None else (self.criterion_of(card.response_id), card.letter)

    @property
    def keys_wait(self) -> bool:
        """Whether keys have to wait because the next prompt is being read."""
        return False

    @property
    def flagged(self) -> bool:
        """Whether the judgement will be marked for somebody to look at again."""
        return self.draft.flagged

    @property
    def note(self) -> str:
        """What the annotator has written about this prompt so far."""
        return self.draft.note

    def keep(self) -> None:
        """Let the store have the draft."""

    def action_submit(self) -> None:
        """Record the draft."""

    def change(self, draft: Draft) -> None:
        """The draft is another one."""
        if self.item is None:
            return
        asked, self.draft = self.draft.on_screen, draft
        self.acknowledged = ""
        self.forget_agreement()
        cards = self.query_one(Cards)
        if draft.on_screen != asked:
            cards.swap(self.item.shown(draft))
        cards.show_draft(draft)
        self.keep()
        self.show_lines()

    def _place(self, draft: Draft) -> None:
        if not self.keys_wait:
            self.change(draft)

    @property
    def nothing(self) -> bool:
        """The store had nothing to judge when it was last asked."""
        return self.has_class("-nothing")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that mean something now: g and i are letters while there is something to judge."""
        if action in ("generate", "import"):
            return self.nothing
        if action == "letter":
            return self.item is not None and LETTERS.index(str(parameters[0])) < len(self.draft.on_screen)
        if action == "both_equal":
            return self.item is not None and self.mode in ("pair", "sort")
        if action == "tie":
            return self.item is not None and self.mode not in ("rate", "best_worst")
        if action in (
            "digit",
            "take_back",
            "clear",
            "zoom",
            "whole",
            "skip",
            "note",
            "passage",
            "flag",
            "differences",
        ):
            return self.item is not None
        if action == "submit":
            return self.item is not None and self.mode != "pair"
        return True

    # -- letters ------------------------------

    def action_letter(self, letter: str) -> None:
        """Open the response and put it next; in pairs, it is the better one; in ratings, it is rated next."""
        position = LETTERS.index(letter)
        cards = self.query_one(Cards).cards
        if self.keys_wait or self.item is None or position >= len(cards):
            return
        card = cards[position]
        self.query_one(Cards).open(card)
        if self.mode == "pair":
            self._prefer(position, CLEARLY)
        elif self.mode == "sort":
            self._place(self.draft.answer(1 if position == 0 else -1))
        elif self.mode == "rate":
            self.show_lines()
        else:
            self._place(self.draft.place_next(card.response_id))

    def _prefer(self, better: int | None, strength: float | None = None, outcome: str | None = None) -> None:
        """A pair is judged by one key."""
        if self.item is not None and not self.keys_wait and len(self.item.responses) == 2:
            self.draft = self.draft.prefer(better, strength, outcome)
            self.query_one(Cards).show_draft(self.draft)
            self.action_submit()

    def action_tie(self) -> None:
        """What is placed next ties with what was placed last; of a pair, both are equal."""
        if self.mode in ("pair", "sort"):
            self.action_both_equal()
        else:
            self._place(self.draft.tie())

    def action_both_equal(self) -> None:
        """Pairs: neither is better."""
        if self.mode == "pair":
            self._prefer(None)
        elif self.mode == "sort":
            self._place(self.draft.answer(0))

    # -- digits ------------------------------

    def action_digit(self, value: int) -> None:
        """Rates, places or prefers the open response, as the way of judging has it."""
        card = self.query_one(Cards).opened
        if card is None or self.item is None:
            return
        if self.mode == "pair":
            if value in PAIR_DIGITS:
                self._prefer(*PAIR_DIGITS[value])
        elif self.mode == "rate":
            self._rate(card.response_id, value)
        elif self.mode not in ("best_worst", "sort"):
            self._place(self.draft.place(card.response_id, value))

    def _rate(self, response: str, value: int) -> None:
        """Give the open response its value by the criterion that comes next, and go on."""
        criterion = self.criterion_of(response)
        if value > len(self.scales.get(criterion, ())) or self.keys_wait:
            return
        draft = self.draft.rate(criterion, response, value)
        if all(draft.rating(name, response) is not None for name in draft.criteria):
            self._to_unrated(draft)
        self._place(draft)

    def criterion_of(self, response: str) -> str:
        """The criterion by which the response is rated next: the first open one, else the first."""
        names = self.draft.criteria
        open_ = (name for name in names if self.draft.rating(name, response) is None)
        return next(open_, names[0] if names else "overall")

    def _to_unrated(self, draft: Draft) -> None:
        """Open the next response that lacks a rating."""
        cards = self.query_one(Cards)
        here = next((i for i, card in enumerate(cards.cards) if card.has_class("-open")), 0)
        for card in [*cards.cards[here + 1 :], *cards.cards[:here]]:
            if any(draft.rating(name, card.response_id) is None for name in draft.criteria):
                cards.open(card)
                return

    def action_take_back(self) -> None:
        """Takes back what was placed last."""
        self._place(self.draft.take_back())

    def action_clear(self) -> None:
        """Takes the open response out of the ranking; of a pair, both are bad."""
        if self.mode == "pair":
            self._prefer(None, None, BOTH_BAD)
        elif self.mode != "sort" and (card := self.query_one(Cards).opened) is not None:
            self._place(self.draft.remove(card.response_id))

    # -- what stands beside it ------------------------------

    def action_flag(self) -> None:
        """Marks the judgement for somebody to look at again, or takes the mark away."""
        self._place(replace(self.draft, flagged=not self.draft.flagged))

    def action_confidence(self, by: int) -> None:
        """One step more or less certain; below a guess nothing is said."""
        value = min(max((self.draft.confidence or 0) + by, 0), len(CONFIDENCE))
        self._place(replace(self.draft, confidence=value or None))
