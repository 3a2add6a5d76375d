"""A ranking while it is being made: a frozen value, every key makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

LETTERS = "ABCDEFGHI"


@dataclass(frozen=True)
class Draft:
    """Where the responses of one item stand so far."""

    responses: tuple[str, ...] = ()
    """Response ids in the order of the screen: the first has the letter A."""
    placed: tuple[tuple[str, int], ...] = ()
    """(response id, rank) in the order in which they were placed; rank 1 is best."""
    tie_next: bool = False
    """The next response placed by its letter ties with the one placed last."""

    @classmethod
    def of(cls, responses: tuple[str, ...], previous: Mapping[str, int] | None = None) -> Draft:
        """An empty draft, or the ranks of a judgement that was taken back."""
        known = {key: rank for key, rank in (previous or {}).items() if key in responses}
        return cls(responses, tuple(sorted(known.items(), key=lambda entry: entry[1])))

    def rank(self, response: str) -> int | None:
        """Rank as typed, None while it is not placed."""
        return dict(self.placed).get(response)

    @property
    def complete(self) -> bool:
        return bool(self.responses) and len(self.placed) == len(self.responses)

    @property
    def left(self) -> tuple[str, ...]:
        """Letters that are not placed yet."""
        placed = dict(self.placed)
        return tuple(self.letter(key) for key in self.responses if key not in placed)

    def letter(self, response: str) -> str:
        return LETTERS[self.responses.index(response)]

    def place_next(self, response: str) -> Draft:
        """Put an unplaced response behind all others, or beside the last one after `=`."""
        if self.rank(response) is not None:
            return replace(self, tie_next=False)
        last = self.placed[-1][1] if self.placed else 0
        worst = max((rank for _, rank in self.placed), default=0)
        rank = last if self.tie_next and self.placed else worst + 1
        return replace(self, placed=(*self.placed, (response, rank)), tie_next=False)

    def place(self, response: str, rank: int) -> Draft:
        """Put a response at `rank`, wherever it stood before."""
        rest = tuple(entry for entry in self.placed if entry[0] != response)
        return replace(self, placed=(*rest, (response, rank)), tie_next=False)

    def remove(self, response: str) -> Draft:
        return replace(
            self, placed=tuple(entry for entry in self.placed if entry[0] != response), tie_next=False
        )

    def take_back(self) -> Draft:
        """Without the response placed last; first drops a pending tie."""
        return replace(self, tie_next=False) if self.tie_next else replace(self, placed=self.placed[:-1])

    def tie(self) -> Draft:
        """The next letter ties with the last; pressed again, it does not."""
        return replace(self, tie_next=bool(self.placed) and not self.tie_next)

    def ranks(self) -> dict[str, int]:
        """Ranks without gaps: the best is 1, equal stay equal."""
        dense = {rank: place for place, rank in enumerate(sorted({rank for _, rank in self.placed}), 1)}
        return {response: dense[rank] for response, rank in self.placed}

    def order(self, names: Mapping[str, str] | None = None) -> str:
        """`B > A = C`, best first, ties in the order of the letters; with `names` those by response id."""
        groups: dict[int, list[tuple[str, str]]] = {}
        for response, rank in self.placed:
            letter = self.letter(response)
            name = letter if names is None else names.get(response, "?")
            groups.setdefault(rank, []).append((letter, name))
        return " > ".join(" = ".join(name for _, name in sorted(groups[rank])) for rank in sorted(groups))


def columns_for(responses: int, width: int, height: int) -> int:
    """How many responses stand side by side in `width` × `height` cells; 0: one open at a time.

    Side by side needs 36 columns for each and 9 lines a row.
    """
    for rows in range(1, responses + 1):
        columns = -(-responses // rows)
        if columns == 1 and responses > 1:
            break
        if columns * 36 <= width and rows * 9 <= height:
            return columns
    return 0 if responses > 1 else 1
