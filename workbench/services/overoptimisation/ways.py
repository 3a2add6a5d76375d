"""Over-optimisation: how proxy reward and the gold reward behind it move with distance from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from workbench.services.overoptimisation.fits import Fit, Method, Peak, find_peak, fit

if TYPE_CHECKING:
    from storage.rollouts import OptimisationPoint
    from storage.store import Store


@dataclass(frozen=True, slots=True)
class Way:
    """One run's way from the reference policy: points and fitted curves of proxy and gold."""

    run_id: str
    name: str
    method: Method
    proxy: tuple[tuple[float, float], ...]
    """(√KL, score), by √KL."""
    gold: tuple[tuple[float, float], ...]
    proxy_fit: Fit | None
    gold_fit: Fit | None
    peak: Peak | None
    points: tuple[OptimisationPoint, ...]
    """As measured, by step; none of an experiment's proxies."""

    @property
    def farthest(self) -> float:
        """The largest √KL measured."""
        return max((d for d, _ in (*self.proxy, *self.gold)), default=0.0)


def way(run_id: str, name: str, points: Sequence[OptimisationPoint]) -> Way | None:
    """Points and curves of one run; None when nothing was measured."""
    if not points:
        return None
    method: Method = "best of n" if points[0].method == "best of n" else "policy learning"
    proxy = tuple(sorted((p.sqrt_kl, p.proxy) for p in points if p.proxy is not None))
    gold = tuple(sorted((p.sqrt_kl, p.gold) for p in points if p.gold is not None))
    gold_fit = fit(method, gold)
    return Way(
        run_id,
        name,
        method,
        proxy,
        gold,
        fit(method, proxy),
        gold_fit,
        find_peak(gold, gold_fit),
        tuple(points),
    )


class Overoptimisation:
    """Reads the ways of runs from the store.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ways(self, run_ids: Sequence[str], *, with_best_of_n: bool = True) -> list[Way]:
        """The ways of these runs, then of best-of-n runs against the same reward models.

        Runs that measured no distance are passed over.  Raises NotFoundError for an unknown run.
        """
        from storage import rollouts, runs

        wanted = list(dict.fromkeys(run_ids))
        rows = {run_id: runs.run_row(self._store, run_id) for run_id in wanted}
        if with_best_of_n:
            for row in list(rows.values()):
                for run_id in self._best_of_n(row.config):
                    if run_id not in rows:
                        rows[run_id] = runs.run_row(self._store, run_id)
        found: list[Way] = []
        for run_id, row in rows.items():
            if row.kind == "overoptimise":
                found += self._of_proxies(run_id)
            elif one := way(run_id, row.name, rollouts.overoptimisation(self._store, run_id)):
                found.append(one)
        return found

    def _of_proxies(self, run_id: str) -> list[Way]:
        """A way for each number of labels, method and variant; means over replicates."""
        from storage import rollouts
        from workbench.services.overoptimisation.curves import PLAIN, curves

        if not rollouts.gold_curves(self._store, run_id):
            return []
        return [
            Way(
                run_id,
                f"{one.labels} labels" + ("" if one.variant == PLAIN else f" {one.variant}"),
                one.method,
                tuple((point.sqrt_kl, point.proxy) for point in one.points),
                tuple((point.sqrt_kl, point.gold.mean) for point in one.points),
                one.proxy_fit,
                one.fit,
                one.peak,
                (),
            )
            for one in curves(self._store, run_id)
            if one.labels
        ]

    def _best_of_n(self, config: Any) -> list[str]:
        """The newest best-of-n run from the same policy against the same reward model."""
        from storage import rollouts

        reward_model, policy = config.get("reward_model"), config.get("policy")
        if not reward_model:
            return []
        return rollouts.best_of_n_runs(self._store, str(reward_model), str(policy) if policy else None)[:1]

    def way(self, run_id: str) -> Way:
        """The way of one run.  Raises UsageError when it measured none."""
        ways = self.ways([run_id], with_best_of_n=False)
        if not ways:
            raise UsageError(
                f"Run {run_id} has measured no KL beside a score; over-optimisation is of runs that learn a "
                "policy, and of best-of-n."
            )
        return ways[0]
