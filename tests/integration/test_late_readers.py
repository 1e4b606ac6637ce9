"""Clients that publish and read late, while the disk is at work: every reply comes, whole and in order."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until

COUNT = 600_000
"""So many replies do not fit between a server and a client that does not read."""
PIECE = b"P1\nx\n" * 100


@pytest.mark.parametrize("sync_seconds", [0.0, float("inf")], ids=["always", "never"])
def test_every_reply_comes_whole_and_in_order(tmp_path: Path, sync_seconds: float) -> None:
    with (
        ServerThread(data_dir=str(tmp_path / "data"), sync_seconds=sync_seconds, banner=False) as server,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(TIMEOUT_SECONDS)
        client.connect((server.host, server.port))
        sender = threading.Thread(target=lambda: [client.sendall(PIECE) for _ in range(COUNT // 100)])
        sender.start()
        wait_until(lambda: server.call(has_slow_client), "the server waits for its client")
        expected = b"".join(b"+ %d\n" % number for number in range(COUNT))
        replies = bytearray()
        while len(replies) < len(expected):
            data = client.recv(1 << 16)
            assert data
            replies += data
        sender.join(TIMEOUT_SECONDS)
        assert replies == expected


def has_slow_client(service: object) -> bool:
    return any(session._connection._sending for session in service._sessions.sessions)  # type: ignore[attr-defined]
