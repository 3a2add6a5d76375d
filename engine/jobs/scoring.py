"""Scoring many responses with a reward model in torch: batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from engine.errors import NonFiniteError
from engine.models.reward import last_scores, token_scores


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches whose padded size, rows × longest, stays under the budget; longest first.

    A sequence longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            batches.append(batch)
            batch = []
        batch.append(index)
    return [*batches, batch] if batch else batches


@torch.no_grad()
def score_batches(
    model: PreTrainedModel, sequences: Sequence[list[int]], pad_id: int, budget: int
) -> Iterator[tuple[list[int], list[float]]]:
    """Indices and their scores, batch by batch.  Raises NonFiniteError for a score that is not finite."""
    device = next(model.parameters()).device
    for batch in batches_by_length([len(ids) for ids in sequences], budget):
        ids_NT, lengths_N = padded([sequences[index] for index in batch], pad_id)
        scores_N = last_scores(token_scores(model, ids_NT.to(device)), lengths_N.to(device))
        if not torch.isfinite(scores_N).all():
            raise NonFiniteError("The reward model gave a score that is not finite; train it again.")
        yield batch, scores_N.tolist()


def padded(sequences: Sequence[list[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the right [N, T] and lengths [N]."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids_NT = torch.full((len(sequences), int(lengths.max())), pad_id)
    for row, ids in enumerate(sequences):
        ids_NT[row, : len(ids)] = torch.tensor(ids)
    return ids_NT, lengths
