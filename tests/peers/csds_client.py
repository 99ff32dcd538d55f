"""Asks a proxy for its xDS client's view over gRPC (CSDS), once and as a stream.

usage: csds_client.py PORT. Prints a line of JSON for each resource: type, name, version, status, error, has_content.
"""
import json
import sys

import grpc
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc

STATUS = {0: "UNKNOWN", 1: "REQUESTED", 2: "DOES_NOT_EXIST", 3: "ACKED", 4: "NACKED", 5: "RECEIVED_ERROR", 6: "TIMEOUT"}

channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
service = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
fetched = service.FetchClientStatus(csds_pb2.ClientStatusRequest(), timeout=10)
streamed = next(iter(service.StreamClientStatus(iter([csds_pb2.ClientStatusRequest()]), timeout=10)))
assert fetched == streamed, (fetched, streamed)
for resource in fetched.config[0].generic_xds_configs:
    print(json.dumps({
        "node": fetched.config[0].node.id,
        "type": resource.type_url.rsplit(".", 1)[-1],
        "name": resource.name,
        "version": resource.version_info,
        "status": STATUS[resource.client_status],
        "error": resource.error_state.details,
        "has_content": resource.HasField("xds_config"),
    }), flush=True)
