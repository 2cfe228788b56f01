"""The page as it is served, at the other end of a real websocket; what a browser draws is in test_browser.py."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from page_client import Client
from small_env import CPU, TINY
from websockets.exceptions import ConnectionClosed, InvalidStatus

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.web.access import Door
from legged_gym_ext.rendering.web.controls import Buttons, Choice, Control, Slider, Switch, Value, checked
from legged_gym_ext.rendering.web.page import Page
from legged_gym_ext.rendering.web.show import open_page
from legged_gym_ext.rendering.web.sight import see
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.terrain.boxes import HALF

LONG = 60.0  # s: on a machine that is busy


class Desk:
    """Something with controls, which keeps what they were set to."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {"speed": 1.0, "paused": False, "kind": "gaps"}
        self.kinds = ("gaps", "steps")
        self.pressed: list[Value] = []

    def controls(self) -> list[Control]:
        return [
            Slider("speed", "speed, m/s", 0.0, 2.0, 0.05, float(self.values["speed"])),
            Switch("paused", "pause", bool(self.values["paused"])),
            Choice("kind", "terrain", self.kinds, str(self.values["kind"])),
            Buttons("push", "push", ("left", "right")),
            Buttons("look", "", ("look again",)),
        ]

    def set(self, name: str, value: Value) -> None:
        value = checked(self.controls(), name, value)
        if name in self.values:
            self.values[name] = value
        else:
            self.pressed.append(value)


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    return ParkourEnv(settle(load_config("parkour_depth", TINY)), 4, CPU)


@pytest.fixture
def page(env: ParkourEnv) -> Iterator[Page]:
    with closing(open_page(Door("127.0.0.1", 0), env)) as page:
        yield page


@pytest.fixture
def guarded(env: ParkourEnv) -> Iterator[Door]:
    """The door of a page that other machines could reach."""
    door = Door("0.0.0.0", 0)
    with closing(open_page(door, env)):
        yield door


def port(page: Page) -> int:
    return page._server.get_port()


def until(met: Callable[[], object], *act: Callable[[], object]) -> None:
    """Act until it is met."""
    end = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < end, "it took too long"
        for each in act:
            each()
        time.sleep(0.02)


def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=LONG) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


# ---------------------------------------------------------------------- who may come in


def test_a_visitor_without_the_token_gets_nothing(guarded: Door) -> None:
    here = f"http://127.0.0.1:{guarded.port}"
    assert guarded.token
    for path in ("/", "/index.html", "/?token=", "/?token=wrong", f"/?tokens={guarded.token}", "/assets/x.js"):
        status, body, headers = get(here + path)
        assert (status, body) == (403, b"open the URL that was printed, with its token\n")
        assert "Set-Cookie" not in headers
        with pytest.raises(InvalidStatus) as caught:
            Client(guarded.port, path)
        assert caught.value.response.status_code == 403
    cookie = guarded.headers(f"/?token={guarded.token}")["Set-Cookie"].split("; ")[0]
    with pytest.raises(InvalidStatus):
        Client(guarded.port, headers={"Cookie": cookie[:-1]})
    with pytest.raises(InvalidStatus):
        Client(guarded.port, headers={"Cookie": cookie, "Origin": "http://elsewhere.example"})


def test_with_the_token_a_browser_gets_the_page_and_then_everything_by_its_cookie(guarded: Door) -> None:
    here = f"http://127.0.0.1:{guarded.port}"
    status, body, headers = get(f"{here}/?token={guarded.token}")
    assert status == 200 and b"<html" in body
    cookie = headers["Set-Cookie"].split("; ")[0]
    assert get(here, Cookie=cookie)[0] == 200
    for way in ({"headers": {"Cookie": cookie, "Origin": here}}, {"path": f"/?token={guarded.token}"}):
        with Client(guarded.port, **way) as client:
            until(lambda client=client: client.heard, client.listen)


def test_on_this_machine_another_page_in_the_browser_may_not_connect(page: Page) -> None:
    with pytest.raises(InvalidStatus):
        Client(port(page), headers={"Origin": "http://elsewhere.example"})
    with pytest.raises(InvalidStatus):
        Client(port(page), headers={"Host": "elsewhere.example", "Origin": "http://elsewhere.example"})
    with Client(port(page), headers={"Origin": f"http://127.0.0.1:{port(page)}"}) as client:
        until(lambda: client.heard, client.listen)


def test_nonsense_at_the_port_is_neither_told_nor_minded(page: Page, capfd: pytest.CaptureFixture) -> None:
    for raw in (b"", b"\x00\xff" * 50, b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port(page)), timeout=LONG) as other:
            other.sendall(raw)
            other.shutdown(socket.SHUT_WR)
            other.recv(4096)
    with Client(port(page)) as rude:
        rude.say_bytes(b"\x00\x01nonsense")
        with contextlib.suppress(ConnectionClosed):
            rude.listen()
    with Client(port(page)) as client:
        until(lambda: client.heard, client.listen)
    assert capfd.readouterr() == ("", "")


def test_nobody_can_have_the_page_published(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    import viser._viser

    monkeypatch.setattr(viser._viser, "ViserTunnel", lambda *_: pytest.fail("a tunnel was opened"), raising=False)
    with Client(port(page)) as client:
        client.say("ShareUrlRequest")
        client.listen(0.5)
    assert page._server.request_share_url() is None


def test_when_it_is_closed_nobody_listens_any_more(env: ParkourEnv, capsys: pytest.CaptureFixture) -> None:
    door = Door("127.0.0.1", 0)
    page = open_page(door, env)
    with Client(door.port) as client:
        until(lambda: page.watched, client.listen)
        page.close()
    assert capsys.readouterr().out == f"viewer     {door.url}\n"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", door.port), timeout=LONG)
    Door("127.0.0.1", door.port).close()


def test_websockets_is_as_it_was(page: Page) -> None:
    import websockets.asyncio.server

    assert websockets.asyncio.server.serve.__module__ == "websockets.asyncio.server"


# ---------------------------------------------------------------------- controls


def test_two_browsers_control_the_same_and_a_closed_tab_changes_nothing(page: Page) -> None:
    desk = Desk()
    page.obey(desk)
    with Client(port(page)) as stays:
        with Client(port(page)) as goes:
            until(lambda: page.watched, goes.listen, stays.listen)
            until(lambda: any(m["type"] == "GuiSliderMessage" for m in goes.heard), goes.listen)
            goes.move("speed, m/s", 0.4)
            until(lambda: desk.values["speed"] == 0.4, lambda: page.obey(desk))
            until(lambda: stays.values("speed, m/s")[-1:] == [0.4], stays.listen)
        for _ in range(3):
            page.obey(desk)
            stays.listen(0.1)
        assert desk.values == {"speed": 0.4, "paused": False, "kind": "gaps"}
        assert page.watched
        stays.move("pause", True)
        stays.move("terrain", "steps")
        stays.move("push", "right")
        until(lambda: desk.values["kind"] == "steps" and desk.pressed, lambda: page.obey(desk))
        assert (desk.values["paused"], desk.pressed) == (True, ["right"])
    until(lambda: not page.watched)
    page.obey(desk)
    assert desk.values == {"speed": 0.4, "paused": True, "kind": "steps"}
    with Client(port(page)) as late:
        until(lambda: any(m["type"] == "GuiSliderMessage" for m in late.heard), late.listen)
        late.listen()
        assert late.values("speed, m/s")[-1] == 0.4


def test_what_the_program_changes_is_shown_and_what_is_not_allowed_is_taken_back(page: Page) -> None:
    desk = Desk()
    page.obey(desk)
    with Client(port(page)) as client:
        until(lambda: any(m["type"] == "GuiDropdownMessage" for m in client.heard), client.listen)
        desk.kinds, desk.values["kind"] = ("beams", "gaps"), "beams"
        page.obey(desk)
        until(lambda: client.values("terrain")[-1] == "beams", client.listen)
        client.move("speed, m/s", 99.0)
        refused = lambda: any("allowed: 0 to 2" in str(message) for message in client.heard)  # noqa: E731
        until(refused, lambda: page.obey(desk), client.listen)
        until(lambda: client.values("speed, m/s")[1:] == [1.0], client.listen)  # told so once more
        assert desk.values["speed"] == 1.0


# ---------------------------------------------------------------------- pictures


def test_a_page_draws_what_it_is_shown_and_what_stays_the_same_once(page: Page, env: ParkourEnv) -> None:
    _, _, _, extras = env.step(torch.zeros(4, 10))
    sights = [see(env, index, {"student": torch.ones(4, 10)}, extras) for index in (0, 0, 1)]
    page.show(sights[0], "first")
    with Client(port(page)) as client:
        until(lambda: page.watched, client.listen)
        client.listen(0.5)
        kinds = [message["type"] for message in client.heard]
        boxes = int((env.boxes[0, :, HALF.start] > 0).sum())
        shapes = [m["name"] for m in client.heard if str(m.get("name", "")).startswith("/world/shape")]
        assert len(set(shapes)) == boxes + env.config.terrain.waypoints
        assert "CameraFrustumMessage" in kinds and "GuiUplotMessage" in kinds
        page.remember(sights[1])
        page.show(sights[1], "second")
        new = client.listen(0.5)
        assert not [m for m in new if str(m.get("name", "")).startswith("/world/shape")]
        page.show(sights[2], "third")
        until(lambda: any(str(m.get("name", "")).startswith("/world/shape") for m in client.heard), client.listen)
        moment = sights[2].moment
        page.show(replace(sights[2], moment=replace(moment, boxes=moment.boxes[:1])), "fewer boxes")
        removed = lambda: {m["name"] for m in client.heard if m["type"] == "RemoveSceneNodeMessage"}  # noqa: E731
        until(lambda: f"/world/shape{len(set(shapes)) - 1}" in removed(), client.listen)
        np.testing.assert_allclose(-page._world.position[:2], sights[2].moment.root_pos[:2], atol=1e-5)


def test_a_page_needs_no_camera() -> None:
    env = ParkourEnv(
        settle(load_config("parkour_scandots", (*TINY, "camera.enabled=false", "distill.enabled=false"))), 2, CPU
    )
    with closing(open_page(Door("127.0.0.1", 0), env)) as page:
        page.show(see(env, 0), "")


def test_a_port_in_use_is_told_before_anything_is_built(page: Page) -> None:
    with pytest.raises(UserError, match="in use"):
        Door("127.0.0.1", port(page))
