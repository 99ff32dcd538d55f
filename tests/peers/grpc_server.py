"""A gRPC server without generated code: messages are bytes. Prints its port once it listens."""

import threading
from concurrent import futures

import grpc

ENDED = threading.Semaphore(0)
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def metadata(context):
    sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-tag")]
    context.send_initial_metadata(sent + [("x-head", "head")])
    context.set_trailing_metadata([("x-tail", "tail"), ("x-tail-bin", bytes(range(256)))])


def unary(request, context):
    metadata(context)
    return request


def stream(requests, context):
    metadata(context)
    yield from requests


def download(request, context):
    """COUNT SIZE."""
    count, size = map(int, request.split())
    for n in range(count):
        yield bytes([n % 256]) * size


def upload(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def forever(request, context):
    """Only its client ends it; the generator is dropped then, so a callback counts."""
    context.add_callback(ENDED.release)
    while True:
        yield bytes(1000)


def ended(request, context):
    """Answers once another call of Forever has ended."""
    return b"yes" if ENDED.acquire(timeout=10) else b"no"


def fail(request, context):
    context.set_trailing_metadata([("x-tail", "failed")])
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no: 100 % \u00fcber \u2603")


server = grpc.server(futures.ThreadPoolExecutor(32), options=LIMITS)
server.add_generic_rpc_handlers(
    [
        grpc.method_handlers_generic_handler(
            "interop.Test",
            {
                "Unary": grpc.unary_unary_rpc_method_handler(unary),
                "Stream": grpc.stream_stream_rpc_method_handler(stream),
                "Download": grpc.unary_stream_rpc_method_handler(download),
                "Upload": grpc.stream_unary_rpc_method_handler(upload),
                "Forever": grpc.unary_stream_rpc_method_handler(forever),
                "Ended": grpc.unary_unary_rpc_method_handler(ended),
                "Fail": grpc.unary_unary_rpc_method_handler(fail),
            },
        )
    ]
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
