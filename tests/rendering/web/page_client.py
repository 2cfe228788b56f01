"""A browser's place at the page, without a browser: the websocket that it opens, and what it says and hears there."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import msgspec
import viser
import zstandard
from websockets.sync.client import connect
from websockets.typing import Subprotocol


class Client:
    """Connects as viser's page does, and says that it looks.

    Args:
        port: On this machine.
        path: With the query.
        headers: Besides the usual ones.
    """

    def __init__(self, port: int, path: str = "/", headers: dict[str, str] | None = None) -> None:
        self._socket = connect(
            f"ws://127.0.0.1:{port}{path}",
            subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            additional_headers=headers,
            compression=None,
            max_size=None,
            open_timeout=60,
        )
        self.heard: list[dict[str, Any]] = []
        self.say(
            "ViewerCameraMessage",
            **{"wxyz": (1, 0, 0, 0), "position": (1, 1, 1), "look_at": (0, 0, 0), "up_direction": (0, 0, 1)},
            **{"fov": 1.0, "near": 0.1, "far": 10.0, "image_height": 100, "image_width": 100},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Go away, as a closed tab does."""
        self._socket.close()

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def say_bytes(self, raw: bytes) -> None:
        """Send what is no message."""
        self._socket.send(raw)

    def listen(self, seconds: float = 0.3) -> list[dict[str, Any]]:
        """Return the messages of that time."""
        until, new = time.monotonic() + seconds, []
        while (left := until - time.monotonic()) > 0:
            try:
                raw = self._socket.recv(timeout=left)
            except TimeoutError:
                break
            assert isinstance(raw, bytes)
            size = int.from_bytes(raw[8:16], "little")
            new += msgspec.msgpack.decode(zstandard.decompress(raw[16 : 16 + size]))["messages"]
        self.heard += new
        return new

    def widget(self, label: str) -> dict[str, Any]:
        """Return the message that made the control with that label."""
        return next(message for message in self.heard if message.get("props", {}).get("label") == label)

    def move(self, label: str, value: Any) -> None:
        """Do with a control what a hand would."""
        self.say("GuiUpdateMessage", uuid=self.widget(label)["uuid"], updates={"value": value})

    def values(self, label: str) -> list[Any]:
        """Return the values that the page was told for that control, in their order; none before it is there."""
        if not any(message.get("props", {}).get("label") == label for message in self.heard):
            return []
        made = self.widget(label)
        told = (m["updates"] for m in self.heard if m["type"] == "GuiUpdateMessage" and m["uuid"] == made["uuid"])
        return [made["value"], *(updates["value"] for updates in told if "value" in updates)]
