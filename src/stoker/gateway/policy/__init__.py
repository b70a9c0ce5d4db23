"""Who gets which replica, who waits and for how long, and what is tried again.

No input or output and no clock: :class:`Dispatcher` takes events with their time and returns
actions. The gateway drives it with sockets, the replay in virtual time.
"""

from stoker.gateway.policy.actions import (
    Action,
    Dispatch,
    Failure,
    Hold,
    Reason,
    Recall,
    Refuse,
)
from stoker.gateway.policy.affinity import fingerprint
from stoker.gateway.policy.dispatcher import Dispatcher
from stoker.gateway.policy.endpoint import Endpoint
from stoker.gateway.policy.request import Priority, Request, Stage
from stoker.gateway.policy.settings import EndpointSpec, ModelSettings

__all__ = [
    "Action",
    "Dispatch",
    "Dispatcher",
    "Endpoint",
    "EndpointSpec",
    "Failure",
    "Hold",
    "ModelSettings",
    "Priority",
    "Reason",
    "Recall",
    "Refuse",
    "Request",
    "Stage",
    "fingerprint",
]
