#!/usr/bin/env python3
"""Compares proxies on one machine: CPU time per request, latency, memory per idle connection.

Method (docs/performance.md): every proxy has one worker pinned to one CPU, load generator and two
backends share another; scenarios interleave the proxies over several rounds and quote medians and
the medians of ratios taken within a round. CPU time is the kernel's own account of the proxy's
threads (schedstat, nanoseconds). Loopback only.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIST = os.path.join(ROOT, "target", "dist")
BACKENDS = [21001, 21002]
TLS_BACKENDS = [21003, 21004]
PROXY_PORT = {"envoy": 21010, "haproxy": 21011, "nginx": 21012, "forward": 21013, "remora": 21014}
# The same proxies, TLS with client certificates on both sides.
TLS_PORT = {"envoy": 21030, "haproxy": 21031, "nginx": 21032, "remora": 21034}
# The same proxies carrying TCP.
TCP_PORT = {"envoy": 21040, "haproxy": 21041, "remora": 21044}
# What certificates are for; bench-certificates writes it into them.
SERVER_NAME = "bench.example"
ADMIN_PORT = {"envoy": 21020, "remora": 21024}

# name: (what it is, load arguments); those in TLS_SCENARIOS with mTLS on both sides.
SCENARIOS = {
    "S1": ("unary 64 B, 8 connections x 16 streams", ["--connections", "8", "--streams", "16"]),
    "S2": ("unary 64 B, 8 connections x 16 streams, mTLS both sides", ["--connections", "8", "--streams", "16"]),
    "S3": ("one connection, one stream", ["--connections", "1", "--streams", "1"]),
    "S4": ("200 connections x 4 streams", ["--connections", "200", "--streams", "4"]),
    "S5": ("server stream of 1000 x 1 KiB", ["--connections", "4", "--streams", "2", "--shape", "stream"]),
    "S6": ("1 MiB response", ["--connections", "4", "--streams", "2", "--shape", "body"]),
    "S6T": ("1 MiB response, mTLS both sides", ["--connections", "4", "--streams", "2", "--shape", "body"]),
    "S7": ("paced 10,000 requests a second", ["--connections", "8", "--pace", "10000"]),
    "S9": ("unary with twelve more headers", ["--connections", "8", "--streams", "16", "--shape", "headers"]),
    "T1": ("TCP: 1 MiB responses, carried as bytes", ["--connections", "4", "--streams", "2", "--shape", "body"]),
    "T2": ("TCP: a new connection and one call", ["--connections", "8", "--reconnect"]),
    "S10T": ("new mTLS connection and one call, mTLS to the backend", ["--connections", "8", "--reconnect"]),
}
TCP_SCENARIOS = {"T1", "T2"}
TLS_SCENARIOS = {"S2", "S6T", "S8T", "S10T"}
IDLE_SCENARIOS = {"S8": "h2c", "S8T": "mTLS"}
IDLE_CONNECTIONS = 1000


def tls_context(directory, kind, identity):
    """Envoy's TLS transport socket: TLS 1.3, a certificate to present, and the other side's to verify."""
    file = lambda name: {"filename": os.path.join(directory, name)}
    context = {
        "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": file(f"{identity}.pem"), "private_key": file(f"{identity}.key")}],
            "validation_context": {"trusted_ca": file("ca.pem")},
        },
    }
    if kind == "DownstreamTlsContext":
        context["require_client_certificate"] = True
    else:
        context["sni"] = SERVER_NAME
        context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"] = [
            {"san_type": "DNS", "matcher": {"exact": SERVER_NAME}}
        ]
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def envoy_listener(name, port, cluster, transport_socket):
    """An HTTP connection manager with a router that sends everything to one cluster."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": 100000},
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "30s"}}],
                }
            ],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if transport_socket:
        chain["transport_socket"] = transport_socket
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def envoy_tcp_listener(port, cluster):
    """Whatever comes is carried to one cluster."""
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "bench_tcp",
        "cluster": cluster,
    }
    return {
        "name": "bench_tcp",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}],
    }


def envoy_cluster(name, ports, transport_socket):
    """Two endpoints, HTTP/2, no limits in the way."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 100000}},
    }
    many = {"priority": "DEFAULT", "max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
    cluster = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [many]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
    if transport_socket:
        cluster["transport_socket"] = transport_socket
    return cluster


def envoy_config(name, certificates):
    """The same bootstrap for Envoy and remora: h2c both sides, and mTLS both sides where there are certificates."""
    listeners = [envoy_listener("bench", PROXY_PORT[name], "backends", None), envoy_tcp_listener(TCP_PORT[name], "backends")]
    clusters = [envoy_cluster("backends", BACKENDS, None)]
    if certificates:
        downstream = tls_context(certificates, "DownstreamTlsContext", "server")
        upstream = tls_context(certificates, "UpstreamTlsContext", "client")
        listeners.append(envoy_listener("bench_tls", TLS_PORT[name], "backends_tls", downstream))
        clusters.append(envoy_cluster("backends_tls", TLS_BACKENDS, upstream))
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN_PORT[name]}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


HAPROXY = """
global
  nbthread 1
  maxconn 8000
  tune.h2.max-concurrent-streams 100000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
frontend bench
  bind 127.0.0.1:{port} proto h2
  default_backend backends
backend backends
  balance roundrobin
  http-reuse always
  server a 127.0.0.1:{a} proto h2
  server b 127.0.0.1:{b} proto h2
frontend bench_tcp
  mode tcp
  bind 127.0.0.1:{tcp}
  default_backend backends_tcp
backend backends_tcp
  mode tcp
  balance roundrobin
  server a 127.0.0.1:{a}
  server b 127.0.0.1:{b}
"""
HAPROXY_TLS = """
frontend bench_tls
  bind 127.0.0.1:{port} ssl crt {c}/server.both.pem ca-file {c}/ca.pem verify required alpn h2 ssl-min-ver TLSv1.3
  default_backend backends_tls
backend backends_tls
  balance roundrobin
  http-reuse always
  default-server ssl crt {c}/client.both.pem ca-file {c}/ca.pem verify required verifyhost {name} sni str({name}) alpn h2 ssl-min-ver TLSv1.3
  server a 127.0.0.1:{a}
  server b 127.0.0.1:{b}
"""

NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
  uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
  http2_max_concurrent_streams 1000;
  keepalive_requests 100000000;
  upstream backends {{ server 127.0.0.1:{a}; server 127.0.0.1:{b}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} http2;
    location / {{ grpc_pass grpc://backends; }}
  }}
{tls}
}}
"""
NGINX_TLS = """
  upstream backends_tls {{ server 127.0.0.1:{a}; server 127.0.0.1:{b}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_protocols TLSv1.3;
    ssl_certificate {c}/server.pem; ssl_certificate_key {c}/server.key;
    ssl_client_certificate {c}/ca.pem; ssl_verify_client on;
    location / {{
      grpc_pass grpcs://backends_tls;
      grpc_ssl_protocols TLSv1.3;
      grpc_ssl_certificate {c}/client.pem; grpc_ssl_certificate_key {c}/client.key;
      grpc_ssl_trusted_certificate {c}/ca.pem; grpc_ssl_verify on;
      grpc_ssl_name {name}; grpc_ssl_server_name on;
    }}
  }}
"""


def find_envoy():
    for root, _, files in os.walk(os.path.join(ROOT, "target", "peers", "lib")):
        if "envoy" in files and os.path.getsize(os.path.join(root, "envoy")) > 10_000_000:
            return os.path.join(root, "envoy")
    return None


def commands(directory, certificates, binaries):
    """Proxy name to its command; those that are not there are left out. With `certificates` they speak TLS, too."""
    a, b = BACKENDS

    def with_tls(template, name):
        if not certificates:
            return ""
        to_a, to_b = TLS_BACKENDS
        return template.format(port=TLS_PORT[name], a=to_a, b=to_b, c=certificates, name=SERVER_NAME)

    found = {}
    envoy = find_envoy()
    if envoy:
        path = os.path.join(directory, "envoy.json")
        json.dump(envoy_config("envoy", certificates), open(path, "w"))
        found["envoy"] = [envoy, "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    if shutil.which("haproxy"):
        path = os.path.join(directory, "haproxy.cfg")
        plain = HAPROXY.format(port=PROXY_PORT["haproxy"], tcp=TCP_PORT["haproxy"], a=a, b=b)
        open(path, "w").write(plain + with_tls(HAPROXY_TLS, "haproxy"))
        found["haproxy"] = ["haproxy", "-f", path, "-db"]
    if shutil.which("nginx"):
        path = os.path.join(directory, "nginx.conf")
        tls = with_tls(NGINX_TLS, "nginx")
        open(path, "w").write(NGINX.format(port=PROXY_PORT["nginx"], a=a, b=b, directory=directory, tls=tls))
        found["nginx"] = ["nginx", "-c", path, "-p", directory]
    forward = os.path.join(binaries, "examples", "forward")
    if os.path.exists(forward):
        found["forward"] = [
            forward, "--listen", f"127.0.0.1:{PROXY_PORT['forward']}",
            "--backends", f"127.0.0.1:{a},127.0.0.1:{b}", "--workers", "1",
        ]
    remora = os.path.join(binaries, "remora")
    if os.path.exists(remora):
        path = os.path.join(directory, "remora.json")
        json.dump(envoy_config("remora", certificates), open(path, "w"))
        found["remora"] = [remora, "-c", path, "--concurrency", "1", "-l", "error"]
    return found


def cpu_ns(pid):
    """CPU time of all threads of a process, in nanoseconds."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0])
        except FileNotFoundError:
            pass
    return total


def pss_kib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def wait_for_port(port, process, seconds=10):
    import socket

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            # Was that another's port, this process is about to say so.
            time.sleep(0.1)
            if process.poll() is None:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def sides(scenario, options, certificates):
    """The proxies' ports for a scenario, and the load generator's arguments."""
    if scenario in TCP_SCENARIOS:
        return TCP_PORT, options
    if scenario in TLS_SCENARIOS:
        return TLS_PORT, options + ["--tls", certificates]
    return PROXY_PORT, options


def load(port, options, seconds, arguments):
    command = [
        "taskset", "-c", arguments.load_cpu, os.path.join(arguments.binaries, "bench-load"),
        "--target", f"127.0.0.1:{port}", "--seconds", str(seconds),
    ] + options
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
    if output.returncode != 0:
        raise RuntimeError(output.stderr.strip())
    return json.loads(output.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--scenarios", default=",".join([*SCENARIOS, *IDLE_SCENARIOS]))
    parser.add_argument("--proxies", default="", help="comma separated; default all that are there")
    parser.add_argument("--proxy-cpu", default="1")
    parser.add_argument("--load-cpu", default="0")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--binaries", default=DIST, help="where the binaries are; other than the default only to try things out")
    arguments = parser.parse_args()
    arguments.binaries = os.path.abspath(arguments.binaries)
    wanted = arguments.scenarios.split(",")
    for scenario in wanted:
        if scenario not in SCENARIOS and scenario not in IDLE_SCENARIOS:
            parser.error(f"no scenario {scenario}: there are {', '.join([*SCENARIOS, *IDLE_SCENARIOS])}")

    directory = tempfile.mkdtemp(prefix="remora-bench-")
    certificates = None
    if TLS_SCENARIOS.intersection(wanted):
        certificates = directory
        subprocess.run([os.path.join(arguments.binaries, "bench-certificates"), directory], check=True)
    found = commands(directory, certificates, arguments.binaries)
    if arguments.proxies:
        found = {name: found[name] for name in arguments.proxies.split(",") if name in found}
    running = {}
    figures = {}
    try:
        for port in BACKENDS + (TLS_BACKENDS if certificates else []):
            backend = ["taskset", "-c", arguments.load_cpu, os.path.join(arguments.binaries, "bench-backend")]
            backend += ["--listen", f"127.0.0.1:{port}"]
            if port in TLS_BACKENDS:
                backend += ["--tls", certificates]
            running[f"backend-{port}"] = subprocess.Popen(backend)
            wait_for_port(port, running[f"backend-{port}"])
        for name, command in found.items():
            log = open(os.path.join(directory, f"{name}.log"), "w")
            running[name] = subprocess.Popen(
                ["taskset", "-c", arguments.proxy_cpu] + command, stdout=log, stderr=log, cwd=directory
            )
            try:
                wait_for_port(PROXY_PORT[name], running[name])
            except RuntimeError as error:
                raise RuntimeError(f"{name}: {error}; it said: {open(log.name).read()[-2000:]}") from error
        print(f"# {platform.machine()}, {os.cpu_count()} CPUs, {time.strftime('%Y-%m-%d')}, proxies: {', '.join(found)}", flush=True)
        for scenario in wanted:
            if scenario in IDLE_SCENARIOS:
                continue
            what, options = SCENARIOS[scenario]
            ports, options = sides(scenario, options, certificates)
            names = [name for name in found if name in ports]
            rounds = []
            for number in range(arguments.rounds):
                one = {}
                for name in names:
                    load(ports[name], options, 0.3, arguments)
                    before = cpu_ns(running[name].pid)
                    report = load(ports[name], options, arguments.seconds, arguments)
                    spent = cpu_ns(running[name].pid) - before
                    one[name] = {
                        "cpu_us": spent / 1000 / max(report["requests"], 1),
                        "per_second": report["requests"] / report["seconds"],
                        **{key: report[key] for key in ("requests", "errors", "p50_us", "p99_us")},
                    }
                rounds.append(one)
            figures[scenario] = rounds
            show(scenario, what, rounds, names)
        for scenario in IDLE_SCENARIOS:
            if scenario in wanted:
                idle(scenario, found, running, arguments, figures, certificates)
        for name in found:
            if running[name].poll() is not None:
                print(f"{name} ended with {running[name].returncode}", file=sys.stderr)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        json.dump(figures, open(arguments.json, "w"), indent=1)


def show(scenario, what, rounds, names):
    print(f"\n{scenario}: {what} (CPU us per request, median of {len(rounds)})")
    for name in names:
        median = {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        ratios = ""
        for peer in ("envoy", "haproxy"):
            if peer in names and name in ("forward", "remora"):
                ratio = statistics.median(one[name]["cpu_us"] / one[peer]["cpu_us"] for one in rounds)
                ratios += f"  {ratio:.2f}x {peer}"
        print(
            f"  {name:8} {median['cpu_us']:9.2f} us  {median['per_second']:9.0f}/s  p50 {median['p50_us']:6.0f} us"
            f"  p99 {median['p99_us']:6.0f} us  errors {median['errors']:.0f}{ratios}",
            flush=True,
        )


def idle(scenario, found, running, arguments, figures, certificates):
    """S8, S8T: memory of an idle connection that has been used once."""
    kind = IDLE_SCENARIOS[scenario]
    print(f"\n{scenario}: KiB per idle {kind} connection ({IDLE_CONNECTIONS} connections, proportional set size)")
    ports, options = sides(scenario, ["--connections", str(IDLE_CONNECTIONS), "--idle"], certificates)
    # Handshakes take their time.
    wait = 8 if scenario in TLS_SCENARIOS else 3
    figures[scenario] = {}
    for name in [name for name in found if name in ports]:
        pid = running[name].pid
        # What the first connection takes is not what a connection takes.
        load(ports[name], options[2:] + ["--connections", "1"], 0.1, arguments)
        before = pss_kib(pid)
        command = [
            os.path.join(arguments.binaries, "bench-load"), "--target", f"127.0.0.1:{ports[name]}",
            "--seconds", str(wait + 1),
        ] + options
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(wait)
        after = pss_kib(pid)
        report = json.loads(client.communicate(timeout=30)[0])
        figures[scenario][name] = (after - before) / IDLE_CONNECTIONS
        print(f"  {name:8} {(after - before) / IDLE_CONNECTIONS:6.2f} KiB  (process {before / 1024:.1f} MiB before; {report['requests']} connections used, {report['errors']} errors)", flush=True)


if __name__ == "__main__":
    main()
