"""A scripted HTTP/2 backend: what it does is in the path; what it saw is printed, a JSON object a stream.

usage: h2_backend.py PORT. The path's last segment says: echo (the default), error, plain, reset-CODE,
reset-after-CODE, hang, early, large, bidi, refuse-once, goaway-once, endless, or fail-N-WHAT: the first N
streams of a case (x-case) end with WHAT, which is a status, grpcN (a status in the head), trailN (one in trailers
that come with the head), restN (one in trailers that come later), resetN, hang, limited (429 with retry-after: 1),
pushback (grpc-retry-pushback-ms: 30) or nopushback; later ones are echoed.
"""
import json
import socket
import sys
import threading
import time

import h2.events
import h2.exceptions

from h2_wire import Wire

LARGE = 1 << 20
LOCK = threading.Lock()
ONCE = set()
COUNTS = {}


def first_time(key):
    with LOCK:
        if key in ONCE:
            return False
        ONCE.add(key)
        return True


def next_of(key):
    with LOCK:
        COUNTS[key] = COUNTS.get(key, 0) + 1
        return COUNTS[key]


def report(record):
    with LOCK:
        print(json.dumps(record), flush=True)


class Connection:
    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Wire(sock, client=False)
        self.streams = {}

    def run(self):
        while True:
            events = self.wire.events()
            if events is None:
                break
            for event in events:
                try:
                    self.handle(event)
                except h2.exceptions.ProtocolError:
                    pass
        for stream in list(self.streams):
            self.finish(stream, reset="connection ended")
        self.wire.socket.close()

    def finish(self, stream, **more):
        record = self.streams.pop(stream, None)
        if record:
            record.pop("action")
            body = record.pop("body")
            report({**record, "body_length": len(body), "body": body[:60].decode("latin1"), **more})

    def handle(self, event):
        h2c = self.wire.h2
        if isinstance(event, h2.events.RequestReceived):
            headers = list(event.headers)
            fields = dict(headers)
            action = fields[":path"].split("?")[0].rsplit("/", 1)[1]
            grpc = fields.get("content-type", "").startswith("application/grpc")
            self.streams[event.stream_id] = {"case": fields.get("x-case", ""), "headers": headers, "action": action,
                                             "grpc": grpc, "body": b"", "trailers": []}
            self.begin(event.stream_id, action, grpc, fields.get("x-case", ""))
        elif isinstance(event, h2.events.DataReceived):
            record = self.streams.get(event.stream_id)
            if record:
                record["body"] += event.data
                if record["action"] == "bidi":
                    self.wire.body(event.stream_id, event.data, end=False)
        elif isinstance(event, h2.events.TrailersReceived):
            if event.stream_id in self.streams:
                self.streams[event.stream_id]["trailers"] = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            record = self.streams.get(event.stream_id)
            if record:
                self.ended(event.stream_id, record)
        elif isinstance(event, h2.events.StreamReset):
            self.finish(event.stream_id, reset=int(event.error_code))

    def answer(self, stream, grpc, extra=()):
        kind = "application/grpc" if grpc else "text/plain"
        self.wire.h2.send_headers(stream, [(":status", "200"), ("content-type", kind), ("x-served", "h2"), *extra])

    def begin(self, stream, action, grpc, case):
        h2c = self.wire.h2
        if action.startswith("fail-"):
            _, number, what = action.split("-", 2)
            action = what if next_of(case) <= int(number) else "echo"
            self.streams[stream]["action"] = action
            if action.startswith("reset"):
                action = "reset-" + action[5:]
        if action.startswith("reset-") and not action.startswith("reset-after-"):
            h2c.reset_stream(stream, int(action.rsplit("-", 1)[1]))
            self.finish(stream)
        elif action.startswith("reset-after-"):
            self.answer(stream, grpc)
            self.wire.body(stream, b"beginning", end=False)
            h2c.reset_stream(stream, int(action.rsplit("-", 1)[1]))
            self.finish(stream)
        elif action == "early":
            self.answer(stream, grpc)
            h2c.send_headers(stream, [("grpc-status", "8"), ("grpc-message", "too much")], end_stream=True)
            h2c.reset_stream(stream, 0)
            self.streams.pop(stream)
        elif action == "bidi":
            self.answer(stream, grpc)
        elif action == "refuse-once" and first_time(case):
            h2c.reset_stream(stream, 7)
            self.finish(stream)
        elif action == "goaway-once" and first_time(case):
            self.wire.flush()
            self.finish(stream)
            # By hand: the library's own ends the connection at once, even for streams before the last one.
            last = max(stream - 2, 0)
            self.wire.socket.sendall(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + bytes(4))
        elif action == "endless":
            self.answer(stream, grpc)
            threading.Thread(target=self.tick, args=(stream,), daemon=True).start()
        self.wire.flush()

    def tick(self, stream):
        """Sends a message now and then from a thread of its own, for streams that nobody ends."""
        while stream in self.streams:
            try:
                self.wire.body(stream, b"\0\0\0\0\x04tick", end=False)
            except (OSError, h2.exceptions.ProtocolError):
                return
            time.sleep(0.05)

    def ended(self, stream, record):
        action, grpc = record["action"], record["grpc"]
        if action == "hang" or action == "endless":
            return
        if action == "bidi":
            self.wire.body(stream, b"", end=False)
            waiting = self.wire.pending.get(stream)
            trailers = [("grpc-status", "0"), ("x-end", "yes")]
            if waiting:
                waiting[2], waiting[1] = trailers, True
            else:
                self.wire.h2.send_headers(stream, trailers, end_stream=True)
        elif action.isdigit():
            self.wire.h2.send_headers(stream, [(":status", action), ("x-failed", "yes"), ("content-length", "4")])
            self.wire.body(stream, b"oops")
        elif action == "limited":
            self.wire.h2.send_headers(stream, [(":status", "429"), ("retry-after", "1")], end_stream=True)
        elif action in ("pushback", "nopushback"):
            pause = "30" if action == "pushback" else "-1"
            self.wire.h2.send_headers(stream, [
                (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14"),
                ("grpc-retry-pushback-ms", pause)], end_stream=True)
        elif action.startswith("grpc"):
            self.wire.h2.send_headers(stream, [
                (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", action[4:])],
                end_stream=True)
        elif action.startswith(("trail", "rest")):
            self.answer(stream, grpc)
            if action.startswith("rest"):
                self.wire.flush()
                time.sleep(0.1)
            self.wire.h2.send_headers(stream, [("grpc-status", action.lstrip("trailes"))], end_stream=True)
        elif action == "error":
            self.wire.h2.send_headers(stream, [
                (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5"),
                ("grpc-message", "no such thing"), ("grpc-status-details-bin", "CAU")], end_stream=True)
        elif action == "large":
            self.answer(stream, grpc)
            self.wire.body(stream, b"y" * LARGE, trailers=[("grpc-status", "0")] if grpc else None)
        else:
            self.answer(stream, grpc)
            trailers = [("grpc-status", "0"), ("x-trailer-bin", "AAEC")] if grpc else None
            self.wire.body(stream, record["body"] or b"nothing came", trailers=trailers)
        self.wire.flush()
        self.finish(stream)


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=lambda s=sock: Connection(s).run(), daemon=True).start()


main()
