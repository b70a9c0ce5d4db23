# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""Sockets without TLS, read and written with as few steps as there can be.

asyncio's transports, uvloop's too, spend more on a small piece of a stream than the kernel does.
These have asyncio's interface, and one epoll for all of them, whose own file the event loop
watches. A piece that has come in goes to its protocol at once. What protocols write meanwhile goes to
the kernel when all have been told what has come: whoever is at the other end then wakes up once and
not with each piece. What the kernel does not take waits here.

`stoker.gateway.sockets` uses this where it has been compiled, and uvloop where it has not.
"""

import asyncio
import errno
import os
import socket as _socket
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE
from libc.errno cimport errno as c_errno
from libc.stdint cimport uint32_t


cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void *ptr
        int fd
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int most, int timeout)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    ssize_t recv(int fd, void *buffer, size_t length, int flags)
    ssize_t send(int fd, const void *buffer, size_t length, int flags)
    int accept4(int fd, void *address, socklen_t *length, int flags)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)


cdef enum:
    BATCH = 256  # sockets that are looked at before the event loop has its turn again
    READ = 1 << 16
    DRAIN = 16  # pieces that are read and thrown away before a close
    ACCEPT = 64  # connections that are taken before others have their turn
    HIGH_WATER = 1 << 16  # bytes that wait to be written before a protocol is told to pause
    LOW_WATER = 1 << 14
    JOINED = 1 << 14  # bytes of pieces that are copied together rather than sent one by one

cdef char _read_buffer[READ]
_ACCEPT_PAUSE = 1.0  # seconds, when there are no more file descriptors


cdef class Poller:
    """All sockets of one event loop."""

    cdef int _epoll
    cdef readonly object loop
    cdef set _watched  # what the kernel points to must not be freed
    cdef list _gone  # closed in this round: the kernel may already have told about them
    cdef list _written  # transports that have something for the end of this round
    cdef bint _in_round
    cdef bint _holds  # what is written now waits for the end of the round

    def __init__(self, loop):
        self.loop = loop
        self._watched = set()
        self._gone = []
        self._written = []
        self._in_round = self._holds = False
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        loop.add_reader(self._epoll, self._round)

    def connected(self, sock, protocol):
        """A transport for *sock*, which is connected; *protocol* is told. Takes the socket over."""
        sock.setblocking(False)
        stream = sock.family != _socket.AF_UNIX
        return Transport(self, sock.detach(), protocol, stream)

    def listen(self, sock, factory):
        """Take connections of *sock*, each with a protocol of *factory*. Takes the socket over."""
        sock.setblocking(False)
        return Listener(self, sock, factory)

    def close(self):
        """Let go of everything. Nobody is told."""
        if self._epoll < 0:
            return
        self.loop.remove_reader(self._epoll)
        c_close(self._epoll)
        self._epoll = -1
        for watched in tuple(self._watched):
            if isinstance(watched, Transport):
                (<Transport>watched)._close_file()
        self._watched.clear()

    def _round(self):
        cdef epoll_event events[BATCH]
        cdef int count = epoll_wait(self._epoll, events, BATCH, 0)
        cdef int index
        cdef uint32_t what
        cdef object watched
        self._in_round = True
        try:
            for index in range(count):
                # What the last one writes goes out at once: what it does after that can overlap
                # with what the other end does.
                self._holds = index + 1 < count
                watched = <object>events[index].data.ptr
                what = events[index].events
                if type(watched) is Transport:
                    (<Transport>watched)._ready(what)
                else:
                    (<Listener>watched)._ready()
        finally:
            self._in_round = self._holds = False
            self._gone.clear()
            self._write_all()

    cdef _write_all(self):
        cdef list written = self._written
        if written:
            self._written = []
            for transport in written:
                (<Transport>transport)._send_held()

    cdef int _control(self, int operation, int fd, uint32_t events, object owner) except -1:
        cdef epoll_event event
        event.events = events
        event.data.ptr = <void *>owner
        if epoll_ctl(self._epoll, operation, fd, &event) < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        return 0

    cdef int _watch(self, int fd, object owner) except -1:
        self._control(EPOLL_CTL_ADD, fd, EPOLLIN, owner)
        self._watched.add(owner)
        return 0

    cdef int _forget(self, int fd, object owner) except -1:
        cdef epoll_event event
        if self._epoll >= 0:
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, &event)
        self._watched.discard(owner)
        if self._in_round:
            self._gone.append(owner)
        return 0


cdef class Listener:
    """A socket that connections come in from."""

    cdef Poller _poller
    cdef object _socket
    cdef object _factory
    cdef object _again
    cdef int _fd
    cdef bint _stream

    def __init__(self, Poller poller, sock, factory):
        self._poller = poller
        self._socket = sock
        self._factory = factory
        self._again = None
        self._fd = sock.fileno()
        self._stream = sock.family != _socket.AF_UNIX
        poller._watch(self._fd, self)

    def close(self):
        """Take no more connections."""
        if self._fd < 0:
            return
        if self._again is not None:
            self._again.cancel()
        self._poller._forget(self._fd, self)
        self._fd = -1
        self._socket.close()

    cdef _ready(self):
        cdef int fd, taken = 0
        while taken < ACCEPT and self._fd >= 0:
            fd = accept4(self._fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if c_errno in (EMFILE, ENFILE):
                    self._pause(c_errno)
                elif c_errno in (EINTR, ECONNABORTED):
                    continue
                return  # EAGAIN, or what only the next connection can tell
            taken += 1
            try:
                Transport(self._poller, fd, self._factory(), self._stream)
            except Exception as error:
                self._poller.loop.call_exception_handler(
                    {"message": "a connection could not be taken", "exception": error}
                )

    cdef _pause(self, int why):
        """The socket stays ready while nothing can be taken: look away for a while."""
        self._poller.loop.call_exception_handler(
            {"message": "no more files for connections", "exception": OSError(why, os.strerror(why))}
        )
        self._poller._control(EPOLL_CTL_MOD, self._fd, 0, self)
        self._again = self._poller.loop.call_later(_ACCEPT_PAUSE, self._resume)

    def _resume(self):
        self._again = None
        if self._fd >= 0:
            self._poller._control(EPOLL_CTL_MOD, self._fd, EPOLLIN, self)


cdef class Transport:
    """One connection, with the methods of `asyncio.Transport`."""

    cdef Poller _poller
    cdef object _protocol
    cdef object _data_received
    cdef object _peer
    cdef bytes _held  # written in this round; None: nothing
    cdef object _waiting  # deque of bytes that the kernel has not taken; None: never any
    cdef Py_ssize_t _offset  # of the first of them
    cdef Py_ssize_t _size  # bytes of them
    cdef int _fd
    cdef bint _closing
    cdef bint _lost_told  # `connection_lost` is on its way
    cdef bint _reading
    cdef bint _writing  # the kernel is asked to tell when it takes more
    cdef bint _protocol_paused
    cdef object __weakref__

    def __init__(self, Poller poller, int fd, protocol, bint stream):
        cdef int on = 1
        self._poller = poller
        self._fd = fd
        self._held = None
        self._waiting = None
        self._reading = True
        self._peer = False  # nobody has asked
        try:
            if stream:
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
            self.set_protocol(protocol)
            protocol.connection_made(self)
            if self._fd >= 0:
                poller._watch(fd, self)
                if not self._reading:
                    self._set_events()
        except BaseException:
            self._close_file()
            raise

    # -- what asyncio's transports can do --------------------------------------------------------

    def set_protocol(self, protocol):
        """Who is told from now on."""
        self._protocol = protocol
        self._data_received = protocol.data_received

    def get_protocol(self):
        """Who is told."""
        return self._protocol

    def get_extra_info(self, name, default=None):
        """``peername``; nothing else is known here."""
        if name == "peername":
            if self._peer is False:
                self._peer = self._peer_now()
            return default if self._peer is None else self._peer
        return default

    def is_closing(self):
        """Whether it is closed, or will be when all is written."""
        return self._closing

    def is_reading(self):
        """Whether what comes in is read."""
        return self._reading and not self._closing

    def pause_reading(self):
        """Read no more until `resume_reading`."""
        if self._closing or not self._reading:
            return
        self._reading = False
        self._set_events()

    def resume_reading(self):
        """Read on."""
        if self._closing or self._reading:
            return
        self._reading = True
        self._set_events()

    def get_write_buffer_size(self):
        """Bytes that the kernel has not taken."""
        return self._size if self._held is None else self._size + PyBytes_GET_SIZE(self._held)

    def get_write_buffer_limits(self):
        """Where writing is paused and where it goes on."""
        return LOW_WATER, HIGH_WATER

    def can_write_eof(self):
        """Half a connection is of no use to HTTP."""
        return False

    def write(self, bytes data not None):
        """Write *data*, or as much of it as the kernel takes now, and the rest when it can."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        if self._closing or self._fd < 0 or not length:
            return
        if self._size:
            self._keep(data, 0)
        elif self._held is None and not self._poller._holds:
            self._send(data)
        elif self._held is None:
            self._held = data
            self._poller._written.append(self)
        elif length + PyBytes_GET_SIZE(self._held) <= JOINED:
            self._held += data
        else:
            self._send_held()
            self.write(data)

    def writelines(self, pieces):
        """Write all *pieces*."""
        for piece in pieces:
            self.write(piece)

    def close(self):
        """Close when all is written."""
        if self._closing:
            return
        self._send_held()
        self._closing = True
        if self._size:
            self._set_events()
        else:
            self._drain()
            self._lose(None)

    def abort(self):
        """Close now."""
        self._lose(None)

    # -- inside ----------------------------------------------------------------------------------

    cdef _ready(self, uint32_t what):
        if self._fd < 0:
            return
        if what & EPOLLOUT and self._size:
            self._write_more()
        if self._fd < 0:
            return
        if what & (EPOLLIN | EPOLLHUP | EPOLLERR):
            if self._reading and not self._closing:
                self._read()
            elif what & (EPOLLHUP | EPOLLERR):
                # Nobody reads: the end can only be told as one.
                self._fail(errno.ECONNRESET)

    cdef _read(self):
        cdef ssize_t got = recv(self._fd, _read_buffer, READ, MSG_DONTWAIT)
        if got > 0:
            try:
                self._data_received(PyBytes_FromStringAndSize(_read_buffer, got))
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._broken("data_received", error)
        elif got == 0:
            self._end()
        elif c_errno not in (EAGAIN, EINTR):
            self._fail(c_errno)

    cdef _drain(self):
        """Read what is there: a close with something unread throws away what was written last."""
        cdef int pieces = 0
        while pieces < DRAIN and recv(self._fd, _read_buffer, READ, MSG_DONTWAIT) > 0:
            pieces += 1

    cdef _end(self):
        """The other side will write no more."""
        try:
            stays = self._protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._broken("eof_received", error)
            return
        if stays:
            self.pause_reading()  # it would be told again and again
        else:
            self.close()

    cdef _send_held(self):
        cdef bytes data = self._held
        if data is not None:
            self._held = None
            if self._fd >= 0:
                self._send(data)

    cdef _send(self, bytes data):
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        cdef ssize_t sent = send(
            self._fd, PyBytes_AS_STRING(data), length, MSG_DONTWAIT | MSG_NOSIGNAL
        )
        if sent == length:
            return
        if sent < 0:
            if c_errno not in (EAGAIN, EINTR):
                self._fail(c_errno)
                return
            sent = 0
        self._keep(data, sent)

    cdef _keep(self, bytes data, Py_ssize_t sent):
        if self._waiting is None:
            self._waiting = deque()
        if not self._waiting:
            self._offset = sent
        self._waiting.append(data)
        self._size += PyBytes_GET_SIZE(data) - sent
        if not self._writing:
            self._set_events()
        if self._size > HIGH_WATER and not self._protocol_paused:
            self._protocol_paused = True
            self._tell("pause_writing", self._protocol.pause_writing)

    cdef _write_more(self):
        cdef bytes first
        cdef ssize_t sent
        cdef Py_ssize_t length
        while self._size:
            first = self._waiting[0]
            length = PyBytes_GET_SIZE(first) - self._offset
            sent = send(
                self._fd, PyBytes_AS_STRING(first) + self._offset, length, MSG_DONTWAIT | MSG_NOSIGNAL
            )
            if sent < 0:
                if c_errno not in (EAGAIN, EINTR):
                    self._fail(c_errno)
                    return
                break
            self._size -= sent
            if sent < length:
                self._offset += sent
                break
            self._offset = 0
            self._waiting.popleft()
        if self._protocol_paused and self._size <= LOW_WATER:
            self._protocol_paused = False
            self._tell("resume_writing", self._protocol.resume_writing)
        if not self._size and self._fd >= 0:
            if self._closing:
                self._drain()
                self._lose(None)
            else:
                self._set_events()

    cdef _tell(self, str what, call):
        try:
            call()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._broken(what, error)

    cdef _broken(self, str what, error):
        """The protocol has raised: that is a fault of the program, and this connection ends."""
        self._poller.loop.call_exception_handler(
            {
                "message": f"{what} raised",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._lose(error)

    cdef _set_events(self):
        cdef uint32_t events = 0
        if self._fd < 0 or self not in self._poller._watched:
            return
        if self._reading and not self._closing:
            events |= EPOLLIN
        self._writing = self._size > 0
        if self._writing:
            events |= EPOLLOUT
        self._poller._control(EPOLL_CTL_MOD, self._fd, events, self)

    cdef _fail(self, int why):
        self._lose(OSError(why, os.strerror(why)))

    cdef _lose(self, error):
        """Close, and tell so when whoever is at work now has finished."""
        self._closing = True
        self._close_file()
        if not self._lost_told:
            self._lost_told = True
            self._poller.loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error):
        protocol, self._protocol, self._data_received = self._protocol, None, None
        self._waiting = None
        protocol.connection_lost(error)

    cdef _close_file(self):
        if self._fd < 0:
            return
        if self._peer is False:
            self._peer = self._peer_now()  # the access log may ask for it afterwards
        self._poller._forget(self._fd, self)
        c_close(self._fd)
        self._fd = -1
        self._size = 0
        self._held = None

    cdef object _peer_now(self):
        if self._fd < 0:
            return None
        probe = _socket.socket(fileno=self._fd)
        try:
            peer = probe.getpeername()
        except OSError:
            return None
        finally:
            probe.detach()
        return peer or None
