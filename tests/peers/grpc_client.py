"""A gRPC client that checks grpc_server.py through a proxy: grpc_client.py PORT."""

import os
import sys

import grpc

MIB = 1 << 20
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}", options=LIMITS)
WAIT = {"timeout": 20}


def method(kind, name):
    return getattr(channel, kind)(f"/interop.Test/{name}")


unary = method("unary_unary", "Unary")
for size in (0, 64, MIB):
    body = os.urandom(size)
    answer, call = unary.with_call(body, metadata=[("x-tag", "t"), ("x-tag-bin", b"\0\xff,")], **WAIT)
    assert answer == body, f"unary of {size}: {len(answer)} came back"
    head, tail = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert head["x-tag"] == "t" and head["x-tag-bin"] == b"\0\xff," and head["x-head"] == "head", head
    assert tail["x-tail"] == "tail" and tail["x-tail-bin"] == bytes(range(256)), tail

# Both directions at once, message by message and in bulk.
messages = [os.urandom(64) for _ in range(200)] + [os.urandom(MIB)] * 2
assert list(method("stream_stream", "Stream")(iter(messages), **WAIT)) == messages, "stream"
sizes = [len(message) for message in method("unary_stream", "Download")(b"500 10000", **WAIT)]
assert sizes == [10000] * 500, f"download: {len(sizes)} messages"
assert method("stream_unary", "Upload")(iter([bytes(10000)] * 500), **WAIT) == b"5000000", "upload"

# Many at once.
bodies = [os.urandom(100 + n) for n in range(300)]
assert [call.result() for call in [unary.future(body, **WAIT) for body in bodies]] == bodies, "many"

# A failure in trailers alone.
try:
    method("unary_unary", "Fail")(b"", **WAIT)
    raise SystemExit("Fail did not")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.code()
    assert error.details() == "no: 100 % \u00fcber \u2603", error.details()
    assert dict(error.trailing_metadata())["x-tail"] == "failed", error.trailing_metadata()

# Cancelled by the client, and by its deadline: both end at the server.
forever, ended = method("unary_stream", "Forever"), method("unary_unary", "Ended")
call = forever(b"", **WAIT)
assert len(next(iter(call))) == 1000
call.cancel()
try:
    for _ in forever(b"", timeout=0.3):
        pass
    raise SystemExit("no deadline")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code()
for _ in range(2):
    assert ended(b"", **WAIT) == b"yes", "a cancelled call did not end at the server"
assert unary(b"after", **WAIT) == b"after"
