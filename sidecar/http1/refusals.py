"""Why a request is refused by its head, in words that help whoever sent it. Pure."""

from __future__ import annotations

from typing import Final

from sidecar.errors import BAD_REQUEST, BODY_TOO_LARGE, HEADERS_TOO_LARGE, SidecarError
from sidecar.http1.heads import HeadError

_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
_TLS: Final = 0x16


def why_hopeless(data: bytes, seen: int, limit: int) -> SidecarError | None:
    """Why an incomplete head need not be waited for, if so. Its first `seen` bytes have been looked at before."""
    if len(data) > limit:
        detail = f"the request head has more than {limit} bytes"
        return SidecarError(HEADERS_TOO_LARGE, detail, facts={"limit": limit})
    if data[0] == _TLS:
        return SidecarError(BAD_REQUEST, "this port speaks plain HTTP, and this looks like TLS")
    # A head may come byte by byte: to look at all of it each time would be a multiple of the work.
    if data.count(b"\n", seen) != data.count(b"\r\n", max(0, seen - 1)):
        return SidecarError(BAD_REQUEST, "the request was refused: a line that ends without CR")
    return None


def refusal(error: HeadError, head: bytes) -> SidecarError:
    """What to answer a head that was not believed; other protocols are named."""
    if head.startswith(_PREFACE):
        detail = "HTTP/2 is not spoken here, and so gRPC cannot pass: both come in a later version. Use HTTP/1.1"
        return SidecarError(BAD_REQUEST, detail)
    if error.too_large:
        return SidecarError(HEADERS_TOO_LARGE, error.detail)
    return SidecarError(BAD_REQUEST, f"the request was refused: {error.detail}")


def too_long(length: int, most: int) -> SidecarError:
    """The body that is announced is longer than allowed."""
    detail = f"the body has {length} bytes, {most} are allowed"
    return SidecarError(BODY_TOO_LARGE, detail, facts={"limit": most, "length": length})
