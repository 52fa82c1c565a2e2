"""A registry of images on loopback, and an image made of programs of this host."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Registry:
    """Serves what was put there, and notes what was asked for."""

    def __init__(self):
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.asked.append(self.path)
                kind, body = registry.answers.get(self.path, ("text/plain", b""))
                self.send_response(200 if self.path in registry.answers else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def push(self, name: str, tag: str, files: dict[str, bytes | Path]) -> str:
        """An image of one layer with these files, by their path; the reference to it."""
        layer = _layer(files)
        configuration = {
            "architecture": _architecture(), "os": "linux", "config": {"Env": ["MADE_BY=the test"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self._blob(name, CONFIGURATION, json.dumps(configuration).encode()),
            "layers": [self._blob(name, LAYER, gzip.compress(layer))],
        }  # fmt: skip
        body = json.dumps(manifest).encode()
        for reference in (tag, _digest(body)):
            self.answers[f"/v2/{name}/manifests/{reference}"] = (MANIFEST, body)
        return f"{self.host}/{name}:{tag}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _blob(self, name: str, kind: str, body: bytes) -> dict:
        self.answers[f"/v2/{name}/blobs/{_digest(body)}"] = ("application/octet-stream", body)
        return {"mediaType": kind, "digest": _digest(body), "size": len(body)}


def programs(*names: str) -> dict[str, bytes | Path]:
    """Programs of this host with the libraries they need, where an image has them."""
    files: dict[str, bytes | Path] = {}
    for name in names:
        program = Path(shutil.which(name)).resolve()
        files[f"bin/{name}"] = program
        needed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", needed):
            files[library.lstrip("/")] = Path(library).resolve()
    return files


def _layer(files: dict[str, bytes | Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            body = content if isinstance(content, bytes) else content.read_bytes()
            entry.size, entry.mode = len(body), 0o755
            layer.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
