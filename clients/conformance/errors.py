"""Why the suite cannot play."""


class CannotPlay(Exception):
    """There is nothing to play, nobody to play to, or no place for it; the text says why and what to do."""
