"""Who acts, on which mesh, and how the answer is shown."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from clients.cli.errors import Failure
from clients.cli.output import Shown, show, show_json
from clients.department import DepartmentClient
from clients.governance import GovernanceClient
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from ronghe.party.v1.party_pb2 import Actor, Officer

C = TypeVar("C", bound=SubsystemClient)

SUBSYSTEMS = ("intake", "governance", "department")
READER = Identity("operator", "local")
TERMINAL = Identity("terminal", "yukuaiban")
# Which subsystem a kind of party talks to; everybody else reads at the center.
HOMES = {"terminal": "intake", "intake": "intake", "organ": "department"}


@dataclass(frozen=True, slots=True)
class Acting:
    """What the global options say."""

    data: Path
    """The data directory of the mesh."""
    said: Identity | None
    """Who acts, where --as says so."""
    officer: Officer | None
    json: bool

    def by(self, identity: Identity) -> "Acting":
        """The same, with this party acting."""
        return replace(self, said=identity)

    @property
    def reader(self) -> Identity:
        """Who reads."""
        return self.said or READER

    @property
    def terminal(self) -> Identity:
        """Who acts for an applicant."""
        return self.said or TERMINAL

    @property
    def organ(self) -> Identity:
        """Who leads a case, or is asked about one: never a default."""
        if self.said is None or self.said.kind != "organ":
            raise Failure("say which organ acts with --as organ/<id>: `ronghe organs` lists them")
        return self.said

    @property
    def center(self) -> Identity:
        """Which center routes: never a default."""
        if self.said is None or self.said.kind != "center":
            raise Failure("say which center acts with --as center/<division code>, for example --as center/500103")
        return self.said

    @property
    def signer(self) -> Officer:
        """Who signs an organ's or a center's act: never a default."""
        if self.officer is None:
            raise Failure("say which officer acts with --officer ID:NAME, for example --officer 0417:李敏")
        return self.officer

    def actor(self, applicant: str | None) -> Actor:
        """Who acts at intake: the applicant, authenticated as METHOD:LEVEL says, or an officer of the hall."""
        if (applicant is None) == (self.officer is None):
            raise Failure("say who acts with either --applicant METHOD:LEVEL, for example face:3, or --officer ID:NAME")
        if applicant is None:
            return Actor(officer=self.officer)
        method, _, level = applicant.rpartition(":")
        if not method or level not in ("1", "2", "3", "4"):
            raise Failure("--applicant is METHOD:LEVEL with a level from 1 (weak) to 4 (strong), for example face:3")
        actor = Actor()
        actor.applicant.method, actor.applicant.level = method, int(level)
        return actor

    def subsystem(self, name: str | None, identity: Identity) -> SubsystemClient:
        """A client of this subsystem, or of the one this party talks to."""
        return self._client(SubsystemClient, name or HOMES.get(identity.kind, "governance"), identity)

    def intake(self) -> IntakeClient:
        """A client of intake, for whoever acts for an applicant."""
        return self._client(IntakeClient, "intake", self.terminal)

    def department(self) -> DepartmentClient:
        """A client of the department server, for an organ."""
        return self._client(DepartmentClient, "department", self.organ)

    def governance(self, identity: Identity) -> GovernanceClient:
        """A client of the governance server, for a center or for whoever watches."""
        return self._client(GovernanceClient, "governance", identity)

    def further(self, why: str, *parts: str) -> str:
        """A command of the acting organ to go on with, in lines that can be copied."""
        return f"{why}:\n  " + " \\\n    ".join(filter(None, (*parts, f"--as {self.organ}")))

    def show(self, message: Message, shown: Callable[[], Shown]) -> None:
        """Print the answer: as proto JSON with --json, else as a person reads it."""
        if self.json:
            show_json(message)
        else:
            show(shown())

    def _client(self, kind: type[C], name: str, identity: Identity) -> C:
        return kind(self._address(name), self.data / "pki", identity)

    def _address(self, name: str) -> str:
        path = self.data / "run" / "endpoints.json"
        try:
            address = json.loads(path.read_text())[name]["address"]
        except FileNotFoundError:
            raise Failure("no mesh runs on {data}: start the mesh with `ronghe up`", data=self.data) from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Failure(
                "{path} does not say where {name} listens: start the mesh again", path=path, name=name
            ) from error
        return str(address)
