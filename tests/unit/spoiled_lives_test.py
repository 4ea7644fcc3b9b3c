"""Everybody also sends commands that are right but for one place: they are refused, or what follows is one story too.

They pass the contract's rules, as at the door; `make fuzz` sends such commands of one organ to a mesh.
"""

from collections import Counter
from random import Random
from uuid import UUID

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.identity import Identity
from faults.fuzzing.messages import Hostile
from servers.kernel.stream import Refused
from servers.rpc.validation import parse, validate
from tests.builders import ALLOWANCE, INTAKE, JIEFANGBEI, ROAD_WORKS, YUZHONG
from tests.machines import Machine
from tests.unit.collaboration_lives import SIGNS, Lives, catalog

KEPT = ("request_id", "actor", "occurred_at")
GUESSES = ("fire-500103", "traffic-police-500106", f"town-gov-{JIEFANGBEI}", "traffic-police", "TOWN_GOV", "area_m2")
"""Beside the items, the divisions and the centers."""
ACCEPTED = ("SubmitApplication", "AcceptApplication", "RequestCollaboration", "RouteCollaboration", "ReturnTask")
"""Those in which another word often is right too."""


class SpoiledLives(Lives):
    """Before each command some that are not quite the same."""

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        known = [*GUESSES, ROAD_WORKS, ALLOWANCE, SIGNS, YUZHONG, JIEFANGBEI, *list(catalog().centers)[:5]]
        self.hostile = Hostile(chance, known)
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def submit(self, submission: Message) -> None:
        self.attempt(self.city.intake, submission, INTAKE)

    def attempt(self, machine: Machine, command: Message, caller: Identity) -> None:
        for _ in range(self.chance.choice((0, 1, 3))):
            spoiled = self.spoiled(command)
            if spoiled is not None:
                self.try_out(machine, spoiled, caller)
        super().attempt(machine, command, caller)

    def spoiled(self, command: Message) -> Message | None:
        """Another command, where the contract's rules let it pass."""
        body = self.hostile.spoiled_once(command.SerializeToString(), command.DESCRIPTOR, KEPT)
        try:
            spoiled = parse(type(command), body)
            if spoiled == command:
                return None
            spoiled.request_id = str(UUID(int=self.chance.getrandbits(128), version=4))
            validate(spoiled)
        except Refused:
            return None
        return spoiled

    def try_out(self, machine: Machine, command: Message, caller: Identity) -> None:
        name = command.DESCRIPTOR.name
        try:
            machine.execute(command, caller)
        except Refused:
            self.refused[name] += 1
        else:
            self.taken[name] += 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_command_that_is_right_but_for_one_place_is_refused_or_has_lawful_effects(seed: int) -> None:
    SpoiledLives(Random(seed)).run()


def test_in_the_lives_above_the_rules_refuse_every_command_and_accept_some() -> None:
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for seed in range(14):
        lives = SpoiledLives(Random(seed))
        city = lives.run()
        taken += lives.taken
        refused += lives.refused
    commands = {kind.DESCRIPTOR.name for each in city.machines for stream in each.streams for kind in stream.commands}
    assert refused.keys() == commands
    assert taken.keys() > {f"{name}Request" for name in ACCEPTED}
