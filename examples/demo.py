#!/usr/bin/env python3
"""A mesh on this machine, driven with live gRPC traffic while things happen to it.

Starts, as processes of their own, the control plane, a frontend and three greeter backends (v1, v1,
v2), each behind its own sidecar on its own loopback address, and walks through what a mesh is for.
Every step says what it does and what it saw; the exit status is 0 only if every step held.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONTROL_PLANE = "127.0.0.1:15010"
BACKENDS = {  # name: (address, version)
    "greeter-v1-a": ("127.0.1.2", "v1"),
    "greeter-v1-b": ("127.0.1.3", "v1"),
    "greeter-v2-a": ("127.0.1.4", "v2"),
}
FRONTEND = "127.0.1.1"
COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


def title(text):
    print(f"\n{paint('1', text)}", flush=True)


def say(text):
    print(f"  {text}", flush=True)


class Failed(Exception):
    """A step that did not hold."""


class Mesh:
    """The processes, and the directory they work in."""

    def __init__(self, binaries, directory):
        self.binaries = binaries
        self.directory = directory
        self.processes = {}
        shutil.copytree(os.path.join(ROOT, "examples", "mesh"), os.path.join(directory, "mesh"))

    def start(self, name, arguments):
        log = open(os.path.join(self.directory, f"{name}.log"), "a")
        command = [os.path.join(self.binaries, arguments[0])] + arguments[1:]
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self.processes[name]

    def start_control_plane(self):
        self.start(
            "control-plane",
            ["remora-control-plane", "serve", "--config", os.path.join(self.directory, "mesh"),
             "--state", os.path.join(self.directory, "state"), "--listen", CONTROL_PLANE],
        )

    def start_backend(self, name):
        address, version = BACKENDS[name]
        self.start(f"{name}-app", ["greeter", "--listen", f"{address}:50051", "--version", version, "--name", name])

    def start_sidecar(self, name, address):
        path = os.path.join(self.directory, f"{name}.json")
        with open(path, "w") as file:
            json.dump(bootstrap(name, address), file, indent=1)
        self.start(f"{name}-sidecar", ["remora", "-c", path, "--concurrency", "1", "--drain-time-s", "5"])

    def admin(self, address, path, method="GET"):
        request = urllib.request.Request(f"http://{address}:15000{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()

    def wait_ready(self, address, seconds=20):
        def ready():
            try:
                return self.admin(address, "/ready").strip() == "LIVE"
            except OSError:
                return False

        wait_for(ready, seconds, f"the sidecar at {address} is ready")

    def check_alive(self, expected_gone=()):
        for name, process in self.processes.items():
            if name not in expected_gone and process.poll() is not None:
                raise Failed(f"{name} ended with {process.returncode}; see {self.directory}/{name}.log")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def bootstrap(name, address):
    """The file `remora -c` (or Envoy) takes: who it is, and where its control plane is."""
    host, port = CONTROL_PLANE.split(":")
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": f"sidecar~{address}~{name}.demo~demo.svc.cluster.local", "cluster": f"{name}.demo"},
        "admin": {"address": {"socket_address": {"address": address, "port_value": 15000}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control-plane"}}],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "control-plane",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "control-plane",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                                "address": host, "port_value": int(port)}}}}]}
                        ],
                    },
                }
            ]
        },
    }


class Traffic:
    """The frontend, calling all the while; its latest report. Its own retries are off."""

    def __init__(self, mesh, rate):
        command = [
            os.path.join(mesh.binaries, "frontend"), "--target", f"{FRONTEND}:15001", "--authority", "greeter:50051",
            "--shape", "mixed", "--rate", str(rate), "--concurrency", "8", "--duration", "3600", "--report-every", "100",
        ]
        self.latest = None
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        mesh.processes["frontend-app"] = self.process
        threading.Thread(target=self.read, daemon=True).start()
        wait_for(lambda: self.latest is not None and self.latest["requests"] > 0, 15, "the first answer arrives")

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.latest = json.loads(line)

    def since(self, before):
        """What happened since an earlier report: counts by backend, and failures."""
        now = self.latest
        counts = {
            name: count - before["by_backend"].get(name, 0) for name, count in now["by_backend"].items()
        }
        return {name: count for name, count in counts.items() if count}, now["failures"] - before["failures"]

    def watch(self, requests):
        """Waits until that many more answers have come; returns what `since` says of them."""
        before = self.latest
        wait_for(lambda: self.latest["requests"] - before["requests"] >= requests, 60, f"{requests} more answers")
        return self.since(before)


def wait_for(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"waited {seconds} s in vain until {what}")
        time.sleep(0.02)


def share(counts, version):
    total = sum(counts.values())
    return sum(count for name, count in counts.items() if name.startswith(version)) / max(total, 1)


def expect(condition, text):
    if not condition:
        raise Failed(text)


def no_failures(traffic):
    failures = traffic.latest["failures"]
    expect(failures == 0, f"{failures} requests failed, the last one with: {traffic.latest['last_failure']}")


def set_weights(mesh, v1, v2):
    """Edits the route as a person would: writes the file anew and moves it into place."""
    path = os.path.join(mesh.directory, "mesh", "routes.yaml")
    text = open(os.path.join(ROOT, "examples", "mesh", "routes.yaml")).read()
    text = text.replace("weight: 90", f"weight: {v1}").replace("weight: 10\n", f"weight: {v2}\n")
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def step_identities(mesh, traffic):
    counts, _ = traffic.watch(50)
    callers = traffic.latest["callers"]
    say(f"the backends saw their caller as {', '.join(sorted(callers))}")
    expect(set(callers) == {"spiffe://cluster.local/ns/demo/sa/frontend"}, f"unexpected callers: {callers}")
    certificates = json.loads(mesh.admin(BACKENDS["greeter-v1-a"][0], "/certs"))
    names = sorted({
        san["uri"]
        for certificate in certificates["certificates"]
        for chain in certificate.get("cert_chain", [])
        for san in chain.get("subject_alt_names", [])
        if "uri" in san
    })
    say(f"the sidecar of greeter-v1-a presents {', '.join(names)}")
    expect("spiffe://cluster.local/ns/demo/sa/greeter" in names, f"its certificates: {certificates}")
    handshakes = mesh.admin(BACKENDS["greeter-v1-a"][0], "/stats?filter=ssl.handshake").split()
    say(f"mTLS handshakes it has completed: {handshakes[-1] if handshakes else 0}")
    no_failures(traffic)


def step_split(mesh, traffic, requests):
    counts, failures = traffic.watch(requests)
    v2 = share(counts, "v2")
    say(f"{sum(counts.values())} answers: {1 - v2:.0%} from v1, {v2:.0%} from v2; {failures} failures")
    # Four standard deviations: chance alone does not fail the walk.
    spread = 4 * (0.1 * 0.9 / max(sum(counts.values()), 1)) ** 0.5
    expect(abs(v2 - 0.1) < spread, f"v2 has {v2:.1%} of the traffic instead of about 10 %")
    no_failures(traffic)


def step_shift(mesh, traffic, requests):
    started = time.monotonic()
    before = traffic.latest
    set_weights(mesh, 0, 100)

    def moved():
        recent = traffic.latest
        time.sleep(0.12)
        return traffic.latest["requests"] > recent["requests"] and share(traffic.since(recent)[0], "v1") == 0

    wait_for(moved, 10, "v1 gets no more traffic")
    say(f"saved the route with weights 0 and 100; all traffic had moved {time.monotonic() - started:.2f} s later")
    counts, _ = traffic.watch(requests)
    expect(share(counts, "v2") == 1, f"after the move: {counts}")
    _, failures = traffic.since(before)
    say(f"{sum(counts.values())} answers since, all from v2; {failures} failures")
    no_failures(traffic)


def step_health(mesh, traffic, requests):
    set_weights(mesh, 50, 50)
    victim = "greeter-v1-a"
    key = f"v1 {victim}"
    wait_for(lambda: key in traffic.watch(20)[0], 10, f"{victim} gets traffic again")
    mesh.processes[f"{victim}-app"].send_signal(signal.SIGUSR1)
    started = time.monotonic()
    wait_for(lambda: key not in traffic.watch(60)[0], 15, f"{victim} is taken out")
    say(f"{victim} said NOT_SERVING and was out {time.monotonic() - started:.1f} s later")
    counts, _ = traffic.watch(requests)
    expect(key not in counts, f"it still got {counts.get(key)} requests")
    mesh.processes[f"{victim}-app"].send_signal(signal.SIGUSR2)
    started = time.monotonic()
    wait_for(lambda: key in traffic.watch(20)[0], 15, f"{victim} is back")
    say(f"it said SERVING and was back {time.monotonic() - started:.1f} s later")
    no_failures(traffic)


def step_breaker(mesh, traffic, requests):
    # From the sidecar of another pod: its breaker is its own, so the frontend's calls are not touched.
    burst = subprocess.run(
        [os.path.join(mesh.binaries, "frontend"), "--target", f"{BACKENDS['greeter-v1-b'][0]}:15001",
         "--authority", "greeter-v2:50051", "--shape", "unary", "--delay-ms", "1000", "--concurrency", "300",
         "--rate", "100000", "--requests", "300"],
        capture_output=True, text=True, timeout=60,
    )
    report = json.loads([line for line in burst.stdout.splitlines() if line.startswith("{")][-1])
    say(f"300 calls of one second at once, 128 allowed: {report['by_code']}")
    refused = report["by_code"].get("UNAVAILABLE", 0)
    expect(report["by_code"].get("OK", 0) >= 100, f"too few were served: {report}")
    expect(refused >= 50, f"the breaker did not trip: {report}")
    overflow = mesh.admin(BACKENDS["greeter-v1-b"][0], "/stats?usedonly&filter=overflow").split("\n")
    say("; ".join(line for line in overflow if line))
    traffic.watch(requests)
    no_failures(traffic)


def step_control_plane(mesh, traffic, requests):
    process = mesh.processes.pop("control-plane")
    process.kill()
    process.wait()
    counts, failures = traffic.watch(requests)
    say(f"killed the control plane; {sum(counts.values())} answers meanwhile, {failures} failures")
    mesh.start_control_plane()

    def synced():
        output = subprocess.run(
            [os.path.join(mesh.binaries, "remora-control-plane"), "status", "--format", "json"],
            capture_output=True, text=True, timeout=10,
        )
        return output.returncode == 0 and output.stdout.count('"synced"') >= 4 * 4

    wait_for(synced, 40, "all four sidecars are in sync with the new control plane")
    say("started it again: all four sidecars are in sync")
    traffic.watch(requests)
    no_failures(traffic)


def step_drain(mesh, traffic, requests):
    name = "greeter-v1-b"
    address = BACKENDS[name][0]
    process = mesh.processes[f"{name}-sidecar"]
    process.terminate()
    code = process.wait(15)
    say(f"the sidecar of {name} drained and ended with status {code}")
    expect(code == 0, "a drained sidecar ends with status 0")
    counts, failures = traffic.watch(requests)
    say(f"{sum(counts.values())} answers without it, {failures} failures")
    mesh.start_sidecar(name, address)
    mesh.wait_ready(address)
    wait_for(lambda: f"v1 {name}" in traffic.watch(20)[0], 20, f"{name} gets traffic again")
    say("started it again: it gets traffic")
    no_failures(traffic)


STEPS = [
    ("Who calls whom: identities on both ends of the mTLS connection", step_identities),
    ("A route splits traffic 90/10 between v1 and v2", step_split),
    ("An edit of the route file moves all traffic to v2", step_shift),
    ("A backend says NOT_SERVING and is taken out, then comes back", step_health),
    ("A burst trips the circuit breaker", step_breaker),
    ("The control plane is killed and restarted while traffic flows", step_control_plane),
    ("One sidecar is drained and restarted", step_drain),
]


def table(latest):
    title("All traffic of the frontend")
    say(f"requests {latest['requests']}   failures {latest['failures']}   p50 {latest['p50_ms']:.2f} ms   p99 {latest['p99_ms']:.2f} ms")
    for code, count in sorted(latest["by_code"].items()):
        say(f"{code:24} {count:8}")
    for backend, count in sorted(latest["by_backend"].items()):
        say(f"{backend:24} {count:8}")


def run(mesh, arguments):
    title("Starting the control plane, three backends and four sidecars")
    mesh.start_control_plane()
    for name in BACKENDS:
        mesh.start_backend(name)
    mesh.start_sidecar("frontend", FRONTEND)
    for name, (address, _) in BACKENDS.items():
        mesh.start_sidecar(name, address)
    for address in [FRONTEND] + [address for address, _ in BACKENDS.values()]:
        mesh.wait_ready(address)
    traffic = Traffic(mesh, arguments.rate)
    say("up; the frontend calls the greeter through its sidecar from now on, unary and streaming")
    held = True
    for text, step in STEPS:
        title(text)
        try:
            if step is step_identities:
                step(mesh, traffic)
            else:
                step(mesh, traffic, arguments.requests)
            mesh.check_alive()
            say(paint("32", "held"))
        except Failed as failed:
            held = False
            say(paint("31", f"DID NOT HOLD: {failed}"))
    table(traffic.latest)
    if arguments.stay:
        title("Everything stays up until Ctrl-C")
        say(f"admin endpoints: {', '.join(f'http://{address}:15000' for address in [FRONTEND] + [a for a, _ in BACKENDS.values()])}")
        say(f"status: {os.path.join(mesh.binaries, 'remora-control-plane')} status")
        say(f"call: {os.path.join(mesh.binaries, 'frontend')} --target {FRONTEND}:15001 --authority greeter:50051 --shape unary --requests 3")
        say(f"edit: {os.path.join(mesh.directory, 'mesh', 'routes.yaml')}")
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", default=os.path.join(ROOT, "target", "release"), help="where the programs are")
    parser.add_argument("--rate", type=int, default=300, help="requests a second")
    parser.add_argument("--requests", type=int, default=300, help="requests watched in a step")
    parser.add_argument("--stay", action="store_true", help="keep the mesh up at the end, until Ctrl-C")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="remora-demo-")
    mesh = Mesh(arguments.binaries, directory)
    held = False
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        held = run(mesh, arguments)
    except KeyboardInterrupt:
        say("interrupted")
    except Failed as failed:
        say(paint("31", f"FAILED: {failed}"))
    finally:
        mesh.stop()
    if held:
        shutil.rmtree(directory, ignore_errors=True)
        print(paint("32", "\nEvery step held."))
    else:
        print(f"\nNot every step held. Logs: {directory}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
