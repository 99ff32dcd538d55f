"""An HTTP/2 server on hyper-h2, as a backend in tests. Prints its port once it listens.

  /echo      the request's body as it comes; trailers x-length, x-digest and the request's trailers as x-echo-NAME
  /bytes/N   N bytes; the same trailers
  /early     a 103, then 200
  /reset     a head and a little data, then RST_STREAM INTERNAL_ERROR
  /refuse    RST_STREAM REFUSED_STREAM
  /forever   data until the stream is reset
  /resets    how many RST_STREAM came on /forever, and the code of the last
"""

import asyncio
import hashlib
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2 import events
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

RESETS = [0, 0]


class Stream:
    def __init__(self, headers):
        self.headers = dict(headers)
        self.path = self.headers.get(":path", "/").split("?")[0]
        self.digest = hashlib.sha256()
        self.length = 0
        self.queue = bytearray()
        self.trailers = []
        self.complete = False


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.streams = {}
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10_000})
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        try:
            received = self.h2.receive_data(data)
        except ProtocolError as error:
            print(f"protocol error: {error}", file=sys.stderr, flush=True)
            self.flush()
            self.transport.close()
            return
        for event in received:
            self.on_event(event)
        for stream_id in list(self.streams):
            self.pump(stream_id)
        self.flush()

    def on_event(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, events.RequestReceived):
            self.on_request(event.stream_id, Stream(event.headers))
        elif isinstance(event, events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if stream and stream.path == "/echo":
                stream.queue += event.data
        elif isinstance(event, events.TrailersReceived) and stream:
            stream.trailers += [("x-echo-" + name, value) for name, value in event.headers]
        elif isinstance(event, events.StreamEnded) and stream:
            stream.complete = True
        elif isinstance(event, events.StreamReset) and stream:
            if stream.path == "/forever":
                RESETS[0] += 1
                RESETS[1] = int(event.error_code)
            del self.streams[event.stream_id]

    def on_request(self, stream_id, stream):
        path = stream.path
        if path == "/refuse":
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if path == "/early":
            self.h2.send_headers(stream_id, [(":status", "103"), ("link", "</style.css>; rel=preload")])
        head = [(":status", "200"), ("content-type", "application/octet-stream"), ("server", "hyper-h2")]
        head += [(name, value) for name, value in stream.headers.items() if name.startswith("x-tag")]
        self.h2.send_headers(stream_id, head)
        if path == "/reset":
            self.h2.send_data(stream_id, b"not all of it")
            self.h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            return
        if path.startswith("/bytes/"):
            stream.queue += b"0123456789abcdef" * (int(path[7:]) // 16 + 1)
            del stream.queue[int(path[7:]) :]
        elif path == "/resets":
            stream.queue += f"{RESETS[0]} {RESETS[1]}".encode()
        self.streams[stream_id] = stream

    def pump(self, stream_id):
        """Sends what the windows allow."""
        stream = self.streams[stream_id]
        while True:
            if stream.path == "/forever" and not stream.queue:
                stream.queue += bytes(65536)
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            chunk = bytes(stream.queue[: max(room, 0)])
            if not chunk:
                break
            del stream.queue[: len(chunk)]
            stream.digest.update(chunk)
            stream.length += len(chunk)
            self.h2.send_data(stream_id, chunk)
        if stream.complete and not stream.queue and stream.path != "/forever":
            trailers = [("x-length", str(stream.length)), ("x-digest", stream.digest.hexdigest())]
            self.h2.send_headers(stream_id, trailers + stream.trailers, end_stream=True)
            del self.streams[stream_id]


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
