"""Replicas as processes of this machine.

:class:`Node` stands for the machine, :class:`Deployment` for the replicas of one workload.
"""

from stoker.targets.processes.deployment import Deployment, victims
from stoker.targets.processes.node import Node

__all__ = ["Deployment", "Node", "victims"]
