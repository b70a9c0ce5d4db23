"""What is known of queues, and what a mode makes of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from stoker.errors import StokerError

MODES: Final = (
    "QueueLength",
    "MessageRate",
    "DeliverGetRate",
    "PublishedToDeliveredRatio",
    "ExpectedQueueConsumptionTime",
)
OPERATIONS: Final = ("sum", "avg", "max")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which queues count, and which of their messages."""

    queue: str
    vhost: str = ""  # "" is the one in the address
    regex: bool = False
    ready_only: bool = False
    page_size: int = 100
    operation: str = "sum"


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One queue. Rates are messages a second; AMQP does not tell them."""

    messages: int
    publish_rate: float = 0.0
    deliver_rate: float = 0.0


class QueueSource(Protocol):
    """Who knows of queues: a broker by AMQP, or its management API."""

    async def status(self, selection: Selection) -> QueueStatus:
        """The selected queue, or several as one. Raises StokerError."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


def composed(queues: Sequence[QueueStatus], operation: str) -> QueueStatus:
    """Several queues as one; no queue has nothing. An average of messages is cut to an integer.

    Raises:
        StokerError: there is no such operation; KEDA notices only when there are queues.
    """
    if not queues:
        return QueueStatus(0)
    messages = [queue.messages for queue in queues]
    published = [queue.publish_rate for queue in queues]
    delivered = [queue.deliver_rate for queue in queues]
    match operation:
        case "sum":
            return QueueStatus(sum(messages), sum(published), sum(delivered))
        case "avg":
            count = len(queues)
            return QueueStatus(
                sum(messages) // count, sum(published) / count, sum(delivered) / count
            )
        case "max":
            return QueueStatus(max(messages), max(published), max(delivered))
        case _:
            raise StokerError(f"operation mode {operation} must be one of {', '.join(OPERATIONS)}")


def judge(mode: str, queue: QueueStatus, activation: float) -> tuple[float, bool]:
    """Value and activity. Where nothing is delivered a ratio is the activation value, and active.

    Args:
        mode: one of :data:`MODES`.
        queue: what the broker says.
        activation: ``activationValue``; only more than that is active.
    """
    messages, published, delivered = queue.messages, queue.publish_rate, queue.deliver_rate
    match mode:
        case "MessageRate":
            return published, published > activation or messages > activation
        case "DeliverGetRate":
            return delivered, delivered > activation
        case "PublishedToDeliveredRatio":
            stuck = published > 0 and delivered == 0
            ratio = activation if stuck else published / delivered if published > 0 else 0.0
            return ratio, stuck or ratio > activation
        case "ExpectedQueueConsumptionTime":
            if delivered == 0:
                return activation, True
            seconds = (published - delivered) / delivered + messages / delivered
            return seconds, seconds > activation
        case _:
            return float(messages), messages > activation
