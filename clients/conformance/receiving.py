"""Checks on how a program receives: the inbox, its items, its acknowledgements."""

from collections import Counter, defaultdict

from clients.conformance.judge import Check, Look
from clients.conformance.scenes import Scene
from clients.conformance.seen import UNKNOWN, Call, End, Given, Seen

# Attempts a second to open an inbox that cannot be opened: waits that double from 0.1 s make two.
MOST_ATTEMPTS = 5.0
# Seconds within which an item that was put off without a delay is put off again and again.
HASTE = 1.0
MOST_HASTY = 5


def acts_before_it_acknowledges(seen: Seen) -> Look:
    """An acknowledgement before the act is right only where the item outlives the program."""
    look, early = Look(), 0
    for case_id, scene in seen.cases.items():
        acknowledged = _first_acknowledgement(seen, case_id)
        if acknowledged is None or scene is Scene.WITHDRAWN:
            continue
        acted = min((call.at for call in seen.commands(case_id) if call.took_effect), default=None)
        if acted is None:
            look.note(f"Submitted of case {case_id} was acknowledged, and the program never acted on the case")
        elif acted <= acknowledged or _died(seen, acknowledged, acted):
            look.note("")
        else:
            early += 1
    if early:
        look.hint = (
            f"{early} cases were acknowledged before the program acted: that is right only where it has stored the "
            "item; let the suite start and kill it (-- COMMAND)"
        )
    return look


def _first_acknowledgement(seen: Seen, case_id: str) -> float | None:
    sequences = {given.sequence for given in seen.givings(case_id)}
    return min((each.at for each in seen.acknowledged if each.sequence in sequences), default=None)


def _died(seen: Seen, after: float, before: float) -> bool:
    return any(after <= end.at <= before for end in seen.exits)


def acts_once(seen: Seen) -> Look:
    """An item that comes again is not acted on again."""
    look = Look()
    for case_id in seen.cases:
        done: dict[bytes, Call] = {}
        mistakes = []
        for call in seen.commands(case_id):
            first = done.get(call.what)
            if call.took_effect and call.code == "OK":
                done.setdefault(call.what, call)
            if first is not None and call.request_id != first.request_id and call.at > first.done_at:
                mistakes.append(f"{call.method} was sent again for case {case_id}, under another request_id")
        if mistakes:
            look.note(mistakes[0])
        elif done and any(given.at > call.done_at for given in seen.givings(case_id) for call in done.values()):
            look.note("")
    look.hint = "no item came again after the program had acted on it"
    return look


def acknowledges_everything(seen: Seen) -> Look:
    """Every item, in the end."""
    look, left = Look(), seen.unacknowledged()
    known = {given.sequence: given for given in seen.given if given.fact != UNKNOWN}
    for sequence, given in known.items():
        if not seen.is_put_off(sequence):
            missing = any(each.sequence == sequence for each in left)
            look.note(f"{_named(given)} was never acknowledged" if missing else "")
    look.hint = "the program was given nothing that it has not put off"
    return look


def acknowledges_only_what_it_was_given(seen: Seen) -> Look:
    """A sequence that was never given is not the program's to keep."""
    look, first = Look(), dict[int, float]()
    for given in seen.given:
        first.setdefault(given.sequence, given.at)
    for each in seen.acknowledged:
        known = first.get(each.sequence, each.at + 1) <= each.at
        look.note("" if known else f"sequence {each.sequence} was acknowledged, and never given")
    return look


def acknowledges_facts_it_does_not_know(seen: Seen) -> Look:
    """More types will be added."""
    look, left = Look(), seen.unacknowledged()
    for given in (each for each in seen.given if each.fact == UNKNOWN):
        look.note(f"{_named(given)} was never acknowledged" if given in left else "")
    return look


def puts_off_with_a_delay(seen: Seen) -> Look:
    """A nack without a delay is a loop."""
    look, moments = Look(), defaultdict(list)
    for each in seen.put_off:
        moments[each.sequence].append(each.at)
    for sequence, said in moments.items():
        hasty = any(later - first < HASTE for first, later in zip(said, said[MOST_HASTY - 1 :], strict=False))
        look.note(f"item {sequence} was put off {len(said)} times without a pause" if hasty else "")
    look.hint = "the program put nothing off"
    return look


def opens_again(seen: Seen) -> Look:
    """After a loss."""
    look = Look()
    for end in seen.ends:
        if end.why is End.CUT:
            again = any(opening.at > end.at and not opening.refused for opening in seen.openings)
            look.note("" if again else "the inbox was lost, and not opened again")
    look.hint = "the inbox was never lost: that happens when an item is given or acknowledged"
    return look


def waits_before_it_opens_again(seen: Seen) -> Look:
    """Not in a tight loop."""
    look = Look()
    for start, end in seen.closed:
        attempts = sum(start <= opening.at <= end for opening in seen.openings)
        if attempts:
            hasty = attempts > MOST_ATTEMPTS * (end - start)
            look.note(f"it tried to open the inbox {attempts} times in {end - start:.0f} s" if hasty else "")
    look.hint = "the program never tried to open an inbox that could not be opened"
    return look


def stays_away_after_a_takeover(seen: Seen) -> Look:
    """Another program has the inbox."""
    look = Look()
    for end in seen.ends:
        if end.why is End.TAKEN_OVER:
            again = sum(end.at < opening.at <= seen.until for opening in seen.openings)
            look.note(f"it opened the inbox {again} times after SESSION_TAKEN_OVER" if again else "")
    look.hint = "no stream of the program was open at the end: a program that fetches is not told of takeovers"
    return look


def stays_up(seen: Seen) -> Look:
    """A fault of ours is no reason to end."""
    look = Look()
    taken_over = min((end.at for end in seen.ends if end.why is End.TAKEN_OVER), default=seen.until)
    ended = Counter(end.status for end in seen.exits if not end.killed and end.at < taken_over)
    for status, times in ended.items():
        look.note(f"it ended by itself with status {status}" + f", {times} times" * (times > 1))
    look.right = int(seen.started_programs and not ended)
    look.hint = "the suite did not start the program: let it (-- COMMAND)"
    return look


def _named(given: Given) -> str:
    return f"item {given.sequence} ({given.fact} of case {given.case_id})"


CHECKS = (
    Check(
        "acts-before-it-acknowledges",
        "acknowledged is what is durable: it has acted, or stored the item",
        "§4, point 2",
        acts_before_it_acknowledges,
    ),
    Check("acts-once", "an item that comes again is not acted on again", "§4, point 2", acts_once),
    Check(
        "acknowledges-everything", "every item in the end, each time it comes", "§4, point 2", acknowledges_everything
    ),
    Check(
        "acknowledges-only-what-it-was-given",
        "no sequence that never came",
        "§4, point 2",
        acknowledges_only_what_it_was_given,
    ),
    Check(
        "acknowledges-facts-it-does-not-know",
        "a fact of an unknown type is acknowledged and kept",
        "§4, point 3",
        acknowledges_facts_it_does_not_know,
    ),
    Check("puts-off-with-a-delay", "a nack has a delay that is worth it", "§4, point 4", puts_off_with_a_delay),
    Check("opens-again", "the inbox is opened again when it was lost", "§4, point 5", opens_again),
    Check(
        "waits-before-it-opens-again",
        "waits double; not a tight loop",
        "§4, point 5, and §5",
        waits_before_it_opens_again,
    ),
    Check(
        "stays-away-after-a-takeover",
        "nothing is opened after SESSION_TAKEN_OVER",
        "§4, point 5",
        stays_away_after_a_takeover,
    ),
    Check("stays-up", "lost connections and refusals do not end the program", "§5", stays_up),
)
