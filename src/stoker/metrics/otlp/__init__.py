"""OTLP metrics: from what an OpenTelemetry SDK or collector pushes to series of the storage.

A request is read (:mod:`~stoker.metrics.otlp.wire`), named and labelled as the collector's
Prometheus exporter does (:mod:`~stoker.metrics.otlp.naming`), made cumulative
(:mod:`~stoker.metrics.otlp.streams`) and stored (:mod:`~stoker.metrics.otlp.receiver`).
"""
