"""Who may open the page: where it listens, and the token that its URL must carry where others could reach it."""

from __future__ import annotations

import argparse
import errno
import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from legged_gym_ext.config.cli import WEB_VIEWER
from legged_gym_ext.errors import UserError

_ANY = ("0.0.0.0", "::")


class Door:
    """A port that listens already, and who may come in.

    Only this machine: whoever names it so. A page on the internet that a browser here has open could name it, too; so
    requests must be to a name of this machine (not to a foreign name that is made to point to it), and the browser's
    word for where a connection comes from must be the page itself.

    Other machines, too: whoever has the token. A browser shows it once, in the URL, and then has it in a cookie, which
    scripts and other sites cannot read.

    Args:
        host: Name or address to listen on.
        port: To listen on; 0 = any that is free.

    Raises:
        UserError: That cannot be done.
    """

    def __init__(self, host: str, port: int) -> None:
        if not 0 <= port <= 65535:
            raise UserError(f"--viewer_port {port}; allowed: 0 (any that is free) to 65535")
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise UserError(f"--viewer_host {host}: no name or address of this machine") from error
        self.socket = socket.socket(family, kind)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(address)
            self.socket.listen()
        except OSError as error:
            self.socket.close()
            if error.errno == errno.EADDRINUSE:
                raise UserError(f"--viewer_port {port}: in use; give another one, or 0 for any that is free") from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(f"--viewer_host {host}: no name or address of this machine") from error
            raise UserError(f"--viewer_port {port}: cannot listen there: {error.strerror}") from error
        self.host, self.port = host, int(self.socket.getsockname()[1])
        local = ipaddress.ip_address(address[0]).is_loopback
        self.token = None if local else secrets.token_urlsafe(16)
        """What the URL must carry; None where only this machine can come in."""

    @property
    def url(self) -> str:
        """Return the URL to open, with the token."""
        host = socket.gethostname() if self.host in _ANY else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def close(self) -> None:
        """Listen no more."""
        self.socket.close()

    def refusal(self, path: str, headers: Mapping[str, str]) -> str:
        """Return why a request is refused, in a line for who makes it; "" where it is not.

        Args:
            path: Of the request, with its query.
            headers: Of the request, by names in lower case.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "another page may not connect here"
        if self.token is not None:
            known = _matches(_query_token(path), self.token) or _matches(self._cookie(headers), self.token)
            return "" if known else "open the URL that was printed, with its token"
        return "" if _is_local(host) else f"open it as http://localhost:{self.port}/"

    def headers(self, path: str) -> dict[str, str]:
        """Return what the answer to a request that was let in says besides: the cookie, where the URL had the token."""
        result = {"Referrer-Policy": "no-referrer"}
        if self.token is not None and _query_token(path):
            result["Set-Cookie"] = f"{self._cookie_name}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        return result

    @property
    def _cookie_name(self) -> str:
        # Cookies belong to a host, whatever the port: each page's has its own name, which does not tell the token.
        return f"viewer_{hashlib.sha256((self.token or '').encode()).hexdigest()[:12]}"

    def _cookie(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie_name)
        except CookieError:
            return ""
        return morsel.value if morsel else ""


def open_door(args: argparse.Namespace) -> Door | None:
    """Return the door that a command line's flags ask for; None where it asks for no web viewer.

    Raises:
        UserError: The page cannot be served there.
    """
    return Door(args.viewer_host, args.viewer_port) if args.viewer == WEB_VIEWER else None


def _query_token(path: str) -> str:
    try:
        return parse_qs(urlsplit(path).query).get("token", [""])[0]
    except ValueError:
        return ""


def _matches(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _is_local(host: str) -> bool:
    """Return whether a request's ``Host`` is a name of this machine to itself."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
