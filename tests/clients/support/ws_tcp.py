"""A `ProxyCommand` for ssh as Azure's own clients are one: a WebSocket at `/nbip/v1.0/ws-tcp` with a bearer token, binary
messages in both directions, a ping now and then. Run as a program: `ws_tcp.py wss://HOST[:PORT] TOKEN_FILE CA_FILE`."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import websocket

PATH = "/nbip/v1.0/ws-tcp"


def main(endpoint: str, token_file: str, ca_file: str) -> int:
    parts = urlsplit(endpoint)
    # Names under localhost are this host, also where no resolver says so.
    stream = socket.create_connection(("127.0.0.1", parts.port), 60)
    stream = ssl.create_default_context(cafile=ca_file).wrap_socket(stream, server_hostname=parts.hostname)
    header = [f"Authorization: Bearer {Path(token_file).read_text().strip()}"]
    try:
        tunnel = websocket.create_connection(endpoint.rstrip("/") + PATH, header=header, socket=stream)
    except websocket.WebSocketBadStatusException as refused:
        print(f"the tunnel was refused: {refused.status_code} {refused.resp_body}", file=sys.stderr)
        return 1
    stream.settimeout(None)
    threading.Thread(target=upstream, args=(tunnel,), daemon=True).start()
    while True:
        opcode, data = tunnel.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big")
            print(f"closed: {code} {data[2:].decode()}", file=sys.stderr)
            return 0 if code in (1000, 1001) else 1
        write(data)


def upstream(tunnel: websocket.WebSocket) -> None:
    tunnel.ping()
    while data := os.read(0, 4096):
        tunnel.send_binary(data)
    tunnel.close()


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
