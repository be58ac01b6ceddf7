"""Threads, and nothing of reads: work on items, results in the items' order.

A runner makes one worker for each thread and yields what the workers return in
the order of the items, whatever the number of threads. The first exception
reaches the caller in the place of its item; work not yet begun is then dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result", covariant=True)
In = TypeVar("In", contravariant=True)

AHEAD = 2
"""Items in flight for each thread: enough that none waits, few enough to bound memory."""


class Worker(Protocol[In, Result]):
    """Does the work of one thread; used by no other."""

    def __call__(self, item: In, /) -> Result: ...

    def close(self) -> None: ...


def run_serial(
    make_worker: Callable[[], Worker[Item, Result]], items: Iterable[Item]
) -> Iterator[Result]:
    """Do the work in the calling thread."""
    worker = make_worker()
    try:
        for item in items:
            yield worker(item)
    finally:
        worker.close()


def run_threads(
    make_worker: Callable[[], Worker[Item, Result]], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Do the work in a pool of threads, at most `AHEAD` items a thread in flight."""
    local = threading.local()
    workers: list[Worker[Item, Result]] = []

    def work(item: Item) -> Result:
        if not hasattr(local, "worker"):
            local.worker = make_worker()
            workers.append(local.worker)
        done: Result = local.worker(item)
        return done

    pool = ThreadPoolExecutor(threads, thread_name_prefix="pileupcnn")
    in_flight: deque[Future[Result]] = deque()
    try:
        for item in items:
            in_flight.append(pool.submit(work, item))
            if len(in_flight) >= AHEAD * threads:
                yield in_flight.popleft().result()
        while in_flight:
            yield in_flight.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


def run(
    make_worker: Callable[[], Worker[Item, Result]], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Do the work on `threads` threads; one thread is the caller's own."""
    if threads == 1:
        return run_serial(make_worker, items)
    return run_threads(make_worker, items, threads)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, the next one made on a thread of its own while one is used."""
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="pileupcnn") as pool:
        pending = pool.submit(next, source, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, source, end)
            yield item  # type: ignore[misc]
