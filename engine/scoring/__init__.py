"""The torch-free scorer over an exported reward model."""

from engine.scoring.graph import Precision
from engine.scoring.scorer import Scored, Scorer

__all__ = ["Precision", "Scored", "Scorer"]
