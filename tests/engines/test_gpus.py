"""Counting GPUs."""

import pynvml
import pytest

from stoker.engines import detect_gpus


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch):
    def no_driver():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert detect_gpus() == 0


def test_the_driver_is_let_go_after_counting(monkeypatch):
    calls = []
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: calls.append("init"))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 4)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: calls.append("shutdown"))
    assert detect_gpus() == 4
    assert calls == ["init", "shutdown"]


def test_a_driver_that_answers_no_count_is_let_go_too(monkeypatch):
    calls = []

    def broken():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", broken)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: calls.append("shutdown"))
    with pytest.raises(pynvml.NVMLError):
        detect_gpus()
    assert calls == ["shutdown"]
