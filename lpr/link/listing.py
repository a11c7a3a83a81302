"""Whether the outbox may hold what is not known here, and when it may be asked. Pure."""

from __future__ import annotations


class Listing:
    """One page of the outbox is asked for at a time."""

    def __init__(self) -> None:
        self._more = True
        self._more_since = False
        """Something may have come that the listing under way does not show."""
        self._under_way = False
        self._not_before = 0.0

    @property
    def has_shown_all(self) -> bool:
        """Nothing is on disk that is not known here."""
        return not (self._more or self._under_way)

    @property
    def next_at(self) -> float | None:
        """When a listing that failed may be asked for again; None where nothing waits for its time."""
        return self._not_before if self._more and not self._under_way and self._not_before else None

    def look_again(self) -> None:
        """Something may be on disk that is not here; a listing that is under way may not show it."""
        self._more = self._more_since = True

    def may_begin(self, now: float) -> bool:
        """Whether there is anything to ask for, and nothing has been asked."""
        return self._more and not self._under_way and now >= self._not_before

    def begin(self) -> None:
        """A page is asked for."""
        self._under_way, self._more_since, self._not_before = True, False, 0.0

    def ended(self, *, full: bool) -> None:
        """The page is here; a full one is not the last."""
        self._under_way = False
        self._more = self._more_since or full

    def failed(self, again_at: float) -> None:
        """The outbox could not be read."""
        self._under_way, self._not_before = False, again_at
