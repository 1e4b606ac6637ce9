"""What failed while messages were kept, as those are told whose messages they are.

Knows no file and no thread.
"""

from __future__ import annotations

import logging

from gstream.errors import StorageError

__all__ = ["failure"]

log = logging.getLogger(__name__)


def failure(error: BaseException, doing: str, **facts: object) -> StorageError:
    """The error itself, if it is the storage's; anything else is a bug, which is logged, and told as such an error.

    doing: what failed. facts: what is logged with it.
    """
    if isinstance(error, StorageError):
        return error
    log.error("bug: %s failed", doing, exc_info=error, extra=facts)
    return StorageError(f"a bug in the server: {error}")
