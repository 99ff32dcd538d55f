"""An HTTP/2 client on hyper-h2 that checks what comes back: h2_client.py PORT CHECK..., see CHECKS below."""

import hashlib
import os
import socket
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

DEADLINE = time.monotonic() + 50
MIB = 1 << 20


class Stream:
    def __init__(self, body, trailers, padding):
        self.head, self.trailers, self.early = {}, {}, []
        self.body = bytearray()
        self.ended, self.reset = False, None
        self.to_send, self.own_trailers, self.padding = bytearray(body), trailers, padding
        self.sent = not body and not trailers


class Client:
    def __init__(self, port, window=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        if window:
            self.h2.local_settings = type(self.h2.local_settings)(
                client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.h2.initiate_connection()
        self.streams = {}
        # Without SETTINGS there is no telling how many streams may be opened.
        self.settings = False
        self.until(lambda: self.settings)

    def start(self, path, method="GET", body=b"", trailers=(), padding=None, headers=()):
        stream_id = self.h2.get_next_available_stream_id()
        stream = Stream(body, list(trailers), padding)
        head = [(":method", method), (":scheme", "http"), (":authority", "interop.test"), (":path", path)]
        self.h2.send_headers(stream_id, head + list(headers), end_stream=stream.sent)
        self.streams[stream_id] = stream
        return stream_id

    def pump(self):
        for stream_id, stream in self.streams.items():
            while stream.to_send and stream.reset is None:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                padding = stream.padding if stream.padding is not None and room > 512 else None
                room -= padding + 1 if padding is not None else 0
                chunk = bytes(stream.to_send[: max(room, 0)])
                if not chunk:
                    break
                del stream.to_send[: len(chunk)]
                self.h2.send_data(stream_id, chunk, pad_length=padding)
            if not stream.sent and not stream.to_send and stream.reset is None:
                stream.sent = True
                if stream.own_trailers:
                    self.h2.send_headers(stream_id, stream.own_trailers, end_stream=True)
                else:
                    self.h2.end_stream(stream_id)

    def until(self, done):
        while not done():
            self.pump()
            self.socket.sendall(self.h2.data_to_send())
            if done():
                return
            assert time.monotonic() < DEADLINE, "no answer in time"
            data = self.socket.recv(65536)
            assert data, "the connection was closed"
            for event in self.h2.receive_data(data):
                self.on_event(event)
        self.socket.sendall(self.h2.data_to_send())

    def on_event(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, events.RemoteSettingsChanged):
            self.settings = True
        elif isinstance(event, events.ResponseReceived):
            stream.head = dict(event.headers)
        elif isinstance(event, events.InformationalResponseReceived):
            stream.early.append(dict(event.headers))
        elif isinstance(event, events.DataReceived):
            stream.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, events.StreamEnded):
            stream.ended = True
        elif isinstance(event, events.StreamReset):
            stream.reset = int(event.error_code)
        elif isinstance(event, events.ConnectionTerminated):
            raise AssertionError(f"GOAWAY {event.error_code} {event.additional_data}")

    def finish(self, *stream_ids):
        self.until(lambda: all(self.streams[i].ended or self.streams[i].reset is not None for i in stream_ids))
        return [self.streams.pop(i) for i in stream_ids]

    def fetch(self, path, **options):
        return self.finish(self.start(path, **options))[0]


def check_echoed(stream, body):
    assert stream.reset is None, f"reset with {stream.reset}"
    assert stream.head[":status"] == "200", stream.head
    assert bytes(stream.body) == body, f"{len(stream.body)} bytes came back of {len(body)}, or others"
    assert stream.trailers.get("x-length") == str(len(body)), stream.trailers
    assert stream.trailers["x-digest"] == hashlib.sha256(body).hexdigest(), "digest"


def echo(client):
    """Bodies both ways, with trailers."""
    for size in (0, 1, 64, 16384, 65535, MIB):
        body = os.urandom(size)
        check_echoed(client.fetch("/echo", method="POST", body=body), body)


def trailers(client):
    """Trailers both ways, and fields as they were."""
    stream = client.fetch(
        "/echo",
        method="POST",
        body=b"x" * 64,
        trailers=[("x-sum", "a=b; c"), ("x-empty", "")],
        headers=[("x-tag-1", "one"), ("x-tag-2", "t\u00e4g \u2603"), ("cookie", "a=1; b=2")],
    )
    check_echoed(stream, b"x" * 64)
    assert stream.trailers["x-echo-x-sum"] == "a=b; c" and stream.trailers["x-echo-x-empty"] == "", stream.trailers
    assert stream.head["x-tag-1"] == "one" and stream.head["x-tag-2"] == "t\u00e4g \u2603", stream.head


def padding(client):
    """Padded DATA: content untouched, and the padding's share of the windows given back."""
    body = os.urandom(MIB)
    check_echoed(client.fetch("/echo", method="POST", body=body, padding=200), body)


def many(client):
    """Many streams at once, three times."""
    for _ in range(3):
        bodies = [os.urandom(1 + 37 * n % 5000) for n in range(150)]
        ids = [client.start("/echo", method="POST", body=body) for body in bodies]
        for stream, body in zip(client.finish(*ids), bodies):
            check_echoed(stream, body)


def large_head(client):
    """A head of several frames."""
    value = "v" * 20000
    stream = client.fetch("/echo", method="POST", body=b"x", headers=[("x-tag-large", value)])
    check_echoed(stream, b"x")
    assert stream.head["x-tag-large"] == value


def early(client):
    """An interim response is passed on."""
    stream = client.fetch("/early")
    assert [head[":status"] for head in stream.early] == ["103"], stream.early
    check_echoed(stream, b"")


def server_reset(client):
    """RST_STREAM of the backend arrives with its code, and other streams go on."""
    other = client.start("/echo", method="POST", body=b"x" * 200000)
    stream = client.fetch("/reset")
    assert stream.reset == ErrorCodes.INTERNAL_ERROR, stream.reset
    check_echoed(client.finish(other)[0], b"x" * 200000)


def refused(client):
    """REFUSED_STREAM stays what it is: safe to retry."""
    assert client.fetch("/refuse").reset == ErrorCodes.REFUSED_STREAM


def cancel(client, code=ErrorCodes.CANCEL):
    """Streams that are cancelled end at the backend, and leave no credit behind: more than the windows goes through."""
    before = int(client.fetch("/resets").body.split()[0])
    rounds = 12
    for _ in range(rounds):
        stream_id = client.start("/forever")
        client.until(lambda: len(client.streams[stream_id].body) > 150000)
        client.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        client.streams.pop(stream_id)
        # What is still on its way is dropped by the library, which gives the connection's window back.
    deadline = time.monotonic() + 10
    while True:
        count, last = client.fetch("/resets").body.split()
        if int(count) == before + rounds:
            break
        assert time.monotonic() < deadline, f"{int(count) - before} of {rounds} resets came"
    assert int(last) == code, f"code {last}"
    check_echoed(client.fetch("/bytes/0"), b"")


def cancel_any_code(client):
    """The same through a proxy that chooses a code of its own."""
    try:
        cancel(client)
    except AssertionError as error:
        assert str(error).startswith("code "), error


def small_window(client):
    """A receiver with a window of 1,000 octets gets everything."""
    slow = Client(client.port, window=1000)
    body = os.urandom(100000)
    check_echoed(slow.fetch("/echo", method="POST", body=body), body)


def abandon(client):
    """A client that goes away in the middle ends its streams at the backend."""
    before = int(client.fetch("/resets").body.split()[0])
    other = Client(client.port)
    ids = [other.start("/forever") for _ in range(5)]
    other.until(lambda: all(other.streams[i].head for i in ids))
    other.socket.close()
    deadline = time.monotonic() + 10
    while int(client.fetch("/resets").body.split()[0]) < before + 5:
        assert time.monotonic() < deadline, "streams of a closed connection were not reset"


def one_reset(client):
    """A client before this one went away in the middle of /forever: the backend was told, once."""
    deadline = time.monotonic() + 10
    while (count := client.fetch("/resets").body.split()[0]) == b"0":
        assert time.monotonic() < deadline, "the stream of a client that is gone was not reset"
    assert count == b"1", count


def files(client):
    """A server of files: uploads, downloads, many at once, a missing one, HEAD."""
    for size in (64, MIB):
        body = os.urandom(size)
        stream = client.fetch(f"/files/{size}", method="PUT", body=body, headers=[("content-length", str(size))])
        assert stream.head[":status"] in ("201", "204"), stream.head
        stream = client.fetch(f"/files/{size}")
        assert stream.head[":status"] == "200" and bytes(stream.body) == body, stream.head
        assert stream.trailers == {"x-check": "trailer"}, stream.trailers
        stream = client.fetch(f"/files/{size}", method="HEAD")
        assert stream.head["content-length"] == str(size) and not stream.body, stream.head
    for stream in client.finish(*[client.start("/files/64") for _ in range(100)]):
        assert stream.head[":status"] == "200" and len(stream.body) == 64, stream.head
    assert client.fetch("/files/none").head[":status"] == "404"
    for _ in range(12):
        stream_id = client.start(f"/files/{MIB}")
        client.until(lambda: len(client.streams[stream_id].body) > 20000)
        client.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        client.streams.pop(stream_id)
    stream = client.fetch(f"/files/{MIB}")
    assert len(stream.body) == MIB, "after cancels"


CHECKS = {
    "echo": echo,
    "trailers": trailers,
    "padding": padding,
    "many": many,
    "large-head": large_head,
    "early": early,
    "server-reset": server_reset,
    "refused": refused,
    "cancel": cancel,
    "cancel-any-code": cancel_any_code,
    "small-window": small_window,
    "abandon": abandon,
    "one-reset": one_reset,
    "files": files,
}

port = int(sys.argv[1])
shared = Client(port)
shared.port = port
for name in sys.argv[2:]:
    try:
        CHECKS[name](shared)
    except Exception as error:
        raise SystemExit(f"{name}: {type(error).__name__}: {error}") from error
