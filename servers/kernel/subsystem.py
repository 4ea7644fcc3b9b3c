"""What an instance of the machine is made of: an origin and its streams."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from bridge.record import Record
from servers.kernel.stream import Stream, StreamKey


class Subsystem:
    """A deployment's origin and the streams it is responsible for."""

    def __init__(self, origin: str, streams: Sequence[Stream[Any]], migrations: Path) -> None:
        self.origin = origin
        self.migrations = migrations
        self.streams = {stream.kind: stream for stream in streams}
        self._by_command = {command: stream for stream in streams for command in stream.commands}

    def stream_for(self, command: Message) -> Stream[Any]:
        """The stream that decides a command of this type; KeyError is a bug of the composition."""
        return self._by_command[type(command)]

    def concerned(self, record: Record) -> list[StreamKey]:
        """Every stream here that the record concerns; for an own record, its own stream is among them."""
        return [key for stream in self.streams.values() for key in stream.concerned(record)]
