"""Streams that are kept between batches."""

from servers.kernel.live import KeptStreams, LiveStream
from servers.kernel.stream import StreamKey
from tests.kernel.toy import Counter


def stored(name: str) -> LiveStream:
    rules = Counter()
    return LiveStream(StreamKey(rules.kind, name), rules, rules.state(), version=1, indexed=(), size=100)


def test_a_stream_is_kept_until_it_is_taken() -> None:
    kept, live = KeptStreams(), stored("a")
    kept.keep({"counter/a": live}, b"head")
    assert kept.take("counter/a") is live
    assert kept.take("counter/a") is None


def test_none_is_kept_where_another_writer_has_moved_the_head() -> None:
    kept = KeptStreams()
    kept.keep({"counter/a": stored("a")}, b"head")
    kept.forget_unless(b"head")
    kept.forget_unless(b"another head")
    assert kept.take("counter/a") is None


def test_the_oldest_make_room_and_one_that_is_used_is_young_again() -> None:
    kept = KeptStreams(most=250)
    kept.keep({"a": stored("a"), "b": stored("b")}, b"1")
    used = kept.take("a")
    assert used is not None
    kept.keep({"a": used, "c": stored("c")}, b"2")
    assert [kept.take(name) is not None for name in ("a", "b", "c")] == [True, False, True]


def test_what_is_not_stored_is_not_kept() -> None:
    rules = Counter()
    kept = KeptStreams()
    kept.keep({"counter/a": LiveStream(StreamKey(rules.kind, "a"), rules, rules.state())}, b"head")
    assert kept.take("counter/a") is None


def test_none_is_kept_where_there_is_no_room() -> None:
    kept, empty = KeptStreams(most=0), stored("a")
    empty.size = 0
    kept.keep({"counter/a": empty}, b"head")
    assert kept.take("counter/a") is None
