"""Ports are free, and a port that was given back rests."""

import socket

import pytest

from stoker.errors import MachineError
from stoker.targets.processes import ports
from stoker.targets.processes.ports import PortPool


def test_ports_differ_and_lie_below_those_of_outgoing_connections():
    pool = PortPool("127.0.0.1", start=4321)
    taken = [pool.take() for _ in range(20)]
    assert len(set(taken)) == 20
    assert all(20000 <= port < 30000 for port in taken)


def test_a_port_on_which_somebody_listens_is_left_out():
    pool = PortPool("127.0.0.1", start=5000)
    port = PortPool("127.0.0.1", start=5000).take()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert not pool.is_free(port)
        assert pool.take() != port


def test_a_released_port_is_not_the_next_one():
    pool = PortPool("127.0.0.1", start=6000)
    port = pool.take()
    pool.release(port)
    assert pool.take() != port


def test_a_reserved_port_is_not_handed_out():
    port = PortPool("127.0.0.1", start=7000).take()
    pool = PortPool("127.0.0.1", start=7000)
    pool.reserve(port)
    assert pool.take() != port


def test_no_port_left_is_told(monkeypatch):
    monkeypatch.setattr(ports, "LAST_PORT", ports.FIRST_PORT + 1)
    pool = PortPool("127.0.0.1")
    pool.reserve(ports.FIRST_PORT)
    pool.reserve(ports.FIRST_PORT + 1)
    with pytest.raises(MachineError, match="no port between 20000 and 20001"):
        pool.take()
