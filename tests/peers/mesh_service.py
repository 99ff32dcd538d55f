"""A gRPC service without generated code, messages are bytes. Prints a line for each call that ended early.

usage: mesh_service.py PORT [TLS_PORT CA CERTIFICATE KEY]
"""
import sys
import threading
import time
from concurrent import futures

import grpc

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def unary(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-seen", str(sent.get("x-ask", ""))), ("x-seen-bin", sent.get("x-ask-bin", b""))))
    context.set_trailing_metadata((("x-last-bin", bytes(range(256))),))
    return request


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def bidi(requests, context):
    yield from requests


def refuse(request, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x03\x12\x02no"),))
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nein, fünf % daneben\n")


def wait(request, context):
    """Until the caller goes away; says what it was told of the deadline, and when the end came."""
    left = context.time_remaining()
    over = threading.Event()
    context.add_callback(over.set)
    began = time.monotonic()
    ended = over.wait(20)
    print(f"wait ended={ended} deadline={left if left is None else round(left, 1)} "
          f"after={time.monotonic() - began:.2f}", flush=True)
    return b""


def serve():
    def method(kind, function):
        return getattr(grpc, f"{kind}_rpc_method_handler")(function)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=LARGE)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("peer.Test", {
        "Unary": method("unary_unary", unary),
        "ServerStream": method("unary_stream", server_stream),
        "ClientStream": method("stream_unary", client_stream),
        "Bidi": method("stream_stream", bidi),
        "Refuse": method("unary_unary", refuse),
        "Wait": method("unary_unary", wait),
    }),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    if len(sys.argv) > 2:
        ca, certificate, key = (open(path, "rb").read() for path in sys.argv[3:6])
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
        server.add_secure_port(f"127.0.0.1:{sys.argv[2]}", credentials)
    server.start()
    server.wait_for_termination()


serve()
