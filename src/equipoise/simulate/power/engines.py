"""Who computes the tasks of a power run: threads, processes, or the workers of a Dask cluster.

Each engine takes tasks and gives their results in the order of the tasks, with few under way at a time. A
worker that dies is replaced and its tasks are computed again; since a task's result depends on the task only,
the results are the same as if it had lived.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from equipoise.errors import UserError
from equipoise.simulate.power.tasks import Task, compute
from equipoise.simulate.runs import in_order

Engine = Callable[[Iterable[Task]], Iterator[bytes]]
"""Computes tasks and gives their results in order."""

ATTEMPTS = 4
"""How often a task is tried before its workers are no longer thought to die by chance."""


def threads(workers: int | None = None) -> Engine:
    """Threads of this process; as many as there are cores when not said."""
    count = workers if workers is not None else cores()
    return lambda tasks: in_order(compute, tasks, count)


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not on this system
        return os.cpu_count() or 1


def processes(workers: int | None = None, started: Callable[[list[int]], None] | None = None) -> Engine:
    """Processes on this machine. `started` is told the process ids of the workers whenever there are new
    ones."""
    count = workers if workers is not None else cores()
    return lambda tasks: _in_processes(tasks, count, started)


def _in_processes(
    tasks: Iterable[Task], count: int, started: Callable[[list[int]], None] | None
) -> Iterator[bytes]:
    waiting: deque[tuple[Task, Future[bytes]]] = deque()
    coming = iter(tasks)
    pool = _pool(count)
    broken = 0
    try:
        while True:
            try:
                while len(waiting) <= 2 * count and (task := next(coming, None)) is not None:
                    waiting.append((task, pool.submit(compute, task)))
                if started is not None:
                    started(_pids(pool))
                if not waiting:
                    return
                found = waiting[0][1].result()
            except BrokenProcessPool:
                broken += 1
                if broken >= ATTEMPTS:
                    raise UserError(
                        f"worker processes died {broken} times on the same trials: is there enough memory? "
                        "Fewer --workers need less; what is finished is kept and --resume goes on"
                    ) from None
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(count)
                waiting = deque((task, pool.submit(compute, task)) for task, _ in waiting)
                continue
            waiting.popleft()
            broken = 0
            yield found
    finally:
        _end(pool)


def _pool(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("forkserver"), initializer=_leave_signals
    )


def _leave_signals() -> None:
    """Ctrl-C is answered by the process that hands out the tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pids(pool: ProcessPoolExecutor) -> list[int]:
    found: dict[int, Any] = getattr(pool, "_processes", None) or {}
    return sorted(found)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers now: what they are computing is of no more use."""
    workers = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(timeout=5)


def cluster(address: str, patience: float = 10.0) -> Engine:
    """The workers of a Dask scheduler at `address` ("tcp://host:8786"). Needs equipoise[cluster].

    Raises UserError when Dask is not installed, nothing answers there within `patience` seconds, or no
    worker is there."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UserError(
            "a cluster needs Dask, which is not installed: pip install 'equipoise[cluster]'"
        ) from None
    client = _client(address, patience)  # an address that does not answer is said before any work
    return lambda tasks: _on_cluster(tasks, address, client)


WITHOUT_WORKERS = 60.0
"""Seconds for which a cluster may be without any worker before the run ends."""


def _result(future: Any, client: Any, address: str) -> bytes:
    """The result of a task, unless every worker has gone for good."""
    missing = 0.0
    while True:
        try:
            found: bytes = future.result(timeout=5)
            return found
        except TimeoutError:
            missing = 0.0 if client.nthreads() else missing + 5
            if missing >= WITHOUT_WORKERS:
                raise UserError(
                    f"{address}: no workers for {WITHOUT_WORKERS:.0f} seconds: start some; "
                    "what is finished is kept and --resume goes on"
                ) from None


def _on_cluster(tasks: Iterable[Task], address: str, client: Any) -> Iterator[bytes]:
    import distributed

    waiting: deque[Any] = deque()
    coming = iter(tasks)
    try:
        while True:
            room = 3 * max(1, sum(client.nthreads().values()))
            while len(waiting) < room and (task := next(coming, None)) is not None:
                # `pure` is off: a task of a run that is repeated is computed again, not remembered
                waiting.append(client.submit(compute, task, pure=False, retries=ATTEMPTS))
            if not waiting:
                return
            try:
                found = _result(waiting[0], client, address)
            except distributed.scheduler.KilledWorker:
                raise UserError(
                    f"{address}: workers died {ATTEMPTS} times on the same trials: have they enough memory? "
                    "What is finished is kept and --resume goes on"
                ) from None
            except (OSError, distributed.client.FutureCancelledError):
                raise UserError(
                    f"{address}: the scheduler no longer answers; what is finished is kept and --resume "
                    "goes on"
                ) from None
            waiting.popleft()
            yield found
    finally:
        for future in waiting:
            future.cancel()


def _client(address: str, patience: float) -> Any:
    import logging

    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers there ({first}); start one with "
            "`dask scheduler` and give the address that it prints"
        ) from None
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError:
        client.close()
        raise UserError(
            f"--cluster {address}: the scheduler has no workers; start some with `dask worker {address}`"
        ) from None
    return client
