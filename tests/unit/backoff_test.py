"""Waits between attempts."""

from clients.backoff import Backoff


async def test_attempts_go_on_for_as_long_as_it_takes() -> None:
    """An outage of an hour has more than a thousand of them."""
    backoff = Backoff(first=0.2, longest=0.0)
    for _ in range(2_000):
        await backoff.wait()
    backoff.reset()
    assert backoff.attempts == 0
