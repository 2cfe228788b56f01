"""Who may open the page: the door by itself, without a server."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legged_gym_ext.commands import play, train
from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.web.access import Door


def local() -> Door:
    return Door("127.0.0.1", 0)


def anywhere() -> Door:
    return Door("0.0.0.0", 0)


def test_only_a_door_to_other_machines_has_a_token_and_its_url_carries_it() -> None:
    for host in ("127.0.0.1", "localhost", "127.1.2.3"):
        with closing(Door(host, 0)) as door:
            assert door.token is None
            assert door.url == f"http://{host}:{door.port}/"
    with closing(anywhere()) as one, closing(anywhere()) as other:
        assert one.token and other.token and one.token != other.token
        assert one.url == f"http://{socket.gethostname()}:{one.port}/?token={one.token}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_is_this_machine_too() -> None:
    try:
        door = Door("::1", 0)
    except UserError:
        pytest.skip("no IPv6 here")
    with closing(door):
        assert door.token is None
        assert door.url == f"http://[::1]:{door.port}/"
        assert not door.refusal("/", {"host": f"[::1]:{door.port}"})


@given(st.text(max_size=40))
def test_whoever_has_not_the_token_is_refused(guess: str) -> None:
    with closing(anywhere()) as door:
        for headers in ({}, {"host": "robot:8080"}, {"cookie": guess}, {"host": guess}):
            assert door.refusal("/", headers)
            assert door.refusal(f"/?token={guess}", headers)
            assert door.refusal(f"/{guess}", headers)


def test_the_token_comes_in_the_url_and_from_then_on_in_a_cookie_that_no_script_can_read() -> None:
    with closing(anywhere()) as door, closing(anywhere()) as other:
        path = f"/?token={door.token}"
        assert not door.refusal(path, {"host": "robot:1"})
        cookie = door.headers(path)["Set-Cookie"]
        name_and_value, *attributes = cookie.split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert not door.refusal("/assets/index.js", {"host": "robot:1", "cookie": f"theme=dark; {name_and_value}"})
        assert other.refusal("/", {"host": "robot:1", "cookie": name_and_value})
        assert "Set-Cookie" not in door.headers("/assets/index.js")
        assert door.token not in cookie.partition("=")[0]


def test_a_page_from_elsewhere_may_not_connect_even_with_the_cookie() -> None:
    with closing(anywhere()) as door:
        cookie = door.headers(f"/?token={door.token}")["Set-Cookie"].split("; ")[0]
        there = {"host": "robot:1", "cookie": cookie}
        assert not door.refusal("/", {**there, "origin": "http://robot:1"})
        for origin in ("http://evil.example", "null", "http://robot:2", "http://robot:1.evil.example", ""):
            assert door.refusal("/", {**there, "origin": origin})


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost", True),
        ("evil.example:1", False),
        ("localhost.evil.example:1", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1:1", False),
        ("[nonsense", False),
        ("", False),
    ],
)
def test_without_a_token_only_names_of_this_machine_will_do(host: str, known: bool) -> None:
    """Else a page on the internet could have its own name point to 127.0.0.1, and be the page's own origin."""
    with closing(local()) as door:
        assert bool(door.refusal("/", {"host": host, "origin": f"http://{host}"} if known else {"host": host})) != known


def test_a_port_in_use_is_one_clear_line() -> None:
    with closing(local()) as door, pytest.raises(UserError, match=f"--viewer_port {door.port}: in use"):
        Door("127.0.0.1", door.port)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("no.such.name.invalid", 0, "--viewer_host no.such.name.invalid"),
        ("192.0.2.1", 0, "--viewer_host 192.0.2.1"),  # an address for documentation: nobody has it
        ("a" * 300, 0, "--viewer_host"),
        ("127.0.0.1", -1, "--viewer_port -1"),
        ("127.0.0.1", 65536, "--viewer_port 65536"),
    ],
)
def test_what_cannot_be_listened_on_is_one_clear_line(host: str, port: int, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        Door(host, port)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [play, train])
def test_flags(command) -> None:
    args = command.parse_flags(["--viewer=web"])
    assert (args.viewer, args.viewer_host, args.viewer_port) == ("web", "127.0.0.1", 8080)
    assert command.parse_flags(["--viewer=viser"]).viewer == "web"
    assert command.parse_flags(["--viewer=web", "--headless"]).viewer == "web"
    args = command.parse_flags(["--viewer-host=0.0.0.0", "--viewer=web", "--viewer-port=0"])
    assert (args.viewer_host, args.viewer_port) == ("0.0.0.0", 0)
    for line, expected in (
        ("--viewer=webb", "did you mean 'web'?"),
        ("--viewer_port=80", "give --viewer web, too"),
        ("--viewer=web --viewer_port=eighty", "--viewer_port"),
    ):
        with pytest.raises(UserError) as caught:
            command.parse_flags(line.split())
        assert expected in str(caught.value)


def test_a_training_has_no_window_and_no_viewer_unless_asked_for() -> None:
    assert train.parse_flags([]).viewer == "none"
    assert play.parse_flags(["--headless"]).viewer == "none"
    with pytest.raises(UserError, match="allowed: none, web"):
        train.parse_flags(["--viewer=native"])
