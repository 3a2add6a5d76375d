"""A workbench of its own process for the tests that kill it: STORE MODEL [finish]."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402

from engine.protocol.configs import GenerateConfig  # noqa: E402
from storage.store import Store  # noqa: E402
from tests.workbench.services.job_helpers import FAKE_WORKER, fake_jobs  # noqa: E402
from workbench.services.runs.jobs import Jobs  # noqa: E402


def main() -> None:
    fake_jobs(pytest.MonkeyPatch())
    with Store.open(Path(sys.argv[1])) as store:
        jobs = Jobs(store, worker=FAKE_WORKER)
        rows = jobs.list()
        config = GenerateConfig(policy=sys.argv[2], samples=30)
        run_id = rows[0].run_id if rows else jobs.submit("generate", config)
        print("ready", flush=True)
        if sys.argv[3:] == ["finish"]:
            print(jobs.wait(run_id).status)
            return
        while True:
            jobs.pump()


if __name__ == "__main__":
    main()
