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
from ronghe.catalog.v1.catalog_pb2 import Place
from servers.kernel.stream import Refused
from servers.rpc.validation import parse, validate
from tests import builders
from tests.builders import ALLOWANCE, INTAKE, JIEFANGBEI, ROAD_WORKS, YUZHONG
from tests.machines import Machine
from tests.unit.collaboration_lives import SIGNS, Lives, catalog

KEPT = ("request_id", "actor", "occurred_at")
GUESSES = ("fire-500103", "traffic-police-500106", f"town-gov-{JIEFANGBEI}", "traffic-police", "TOWN_GOV", "area_m2")
"""Beside the items, the divisions and the centers."""


class SpoiledLives(Lives):
    """Before each command some that are not quite the same."""

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        known = [*GUESSES, ROAD_WORKS, ALLOWANCE, SIGNS, YUZHONG, JIEFANGBEI, *list(catalog().centers)[:5]]
        self.hostile = Hostile(chance, known)
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def attempt(self, machine: Machine, command: Message, caller: Identity) -> None:
        for _ in range(self.chance.choice((0, 1, 3))):
            self.spoil(machine, command, caller)
        super().attempt(machine, command, caller)

    def spoil(self, machine: Machine, command: Message, caller: Identity) -> None:
        name = command.DESCRIPTOR.name
        body = self.hostile.spoiled_once(command.SerializeToString(), command.DESCRIPTOR, KEPT)
        try:
            spoiled = parse(type(command), body)
            spoiled.request_id = str(UUID(int=self.chance.getrandbits(128), version=4))
            validate(spoiled)
            machine.execute(spoiled, caller)
        except Refused:
            self.refused[name] += 1
        else:
            self.taken[name] += 1

    def an_application_comes(self) -> None:
        item, division = self.chance.choice([(ROAD_WORKS, YUZHONG), (ALLOWANCE, JIEFANGBEI), (SIGNS, YUZHONG)])
        places = [Place(division=JIEFANGBEI), Place(division=YUZHONG)]
        self.attempt(self.city.intake, builders.submission(self.now, item, division=division, places=places), INTAKE)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_command_that_is_right_but_for_one_place_is_refused_or_has_lawful_effects(seed: int) -> None:
    SpoiledLives(Random(seed)).run()


def test_the_lives_above_meet_every_command_accepted_and_refused() -> None:
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for seed in range(25):
        lives = SpoiledLives(Random(seed))
        city = lives.run()
        taken += lives.taken
        refused += lives.refused
    commands = {kind.DESCRIPTOR.name for each in city.machines for stream in each.streams for kind in stream.commands}
    assert taken.keys() == refused.keys() == commands
