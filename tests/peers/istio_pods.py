"""Three pods in network namespaces of their own, on one bridge: two with a sidecar, to which iptables redirects as Istio
has it, and one without. Prints what became of calls between them.

To be started by `unshare --user --map-root-user --net`, with a JSON object on standard input: `sidecars`, by pod's name the
command, what else runs in the pod, its folder and the statistics asked for; and `calls`, by pod's name. As the only user here is root, the traffic of an application is known by
its mark, not by its user.
"""
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import h2.events

from h2_wire import Wire

PODS = {"client": "10.10.1.1", "server": "10.10.2.1", "plain": "10.10.3.1"}
HTTP_PORTS = [9080, 9081, 8000, 9999]
HTTP2_PORT = 7070
TCP_PORTS = [3306, 8081]
#: Ports of the sidecar itself (Istio's): not redirected.
OWN_PORTS = "15008,15020,15021,15090"
MARK = 1
PATIENCE = 15


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


# ---- what runs in a pod


def serve(port, answer):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=guarded, args=(answer, connection, peer[0]), daemon=True).start()


def guarded(answer, connection, peer):
    with connection:
        try:
            answer(connection, peer)
        except OSError:
            pass


def app(pod):
    """An application: over HTTP it says who called and how, over TCP it echoes behind that; HTTP on 8000 too, if it is."""

    def described(connection, peer, headers):
        port, told = connection.getsockname()[1], headers.get("x-forwarded-client-cert", "")
        return json.dumps({"pod": pod, "port": port, "from": peer, "xfcc": told}).encode()

    def http(connection, peer):
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                if port_is_tcp(received):
                    connection.sendall(f"{pod} {peer} ".encode() + received)
                    return
                data = connection.recv(65536)
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            lines = head.decode("latin1").split("\r\n")[1:]
            fields = (line.partition(":") for line in lines)
            body = described(connection, peer, {name.lower(): value.strip() for name, _, value in fields})
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    def port_is_tcp(received):
        return received and not received.startswith(b"GET"[: len(received)])

    def http2(connection, peer):
        wire = Wire(connection, client=False)
        while (events := wire.events()) is not None:
            for event in events:
                if isinstance(event, h2.events.RequestReceived):
                    body = described(connection, peer, dict(event.headers))
                    head = [(":status", "200"), ("content-length", str(len(body)))]
                    wire.h2.send_headers(event.stream_id, head)
                    wire.body(event.stream_id, body)

    def echo(connection, peer):
        data = connection.recv(65536)
        connection.sendall(f"{pod} {peer} ".encode() + data)

    for port in HTTP_PORTS:
        threading.Thread(target=serve, args=(port, http), daemon=True).start()
    threading.Thread(target=serve, args=(HTTP2_PORT, http2), daemon=True).start()
    for port in TCP_PORTS:
        threading.Thread(target=serve, args=(port, echo), daemon=True).start()
    print("serving", flush=True)
    signal.pause()


def connect(address, port, marked):
    connection = socket.socket()
    connection.settimeout(PATIENCE)
    if marked:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    connection.connect((address, port))
    return connection


def client_hello(name):
    """The first flight of TLS with somebody of this name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def call(kind, address, port, what, marked):
    """An answer; `closed` where the connection ended without one."""
    try:
        with connect(address, port, marked) as connection:
            if kind == "tcp":
                connection.sendall(what.encode())
                return connection.recv(65536).decode() or "closed"
            if kind == "hello":
                hello = client_hello(what)
                connection.sendall(hello)
                received = connection.recv(65536)
                who, _, rest = received.rpartition(hello)
                return f"{who.decode()}hello{rest.decode()}" if hello in received else repr(received[:40])
            path, host = (what.split(" ") + [""])[:2]
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            received = b""
            while data := connection.recv(65536):
                received += data
            if not received:
                return "closed"
            head, _, body = received.partition(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            text = body.decode()
            return {"status": status, "body": json.loads(text) if text.startswith("{") else text}
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return "closed" if isinstance(error, ConnectionError) else repr(error)


def calls():
    """Makes the calls on standard input, a JSON list a line, and prints their results so."""
    for line in sys.stdin:
        print(json.dumps({name: call(*rest) for name, *rest in json.loads(line)}), flush=True)


# ---- the pods themselves


class Pod:
    def __init__(self, name, number):
        self.name, self.address = name, PODS[name]
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            time.sleep(0.01)
        outer = f"pod{number}"
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        run("ip", "link", "set", outer, "master", "mesh", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/16", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", "10.10.0.1")
        self.processes = []
        self.start([sys.executable, __file__, "app", name], stdout=subprocess.PIPE).stdout.readline()

    def within(self, command):
        return ["nsenter", f"--target={self.holder.pid}", "--net", *command]

    def run(self, *command):
        run(*self.within(command))

    def start(self, command, **how):
        process = subprocess.Popen(self.within(command), **how)
        self.processes.append(process)
        return process

    def capture(self):
        """Istio's rules, the mark in place of the user."""
        nat = ["iptables", "-t", "nat", "-A"]
        to = ["-j", "REDIRECT", "--to-ports"]
        self.run(*nat, "PREROUTING", "-p", "tcp", "-m", "multiport", "!", "--dports", OWN_PORTS, *to, "15006")
        mark = ["-p", "tcp", "-m", "mark", "--mark", str(MARK), "!", "-d", "127.0.0.1/32"]
        self.run(*nat, "OUTPUT", *mark, *to, "15001")

    def sidecar(self, command, folder):
        path = pathlib.Path(folder)
        with open(path / "access.log", "w") as out, open(path / "errors.log", "w") as errors:
            self.proxy = self.start(command, cwd=folder, stdout=out, stderr=errors)
        self.folder = path

    def beside(self, command, folder):
        path = pathlib.Path(folder)
        with open(path / "beside.log", "a") as out:
            self.start(command, cwd=folder, stdout=out, stderr=out)

    def caller(self):
        process = self.start([sys.executable, __file__, "calls"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def make(calls):
            process.stdin.write(json.dumps(calls) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        return make

    def end(self):
        for process in [*self.processes, self.holder]:
            process.kill()
            process.wait()


def admin(make, path):
    return make([["admin", "get", "127.0.0.1", 15000, path, False]])["admin"]


def main():
    wanted = json.load(sys.stdin)
    run("ip", "link", "add", "mesh", "type", "bridge")
    run("ip", "address", "add", "10.10.0.1/16", "dev", "mesh")
    run("ip", "link", "set", "mesh", "up")
    pods, result = {}, {}
    try:
        for number, name in enumerate(PODS):
            pods[name] = Pod(name, number)
        callers = {name: pod.caller() for name, pod in pods.items()}
        for name, sidecar in wanted["sidecars"].items():
            pods[name].capture()
            for command in sidecar.get("beside", []):
                pods[name].beside(command, sidecar["folder"])
            pods[name].sidecar(sidecar["command"], sidecar["folder"])
        for name in wanted["sidecars"]:
            deadline = time.monotonic() + 30
            while True:
                ready = admin(callers[name], "/ready")
                if isinstance(ready, dict) and ready["status"] == 200:
                    break
                if time.monotonic() > deadline or pods[name].proxy.poll() is not None:
                    waits = admin(callers[name], "/init_dump")
                    log = (pods[name].folder / "errors.log").read_text()[-4000:]
                    sys.exit(f"{name}'s sidecar is not ready ({ready}, {waits}):\n{log}")
                time.sleep(0.02)
        result["calls"] = {name: make(wanted["calls"].get(name, [])) for name, make in callers.items()}
        result["stats"] = {name: statistics(callers[name], sidecar["stats"]) for name, sidecar in wanted["sidecars"].items()}
        # Ended as Kubernetes does it, so that its log is whole.
        for name in wanted["sidecars"]:
            pods[name].proxy.terminate()
        for name in wanted["sidecars"]:
            result[f"exit of {name}"] = pods[name].proxy.wait(timeout=30)
    finally:
        for pod in pods.values():
            pod.end()
    print(json.dumps(result))


def statistics(make, names):
    lines = admin(make, "/stats")["body"].splitlines()
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    return {name: int(values.get(name, 0)) for name in names}


{"app": lambda: app(sys.argv[2]), "calls": calls}.get(sys.argv[1] if len(sys.argv) > 1 else "", main)()
