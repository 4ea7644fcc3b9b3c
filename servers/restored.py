"""What a subsystem's process does before it serves a database that was restored from a backup."""

from collections.abc import Awaitable, Callable

from bridge.relearning import Lesson
from servers.kernel.kernel import Kernel
from servers.kernel.restored import relearn_if_restored
from servers.settings import SubsystemSettings


def relearning(settings: SubsystemSettings, wanted: Callable[[str], bool]) -> Callable[[Kernel], Awaitable[None]]:
    """Learns again what the topic has; `wanted`: types of foreign events that this subsystem takes in."""

    def lesson(kernel: Kernel) -> Lesson:
        return Lesson(kernel, settings.kafka_access(), settings.bridge, settings.origin, wanted)

    return lambda kernel: relearn_if_restored(kernel, lesson)
