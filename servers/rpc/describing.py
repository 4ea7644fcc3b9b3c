"""Descriptors for reflection: `grpcurl describe` asks for methods too."""

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor


class Descriptors:
    """The program's descriptors; the library's own lookup by symbol does not find methods."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the library's name
        """The file that defines a symbol. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
