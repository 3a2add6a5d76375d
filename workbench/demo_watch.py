"""The demo while one looks on: its stages run as jobs, one line in the header says how far they are."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.services.demo import Demo, DemoTable, StageUpdate
    from workbench.shell import Shell


def stage_line(update: StageUpdate) -> str:
    """`demo 4/8 43% training the reward model`: what may be cut comes last."""
    share = "" if update.progress is None else f" {update.progress:.0%}"
    return f"demo {update.number}/{update.of}{share} {update.title}"


def watch_demo(app: Shell, quitting: Event, *, small: bool = False) -> None:
    """Run the demo in the calling thread until it ends, fails or the application quits."""
    from workbench.services.demo import Demo, DemoInterruptedError, DemoPlan

    demo = Demo(app.workspace, DemoPlan.small() if small else None)
    Thread(target=_close_when, args=(quitting, demo), daemon=True).start()
    try:
        for update in demo.run():
            app.call_from_thread(app.show_demo, stage_line(update))
            if update.state == "done":
                app.call_from_thread(app.refresh_status)
        table = demo.table()
    except DemoInterruptedError:
        return
    except Exception as error:
        if not quitting.is_set():
            app.call_from_thread(app.show_demo, "demo: ended early")
            app.call_from_thread(app.tell, error)
        return
    app.call_from_thread(app.show_demo, "demo: done")
    app.call_from_thread(show_summary, app, table)


def show_summary(app: Shell, table: DemoTable) -> None:
    """The closing table, over the screen that is on top."""
    from workbench.screens.demo_summary import DemoSummaryScreen

    app.refresh_status()
    app.push_screen(DemoSummaryScreen(table))


def _close_when(quitting: Event, demo: Demo) -> None:
    quitting.wait()
    demo.close()
