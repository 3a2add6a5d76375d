"""A store of judged responses with random features that know the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.frozen.store import FILE, FeatureInfo, write_features
from storage import artifacts, judgements, policies, prompts
from storage.records import JudgedItem, NewJudgement
from storage.store import Store

LAYERS, PARTS, WIDTH = (1, 2), ("last", "mean"), 24
INFO = FeatureInfo("tiny", "a1b2", LAYERS, PARTS, WIDTH, "float32", "chat")


class Study:
    """`prompts` prompts with `samples` responses each; better ones have a larger first feature."""

    def __init__(self, store: Store, folder: Path, prompts_: int = 40, samples: int = 3) -> None:
        self.store, self.folder = store, folder
        rng = np.random.default_rng(5)
        self.features: dict[str, np.ndarray] = {}
        chats = [[{"role": "user", "content": f"question {number}"}] for number in range(prompts_)]
        made = prompts.add_many(store, chats, source="test")
        self.items = [(prompt, [f"r{n:08x}{k:08x}" for k in range(samples)]) for n, prompt in enumerate(made)]
        rows = [(response, prompt) for prompt, ids in self.items for response in ids]
        store.write(
            "INSERT INTO responses (response_id, prompt_id, policy_id, text) "
            "SELECT unnest($ids), unnest($prompts), $policy, 'answer ' || unnest($ids)",
            {
                "ids": [response for response, _ in rows],
                "prompts": [prompt for _, prompt in rows],
                "policy": policies.ensure(store, "a"),
            },
        )
        for _, ids in self.items:
            for response in ids:
                self.features[response] = rng.normal(size=WIDTH).astype(np.float32)

    def write(self, name: str = "features", ids: list[str] | None = None, run_id: str = "reward-1") -> None:
        """Put the features of `ids` (all) into a file and register it."""
        folder = self.folder / name
        folder.mkdir()
        chosen = list(self.features) if ids is None else ids
        write_features(folder / FILE, INFO, [(chosen, np.stack([self.features[key] for key in chosen]))])
        artifacts.insert(self.store, run_id=run_id, kind="features", name="tiny", path=str(folder))

    def judge(self, start: int, stop: int, annotator: str = "ada") -> None:
        """Rank the responses of some prompts by the truth."""
        new = []
        for prompt, ids in self.items[start:stop]:
            order = sorted(ids, key=lambda response: -self.features[response][0])
            items = tuple(JudgedItem(response, rank=place + 1) for place, response in enumerate(order))
            new.append(NewJudgement(prompt, annotator, "ranking", items))
        judgements.record_many(self.store, new)
