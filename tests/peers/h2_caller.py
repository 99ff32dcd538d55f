"""An HTTP/2 caller: takes exchanges as a JSON list on standard input, prints what came back, an object a line.

usage: h2_caller.py PORT. An exchange: name, method, path, headers [[name, value]], body (text) or
body_length, trailers, cancel ("head": after the response's head; "sent": as soon as the request is sent; "close":
the same by closing the connection; a number: after so many seconds),
end (false leaves the request open), port (instead of PORT).
"""
import json
import socket
import sys
import time

import h2.events
import h2.exceptions

from h2_wire import Wire


def give_up(wire):
    """Cancels the stream, unless its answer is complete already."""
    try:
        wire.h2.reset_stream(1, 8)
        wire.flush()
    except (h2.exceptions.ProtocolError, OSError):
        pass


def exchange(spec, port):
    sock = socket.create_connection(("127.0.0.1", spec.get("port", port)), timeout=15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire = Wire(sock, client=True)
    result = {"name": spec["name"], "informational": [], "status": None, "headers": [], "body_length": 0, "body": "",
              "trailers": [], "reset": None, "goaway": None, "ended": False}
    body = b"z" * spec["body_length"] if "body_length" in spec else spec.get("body", "").encode("latin1")
    trailers = [tuple(pair) for pair in spec.get("trailers", [])]
    head = [(":method", spec.get("method", "GET")), (":scheme", "http"), (":authority", "test"),
            (":path", spec["path"]), ("x-case", spec["name"])] + [tuple(pair) for pair in spec.get("headers", [])]
    end = spec.get("end", True)
    wire.h2.send_headers(1, head, end_stream=end and not body and not trailers)
    if body or trailers:
        wire.body(1, body, end=end, trailers=trailers or None)
    wire.flush()
    if spec.get("cancel") == "sent":
        give_up(wire)
        result["reset"] = "ours"
    if spec.get("cancel") == "close":
        result["reset"] = "closed"
    cancel = spec.get("cancel")
    until = time.monotonic() + cancel if isinstance(cancel, float) else None
    if cancel is not None:
        sock.settimeout(cancel if until else 3)
    received = b""
    while not (result["ended"] or result["reset"] is not None):
        try:
            events = wire.events()
        except TimeoutError:
            result["reset"] = "nothing came"
            if cancel is not None:
                give_up(wire)
                result["reset"] = "ours"
            break
        if events is None:
            result["reset"] = "connection ended"
            break
        if until and time.monotonic() > until:
            give_up(wire)
            result["reset"] = "ours"
            break
        for event in events:
            if isinstance(event, h2.events.InformationalResponseReceived):
                result["informational"].append(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.ResponseReceived):
                result["status"] = dict(event.headers)[":status"]
                result["headers"] = [pair for pair in event.headers if pair[0] != ":status"]
                if spec.get("cancel") == "head":
                    give_up(wire)
                    result["reset"] = "ours"
            elif isinstance(event, h2.events.DataReceived):
                received += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                result["trailers"] = list(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                result["ended"] = True
            elif isinstance(event, h2.events.StreamReset) and not result["ended"]:
                result["reset"] = int(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                result["goaway"] = int(event.error_code)
    sock.close()
    if result["reset"] != "ours":
        result["body_length"] = len(received)
        result["body"] = received[:120].decode("latin1")
    return result


def main():
    for spec in json.load(sys.stdin):
        print(json.dumps(exchange(spec, int(sys.argv[1]))), flush=True)


main()
