"""What `lpr-agent check` says of the back-end: one that takes us, and each way not to."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lpr.backend.server import Backend, BackendSettings
from lpr.cli.backend_checks import check_backend
from lpr.cli.findings import Finding, Verdict
from lpr.domain.clock import isoformat_ms
from tests.cli.helpers import config, free_port, verdicts


class TestBackend:
    async def test_a_back_end_that_takes_us_is_good(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0, token="abcdef")) as backend:
            epochs: set[int] = set()
            backend.on_change(lambda: epochs.update(agent.epoch for agent in backend.agents))
            findings = await check_backend(config(tmp_path, backend={"url": backend.url, "token": "abcdef"}))
            assert epochs == {0}, "an agent at work stays the live one"
            assert await backend.events() == []
        assert verdicts(findings) == [Verdict.OK, Verdict.OK]
        assert "namespace /ai entered with a token; it answers agent_hello" in findings[1].message

    async def test_a_file_of_ours_that_is_no_certificate_is_told_though_nobody_answers(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("junk")
        backend = {"url": "https://127.0.0.1:9", "ca_file": str(tmp_path / "ca.pem")}
        [finding] = await check_backend(config(tmp_path, backend=backend))
        assert "ca.pem cannot be used" in finding.message

    async def test_a_refused_token_fails_after_what_worked(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0, token="abcdef")) as backend:
            findings = await check_backend(config(tmp_path, backend={"url": backend.url, "token": "wr0ng"}))
        assert verdicts(findings) == [Verdict.OK, Verdict.FAIL]
        assert "token" in (findings[1].hint or "")
        assert "wr0ng" not in str(findings)

    @pytest.mark.parametrize(("ahead_s", "words"), [(60, "ahead of"), (-60, "behind"), (3, "")])
    async def test_a_clock_that_is_not_ours_is_warned_of(self, tmp_path: Path, ahead_s: float, words: str) -> None:
        hello = {"serverTime": isoformat_ms(datetime.now(UTC) + timedelta(seconds=ahead_s))}
        async with Backend(BackendSettings(port=0, hello=hello)) as backend:
            findings = await check_backend(config(tmp_path, backend={"url": backend.url}))
        warned = " ".join(finding.message for finding in findings if finding.verdict is Verdict.WARN)
        assert re.fullmatch(rf"its clock is (59|60|61) s {words} this machine's" if words else "", warned)

    async def test_nobody_listening_fails(self, tmp_path: Path) -> None:
        findings = await check_backend(config(tmp_path, backend={"url": f"http://127.0.0.1:{free_port()}"}))
        assert verdicts(findings) == [Verdict.FAIL]
        assert "nobody listens" in findings[0].message

    async def test_of_two_addresses_one_may_be_dead(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with Backend(BackendSettings(port=0)) as backend:
            alive = backend.url.rpartition(":")[2]
            # A full backlog: the kernel drops what knocks, as on an IPv6 way that leads nowhere.
            with socket.create_server(("127.0.0.1", 0), backlog=0) as dead, socket.socket() as first:
                first.connect(dead.getsockname())
                found = [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
                    for port in (dead.getsockname()[1], int(alive))
                ]
                monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
                findings = await check_backend(config(tmp_path, backend={"url": f"http://gate.example:{alive}"}))
        assert verdicts(findings) == [Verdict.OK, Verdict.OK]

    async def test_a_name_that_does_not_exist_fails(self, tmp_path: Path) -> None:
        findings = await check_backend(config(tmp_path, backend={"url": "http://nowhere.invalid"}))
        assert verdicts(findings) == [Verdict.FAIL]
        assert "nowhere.invalid" in findings[0].message

    async def test_a_proxy_is_tried_where_there_is_no_direct_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def wants_a_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(wants_a_login, "127.0.0.1", 0) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            findings = await check_backend(config(tmp_path, backend={"url": f"https://127.0.0.1:{free_port()}"}))
        assert verdicts(findings) == [Verdict.WARN, Verdict.FAIL]
        assert "not directly" in findings[0].message
        assert "HTTP 407" in findings[1].message

    async def test_a_port_that_speaks_no_tls_fails(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0)) as backend:
            url = backend.url.replace("http://", "https://")
            findings = await check_backend(config(tmp_path, backend={"url": url}))
        assert verdicts(findings) == [Verdict.OK, Verdict.FAIL]
        assert "TLS" in findings[1].message


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
class TestCertificate:
    @staticmethod
    def certificate(folder: Path, *, days: int, name: str = "localhost") -> tuple[Path, Path]:
        """A self-signed certificate, which is its own authority, and its key."""
        certificate, key = folder / "cert.pem", folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)]
        command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return certificate, key

    async def look(self, tmp_path: Path, *, days: int, name: str = "localhost", trusted: bool = True) -> Finding:
        """What the check says of a server that shows such a certificate."""
        certificate, key = self.certificate(tmp_path, days=days, name=name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1):
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            backend = {"url": url} | ({"ca_file": str(certificate)} if trusted else {})
            findings = await check_backend(config(tmp_path, backend=backend))
        # No socket.io server is behind it: what counts is the line before that is found out.
        assert findings[0].verdict is Verdict.OK
        return findings[1]

    async def test_a_trusted_certificate_tells_its_days(self, tmp_path: Path) -> None:
        finding = await self.look(tmp_path, days=100)
        assert finding.verdict is Verdict.OK
        assert "valid for another 99 days" in finding.message

    async def test_one_that_ends_soon_is_warned_of(self, tmp_path: Path) -> None:
        assert (await self.look(tmp_path, days=3)).verdict is Verdict.WARN

    async def test_one_of_an_unknown_authority_fails_and_no_proxy_changes_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        finding = await self.look(tmp_path, days=100, trusted=False)
        assert finding.verdict is Verdict.FAIL
        assert "ca_file" in (finding.hint or "")

    async def test_one_of_another_name_fails(self, tmp_path: Path) -> None:
        finding = await self.look(tmp_path, days=100, name="elsewhere.example")
        assert (finding.verdict, "is not trusted" in finding.message) == (Verdict.FAIL, True)
