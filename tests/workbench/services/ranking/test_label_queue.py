"""The label queue: each order by what it promises, and that it is remembered."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from storage import judgements, prompts, responses, runs
from storage.records import JudgedItem, NewJudgement
from workbench.services.ranking.judging import Judging
from workbench.services.workspace import Workspace


@pytest.fixture
def three(workspace: Workspace) -> list[tuple[str, list[str]]]:
    """Three prompts with three responses each, oldest first."""
    store = workspace.store
    made = []
    for number in range(3):
        prompt = prompts.add(store, [{"role": "user", "content": f"question {number}"}])
        texts = [responses.add(store, prompt, "a", f"answer {number} {k}") for k in range(3)]
        made.append((prompt, texts))
    return made


def judge(workspace: Workspace, annotator: str, prompt: str, order: list[str], *, tied: bool = False) -> None:
    items = tuple(JudgedItem(response, rank=1 if tied else place + 1) for place, response in enumerate(order))
    judgements.record(workspace.store, NewJudgement(prompt, annotator, "ranking", items))


def test_oldest_and_random(workspace: Workspace, three: list[tuple[str, list[str]]]) -> None:
    queue = workspace.judging.queue
    names = [prompt for prompt, _ in three]
    assert queue.prompts("ada", "oldest", limit=9) == names
    orders = {tuple(queue.prompts("ada", "random", limit=9)) for _ in range(40)}
    assert len(orders) > 2
    assert all(sorted(order) == sorted(names) for order in orders)
    assert queue.prompts("ada", "random", seed=3, limit=9) == queue.prompts("ada", "random", seed=3, limit=9)


def test_what_a_paused_run_waits_for_comes_first_until_it_is_judged(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    store, queue = workspace.store, workspace.judging.queue
    names = [prompt for prompt, _ in three]
    asked = workspace.judging.next_item("ada")
    assert asked is not None
    assert asked.prompt_id == names[0]
    runs.insert_run(store, "round", "online_dpo", {"compare": "people"})
    sampled = [responses.add(store, names[2], "b", f"sample {k}") for k in range(2)]
    for response in sampled:
        store.write("UPDATE responses SET run_id = 'round' WHERE response_id = ?", [response])
    assert queue.prompts("ada", "oldest", limit=9) == names  # it runs still
    runs.update_run(store, "round", status="paused")
    wanted = [names[2], *names[:2]]
    for order in ("oldest", "least_agreed"):
        assert queue.prompts("ada", order, limit=9) == wanted
    assert queue.prompts("ada", "oldest", limit=1) == wanted[:1]
    assert queue.prompts("ada", "random", limit=9)[0] == names[2]
    asked = workspace.judging.next_item("ada")  # which had others at hand
    assert asked is not None
    assert asked.prompt_id == names[2]
    judge(workspace, "bert", names[2], sampled)
    assert queue.prompts("ada", "oldest", limit=9) == names  # by somebody else


def test_least_agreed_puts_disagreement_before_silence_before_agreement(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    (agreed, a), (silent, _), (disputed, c) = three
    for annotator in ("bert", "cleo"):
        judge(workspace, annotator, agreed, a)
    judge(workspace, "bert", disputed, c)
    judge(workspace, "cleo", disputed, c[::-1])
    queue = workspace.judging.queue
    assert queue.prompts("ada", "least_agreed", limit=9) == [disputed, silent, agreed]
    pairs = queue.pairs("ada", "least_agreed", limit=9)
    assert [pair.prompt_id for pair in pairs] == [disputed] * 3 + [silent] * 3 + [agreed] * 3


def test_pairs_without_a_verdict_come_by_how_little_their_prompt_has(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    (one, a), (two, b), (three_, _) = three
    judge(workspace, "bert", one, a)
    judge(workspace, "bert", two, b[:2])
    found = [pair.prompt_id for pair in workspace.judging.queue.pairs("ada", "least_agreed", limit=9)]
    assert found == [*[three_] * 3, *[two] * 3, *[one] * 3]


def test_two_who_both_see_a_tie_agree(workspace: Workspace, three: list[tuple[str, list[str]]]) -> None:
    (tied, a), (once, b), _ = three
    judge(workspace, "bert", tied, a, tied=True)
    judge(workspace, "cleo", tied, a, tied=True)
    judge(workspace, "bert", once, b)
    assert workspace.judging.queue.prompts("ada", "least_agreed", limit=9)[1:] == [once, tied]


def test_a_rules_verdicts_are_no_agreement_of_people(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    workspace.judging.apply_rule("concise")
    assert workspace.judging.queue.prompts("ada", "least_agreed", limit=9) == [prompt for prompt, _ in three]


def test_letters_are_random_in_every_order(workspace: Workspace, three: list[tuple[str, list[str]]]) -> None:
    for order in ("oldest", "least_agreed", "random"):
        items = [workspace.judging.next_item("ada", order=order) for _ in range(30)]
        assert len({tuple(c.response_id for c in item.responses) for item in items if item}) > 2


def test_the_order_is_remembered_and_a_wrong_one_is_told(workspace: Workspace) -> None:
    assert workspace.judging.queue.order == "oldest"
    workspace.judging.queue.set_order("least_agreed")
    assert Judging(workspace.store).queue.order == "least_agreed"
    with pytest.raises(UsageError, match="There is no order “d_optimality”"):
        workspace.judging.queue.set_order("d_optimality")
    with pytest.raises(UsageError, match="Did you mean “random”"):
        workspace.judging.queue.set_order("rando")


def test_consensus_asks_where_a_verdict_tells_most(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    """What two agree on tells least, what nobody has judged most; what is adjudicated is settled."""
    (agreed, a), (disputed, c), (silent, _) = three
    for annotator in ("bert", "cleo", "dora"):
        judge(workspace, annotator, agreed, a)
    for annotator, order in (("bert", c), ("cleo", c[::-1]), ("dora", [c[1], c[0], c[2]])):
        judge(workspace, annotator, disputed, order)
    queue = workspace.judging.queue
    assert queue.prompts("ada", "consensus", limit=9) == [silent, disputed, agreed]
    pairs = queue.pairs("ada", "consensus", limit=9)
    assert [pair.prompt_id for pair in pairs[:3]] == [silent] * 3
    worths = dict(
        workspace.store.rows(
            "SELECT [least(x, y), greatest(x, y)]::VARCHAR, worth FROM consensus_differences"
        )
    )
    found = [worths[f"[{pair.response_a}, {pair.response_b}]"] for pair in pairs[3:]]
    assert found == sorted(found, reverse=True)
    workspace.labels.adjudicate(silent, "ada", {three[2][1][0]: 1, three[2][1][1]: 2})
    assert queue.prompts("eve", "consensus", limit=9)[-1] == silent
    assert queue.prompts("eve", "consensus", limit=1, among=[agreed, silent]) == [agreed]


def test_what_tells_most_of_the_consensus_is_the_worth_that_is_shown(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    """The order is that of the mean worth of a prompt's pairs, as anybody can read it in the store."""
    for (prompt, texts), annotators in zip(
        three, (("bert",), ("bert", "cleo"), ("bert", "cleo", "dora")), strict=True
    ):
        for annotator in annotators:
            judge(workspace, annotator, prompt, texts)
    found = workspace.judging.queue.prompts("ada", "consensus", limit=9)
    rows = workspace.store.rows(
        "SELECT prompt_id FROM consensus_differences GROUP BY prompt_id ORDER BY avg(worth) DESC"
    )
    assert found == [prompt for (prompt,) in rows]


def test_the_live_model_says_what_it_would_learn_most_from(
    workspace: Workspace, three: list[tuple[str, list[str]]]
) -> None:
    """Its pairs come first, in its order, as far as they wait; the others behind them; alone, the oldest."""

    class Knows:
        refits = 1

        def most_informative(self) -> list[tuple[str, str, str]]:
            return [(three[n][0], *sorted(three[n][1][:2])) for n in (2, 0)]

    names = [prompt for prompt, _ in three]
    judging = Judging(workspace.store, informed=Knows())
    assert judging.queue.prompts("ada", "reward_model", limit=9) == [names[2], names[0], names[1]]
    assert judging.queue.prompts("ada", "reward_model", limit=1, among=names[:2]) == [names[0]]
    first, second, *others = judging.queue.pairs("ada", "reward_model", limit=20)
    assert (first.prompt_id, second.prompt_id, len(others)) == (names[2], names[0], 7)
    judge(workspace, "ada", *three[2])
    assert judging.queue.prompts("ada", "reward_model", limit=9) == names[:2]
    assert workspace.judging.queue.prompts("eve", "reward_model", limit=9) == names
