"""What a handler gets."""

from __future__ import annotations

from gstream.kafka.api import Context, Peer


def test_a_context_is_of_somebody():
    context = Context(3)
    assert (context.version, context.client_id, context.correlation_id) == (3, None, 0)
    assert (context.peer.local_host, context.peer.software_name) == ("127.0.0.1", "")
    assert not context.is_gone()


def test_it_can_be_asked_whether_that_is_gone():
    gone = []
    context = Context(3, "me", 7, Peer("10.0.0.1", 5, is_gone=lambda: bool(gone)))
    assert not context.is_gone()
    gone.append(True)
    assert context.is_gone()
    assert "is_gone" not in repr(context.peer)
