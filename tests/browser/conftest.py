"""The built site, served on this machine alone, and a Chromium to visit it.

These checks are no laws: `nox -s browser` runs them, and a plain `pytest` passes them by.
"""

import gzip
import mimetypes
import os
import shutil
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(os.environ.get("GPTSPEC_SITE", Path(__file__).parents[2] / "site")).resolve()
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium was found: install one (Debian: `apt-get install chromium`; elsewhere Google "
    "Chrome), or name its program in the variable CHROMIUM"
)


def chromium():
    """Return the program of an installed Chromium."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not found:
        pytest.exit(MISSING, returncode=1)
    return found


@cache
def compressed(file):
    """Return a file as a web server would send it."""
    return gzip.compress(file.read_bytes(), 6)


class Handler(BaseHTTPRequestHandler):
    """Serves the site, its texts compressed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        file = SITE / unquote(urlsplit(self.path).path).lstrip("/")
        if file.is_dir():
            file /= "index.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if not file.is_file():
            self.send_error(404)
            return
        text = kind.startswith("text/") or kind.endswith(("json", "javascript", "xml"))
        body = compressed(file) if text else file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=31536000")
        if text:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="session")
def host():
    """The address of the site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, in a container, Chromium cannot have its sandbox; it reads nothing but this site.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        running = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield running
        running.close()
