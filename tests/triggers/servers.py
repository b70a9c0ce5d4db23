"""Real servers for the tests of triggers: on free ports of 127.0.0.1, ended by their pid."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stoker.clock import pause, stopwatch

BOUND = 40.0  # seconds that any of them may take to start


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment; all are different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as one:
        one.settimeout(0.5)
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    command: Sequence[str],
    ready: Callable[[], bool],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, once *ready* says so. Raises with its output when it does not come to that."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=log.parent, env={**os.environ, **(env or {})}
        )
    try:
        end = stopwatch() + BOUND
        while not ready():
            if process.poll() is not None or stopwatch() > end:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text()[-3000:]}")
            pause(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


# -- Redis ---------------------------------------------------------------------------------------


def redis_command(port: int, folder: Path, *more: str) -> list[str]:
    """A Redis that keeps nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", str(folder), "--daemonize", "no", *more,
    ]  # fmt: skip


def redis_cli(port: int, *command: str) -> str:
    """One command by Redis' own client, as a second opinion."""
    done = subprocess.run(
        ["redis-cli", "-p", str(port), *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@contextlib.contextmanager
def redis_cluster(folder: Path) -> Iterator[list[int]]:
    """Three masters that share the slots; the ports."""
    ports = free_ports(6)
    with contextlib.ExitStack() as stack:
        for port, bus in zip(ports[:3], ports[3:], strict=True):
            command = redis_command(
                port, folder / str(port), "--cluster-enabled", "yes",
                "--cluster-port", str(bus), "--cluster-node-timeout", "2000",
            )  # fmt: skip
            log = folder / f"{port}.log"
            stack.enter_context(running(command, lambda port=port: accepts(port), log=log))
        for port, slots in zip(ports, ("0 5460", "5461 10922", "10923 16383"), strict=False):
            redis_cli(port, "CLUSTER", "ADDSLOTSRANGE", *slots.split())
        for port, bus in zip(ports[1:3], ports[4:], strict=True):
            redis_cli(ports[0], "CLUSTER", "MEET", "127.0.0.1", str(port), str(bus))
        end = stopwatch() + BOUND
        while not all("cluster_state:ok" in redis_cli(p, "CLUSTER", "INFO") for p in ports[:3]):
            if stopwatch() > end:
                raise RuntimeError("the Redis cluster does not form")
            pause(0.05)
        yield ports[:3]


@contextlib.contextmanager
def redis_sentinel(folder: Path) -> Iterator[tuple[int, int]]:
    """A master and a sentinel that watches it as `mymaster`; the ports of both."""
    port, watcher = free_ports(2)
    config = folder / "sentinel.conf"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f"port {watcher}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor mymaster 127.0.0.1 {port} 1\n"
        "sentinel auth-pass mymaster hunter2\n"
    )
    master = redis_command(port, folder / "master", "--requirepass", "hunter2")
    with (
        running(master, lambda: accepts(port), log=folder / "master.log"),
        running(
            ["redis-server", str(config), "--sentinel"],
            lambda: accepts(watcher),
            log=folder / "sentinel.log",
        ),
    ):
        yield port, watcher


# -- RabbitMQ ------------------------------------------------------------------------------------

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # Debian's own script in PATH changes the user


@dataclass(frozen=True, slots=True)
class Broker:
    """Ports of a RabbitMQ with its management plugin. User and password are guest."""

    amqp: int
    http: int


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[Broker]:
    """A broker of its own name, with its own port mapper: seven seconds to start."""
    amqp, distribution, mapper, http = free_ports(4)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plugins").write_text("[rabbitmq_management].\n")
    (folder / "rabbitmq.conf").write_text(
        f"management.tcp.port = {http}\nmanagement.tcp.ip = 127.0.0.1\n"
        "collect_statistics_interval = 1000\n"
    )
    env = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper),
        "RABBITMQ_NODENAME": f"stoker{os.getpid()}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
    }
    server = RABBITMQ if Path(RABBITMQ).exists() else "rabbitmq-server"
    mapping = ["epmd", "-port", str(mapper), "-address", "127.0.0.1"]
    with (
        # otherwise Erlang starts one that outlives the broker
        running(mapping, lambda: accepts(mapper), log=folder / "epmd.log"),
        running([server], lambda: accepts(amqp) and accepts(http), log=folder / "out.log", env=env),
    ):
        yield Broker(amqp, http)
