"""Special tokens that a policy sampled inside its response are scored, not dropped."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.models.reward_model import load_reward_model
from engine.policy_learning.rewards.parts import Conversation, model_part
from engine.protocol.rewards import Component

CHAT = [{"role": "user", "content": "go"}]


def test_what_was_sampled_is_scored(tiny_reward: Path) -> None:
    reward_model = load_reward_model(tiny_reward, "float32")
    tokeniser = reward_model.tokeniser
    a, b = tokeniser.encode_response("ab")
    ids = [a, 1, b, tokeniser.turn_id]  # a start of turn in the middle
    sampled = Conversation(CHAT, tokeniser.response_text(ids), ids)
    own = model_part(Component("r"), reward_model, policy=tokeniser).members([sampled], 512)
    prompt = tokeniser.encode_prompt(CHAT)
    torch.testing.assert_close(own[0], reward_model.scores_of([(prompt, ids)])[:, 0])
    other = model_part(Component("r"), reward_model).members([sampled], 512)  # another tokeniser: by name
    named = tokeniser.encode_for_score(CHAT, "a<|im_start|>b")
    torch.testing.assert_close(other[0], reward_model.scores_of([(named.prompt, named.response)])[:, 0])
    dropped = tokeniser.encode_for_score(CHAT, "ab")
    assert float(own) != float(reward_model.scores_of([(dropped.prompt, dropped.response)]))
    assert float(own) != float(other)
