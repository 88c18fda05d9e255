"""The room that tells: the bus, one bounded mailbox and thread per sink, buses of others; no teller ever waits."""

from longshore._delivery.bus import EventBus
from longshore._delivery.coalesce import Coalescer
from longshore._delivery.courier import SinkCourier
from longshore._delivery.foreign import ForeignBus
from longshore._delivery.mailbox import Mailbox
from longshore._delivery.subscriber import Subscription
from longshore._delivery.tracker import ForeignTracker

__all__ = ["Coalescer", "EventBus", "ForeignBus", "ForeignTracker", "Mailbox", "SinkCourier", "Subscription"]
