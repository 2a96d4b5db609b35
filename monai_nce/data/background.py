"""Several volumes at an inference: one is read ahead and one is finished behind, while the network is busy.

Both are bounded, so that memory holds a few volumes however many there are. Errors come out where the evaluator runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.transforms import Compose

__all__ = ["FinishBehind", "VolumeLoader"]

Item = dict[str, Any]
NICENESS = 10  # the network's threads come first where there are no cores to spare


class VolumeLoader(DataLoader):
    """One volume after another, the next being read while the caller is busy with one.

    MONAI's ``ThreadDataLoader`` would end the run without a word at the first volume that cannot be read.

    Args:
        dataset: of items with volumes ``(C, H, W, D)``.
        ahead: whether to read ahead; without it the loader is MONAI's own, and memory holds one volume less.
    """

    def __init__(self, dataset: Dataset, ahead: bool = True) -> None:
        super().__init__(dataset, batch_size=1, num_workers=0, collate_fn=_batch_of_one)
        self.ahead = ahead

    def __iter__(self) -> Iterator[Item]:
        volumes = super().__iter__()
        if not self.ahead or len(self) < 2:
            yield from volumes
            return
        thread = _background_thread("reading")
        try:
            volume = next(volumes, None)
            while volume is not None:
                upcoming = thread.submit(next, volumes, None)
                yield volume
                volume = upcoming.result()
        finally:
            thread.shutdown(cancel_futures=True)


class FinishBehind(Compose):
    """An evaluator's post-processing, done with one volume while the network is busy with the next.

    It stands among the evaluator's handlers too, since the end of the run waits for the last volume.
    An error is raised when the next volume comes, or at the end. A run of one volume is post-processed in place, as is
    whatever is given to this object outside a run.

    Args:
        transforms: what an item goes through; the last one's output is dropped where it is done behind.
        behind: whether to do so.
    """

    def __init__(self, transforms: Sequence[Callable[[Item], Item]], behind: bool = True) -> None:
        super().__init__(transforms)
        self.behind = behind
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def attach(self, engine: Engine) -> None:
        """Args: engine: the evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def __call__(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> Item:
        """Post-process ``data``, or see to it and return it as it is; ``args`` and ``kwargs`` as of ``Compose``."""
        if self._thread is None:
            return self._finished(data, *args, **kwargs)
        self._wait()
        self._last = self._thread.submit(self._dropped, data, *args, **kwargs)
        return dict(data)

    def _finished(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> Item:
        finished: Item = super().__call__(data, *args, **kwargs)
        return finished

    def _dropped(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        self._finished(data, *args, **kwargs)  # what a future keeps would be one more volume in memory

    def _start(self, engine: Engine) -> None:
        self._last = self._thread = None  # of a run that an error has ended
        if self.behind and (engine.state.epoch_length or 0) > 1:
            self._thread = _background_thread("finishing")

    def _finish(self, engine: Engine) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
        self._wait()

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()


def _background_thread(name: str) -> ThreadPoolExecutor:
    """One thread that uses one core, and that only while nothing else wants it.

    A run that ends by an error lets it finish what it writes: Python waits for such threads before it exits.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    pool.submit(_be_humble).result()
    torch.set_num_threads(threads)  # each thread has a number of its own, but the last one set is that of new threads
    return pool


def _be_humble() -> None:
    torch.get_num_threads()  # or the first operation of this thread would take over the others' number
    torch.set_num_threads(1)
    if hasattr(os, "setpriority") and hasattr(os, "PRIO_PROCESS"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _batch_of_one(items: Sequence[Item]) -> Item:
    """MONAI's collation, but without copying the voxels: its copy has them in another order than files have."""
    (item,) = items
    volumes = {key: value for key, value in item.items() if isinstance(value, MetaTensor)}
    empty = {key: MetaTensor(torch.empty((0,) * value.ndim)).copy_meta_from(value) for key, value in volumes.items()}
    batch: Item = list_data_collate([{**item, **empty}])
    for key, value in volumes.items():
        batch[key] = MetaTensor(value.as_tensor()[None]).copy_meta_from(batch[key])
    return batch
