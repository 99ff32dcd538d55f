"""Runs a proxy in a network namespace in which iptables redirects connections to it, and prints what became of them.

To be started by `unshare --user --map-root-user --net`. Arguments: the proxy's binary and its bootstrap.
"""
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

ADDRESSES = ["10.1.1.1", "10.1.1.2", "10.1.1.9"]


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def serve(address):
    """A backend that says its address, and then what it received."""
    listener = socket.create_server((address, 8080))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, address), daemon=True).start()


def answer(connection, address):
    with connection:
        connection.sendall(address.encode() + b" ")
        while data := connection.recv(65536):
            connection.sendall(data)


def exchange(address, port, data):
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(data)
            # An end that comes before its listener filters are done would be one in Envoy.
            received = connection.recv(65536)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
            return received.decode()
    except OSError as error:
        # Closed by the proxy, sooner or later than we got to our own end.
        return repr(error) if isinstance(error, ConnectionRefusedError) else ""


def main():
    binary, bootstrap = sys.argv[1:3]
    run("ip", "link", "set", "lo", "up")
    for address in ADDRESSES:
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    for port, to in [("80:89", "15001"), ("90:99", "15006")]:
        run("iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", port, "-j", "REDIRECT", "--to-ports", to)
    proxy = subprocess.Popen(
        [binary, "-c", bootstrap, "--concurrency", "2", "--disable-hot-restart", "--file-flush-interval-msec", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen("http://127.0.0.1:15000/ready", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        result = {
            "passed through": exchange("10.1.1.1", 80, b"one"),
            "a service's own listener": exchange("10.1.1.2", 80, b"two"),
            "a listener of every address": exchange("10.1.1.1", 81, b"GET / HTTP/1.1\r\n\r\n"),
            "its default chain": exchange("10.1.1.1", 81, b"neither HTTP nor TLS \r\n"),
            "an original port": exchange("10.1.1.1", 90, b"three"),
            "another original port": exchange("10.1.1.1", 91, b"four"),
            "straight to the proxy": exchange("10.1.1.1", 15001, b"five"),
            "straight to its other port": exchange("10.1.1.1", 15006, b"six"),
        }
        time.sleep(0.5)
    finally:
        proxy.terminate()
        output = proxy.communicate(timeout=20)[0]
    result["log"] = sorted(output.splitlines())
    print(json.dumps(result))


main()
