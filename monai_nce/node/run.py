"""Run a DICOM node until it is told to end: receive, enhance, send, show."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from monai_nce.data.dicom.writer import series_files
from monai_nce.node.enhancing import Crashed, Enhancing, Result
from monai_nce.node.page import Page
from monai_nce.node.receiver import Receiver
from monai_nce.node.sender import NotSent, send_series
from monai_nce.node.settings import NodeSettings
from monai_nce.node.store import Store

__all__ = ["Node", "enhance_next", "quiet_libraries", "send_next"]

log = logging.getLogger(__name__)

PAUSE = 0.5  # s between looks at the store when there is nothing to do
AFTER_FAULT = 5.0  # s
TIDY_SECONDS = 600


class Node:
    """Receive, enhance and send, each in a thread.

    Args:
        settings: of the node.
        page_port: of the page; 0 takes a free one.

    Raises:
        InputError: if folder or port cannot be had.
    """

    def __init__(self, settings: NodeSettings, page_port: int) -> None:
        quiet_libraries()
        self.settings = settings
        self.store = Store(settings.data)
        try:
            self.store.recover()
            self.page = Page(settings, self.store, page_port)
            self.receiver = Receiver(settings, self.store)
        except BaseException:
            self.store.close()
            raise
        self.enhancing = Enhancing({"weights": settings.weights, "phase": settings.phase, "device": settings.device})
        self._end = threading.Event()
        steps: dict[str, Callable[[], bool]] = {
            "enhance": lambda: enhance_next(settings, self.store, self.enhancing),
            "send": lambda: send_next(settings, self.store),
            "tidy": self._tidy,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), name=name, daemon=True) for name, step in steps.items()
        ]
        self._tidied = 0.0

    def start(self) -> None:
        """Begin with all of it."""
        self.enhancing.start()
        self.page.start()
        self.receiver.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all of it; what is under way is done again after the next start."""
        self._end.set()
        self.receiver.stop()
        self.enhancing.close()
        self.page.stop()
        for thread in self._threads:
            thread.join(timeout=5)

    def _repeat(self, step: Callable[[], bool]) -> None:
        while not self._end.is_set():
            try:
                wait = 0 if step() else PAUSE
            except Exception as error:  # such as a full disk; what was to be done is still in the store
                if self._end.is_set():
                    return
                said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
                log.error("%s: %s; tried again in %g s", threading.current_thread().name, said, AFTER_FAULT)
                wait = AFTER_FAULT
            self._end.wait(wait)

    def _tidy(self) -> bool:
        if time.monotonic() - self._tidied > TIDY_SECONDS or not self._tidied:
            self._tidied = time.monotonic()
            if gone := self.store.forget(self.settings.keep_seconds):
                log.info("%d finished studies were removed from the node's folder", gone)
        return False


def enhance_next(settings: NodeSettings, store: Store, enhancing: Enhancing) -> bool:
    """Enhance a series of a complete study; return whether there was one."""
    task = store.next_task(settings.quiet_seconds)
    if task is None:
        return False
    began = time.monotonic()
    asked = f"{settings.weights} {settings.phase}"
    output = store.outgoing_folder(task, asked)
    with store.workplace(task) as work:
        try:
            result = enhancing.run(work / "series", output, f"{task.content} {asked}")
        except Crashed as error:
            if enhancing.closed:
                return False
            store.count("crashes", "")
            result = Result("fault", str(error))
    where, seconds = f"study {task.study}, series {task.series}", time.monotonic() - began
    if result.outcome == "enhanced":
        if store.enhanced(task, output, seconds):
            log.info("%s: %d slices enhanced in %.1f s", where, result.slices, seconds)
        else:
            log.info("%s: another instance came meanwhile: it is enhanced again", where)
    elif result.outcome in ("fault", "disk"):
        state = store.put_off(task, result.reason, give_up=result.outcome == "fault")
        again = "tried again" if state == "waiting" else "given up: send the study again to try once more"
        log.error("%s: %s; %s", where, result.reason, again)
    elif store.refused(task, result.outcome, result.reason):
        log.warning("%s: refused: %s", where, result.reason)
    return True


def send_next(settings: NodeSettings, store: Store) -> bool:
    """Send a derived series; return whether there was one."""
    one = store.next_outgoing()
    if one is None:
        return False
    where = f"study {one.study}, series {one.series}"
    try:
        if not (files := series_files(one.folder)):
            raise NotSent("fault", "its files are no longer in the node's folder")
        send_series(settings, files)
    except NotSent as error:
        log.warning("%s: not sent: %s; tried again in %g s", where, error, store.unsent(one, error.kind, str(error)))
    except Exception as error:  # its text may quote a header
        reason = f"an unexpected {type(error).__name__}"
        log.error("%s: not sent: %s; tried again in %g s", where, reason, store.unsent(one, "fault", reason))
    else:
        store.sent(one)
        log.info("%s: %d instances sent", where, len(files))
    return True


def quiet_libraries() -> None:
    """Keep the libraries' own logs away, which quote headers."""
    for name in ("pydicom", "pynetdicom", "dicomweb_client", "urllib3"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
