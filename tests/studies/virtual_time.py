"""A clock that jumps to the next thing that happens: threads that only sleep take no time, and one runs at a time."""

import heapq
import threading
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any


class VirtualTime:
    """Stands in for the modules `time` and `threading` in code whose threads wait for each other only through it.

    A thread that sleeps hands over to the one that wakes next, at whose time it then is. So threads take turns in an
    order that only their waiting times decide.

    Args:
        start: seconds since 1970 at the beginning.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self.sleepers: list[tuple[float, int, threading.Lock]] = []
        self.numbers = count()

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        turn = self.come_back_in(seconds)
        self.hand_over()
        turn.acquire()

    def come_back_in(self, seconds: float) -> threading.Lock:
        """A lock, taken now, that is released when so much time has passed."""
        turn = threading.Lock()
        turn.acquire()
        heapq.heappush(self.sleepers, (self.now + seconds, next(self.numbers), turn))
        return turn

    def hand_over(self) -> None:
        """Go to the next time at which a thread wakes, and let it run."""
        self.now, _, turn = heapq.heappop(self.sleepers)
        turn.release()

    def Event(self) -> "VirtualEvent":
        return VirtualEvent(self)

    def Thread(self, *, target: Callable[..., object], args: tuple[Any, ...] = (), daemon: bool) -> "VirtualThread":
        del daemon
        return VirtualThread(self, target, args)

    def datetime(self) -> type[datetime]:
        """The class `datetime`, with this clock's now."""
        clock = self

        class VirtualDatetime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.fromtimestamp(clock.now, tz)

        return VirtualDatetime


class VirtualEvent(threading.Event):
    """Is waited for to the end of the time allowed, and looked at then."""

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.clock.sleep(timeout)
        return self.is_set()


class VirtualThread:
    """A thread that takes its turns."""

    def __init__(self, clock: VirtualTime, target: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.clock, self.ended = clock, False
        self.error: BaseException | None = None
        self.body = threading.Thread(target=self._run, args=(target, args), daemon=True)

    def start(self) -> None:
        self.turn = self.clock.come_back_in(0)
        self.body.start()

    def join(self) -> None:
        while not self.ended:
            self.clock.sleep(1)
        self.body.join()

    def _run(self, target: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.turn.acquire()
        try:
            target(*args)
        except BaseException as error:
            self.error = error
        self.ended = True
        self.clock.hand_over()
