"""An S3 on loopback: moto's, behind a counter of requests and bytes that can be told to fail."""

import socket
import threading
import time
from dataclasses import dataclass, field

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class Asked:
    """A request: its method, path, range and query, its status, and the bytes of the answer."""

    method: str
    path: str
    range: str
    query: str
    status: int = 0
    sent: int = 0


@dataclass
class Fault:
    """What becomes of the next `times` requests that it fits, after the first `after`."""

    method: str = "GET"
    path: str = ""
    query: str = ""
    times: int = 1
    after: int = 0
    status: int = 0
    drop_at: int | None = None
    """Bytes of the body after which the connection breaks."""
    wait: float = 0

    def takes(self, asked):
        if asked.method != self.method or self.path not in asked.path:
            return False
        if self.query not in asked.query or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Server:
    """A WSGI application around another, and the port where it listens."""

    app: object
    asked: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def __post_init__(self):
        self._lock = threading.Lock()
        handler = type("Quiet", (WSGIRequestHandler,), {"log": lambda *_: None})
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()

    def clear(self):
        self.asked.clear()
        self.faults.clear()

    def fail(self, **fault):
        self.faults.append(Fault(**fault))

    def count(self, method="GET", path=""):
        return sum(one.method == method and path in one.path for one in self.asked)

    def sent(self, path=""):
        """Bytes of files that were sent."""
        return sum(one.sent for one in self.asked if one.method == "GET" and path in one.path)

    def __call__(self, environ, start_response):
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"],
                      environ.get("HTTP_RANGE", ""), environ["QUERY_STRING"])  # fmt: skip
        with self._lock:
            self.asked.append(asked)
            fault = next((one for one in self.faults if one.takes(asked)), None)
        if fault and fault.wait:
            time.sleep(fault.wait)
        if fault and fault.status:
            asked.status = fault.status
            start_response(f"{fault.status} Fault", [("Content-Length", "0")])
            return [b""]

        def start(status, headers, exc_info=None):
            asked.status = int(status.split()[0])
            return start_response(status, headers, exc_info)

        return self._counted(self.app(environ, start), asked, fault, environ)

    def _counted(self, answer, asked, fault, environ):
        for part in answer:
            if fault and fault.drop_at is not None and asked.sent + len(part) > fault.drop_at:
                part = part[: fault.drop_at - asked.sent]
                asked.sent += len(part)
                yield part
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                return
            asked.sent += len(part)
            yield part


def s3_server():
    return Server(DomainDispatcherApplication(create_backend_app))
