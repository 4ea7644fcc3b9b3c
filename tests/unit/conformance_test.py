"""How the suite for integrators judges what it has seen."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from clients.conformance.judge import Result, Verdict, judge
from clients.conformance.run import CHECKS
from clients.conformance.scenes import CLOSED, KILLS, Scene, Script, scenes
from clients.conformance.seen import Acknowledged, Call, End, Ended, Exit, Given, Opening, PutOff, Seen

CASE, TASK = "case-1", "task-1"


def given(at: float, sequence: int = 1, fact: str = "Submitted", case_id: str = CASE) -> Given:
    return Given(at, sequence, case_id, fact)


def accepts(at: float, request_id: str = "a", code: str = "OK", **fields: Any) -> Call:
    return command("AcceptApplication", at, request_id, code, **fields)


def command(method: str, at: float, request_id: str, code: str = "OK", subject: str = CASE, **fields: Any) -> Call:
    call = Call(at, method, subject, request_id, b"body", b"act", done_at=at + 0.1, code=code, took_effect=code == "OK")
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def seen(*events: object, scene: Scene = Scene.PLAIN) -> Seen:
    """A case, and what was seen of it."""
    found = Seen({CASE: scene}, until=100.0)
    places: dict[type, list[object]] = {
        Given: found.given,  # type: ignore[dict-item]
        Acknowledged: found.acknowledged,  # type: ignore[dict-item]
        PutOff: found.put_off,  # type: ignore[dict-item]
        Call: found.calls,  # type: ignore[dict-item]
        Opening: found.openings,  # type: ignore[dict-item]
        Ended: found.ends,  # type: ignore[dict-item]
        Exit: found.exits,  # type: ignore[dict-item]
    }
    for event in events:
        places[type(event)].append(event)
    return found


def verdict(name: str, found: Seen) -> Verdict:
    return next(each for each in judge(CHECKS, found) if each.check.name == name)


def result(name: str, found: Seen) -> Result:
    return verdict(name, found).result


def test_nothing_is_passed_or_failed_where_nothing_was_seen() -> None:
    assert {each.result for each in judge(CHECKS, Seen())} == {Result.NOT_EXERCISED}


def test_every_check_says_what_is_expected_and_where_that_stands() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.expected and check.section.startswith("§") for check in CHECKS)


RIGHT, WRONG, UNTOLD = Result.PASSED, Result.FAILED, Result.NOT_EXERCISED
ACKED = Acknowledged(3.0, 1)

JUDGED: Iterable[tuple[str, Callable[[], Seen], str, Result]] = [
    ("acts-before-it-acknowledges", lambda: seen(given(1), accepts(2), ACKED), "acted, then acknowledged", RIGHT),
    ("acts-before-it-acknowledges", lambda: seen(given(1), ACKED), "acknowledged, and no act", WRONG),
    ("acts-before-it-acknowledges", lambda: seen(given(1), ACKED, accepts(4)), "acted later, and never died", UNTOLD),
    (
        "acts-before-it-acknowledges",
        lambda: seen(given(1), ACKED, Exit(3.5, -9, True), accepts(4)),
        "died between the two",
        RIGHT,
    ),
    (
        "acts-before-it-acknowledges",
        lambda: seen(given(1), accepts(2, code="UNAVAILABLE"), ACKED),
        "the act did not take effect",
        WRONG,
    ),
    ("acts-once", lambda: seen(given(1), accepts(2), given(3), accepts(4)), "the same request again", RIGHT),
    ("acts-once", lambda: seen(given(1), accepts(2), given(3)), "nothing again", RIGHT),
    ("acts-once", lambda: seen(given(1), accepts(2)), "the item did not come again", UNTOLD),
    (
        "acts-once",
        lambda: seen(given(1), accepts(2), given(3), accepts(4, "b", "FAILED_PRECONDITION")),
        "another request",
        WRONG,
    ),
    (
        "acts-once",
        lambda: seen(given(1), command("RecordStep", 2, "a"), command("RecordStep", 3, "b", act=b"other"), given(4)),
        "another step",
        RIGHT,
    ),
    ("acknowledges-everything", lambda: seen(given(1), ACKED), "acknowledged", RIGHT),
    ("acknowledges-everything", lambda: seen(given(1)), "not acknowledged", WRONG),
    ("acknowledges-everything", lambda: seen(given(1), ACKED, given(4)), "came again, and not again", WRONG),
    (
        "acknowledges-everything",
        lambda: seen(given(1), ACKED, given(4), Ended(5, End.CUT)),
        "came again on a stream that was lost",
        RIGHT,
    ),
    ("acknowledges-everything", lambda: seen(given(1), PutOff(2, 1, 3600)), "put off beyond the end", UNTOLD),
    ("acknowledges-everything", lambda: seen(given(1), PutOff(2, 1, 10)), "put off, and forgotten", WRONG),
    ("acknowledges-only-what-it-was-given", lambda: seen(given(1), ACKED), "given", RIGHT),
    ("acknowledges-only-what-it-was-given", lambda: seen(given(4), ACKED), "given later", WRONG),
    (
        "acknowledges-facts-it-does-not-know",
        lambda: seen(given(1, fact="FactOfALaterVersion")),
        "not acknowledged",
        WRONG,
    ),
    (
        "acknowledges-facts-it-does-not-know",
        lambda: seen(given(1, fact="FactOfALaterVersion"), ACKED),
        "acknowledged",
        RIGHT,
    ),
    ("puts-off-with-a-delay", lambda: seen(PutOff(1, 1, 1), PutOff(2, 1, 1)), "a second between", RIGHT),
    ("puts-off-with-a-delay", lambda: seen(*(PutOff(1 + n / 10, 1, 0) for n in range(6))), "at once", WRONG),
    ("opens-again", lambda: seen(Ended(1, End.CUT), Opening(2, refused=False)), "opened", RIGHT),
    ("opens-again", lambda: seen(Ended(1, End.CUT), Opening(2, refused=True)), "tried, and that was all", WRONG),
    ("opens-again", lambda: seen(Ended(1, End.SERVER)), "no loss", UNTOLD),
    ("stays-away-after-a-takeover", lambda: seen(Ended(1, End.TAKEN_OVER)), "away", RIGHT),
    (
        "stays-away-after-a-takeover",
        lambda: seen(Ended(1, End.TAKEN_OVER), Opening(2, refused=False)),
        "opened again",
        WRONG,
    ),
    ("repeats-to-the-letter", lambda: seen(accepts(1, code="UNAVAILABLE"), accepts(2)), "the same", RIGHT),
    ("repeats-to-the-letter", lambda: seen(accepts(1, code=""), accepts(2, "b")), "another id after a crash", WRONG),
    (
        "repeats-to-the-letter",
        lambda: seen(accepts(1, code="UNAVAILABLE"), accepts(2, body=b"other")),
        "another body",
        WRONG,
    ),
    (
        "repeats-to-the-letter",
        lambda: seen(accepts(1, code="UNAVAILABLE", if_version=1), accepts(2, "b", if_version=2)),
        "on another version",
        UNTOLD,
    ),
    ("repeats-to-the-letter", lambda: seen(accepts(1), accepts(2)), "nothing was lost", UNTOLD),
    ("repeats-what-got-no-answer", lambda: seen(accepts(1, code="UNAVAILABLE")), "never again", WRONG),
    (
        "repeats-what-got-no-answer",
        lambda: seen(accepts(1, code="UNAVAILABLE"), command("GetCase", 2, "")),
        "read what became of it",
        RIGHT,
    ),
    (
        "waits-as-it-is-told",
        lambda: seen(accepts(1, code="RESOURCE_EXHAUSTED", retry_after=1.5), accepts(2.0)),
        "0.9 s of 1.5 s",
        WRONG,
    ),
    (
        "waits-as-it-is-told",
        lambda: seen(accepts(1, code="RESOURCE_EXHAUSTED", retry_after=1.5), accepts(2.7)),
        "1.6 s of 1.5 s",
        RIGHT,
    ),
    (
        "lets-refusals-stand",
        lambda: seen(given(1), *(accepts(n, code="FAILED_PRECONDITION") for n in range(2, 9))),
        "seven times",
        WRONG,
    ),
    ("lets-refusals-stand", lambda: seen(given(1), accepts(2, code="FAILED_PRECONDITION")), "once", RIGHT),
    (
        "keeps-the-order-of-a-case",
        lambda: seen(accepts(1), command("CloseCase", 2, "b", "FAILED_PRECONDITION", reason="ILLEGAL_STATE")),
        "closed before it was decided",
        WRONG,
    ),
    ("keeps-the-order-of-a-case", lambda: seen(accepts(1), command("RecordStep", 2, "b")), "in order", RIGHT),
    (
        "sends-valid-requests",
        lambda: seen(accepts(1, code="INVALID_ARGUMENT", reason="INVALID_FIELD")),
        "a bad field",
        WRONG,
    ),
    (
        "tells-the-time-of-the-act",
        lambda: seen(accepts(1, code="INVALID_ARGUMENT", reason="OCCURRED_AT_OUT_OF_RANGE")),
        "a wrong clock",
        WRONG,
    ),
    ("gives-deadlines", lambda: seen(accepts(1, has_deadline=False)), "none", WRONG),
    ("signs-before-it-answers", lambda: seen(command("AnswerTask", 1, "a", subject=TASK)), "unsigned", WRONG),
    (
        "signs-before-it-answers",
        lambda: seen(command("SignForTask", 1, "a", subject=TASK), command("AnswerTask", 2, "b", subject=TASK)),
        "signed",
        RIGHT,
    ),
]


@pytest.mark.parametrize(
    ("name", "made", "what", "expected"), JUDGED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_was_seen_is_judged(name: str, made: Callable[[], Seen], what: str, expected: Result) -> None:
    assert result(name, made()) is expected, what


@pytest.mark.parametrize(("attempts", "expected"), [(0, UNTOLD), (6, RIGHT), (200, WRONG)])
def test_a_tight_loop_is_told_from_waits(attempts: int, expected: Result) -> None:
    found = seen(*(Opening(1 + 2.9 * n / max(attempts, 1), refused=True) for n in range(attempts)))
    found.closed.append((1.0, 4.0))

    assert result("waits-before-it-opens-again", found) is expected


def test_a_withdrawn_case_needs_no_act() -> None:
    assert result("acts-before-it-acknowledges", seen(given(1), ACKED, scene=Scene.WITHDRAWN)) is UNTOLD


def test_a_program_that_dies_of_a_fault_does_not_stay_up() -> None:
    found = seen(Exit(1, 1, killed=False))
    found.started_programs = True

    assert result("stays-up", found) is WRONG


def test_a_program_that_is_killed_or_taken_over_may_be_down() -> None:
    found = seen(Exit(1, -9, killed=True), Ended(2, End.TAKEN_OVER), Exit(3, 1, killed=False))
    found.started_programs = True

    assert result("stays-up", found) is RIGHT


def test_only_a_few_of_many_mistakes_are_told() -> None:
    told = verdict("acknowledges-everything", seen(*(given(1, number) for number in range(1, 8)))).seen

    assert told.count("was never acknowledged") == 3
    assert told.endswith("and 4 more")


def test_a_program_is_killed_only_where_it_can_be_started_again() -> None:
    assert not set(KILLS) & set(scenes(None, kills=False))
    assert set(scenes(None, kills=True)) == set(Scene)
    assert len(scenes(100, kills=False)) == 100


def test_a_fault_comes_once_in_a_case() -> None:
    script = Script()
    script.cast(CASE, Scene.ANSWER_LOST)

    assert [script.do(CASE, Scene.ANSWER_LOST) for _ in range(2)] == [True, False]
    assert not script.do("another case", Scene.ANSWER_LOST)


def test_a_closed_inbox_stays_closed_from_the_first_attempt_on() -> None:
    """However long the program was busy before it tried."""
    script = Script()
    assert script.meet_attempt(0.0) is None
    script.close()
    assert script.is_closed

    start, end = script.meet_attempt(70.0) or (0.0, 0.0)

    assert (start, end) == (70.0, 70.0 + CLOSED)
    assert script.meet_attempt(71.0) is None
