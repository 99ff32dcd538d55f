"""A gRPC caller that is its own proxy: a target such as xds:///greeter.demo:50051, configuration from a control plane.

usage: xds_caller.py TARGET COUNT, GRPC_XDS_BOOTSTRAP in the environment. Prints how many calls ended how, as JSON.
"""
import collections
import json
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1], [("grpc.enable_retries", 0)])
say_hello = channel.unary_unary("/greeter.v1.Greeter/SayHello")
ended = collections.Counter()
# The first call waits for the control plane's answers; the others do not.
for number in range(int(sys.argv[2])):
    try:
        answer = say_hello(b"", timeout=15, wait_for_ready=number == 0)
        # HelloReply.backend is field 3: the name after its tag and length.
        at = answer.find(b"\x1a")
        ended[answer[at + 2:at + 2 + answer[at + 1]].decode()] += 1
    except grpc.RpcError as error:
        ended[f"{error.code().name}: {error.details()}"] += 1
print(json.dumps(ended), flush=True)
