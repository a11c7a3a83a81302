"""What a back-end's no means: for us, or for now."""

from __future__ import annotations

import ssl
import unicodedata

import pytest

from lpr.domain.errors import LinkNotReadyError, LinkRefusedError
from lpr.link.explain import explain, refusal
from tests.link.parts import settings


@pytest.mark.parametrize(
    "words",
    ["invalid token", "Authentication error", "jwt expired", "unknown device", "Forbidden", "API key missing",
     "Sai token", "Không có quyền truy cập", "khong co quyen", "Thiết bị chưa đăng ký", "Chưa xác thực",
     "Mã truy cập không hợp lệ", "Phiên làm việc đã HẾT HẠN", "Chưa đăng nhập", "sai mật khẩu", "Tài khoản bị khóa",
     unicodedata.normalize("NFD", "không được phép")],
)  # fmt: skip
def test_a_no_to_who_we_are_is_asked_again_slowly(words: str) -> None:
    error = refusal({"message": words, "data": {"code": 1}}, settings())
    assert not isinstance(error, LinkNotReadyError)
    assert words in error.message
    assert "backend.token" in (error.hint or "")


@pytest.mark.parametrize(
    "data",
    [
        {"message": "maintenance", "data": {"retryAfter": 30}},
        {"message": "ECONNREFUSED 127.0.0.1:5432"},
        {"message": "Hệ thống đang bảo trì, vui lòng thử lại sau"},
        {"message": "Không kết nối được cơ sở dữ liệu"},
        {"message": "Kết nối bị từ chối 127.0.0.1:5432"},
        {"message": "auth service unavailable", "data": {"status": 503}},
        {"message": "Unauthorized", "data": {"code": "429"}},
        {"message": "Invalid namespace"},
        {"message": ""},
        {"message": 7},
        "busy",
        None,
        [1],
    ],
)
def test_any_other_no_may_pass_and_is_asked_again_soon(data: object) -> None:
    error = refusal(data, settings())
    assert isinstance(error, LinkNotReadyError)
    assert isinstance(error, LinkRefusedError)
    assert error.hint


@pytest.mark.parametrize(
    "details",
    [{"status": 401}, {"statusCode": "403"}, {"code": "INVALID_TOKEN"}, {"type": "UnauthorizedError", "code": 7},
     {"content": "thiết bị không tồn tại"}],
)  # fmt: skip
def test_what_a_no_says_beside_its_words_counts(details: dict[str, object]) -> None:
    assert not isinstance(refusal({"message": "xin lỗi", "data": details}, settings()), LinkNotReadyError)


@pytest.mark.parametrize(
    "reason", ["TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "TLSV1_ALERT_INTERNAL_ERROR"]
)
def test_a_server_that_does_not_like_our_side_of_tls_is_asked_again_soon(reason: str) -> None:
    """Whoever renews the certificate on this machine does not touch the token."""
    fault = ssl.SSLError(1, f"[SSL: {reason}]")
    fault.reason = reason
    error = explain(fault, settings("https://x"))
    assert isinstance(error, LinkNotReadyError)
    assert "client_cert" in (error.hint or "")
