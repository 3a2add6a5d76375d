"""A small store with a trained reward model, judged by three people, and hostile texts where wanted."""

from __future__ import annotations

import random

from storage import artifacts, judgements, runs, scores
from storage.records import JudgedItem, NewJudgement, NewScore
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses

MODEL = "concise-rm"
WORDS = ("water", "light", "basil", "window", "soil", "winter", "leaf", "root", "warm", "dry", "glass")


def fill(store: Store, prompts: int = 12, hostile: tuple[str, ...] = ()) -> None:
    """Prompts with three responses each; people and scores go by length, with mistakes and noise."""
    rng = random.Random(7)
    hostile = tuple(text.encode("utf-8", "replace").decode() for text in hostile)  # no store holds surrogates
    with store.transaction():
        runs.insert_run(store, "reward-5b2c1d", "reward", {"name": MODEL, "criterion": "overall"})
        runs.update_run(store, "reward-5b2c1d", status="done")
        model = artifacts.insert(store, run_id="reward-5b2c1d", kind="reward_model", name=MODEL, path="/m")
        made, splits = [], []
        for number in range(prompts):
            text = hostile[number % len(hostile)] if hostile else f"How do I keep plant {number} alive?"
            prompt = add_prompt(store, f"{text} {number}")
            splits.append((prompt, "heldout" if number % 2 else "train"))
            lengths = rng.sample(range(3, 40), 3)
            ids = []
            for index, length in enumerate(lengths):
                answer = " ".join(rng.choice(WORDS) for _ in range(length))
                answer += hostile[(number + index) % len(hostile)] if hostile else ""
                policy = (hostile[index] if hostile else ("smollm2", "ppo-concise", "import")[index])[:40]
                ids += add_responses(store, prompt, answer, policy=policy)
            made += [NewScore(r, model, round(n / 8 + rng.gauss(0, 1.5), 3), "torch-float32")
                     for r, n in zip(ids, lengths, strict=True)]  # fmt: skip
            for annotator in ("ada", "ben", "cem"):
                worth = [length + rng.gauss(0, 8) for length in lengths]
                ranked = sorted(range(3), key=lambda n: -worth[n])
                items = tuple(JudgedItem(ids[n], rank, None, n) for rank, n in enumerate(ranked, 1))
                name = f"{annotator}{hostile[0]}"[:40] if hostile else annotator
                judgements.record(store, NewJudgement(prompt, name, "ranking", items))
        scores.upsert(store, made)
        cursor = store.cursor()
        cursor.executemany("INSERT INTO run_prompts VALUES ('reward-5b2c1d', ?, ?)", splits)
        for seq, pairs in enumerate((6, 12, 18)):
            cursor.execute(
                "INSERT INTO metrics VALUES ('reward-5b2c1d', ?, ?, 'curve/accuracy', ?, '2026-01-01')",
                [seq, pairs, 0.55 + 0.05 * seq],
            )
