"""Data sets and tools that are known by their columns: what each column is, and where it is documented.

Where two fit alike, the one that stands first is taken.
"""

from __future__ import annotations

from storage.interchange.presets.benchmarks import BENCHMARKS
from storage.interchange.presets.of_tools import OF_TOOLS
from storage.interchange.presets.pairs import PAIRS
from storage.interchange.presets.preset import Preset
from storage.interchange.presets.rated import RATED

PRESETS: tuple[Preset, ...] = (*PAIRS, *RATED, *OF_TOOLS, *BENCHMARKS)
BY_NAME = {preset.name: preset for preset in PRESETS}
