"""What the user writes: YAML to frozen models, and from there to a ScalingSpec and a Workload.

``loading`` finds and splits files, ``composing`` keeps lines and columns, ``scaledobject`` and
``kubernetes`` read cluster objects, ``helmvalues`` and ``chart`` turn production-stack values into
such objects first, and ``bundle`` joins them.
"""

from stoker.resources.bundle import (
    Application,
    Bundle,
    Reading,
    Skipped,
    Unattached,
    inspect,
    load,
)
from stoker.resources.monitoring import PlacedMonitor
from stoker.resources.workload import Probe, Workload

__all__ = [
    "Application",
    "Bundle",
    "PlacedMonitor",
    "Probe",
    "Reading",
    "Skipped",
    "Unattached",
    "Workload",
    "inspect",
    "load",
]
