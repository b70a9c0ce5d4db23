"""Where queueing theory has closed forms, the fleet agrees with them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stoker.simulator.engine import Limits
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.profiles import EngineProfile
from stoker.traces import Arrivals

pytestmark = pytest.mark.timeout(300)
COUNT = 200_000
SERVICE = 0.1  # mean seconds of service
# One request at a time, of one token: its service is its prompt, 1 us a token.
ONE_AT_A_TIME = EngineProfile(
    name="clerk",
    weights_ms=0.0,
    prefill_token_ms=0.001,
    decode_sequence_ms=0.0,
    kv_token_ms=0.0,
    gpu_memory_gib=80.0,
    model_memory_gib=1.0,
    kv_bytes_per_token=16,
    max_model_len=2_000_000,
    max_num_seqs=1,
    max_num_batched_tokens=4_000_000,
    startup=1.0,
)
LIMITS = Limits.of(ONE_AT_A_TIME)


def queue(load: float, *, servers: int = 1, exponential: bool, seed: int = 1):
    """Waits and services of Poisson traffic that keeps *servers* busy to *load*."""
    numbers = np.random.default_rng(seed)
    mean = round(SERVICE / 1e-6)
    tokens = np.full(COUNT, mean)
    if exponential:
        tokens = np.clip(np.round(numbers.exponential(mean, COUNT)), 1, 1_900_000).astype(int)
    times = np.cumsum(numbers.exponential(SERVICE / (load * servers), COUNT))
    fleet = Fleet(Arrivals.of(times, tokens, np.ones(COUNT, int)), [Server(ONE_AT_A_TIME, LIMITS)])
    for _ in range(servers):
        fleet.ready(fleet.add(0), 0.0, warm=True)
    fleet.run(math.inf)
    s = fleet.state
    assert (s.request[:, at.Q_STATUS] == at.DONE).all()
    waits = s.times[:, at.T_SCHEDULED] - s.times[:, at.T_ARRIVED]
    services = s.times[:, at.T_LAST] - s.times[:, at.T_SCHEDULED]
    return waits[COUNT // 20 :], services[COUNT // 20 :]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_m_m_1_waits_as_pollaczek_and_khinchine_say(load):
    waits, services = queue(load, exponential=True)
    assert services.mean() == pytest.approx(SERVICE, rel=0.01)
    assert waits.mean() == pytest.approx(load / (1 - load) * SERVICE, rel=0.06)
    # the distribution, too: P(wait > t) = load * exp(-(1 - load) t / service)
    for t in (0.1, 0.3):
        expected = load * math.exp(-(1 - load) * t / SERVICE)
        assert (waits > t).mean() == pytest.approx(expected, rel=0.06, abs=0.003)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_m_d_1_waits_half_as_long(load):
    waits, _ = queue(load, exponential=False)
    assert waits.mean() == pytest.approx(load / (2 * (1 - load)) * SERVICE, rel=0.04)


def erlang_c(servers: int, load: float) -> float:
    """The probability that a request waits at all where all wait in one line."""
    offered = servers * load
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (4, 0.8)])
def test_the_shortest_queue_is_between_one_line_and_a_draw(servers, load):
    """Whoever sends at once cannot be better than M/M/c, and must be better than c times M/M/1."""
    waits, _ = queue(load, servers=servers, exponential=True)
    one_line = erlang_c(servers, load) * SERVICE / (servers * (1 - load))
    a_draw = load / (1 - load) * SERVICE
    assert one_line < waits.mean() < 0.75 * a_draw


@pytest.mark.parametrize(("seats", "load"), [(2, 0.7), (4, 0.8), (8, 0.8)])
def test_the_seats_of_one_engine_are_the_servers_of_m_m_c(seats, load):
    """A step takes a millisecond however many sit there, so that nobody slows another."""
    profile = replace(ONE_AT_A_TIME, weights_ms=1.0, prefill_token_ms=1e-9)
    profile = replace(profile, max_num_seqs=seats, kv_bytes_per_token=1)
    numbers = np.random.default_rng(5)
    output = numbers.geometric(1e-3 / SERVICE, COUNT)
    times = np.cumsum(numbers.exponential(SERVICE / (load * seats), COUNT))
    fleet = Fleet(
        Arrivals.of(times, np.ones(COUNT, int), output), [Server(profile, Limits.of(profile))]
    )
    fleet.ready(fleet.add(0), 0.0, warm=True)
    fleet.run(math.inf)
    t = fleet.state.times[COUNT // 20 :]
    waits = t[:, at.T_SCHEDULED] - t[:, at.T_ARRIVED]
    # whoever comes sits down at the end of a step: half a millisecond that theory does not have
    expected = erlang_c(seats, load) * SERVICE / (seats * (1 - load)) + 0.0005
    assert waits.mean() == pytest.approx(expected, rel=0.05)
    assert (waits > 0.001).mean() == pytest.approx(erlang_c(seats, load), rel=0.03)


def test_with_servers_enough_nobody_waits_and_little_holds():
    numbers = np.random.default_rng(3)
    count, rate = 20_000, 5.0
    times = np.cumsum(numbers.exponential(1 / rate, count))
    profile = EngineProfile(
        name="infinite",
        weights_ms=10.0,  # a token each 10 ms, however many there are
        prefill_token_ms=1e-9,
        decode_sequence_ms=0.0,
        kv_token_ms=0.0,
        gpu_memory_gib=80.0,
        model_memory_gib=1.0,
        kv_bytes_per_token=16,
        max_model_len=4096,
        max_num_seqs=4096,
        max_num_batched_tokens=1_000_000,
        startup=1.0,
    )
    output = numbers.integers(1, 400, count)
    fleet = Fleet(
        Arrivals.of(times, np.full(count, 8), output), [Server(profile, Limits.of(profile))]
    )
    fleet.ready(fleet.add(0), 0.0, warm=True)
    moments = np.linspace(100.0, times[-1] - 100.0, 3000)
    running = []
    for moment in moments:
        fleet.run(float(moment))
        running.append(fleet.in_flight(0))
    fleet.run(math.inf)
    s = fleet.state
    stay = (s.times[:, at.T_LAST] - s.times[:, at.T_ARRIVED]).mean()
    # half a step until the next begins, then a step a token
    assert stay == pytest.approx(output.mean() * 0.010 + 0.005, rel=0.01)
    assert np.mean(running) == pytest.approx(rate * stay, rel=0.03)
