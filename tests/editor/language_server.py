"""A language server on its standard streams, as an editor speaks with it."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any


class LanguageServer:
    """One server process; asked in turn, from one thread."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._end = threading.Timer(120, self._process.kill)  # an answer that never comes
        self._end.start()
        self._asked = 0
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        capabilities = {
            "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}}
        }
        self.ask("initialize", processId=None, rootUri=None, capabilities=capabilities)
        self._send({"method": "initialized", "params": {}})
        settings = {"yaml": {"validate": True, "hover": True, "completion": True}}
        self._send({"method": "workspace/didChangeConfiguration", "params": {"settings": settings}})

    def close(self) -> None:
        self._end.cancel()
        self._process.kill()
        self._process.communicate()

    def open(self, file: Path) -> list[dict[str, Any]]:
        """Opens a file; what the server finds wrong in it."""
        uri = file.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": file.read_text()}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        while uri not in self.diagnostics:
            self._receive()
        return self.diagnostics[uri]

    def at(self, question: str, file: Path, line: int, column: int) -> Any:
        """`completion` or `hover` at a place, both counted from 1."""
        return self.ask(
            f"textDocument/{question}",
            textDocument={"uri": file.as_uri()},
            position={"line": line - 1, "character": column - 1},
        )

    def ask(self, method: str, **params: Any) -> Any:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._asked and "method" not in message:
                return message.get("result")

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stream = self._process.stdin
        assert stream is not None
        stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        stream.flush()

    def _receive(self) -> dict[str, Any]:
        """The next message; questions of the server are answered with nothing."""
        stream = self._process.stdout
        assert stream is not None
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        if not length:
            raise EOFError("the server has ended")
        message: dict[str, Any] = json.loads(stream.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            told = message["params"]
            self.diagnostics[told["uri"]] = told["diagnostics"]
        elif "method" in message and "id" in message:
            asked = message.get("params") or {}
            nothing = [None] * len(asked["items"]) if "items" in asked else None
            self._send({"id": message["id"], "result": nothing})
        return message
