"""Stoker as an external scaler of KEDA: the other side of ``type: external``.

Sources are sampled in the background (:mod:`~stoker.scaler.sampling`); calls of KEDA are answered
from the newest samples (:mod:`~stoker.scaler.service`), so that no answer waits for a source.
"""
