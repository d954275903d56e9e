"""When those who were turned away may come back, and whose turn it is when somebody comes."""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Hashable

_EARLY = 0.005  # seconds that one may come before the time
_REMEMBERED = 4096  # of those who were served last


class Promises:
    """Times at which those sent away were told to return; all times are the event loop's seconds.

    A client is known by its connection while that lives. One that was served on it cannot pass
    for another who was told to come at that moment; on a new connection nobody is known, and
    whoever comes when a promise is due is taken for the one it was made to.
    """

    def __init__(self) -> None:
        self._due: list[float] = []  # ascending
        self._whose: dict[Hashable, float] = {}
        self._served: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def last(self) -> float | None:
        """The latest promised time; None without any."""
        return self._due[-1] if self._due else None

    def add(self, due: float, who: Hashable | None) -> None:
        """Promise room to a client from `due` on, instead of an earlier promise to it."""
        if who is not None:
            self._take_back(who)
            self._whose[who] = due
        insort(self._due, due)

    def served(self, who: Hashable | None) -> None:
        """Note that a client has had its slot."""
        if who is not None:
            self._served[who] = None
            self._served.move_to_end(who)
            if len(self._served) > _REMEMBERED:
                self._served.popitem(last=False)

    def keep(self, now: float, who: Hashable | None) -> bool:
        """Whether room was promised to one who comes now; the promise is kept then."""
        if who in self._whose:
            due = self._whose[who] <= now + _EARLY
            if due:
                self._take_back(who)
            return due
        if who in self._served or not self._due or self._due[0] > now + _EARLY:
            return False
        first = self._due.pop(0)
        self._whose = {known: due for known, due in self._whose.items() if due != first}
        return True

    def expected(self, until: float) -> int:
        """How many are to come until then."""
        return bisect_right(self._due, until)

    def forget(self, before: float) -> None:
        """Give up those who should have come before that."""
        del self._due[: bisect_left(self._due, before)]
        if len(self._whose) > len(self._due):
            self._whose = {who: due for who, due in self._whose.items() if due >= before}

    def _take_back(self, who: Hashable) -> None:
        due = self._whose.pop(who, None)
        at = bisect_left(self._due, due) if due is not None else len(self._due)
        if at < len(self._due) and self._due[at] == due:
            del self._due[at]
