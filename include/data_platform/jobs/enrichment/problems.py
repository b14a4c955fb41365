"""What may go wrong at a service that enriches: the type says whether to try again (FIELD_FACTS §6.3)."""

from __future__ import annotations

from data_platform.errors import TerminalError, TransientError

__all__ = ["EnricherError", "EnricherUnavailableError", "GatewayError", "RequestRefusedError"]


class EnricherError(TerminalError):
    """The service cannot do what is asked: no such collection, an answer of another shape."""


class RequestRefusedError(EnricherError):
    """The service does not accept what was sent (400): a field of another type, a value that it does not take."""


class EnricherUnavailableError(TransientError):
    """The service did not answer as it should, or asks to come back later.

    Attributes:
        retry_after_s: how many seconds it asks to wait; 0 if it does not say.
    """

    retry_after_s: float = 0.0


class GatewayError(EnricherUnavailableError):
    """What stands before the service gave up (502, 504), as it does for large pages and wide windows."""
