"""The demo while one looks on: its stages run as jobs, one line in the header says how far they are."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from engine.errors import WorkbenchError
from storage.errors import StoreError

if TYPE_CHECKING:
    from workbench.app import WorkbenchApp
    from workbench.services.demo import Demo, DemoTable, StageUpdate


def stage_line(update: StageUpdate) -> str:
    """`demo 4/8 training the reward model 43%`."""
    share = "" if update.progress is None else f" {update.progress:.0%}"
    return f"demo {update.number}/{update.of} {update.title.lower()}{share}"


def closing_sentence(table: DemoTable) -> str:
    """What came out, in a sentence."""
    return (
        f"Demo done: mean score {table.score_before:+.2f} before PPO, {table.score_after:+.2f} after, "
        f"on {table.eval_prompts} prompts. F6 compares them."
    )


def watch_demo(app: WorkbenchApp, quitting: Event) -> None:
    """Run the demo in the calling thread until it ends, fails or the application quits."""
    from workbench.services.demo import Demo, DemoInterruptedError

    demo = Demo(app.workspace)
    Thread(target=_close_when, args=(quitting, demo), daemon=True).start()
    try:
        for update in demo.run():
            app.call_from_thread(app.show_demo, stage_line(update))
            if update.state == "done":
                app.call_from_thread(app.refresh_status)
        sentence = closing_sentence(demo.table())
    except DemoInterruptedError:
        return
    except (WorkbenchError, StoreError) as error:
        if not quitting.is_set():
            app.call_from_thread(app.show_demo, "demo: ended early")
            app.call_from_thread(app.tell, error)
        return
    app.call_from_thread(app.show_demo, "demo: done")
    app.call_from_thread(app.tell, sentence, severity="information")


def _close_when(quitting: Event, demo: Demo) -> None:
    quitting.wait()
    demo.close()
