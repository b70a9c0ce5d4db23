"""What the API server makes of an object: its verdict, its words, and what it would store.

The readers beside this package tell users what is wrong in their own file; this one follows the
server step by step, from the published schemas, so that both can be compared with recordings of a
real one. ``structural`` is the part that custom resources have in common, ``objectmeta`` the part
that all objects have, ``apiserver`` the order of things. ``keda.json`` holds the schemas of KEDA
2.20.2 without their descriptions (kedacore/keda, ``config/crd/bases``, Apache-2.0).
"""

from stoker.resources.admission.apiserver import KINDS, Admission, admit
from stoker.resources.admission.structural import Cause

__all__ = ["KINDS", "Admission", "Cause", "admit"]
