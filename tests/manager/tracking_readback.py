"""What a tracking store holds, read through MLflow's own API."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from manager.tracking import SyncResult


@dataclass(frozen=True)
class ReadBack:
    """The active runs of one experiment."""

    client: Any
    runs: list[Any]

    @staticmethod
    def of(result: SyncResult, uri: str | None = None) -> ReadBack:
        from manager.tracking.client import TrackingClient

        client = TrackingClient(uri or result.uri).api
        return ReadBack(client, list(client.search_runs([result.experiment_id], max_results=5000)))

    def run(self, **tags: Any) -> Any:
        """The only run with these tags."""
        found = self.all(**tags)
        assert len(found) == 1, (tags, [r.info.run_name for r in found])
        return found[0]

    def all(self, **tags: Any) -> list[Any]:
        return [r for r in self.runs if all(r.data.tags.get(k) == str(v) for k, v in tags.items())]

    def points(self, run: Any, prefix: str = "") -> Counter[tuple[str, int, float]]:
        """Every stored point: how often each is there."""
        return Counter(
            (key, metric.step, metric.value)
            for key in run.data.metrics
            if key.startswith(prefix)
            for metric in self.client.get_metric_history(run.info.run_id, key)
        )

    def line(self, run: Any, key: str) -> list[tuple[int, float]]:
        """A metric as a chart shows it: every stored (step, value), by step."""
        return sorted((m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, key))

    def artifacts(self, run: Any, folder: str | None = None) -> list[str]:
        found = []
        for entry in self.client.list_artifacts(run.info.run_id, folder):
            found += self.artifacts(run, entry.path) if entry.is_dir else [entry.path]
        return sorted(found)


def expected(first: int, last: int, *, offset: float = 0.0, metrics: int = 3) -> Counter[tuple[str, int, float]]:
    """The points of `tracked_sweep.train`, each once."""
    return Counter(
        {
            (f"train/metric_{n}", step, step + n / 10 + offset): 1
            for step in range(first, last + 1)
            for n in range(metrics)
        }
    )
