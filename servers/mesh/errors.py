"""What keeps a mesh from starting."""


class MeshError(Exception):
    """The mesh cannot start, or go on; the text is one sentence that says why and what to do."""
