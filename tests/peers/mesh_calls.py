"""A gRPC caller of mesh_service.py: every shape of call, and what must be true of each. Its retries are off.

usage: mesh_calls.py all|one TARGET [CA CERTIFICATE KEY]. `one` makes one call and prints its code and details.
"""
import sys
import threading
import time
from concurrent import futures

import grpc

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]


def connect():
    if len(sys.argv) > 3:
        ca, certificate, key = (open(path, "rb").read() for path in sys.argv[3:6])
        return grpc.secure_channel(sys.argv[2], grpc.ssl_channel_credentials(ca, key, certificate), OPTIONS)
    return grpc.insecure_channel(sys.argv[2], OPTIONS)


channel = connect()


def method(kind, name):
    return getattr(channel, kind)(f"/peer.Test/{name}")


unary, stream = method("unary_unary", "Unary"), method("unary_stream", "ServerStream")
upload, bidi = method("stream_unary", "ClientStream"), method("stream_stream", "Bidi")
refuse, wait = method("unary_unary", "Refuse"), method("unary_unary", "Wait")


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


def code_of(call, *arguments, **more):
    try:
        call(*arguments, **more)
        return None
    except grpc.RpcError as error:
        return error


def metadata():
    answer, call = unary.with_call(b"x", timeout=10, metadata=(("x-ask", "text"), ("x-ask-bin", b"\x00\xff\x10")))
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    check(answer == b"x", answer)
    check(first["x-seen"] == "text" and first["x-seen-bin"] == b"\x00\xff\x10", first)
    check(last["x-last-bin"] == bytes(range(256)), last)


def shapes():
    check(unary(b"", timeout=10) == b"", "an empty message")
    check([int(number) for number in stream(b"500", timeout=10)] == list(range(500)), "a server's stream")
    check(upload(iter([b"x" * 1000] * 300), timeout=10) == b"300000", "a caller's stream")
    asked = [b"%d" % number for number in range(200)]
    check(list(bidi(iter(asked), timeout=10)) == asked, "both streams")


def in_turns():
    """Each message is sent only after the answer to the one before: nothing may be held back on the way."""
    turn, sent = threading.Semaphore(1), iter(range(20))

    def requests():
        for number in sent:
            turn.acquire()
            yield b"%d" % number

    for answer in bidi(requests(), timeout=10):
        turn.release()
    check(answer == b"19", answer)


def large():
    body = bytes(range(256)) * 4096 * 8
    check(unary(body, timeout=20) == body, "8 MiB both ways")
    check(upload(iter([body] * 3), timeout=20) == b"%d" % (3 * len(body)), "24 MiB up")


def errors():
    error = code_of(refuse, b"", timeout=10)
    check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, error)
    check(error.details() == "nein, fünf % daneben\n", repr(error.details()))
    check(dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x03\x12\x02no", error.trailing_metadata())
    error = code_of(method("unary_unary", "Missing"), b"", timeout=10)
    check(error.code() == grpc.StatusCode.UNIMPLEMENTED, error)


def ends():
    began = time.monotonic()
    error = code_of(wait, b"", timeout=0.5)
    check(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)
    check(time.monotonic() - began < 3, "a deadline is kept")
    call = wait.future(b"", timeout=15)
    time.sleep(0.2)
    call.cancel()
    check(call.cancelled(), "a call can be cancelled")
    call = bidi(iter(lambda: time.sleep(0.01) or b"more", None), timeout=15)
    next(call)
    call.cancel()
    check(code_of(lambda: [0 for _ in call]).code() == grpc.StatusCode.CANCELLED, "a stream can be cancelled")


def many():
    with futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: unary(b"%d" % number, timeout=20), range(2000)))
    check(answers == [b"%d" % number for number in range(2000)], "2000 calls at once keep apart")
    calls = [unary.future(b"y" * 20000, timeout=20) for _ in range(300)]
    check(all(len(call.result()) == 20000 for call in calls), "300 open at the same time")


if sys.argv[1] == "one":
    failed = code_of(unary, b"x", timeout=10)
    print(f"{failed.code().name}: {failed.details()}" if failed else "OK")
else:
    for part in (shapes, metadata, in_turns, large, errors, ends, many):
        part()
        print(f"{part.__name__} held", flush=True)
