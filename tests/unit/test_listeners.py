"""Which addresses may be listened on; numbers only, so that nobody is asked for a name."""

from __future__ import annotations

import socket

import pytest

from gstream.errors import ConfigError, ListenError
from gstream.listeners import UnixListener, resolve


@pytest.mark.parametrize(
    ("host", "family", "address"),
    [
        ("127.0.0.1", socket.AF_INET, ("127.0.0.1", 8080)),
        ("127.1.2.3", socket.AF_INET, ("127.1.2.3", 8080)),
        ("::1", socket.AF_INET6, ("::1", 8080, 0, 0)),
    ],
)
@pytest.mark.parametrize("insecure", [False, True])
def test_loopback_is_taken(host, family, address, insecure):
    assert resolve(host, 8080, insecure=insecure) == [(family, address)]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "255.255.255.255"])
def test_what_others_can_reach_is_taken_only_when_that_is_meant(host):
    with pytest.raises(ConfigError, match=rf"^--host: {host} can be reached from other machines.*add --insecure$"):
        resolve(host, 8080, insecure=False)
    ((_, address),) = resolve(host, 8080, insecure=True)
    assert address[:2] == (host, 8080)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"])
def test_a_name_that_cannot_be_one(host):
    with pytest.raises(ConfigError, match=r"^--host: cannot resolve '[a.b]"):
        resolve(host, 8080, insecure=False)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ListenError, match=r"^cannot listen on .*: there is a file that is no socket; remove it"):
        UnixListener(str(path))
    assert path.read_text() == "precious"


def test_a_directory_is_left_alone(tmp_path):
    with pytest.raises(ListenError, match="there is a file that is no socket"):
        UnixListener(str(tmp_path))
    assert tmp_path.is_dir()
