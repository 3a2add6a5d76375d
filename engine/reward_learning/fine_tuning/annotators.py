"""Several people: how far each agrees with the others, and how much each counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from engine.labels.model import BETA, fit
from engine.labels.verdicts import PairVerdicts, Said, composite_weight
from engine.protocol.events import Event, Message
from engine.reward_learning.fine_tuning.data import Element, verdicts
from engine.wording import counted

SHRINKAGE = 10.0  # pairs of average agreement that everybody is credited with
LEAST_WEIGHT = 0.05  # before weights are scaled: nobody is left out without a word
NO_PEOPLE = ("rule:", "ai:")  # how the names of rules and models begin
SHOWN = 12  # annotators told one by one


@dataclass(frozen=True)
class Annotator:
    """One person's share in the training judgements."""

    name: str
    pairs: int  # strict preferences
    ties: int
    shared: int  # verdicts that can be held against another's on the same pair
    agreement: float  # share of them that agree, a tie against a preference one half; NaN without any
    shrunk: float  # the same drawn towards everybody's average
    weight: float


def annotators_of(elements: Sequence[Element], weights: str) -> dict[str, Annotator]:
    """Everybody who judged, with weights that average 1 over pairs and ties.

    The agreement a of a person with the others is shrunk to (n·a + 10·ā) / (n + 10), n verdicts shared and ā
    everybody's average.  weights="agreement": proportional to 2·a − 1, what is left of the agreement when
    that of a coin is taken off (the weight of a judge who is right with probability p, to first order of the
    log-odds log p / (1 − p) of Nitzan and Paroush 1982), at least 0.05.  weights="consensus": proportional to
    the ability β of the model of labels (`engine.labels`), fitted to these judgements, at least 0.05 of the
    mean: in a Bradley–Terry likelihood β is what a difference of qualities is multiplied by.
    weights="equal": 1.
    """
    pairs: dict[str, int] = defaultdict(int)
    ties: dict[str, int] = defaultdict(int)
    agreed: dict[str, list[float]] = defaultdict(list)
    for element in elements:
        for judgement in element.judgements:
            pairs[judgement.annotator] += judgement.pairs.winner.numel()
            ties[judgement.annotator] += judgement.ties.first.numel()
        for by in verdicts(element.judgements).values():
            for (one, verdict), (other, other_verdict) in combinations(sorted(by.items()), 2):
                for name in (one, other):
                    agreed[name].append(1 - abs(verdict - other_verdict) / 2)
    everything = [value for values in agreed.values() for value in values]
    average = sum(everything) / len(everything) if everything else 1.0
    shrunk = {
        name: (sum(agreed[name]) + SHRINKAGE * average) / (len(agreed[name]) + SHRINKAGE) for name in pairs
    }
    if weights == "consensus":
        raw = _abilities(elements)
    else:
        by_agreement = weights == "agreement"
        raw = {name: max(2 * shrunk[name] - 1, LEAST_WEIGHT) if by_agreement else 1.0 for name in pairs}
    judged = {name: pairs[name] + ties[name] for name in pairs}
    scale = sum(judged.values()) / max(sum(raw.get(name, 1.0) * judged[name] for name in pairs), 1e-12)
    return {
        name: Annotator(
            name=name,
            pairs=pairs[name],
            ties=ties[name],
            shared=len(agreed[name]),
            agreement=sum(agreed[name]) / len(agreed[name]) if agreed[name] else float("nan"),
            shrunk=shrunk[name],
            weight=raw.get(name, 1.0) * scale if sum(judged.values()) else 1.0,
        )
        for name in sorted(pairs)
    }


def _abilities(elements: Sequence[Element]) -> dict[str, float]:
    """The ability of everybody who has compared two responses, over the mean ability, at least 0.05.

    People make the consensus; models and rules are measured against it, unless there is nobody else.
    """
    said = PairVerdicts.of(_said(elements), _lengths(elements))
    if not len(said):
        return {}
    people = np.array([not name.startswith(NO_PEOPLE) for name in said.annotators])
    model = fit(said, people if people.any() else None)
    slopes = model.annotators.values[:, BETA] / max(model.annotators.mean_ability, LEAST_WEIGHT)
    return {name: max(float(s), LEAST_WEIGHT) for name, s in zip(said.annotators, slopes, strict=True)}


def _said(elements: Sequence[Element]) -> Iterator[Said]:
    """Every verdict on two responses; each criterion makes a prompt of its own."""
    for element in elements:
        for judgement in element.judgements:
            prompt = f"{element.prompt_id} {judgement.criterion}"
            names = [f"{element.response_ids[i]} {judgement.criterion}" for i in judgement.indices.tolist()]
            place = dict(zip(judgement.indices.tolist(), names, strict=True))
            flags = None if judgement.unordered is None else judgement.unordered.tolist()
            weight = composite_weight(judgement.ranks.tolist(), flags)
            for verdict, (one, other, *_) in ((1, judgement.pairs), (0, judgement.ties)):
                for i, j in zip(one.tolist(), other.tolist(), strict=True):
                    yield Said(prompt, place[i], place[j], judgement.annotator, verdict, weight=weight)


def _lengths(elements: Sequence[Element]) -> dict[str, int]:
    """Tokens of each response, under the names that `_said` gives."""
    return {
        f"{response} {criterion}": tokens
        for element in elements
        for response, tokens in zip(element.response_ids, element.lengths, strict=True)
        for criterion in {judgement.criterion for judgement in element.judgements}
    }


def about_annotators(annotators: dict[str, Annotator], weights: str) -> Iterator[Event]:
    """A sentence about each person, when there is more than one."""
    if len(annotators) < 2:
        return
    for person in list(annotators.values())[:SHOWN]:
        agreement = (
            f"agrees with the others on {person.agreement:.0%} of {counted(person.shared, 'shared verdict')}"
            if person.shared
            else "shares no pair with anybody"
        )
        weight = f"; weight {person.weight:.2f}" if weights != "equal" else ""
        said = f"{counted(person.pairs, 'pair')} and {counted(person.ties, 'tie')}"
        text = f"“{person.name}”: {said}, {agreement}{weight}."
        yield Message(level="info", text=text)
    if len(annotators) > SHOWN:
        more = list(annotators.values())[SHOWN:]
        given = counted(sum(person.pairs for person in more), "pair")
        text = f"{counted(len(more), 'more annotator')} gave {given}."
        yield Message(level="info", text=text)
