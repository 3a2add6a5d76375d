"""Judge pairs of the `pairs` table by a criterion or several, each pair in both orders.

A file of judgements is written every few seconds; a job that is stopped keeps them, and goes on with the
other pairs when it is resumed.  Torch is imported only where a model judges in this process.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from engine.judging.question import Judge, JudgeAnswer, PairQuestion, Unanswered, row_of, settle
from engine.judging.tally import JudgeTally
from engine.left_out import LeftOutTexts, name_of
from engine.protocol.configs import JudgeConfig
from engine.protocol.configs.judge import SCORERS, WITHOUT_WORDS
from engine.protocol.events import Event, Finished, Message, Metrics, Output, Progress
from engine.protocol.rubric import DEFAULT, Rubric, read_rubric
from engine.protocol.rundir import RunDir
from engine.scoring.preference import load_preference
from engine.tables import JUDGEMENTS, existing_outputs, read_rows, write_output
from engine.wording import counted

SECONDS_A_FILE = 10.0
COLUMNS = ("prompt_id", "messages", "response_a", "text_a", "response_b", "text_b", "judged")


def run(config: JudgeConfig, directory: RunDir) -> Iterator[Event]:
    """Yield progress, Outputs of kind judgements, and what the judge does as metrics.

    Raises UsageError when every pair is unfit, or the judge cannot be asked.
    """
    announced, done, number = existing_outputs(directory, "judgements", "key")
    yield from announced
    tally = _earlier(directory, announced)
    rubric = read_rubric(directory.file("rubric")) if config.rubric else DEFAULT
    left_out = LeftOutTexts("pairs")
    pairs = _pairs(config, directory, _criteria(config, rubric), done, left_out)
    if not pairs:
        yield from left_out.messages()
        if left_out and not done:
            raise left_out.nothing_left("generate or import some")
        yield Finished(summary=tally.summary(0) | {"left_out": len(left_out)})
        return
    judge = yield from _open(config, directory, rubric, tally)
    waiting: list[dict[str, Any]] = []
    written_at = time.monotonic()
    for settled in _settled(config, judge, pairs, left_out, tally):
        if isinstance(settled, Progress | Message):
            yield settled
        else:
            waiting += settled
        if waiting and time.monotonic() - written_at > SECONDS_A_FILE:
            yield from _write(directory, number, waiting, tally)
            number, waiting, written_at = number + 1, [], time.monotonic()
    if waiting:
        yield from _write(directory, number, waiting, tally)
    yield from left_out.messages()
    if not tally.judgements:
        raise left_out.nothing_left("ask another judge")
    yield Finished(summary=tally.summary(len(pairs)) | {"left_out": len(left_out)})


def _criteria(config: JudgeConfig, rubric: Rubric) -> tuple[str, ...]:
    """The criteria to judge by; a reward model and a function know no rubric and take them as named."""
    if config.by in WITHOUT_WORDS:
        return config.criteria() or ("overall",)
    return rubric.chosen(config.criteria())


def _pairs(
    config: JudgeConfig,
    directory: RunDir,
    criteria: Sequence[str],
    done: set[str],
    left_out: LeftOutTexts,
) -> list[PairQuestion]:
    """What is to be asked, in the order of the table; pairs that are too long are in `left_out`."""
    to_ask = []
    for row in read_rows(directory.table("pairs"), COLUMNS):
        texts = (row["text_a"], row["text_b"])
        size = sum(map(len, texts)) + sum(len(message["content"]) for message in row["messages"])
        questions = [
            PairQuestion(
                row["prompt_id"], row["messages"], name, (row["response_a"], row["response_b"]), texts
            )
            for name in criteria
            if name not in row["judged"]
        ]
        if size <= config.max_characters:
            to_ask += [question for question in questions if question.key not in done]
        elif questions:
            why = f"it has {counted(size, 'character')}, more than max_characters."
            left_out.add("too long", name_of(row["messages"]), why)
    return to_ask


def _open(
    config: JudgeConfig, directory: RunDir, rubric: Rubric, tally: JudgeTally
) -> Generator[Event, None, Judge]:
    """The judge, loaded or connected."""
    if config.by == "function":
        from engine.judging.function_process import function_judge

        return function_judge(config.function, config.function_seconds)
    if config.by == "endpoint":
        from engine.endpoints.cache import FILE, AnswerCache
        from engine.judging.endpoint import EndpointJudge

        yield Message(level="info", text=f"{config.endpoint} is asked, for its model {config.policy}.")
        cache = AnswerCache(directory.path.parent / FILE)
        return EndpointJudge(config, rubric, cache, spent=tally.cost)
    return (yield from _model(config, directory, rubric))


def _model(config: JudgeConfig, directory: RunDir, rubric: Rubric) -> Generator[Event, None, Judge]:
    """A language model or a reward model in this process."""
    from engine.models.catalogue import resolving
    from engine.models.device import resolve_device

    role = "policy" if config.by == "model" else "reward_model"
    folder = yield from resolving(directory.model(role).folder)
    yield Progress(stage="loading model", done=0)
    device = resolve_device(config.device)
    if config.by in SCORERS:
        from engine.judging.scores import PreferenceJudge, RewardModelJudge
        from engine.models.reward_model import load_reward_model

        reward_model = load_reward_model(folder, config.dtype, device)
        asked = (config.criteria() or ("overall",), config.batch_tokens)
        if config.by == "preference":
            return PreferenceJudge(reward_model, load_preference(folder, config.reward_model), *asked)
        return RewardModelJudge(reward_model, *asked)
    from engine.judging.model import ModelJudge
    from engine.models.policy import load_policy
    from engine.text import Tokeniser

    model = load_policy(folder, config.dtype, device)
    model.requires_grad_(False)
    return ModelJudge(model, Tokeniser.from_folder(folder), rubric, config.batch_tokens)


def _settled(
    config: JudgeConfig,
    judge: Judge,
    pairs: Sequence[PairQuestion],
    left_out: LeftOutTexts,
    tally: JudgeTally,
) -> Iterator[Progress | Message | list[dict[str, Any]]]:
    """The two rows of each judgement, as soon as both orders have been answered, and progress between."""
    questions = [each for pair in pairs for each in (pair, _turned(pair))]
    half: dict[str, JudgeAnswer | Unanswered] = {}
    finished, started = 0, time.monotonic()
    for answered in judge.answers(questions):
        if isinstance(answered, Message):
            yield answered
            continue
        if answered is not None:
            place, answer = answered
            pair = pairs[place // 2]
            if pair.key not in half:
                half[pair.key] = answer
            else:
                other = half.pop(pair.key)
                both = (other, answer) if questions[place].turned else (answer, other)
                finished += 1
                yield _rows(config, pair, both, left_out, tally)
        rate = finished / max(time.monotonic() - started, 1e-9)
        yield Progress(
            stage="judging", done=finished, total=len(pairs), unit="pairs", rate=rate, rate_unit="pairs/s"
        )


def _rows(
    config: JudgeConfig,
    pair: PairQuestion,
    both: tuple[JudgeAnswer | Unanswered, JudgeAnswer | Unanswered],
    left_out: LeftOutTexts,
    tally: JudgeTally,
) -> list[dict[str, Any]]:
    straight, turned = both
    for answer in both:
        if isinstance(answer, Unanswered):
            left_out.add(answer.kind, name_of(pair.messages), answer.why)
            return []
    assert isinstance(straight, JudgeAnswer)
    assert isinstance(turned, JudgeAnswer)
    verdict = settle(straight, turned, config.disagreement)
    tally.add(straight, turned, verdict)
    sides = ((pair, straight), (_turned(pair), turned))
    return [dict(row_of(question, answer, config.annotator, verdict)) for question, answer in sides]


def _turned(pair: PairQuestion) -> PairQuestion:
    return PairQuestion(pair.prompt_id, pair.messages, pair.criterion, pair.ids, pair.texts, turned=True)


def _write(directory: RunDir, number: int, rows: list[dict[str, Any]], tally: JudgeTally) -> Iterator[Event]:
    path = directory.output_path("judgements", number)
    yield write_output(directory, path, "judgements", JUDGEMENTS, rows)
    yield Metrics(step=tally.judgements, values=tally.figures())


def _earlier(directory: RunDir, announced: Sequence[Output]) -> JudgeTally:
    """What an earlier process of this run has seen of the judge."""
    tally = JudgeTally()
    for output in announced:
        rows = pq.read_table(Path(directory.path) / output.path).to_pylist()
        for straight, turned in zip(rows[::2], rows[1::2], strict=True):
            one, other = (
                JudgeAnswer(row["said"], row["share"], row["mass"], tokens_in=row["tokens_in"],
                       tokens_out=row["tokens_out"], cost=row["cost"], cached=row["cached"])
                for row in (straight, turned)
            )  # fmt: skip
            tally.add(one, other, straight["verdict"])
    return tally
