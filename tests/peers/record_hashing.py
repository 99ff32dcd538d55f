"""Records which endpoint Envoy's RING_HASH and MAGLEV choose for which key.

    target/peers/bin/python tests/peers/record_hashing.py ENVOY > crates/upstream/src/balancer/tests/hashing.json

ENVOY is its binary (target/peers/lib/python*/site-packages/envoy/_bin/envoy). Each case is one cluster; the hosts need
not exist: the access log says which one was chosen. Cases with `held` have hosts that accept and never answer, so that
requests pile up and bounded loads show.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request

KEYS = ["", "a", "b", "key-7", "user@example.com", "0123456789abcdef", "x" * 31, "y" * 32, "z" * 33, "long " * 30]
KEYS += [f"k{n}" for n in range(40)]


def host(n, **more):
    return {"address": f"127.77.0.1:{17321 + n}", **more}


ring = {"policy": "ring", "minimum": 1024, "maximum": 8388608, "function": "XX_HASH"}
maglev = {"policy": "maglev", "size": 65537}
five = [host(n) for n in range(5)]
weighted = [host(0, weight=1), host(1, weight=2), host(2, weight=5)]
named = [host(n, hostname=f"host-{n}.example") for n in range(3)]
keyed = [host(0, hash_key="first"), host(1, hash_key="second"), host(2)]
places = [host(0, zone="b"), host(1, zone="b"), host(2, zone="a"), host(3, zone="a", weight=3)]
zones = {"a": 3, "b": 1}
spilling = [host(n, health="UNHEALTHY" if n < 2 else "HEALTHY") for n in range(4)]
spilling += [host(n, priority=1) for n in range(4, 7)]
sick = [host(n, health="UNHEALTHY" if n else "HEALTHY") for n in range(4)]
degraded = [host(n, health="DEGRADED" if n else "HEALTHY") for n in range(2)]
backwards = list(reversed(five))

CASES = []
for kind in (ring, maglev):
    name = kind["policy"]
    CASES += [
        {"name": f"{name} of five", **kind, "hosts": five},
        {"name": f"{name} of five in another order", **kind, "hosts": backwards},
        {"name": f"{name} of one", **kind, "hosts": five[:1]},
        {"name": f"{name} with weights", **kind, "hosts": weighted},
        {"name": f"{name} of names", **kind, "hosts": named, "by_name": True},
        {"name": f"{name} of keys", **kind, "hosts": keyed, "by_name": False},
        {"name": f"{name} with weighted localities", **kind, "hosts": places, "zones": zones},
        {"name": f"{name} with priorities", **kind, "hosts": spilling},
        {"name": f"{name} in panic", **kind, "hosts": sick},
        {"name": f"{name} with degraded hosts", **kind, "hosts": degraded},
        {"name": f"{name} bounded, idle", **kind, "hosts": weighted, "balance": 120},
        {"name": f"{name} bounded, busy", **kind, "hosts": five, "balance": 150, "held": True},
        {"name": f"{name} bounded and weighted, busy", **kind, "hosts": weighted, "balance": 100, "held": True},
    ]
CASES += [
    {"name": "ring of other sizes", **ring, "minimum": 7, "maximum": 7, "hosts": five},
    {"name": "ring that is too large", **ring, "minimum": 64, "maximum": 70, "hosts": weighted},
    {"name": "ring by the older hash", **ring, "function": "MURMUR_HASH_2", "hosts": five},
    {"name": "maglev of another size", **maglev, "size": 11, "hosts": five},
]


def cluster(number, case, ports):
    localities = {}
    for entry in case["hosts"]:
        place = (entry.get("priority", 0), entry.get("zone", ""))
        address, port = entry["address"].rsplit(":", 1)
        endpoint = {"address": {"socket_address": {"address": address, "port_value": int(port)}}}
        if "hostname" in entry:
            endpoint["hostname"] = entry["hostname"]
        lb = {"endpoint": endpoint, "load_balancing_weight": entry.get("weight", 1)}
        lb["health_status"] = entry.get("health", "UNKNOWN")
        if "hash_key" in entry:
            lb["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": entry["hash_key"]}}}
        localities.setdefault(place, []).append(lb)
    endpoints = []
    for (priority, zone), members in localities.items():
        locality = {"priority": priority, "lb_endpoints": members}
        if zone:
            locality["locality"] = {"zone": zone}
            locality["load_balancing_weight"] = case["zones"][zone]
        endpoints.append(locality)
    common = {}
    consistent = {}
    if "by_name" in case:
        consistent["use_hostname_for_hashing"] = case["by_name"]
    if "balance" in case:
        consistent["hash_balance_factor"] = case["balance"]
    if consistent:
        common["consistent_hashing_lb_config"] = consistent
    if "zones" in case:
        common["locality_weighted_lb_config"] = {}
    made = {
        "name": f"c{number}",
        # Names are hashed in clusters of this type alone; addresses need no resolution in either.
        "type": "STRICT_DNS" if case.get("by_name") else "STATIC",
        "connect_timeout": "1s",
        "common_lb_config": common,
        "load_assignment": {"cluster_name": f"c{number}", "endpoints": endpoints},
        "circuit_breakers": {"thresholds": [{"max_retries": 0}]},
    }
    if case["policy"] == "ring":
        made["lb_policy"] = "RING_HASH"
        made["ring_hash_lb_config"] = {
            "minimum_ring_size": case["minimum"],
            "maximum_ring_size": case["maximum"],
            "hash_function": case["function"],
        }
    else:
        made["lb_policy"] = "MAGLEV"
        made["maglev_lb_config"] = {"table_size": case["size"]}
    return made


def bootstrap(admin, port, log):
    routes = [
        {
            "match": {"prefix": f"/{number}/"},
            "route": {
                "cluster": f"c{number}",
                "timeout": "0s",
                "hash_policy": [{"header": {"header_name": "x-key"}}],
            },
        }
        for number in range(len(CASES))
    ]
    access_log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log,
            "log_format": {"text_format_source": {"inline_string": "%REQ(:PATH)% %UPSTREAM_HOST%\n"}},
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "access_log": [access_log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    at = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "admin": {"address": at(admin)},
        "static_resources": {
            "listeners": [{"name": "l", "address": at(port), "filter_chains": [chain]}],
            "clusters": [cluster(number, case, {}) for number, case in enumerate(CASES)],
        },
    }


async def main():
    admin, port = 17390, 17391
    with tempfile.TemporaryDirectory() as directory:
        log, config = f"{directory}/log", f"{directory}/envoy.json"
        with open(config, "w") as file:
            json.dump(bootstrap(admin, port, log), file)
        # Hosts that accept and never answer.
        silent = []
        ports = {entry["address"].rsplit(":", 1)[1] for case in CASES for entry in case["hosts"]}

        async def hold(reader, _):
            while await reader.read(65536):
                pass

        for number in sorted(ports):
            silent.append(await asyncio.start_server(hold, "127.77.0.1", int(number)))
        arguments = [sys.argv[1], "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        envoy = subprocess.Popen(arguments + ["--file-flush-interval-msec", "50"])
        try:
            def stat(name):
                text = urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats?filter=^{name}$").read().decode()
                return int(text.split(":")[1]) if ":" in text else 0

            for _ in range(100):
                try:
                    if urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready").status == 200:
                        break
                except OSError:
                    pass
                await asyncio.sleep(0.1)
            open_connections = []
            total = 0
            for number, case in enumerate(CASES):
                for at, key in enumerate(KEYS):
                    total += 1
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    head = f"GET /{number}/{at} HTTP/1.1\r\nhost: h\r\nx-key: {key.strip()}\r\n\r\n"
                    writer.write(head.encode())
                    if case.get("held"):
                        while stat(f"cluster.c{number}.upstream_rq_active") < at + 1:
                            await asyncio.sleep(0.002)
                        open_connections.append(writer)
                    else:
                        # Nothing is answered: the choice is in the log once the caller leaves.
                        while stat(f"cluster.c{number}.upstream_rq_total") < at + 1:
                            await asyncio.sleep(0.002)
                        writer.close()
            for writer in open_connections:
                writer.close()
            for _ in range(200):
                lines = open(log).read().splitlines()
                if len(lines) == total:
                    break
                await asyncio.sleep(0.1)
        finally:
            envoy.terminate()
            envoy.wait()
        chosen = dict(line.split(" ") for line in lines)
        cases = []
        for number, case in enumerate(CASES):
            picks = [[key.strip(), chosen[f"/{number}/{at}"]] for at, key in enumerate(KEYS)]
            cases.append({**case, "picks": picks})
    print('{"cases": [')
    print(",\n".join(json.dumps(case) for case in cases))
    print("]}")


asyncio.run(main())
