"""The internet of the tests: `internet.py SITE ELSEWHERE RESOLVER FOLDER`, in a namespace of its own.

https and http at both sites, an endless download, ssh-like greetings at port 22, UDP that answers, and a resolver that
knows some names and lies about others. The authority of the certificates is FOLDER/ca.pem.
"""

import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

NAMES = {
    "allowed.example.com": "SITE",
    "later.example.com": "SITE",
    "other.example.com": "SITE",
    "evil.example.com": "ELSEWHERE",
    "rebind.example.com": "169.254.169.254",
    "private.example.com": "10.0.0.1",
}


def certificates(folder: Path) -> ssl.SSLContext:
    make = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)  # noqa: E731
    make("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=test internet", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    make("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=site",
         "-keyout", "site.key", "-out", "site.csr")  # fmt: skip
    (folder / "names").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES) + "\n")
    make("x509", "-req", "-in", "site.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
         "-extfile", "names", "-out", "site.pem")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "site.pem", folder / "site.key")
    return context


def answer_http(connection: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(4096)
        if not more:
            return
        head += more
    if head.startswith(b"GET /endless"):
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while True:
            connection.sendall(b"more\n")
            time.sleep(0.05)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n")


def serve(address: str, port: int, talk) -> None:
    listener = socket.create_server((address, port))

    def one(connection: socket.socket) -> None:
        try:
            with connection:
                talk(connection)
        except OSError:
            pass  # the peer left

    def accept() -> None:
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def serve_dns(resolver: str, addresses: dict[str, str]) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((resolver, 53))

    def answer() -> None:
        while True:
            question, peer = listener.recvfrom(4096)
            end, labels = 12, []
            while question[end]:
                labels.append(question[end + 1 : end + 1 + question[end]].decode())
                end += question[end] + 1
            kind = struct.unpack(">H", question[end + 1 : end + 3])[0]
            address = addresses.get(".".join(labels).lower()) if kind == 1 else None
            known = ".".join(labels).lower() in addresses
            head = question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, 1 if address else 0, 0, 0)
            body = question[12 : end + 5]
            if address:
                body += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
            listener.sendto(head + body, peer)

    threading.Thread(target=answer, daemon=True).start()


def main() -> None:
    site, elsewhere, resolver, folder = sys.argv[1:]
    context = certificates(Path(folder))
    places = {"SITE": site, "ELSEWHERE": elsewhere}

    def tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            answer_http(secured)

    for address in (site, elsewhere):
        serve(address, 443, tls)
        serve(address, 8444, tls)
        serve(address, 80, answer_http)
        serve(address, 22, lambda connection: connection.sendall(b"SSH-2.0-nobody\r\n"))
    serve_dns(resolver, {name: places.get(place, place) for name, place in NAMES.items()})
    print("ready", flush=True)
    threading.Event().wait()


main()
