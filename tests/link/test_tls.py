"""TLS against a real TLS server: trusted or not, never unchecked. Certificates are made by the tests with openssl."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lpr.agent.settings import link_settings
from lpr.config import AgentConfig
from lpr.domain.errors import LinkUntrustedError
from lpr.link.base import LinkPhase
from lpr.link.route import proxy_of
from lpr.link.socketio_transport import tls_context
from tests.agent.helpers import CAMERA
from tests.faults.node import NodeBackend
from tests.link.parts import QUICK, QUICK_BACKOFF, picture, running, settings

NEVER_AFTER_REFUSAL = replace(QUICK_BACKOFF, refused_first_s=1e6, refused_max_s=1e6)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and certificates NAME.pem/.key: good, expired, other-name, client."""
    folder = tmp_path_factory.mktemp("tls")
    _openssl(folder, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 "
             "-subj /CN=test-authority -addext keyUsage=critical,keyCertSign")  # fmt: skip
    _certificate(folder, "good", "IP:127.0.0.1")
    _certificate(folder, "other-name", "DNS:elsewhere.example")
    _certificate(folder, "expired", "IP:127.0.0.1", "-not_before 20200101000000Z -not_after 20200201000000Z")
    _certificate(folder, "client", "DNS:gate-nuc-01")
    return folder


def _certificate(folder: Path, name: str, names: str, validity: str = "-days 30") -> None:
    _openssl(folder, f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr "
             f"-subj /CN={name} -addext subjectAltName={names}")  # fmt: skip
    # `openssl ca`, since `openssl x509` of Debian 12 cannot date a certificate back.
    (folder / "index.txt").write_text("", "utf-8")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\n"
        "policy=any\ncopy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n",
        "utf-8",
    )
    dates = validity.replace("-not_before", "-startdate").replace("-not_after", "-enddate")
    _openssl(
        folder, f"ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -notext {dates}"
    )


def _stranger(folder: Path, name: str) -> None:
    """NAME.pem/.key that no authority signed but itself."""
    _openssl(folder, f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem "
             f"-days 30 -subj /CN={name} -addext subjectAltName=IP:127.0.0.1")  # fmt: skip


def _openssl(folder: Path, arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    writer.transport.abort()


@asynccontextmanager
async def tls_in_front(
    backend: NodeBackend,
    authority: Path,
    name: str,
    *,
    ask_client: bool = False,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """TLS on a port of its own, carried on to the Node server: what a proxy in front of a back-end does.

    What is loaded into `context` later holds for connections that come later.
    """
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority / "ca.pem")
    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", backend.port)
        for ends in ((reader, inner_writer), (inner_reader, writer)):
            pumps.add(asyncio.create_task(pump(*ends)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@pytest.mark.node
async def test_an_own_authority_is_trusted_where_it_is_configured(node_backend: NodeBackend, authority: Path) -> None:
    async with (
        tls_in_front(node_backend, authority, "good") as url,
        running(settings(url, ca_file=authority / "ca.pem")) as site,
    ):
        await site.record(3)
        await site.until_empty()


@pytest.mark.node
@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("good", False, "unable to get local issuer"),
        ("expired", True, "expired"),
        ("other-name", True, "not valid for"),
    ],
)
async def test_a_certificate_that_is_not_right_is_refused_in_words(
    node_backend: NodeBackend, authority: Path, name: str, trusted: bool, words: str
) -> None:
    ca_file = authority / "ca.pem" if trusted else None
    async with tls_in_front(node_backend, authority, name) as url, running(settings(url, ca_file=ca_file)) as site:
        await site.until(lambda: site.relay.state().phase is LinkPhase.REFUSED)
        state = site.relay.state()
    assert words in (state.last_error or "")
    assert "ca_file" in (state.remedy or "")
    assert state.connections == 0


@pytest.mark.node
async def test_a_client_certificate_is_shown_where_it_is_wanted(node_backend: NodeBackend, authority: Path) -> None:
    shown = {"client_cert_file": authority / "client.pem", "client_key_file": authority / "client.key"}
    async with tls_in_front(node_backend, authority, "good", ask_client=True) as url:
        async with running(settings(url, ca_file=authority / "ca.pem", **shown)) as site:
            await site.record()
            await site.until_empty()
        async with running(settings(url, ca_file=authority / "ca.pem")) as site:
            await site.until(lambda: site.relay.state().last_error is not None)
            state = site.relay.state()
    assert "client certificate" in (state.remedy or "")


@pytest.mark.node
async def test_a_certificate_that_was_renewed_is_taken_within_moments(
    node_backend: NodeBackend, authority: Path
) -> None:
    """Also after many attempts, and without anybody touching the agent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with (
        tls_in_front(node_backend, authority, "expired", context=context) as url,
        running(settings(url, ca_file=authority / "ca.pem", backoff=NEVER_AFTER_REFUSAL)) as site,
    ):
        await site.record()
        await site.until(lambda: site.relay.state().failed_attempts >= 4)
        context.load_cert_chain(authority / "good.pem", authority / "good.key")
        await site.until_empty()


@pytest.mark.node
async def test_a_ca_file_that_was_corrected_is_read_at_the_next_attempt(
    node_backend: NodeBackend, authority: Path, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    async with (
        tls_in_front(node_backend, authority, "good") as url,
        running(settings(url, ca_file=ca_file, backoff=NEVER_AFTER_REFUSAL)) as site,
    ):
        await site.record()
        await site.until(lambda: "CA file" in (site.relay.state().last_error or ""))
        shutil.copy(authority / "ca.pem", ca_file)
        await site.until_empty()


@pytest.mark.node
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_was_replaced_is_shown_within_moments(
    node_backend: NodeBackend, authority: Path, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    """Whoever replaces it does so while the agent runs, and a file after the other; each may be read half-written."""
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    _stranger(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    shown = {"client_cert_file": certificate, "client_key_file": key}
    async with (
        tls_in_front(node_backend, authority, "good", ask_client=True, context=context) as url,
        running(settings(url, ca_file=authority / "ca.pem", backoff=NEVER_AFTER_REFUSAL, **shown)) as site,
    ):
        await site.record()
        await site.until(lambda: "client_cert" in (site.relay.state().remedy or ""))
        whole = (authority / "client.pem").read_text("utf-8")
        certificate.write_text(whole[: len(whole) // 2], "utf-8")
        await site.until(lambda: "cannot be used" in (site.relay.state().last_error or ""))
        certificate.write_text(whole, "utf-8")
        await site.until(lambda: "mismatch" in (site.relay.state().last_error or "").lower())
        shutil.copy(authority / "client.key", key)
        await site.until_empty()


@pytest.mark.node
async def test_everything_is_renewed_while_a_connection_stands(
    node_backend: NodeBackend, authority: Path, tmp_path: Path
) -> None:
    """Another authority, another certificate at the back-end: the connection stays, and the next one is made anew."""
    ca_file = tmp_path / "ca.pem"
    shutil.copy(authority / "ca.pem", ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with (
        tls_in_front(node_backend, authority, "good", context=context) as url,
        running(settings(url, ca_file=ca_file)) as site,
    ):
        await site.record()
        await site.until_empty()
        _stranger(tmp_path, "renewed")
        context.load_cert_chain(tmp_path / "renewed.pem", tmp_path / "renewed.key")
        await node_backend.kick()
        await site.until(lambda: "not trusted" in (site.relay.state().last_error or ""))
        await site.record()
        shutil.copy(tmp_path / "renewed.pem", ca_file)
        await site.until_empty()


def test_a_key_with_a_pass_phrase_is_named_and_nobody_is_asked_for_it(tmp_path: Path, authority: Path) -> None:
    """OpenSSL asks at the terminal, where there is one, and waits for the answer."""
    _openssl(authority, f"ec -in client.key -aes128 -passout pass:secret -out {tmp_path / 'locked.key'}")
    locked = {"client_cert_file": authority / "client.pem", "client_key_file": tmp_path / "locked.key"}
    with pytest.raises(LinkUntrustedError, match="pass phrase"):
        tls_context(settings("https://x", ca_file=authority / "ca.pem", **locked))


@asynccontextmanager
async def connect_proxy(target_port: int, seen: list[str]) -> AsyncIterator[str]:
    """An HTTP proxy that wants a name and a password, and knows the way to one machine alone."""
    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head.splitlines()[0])
        if "Proxy-Authorization: Basic " not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for ends in ((reader, inner_writer), (inner_reader, writer)):
            pumps.add(asyncio.create_task(pump(*ends)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@pytest.mark.node
@pytest.mark.parametrize("silent_s", [0.0, 0.6])
async def test_where_only_a_proxy_leads_out_it_is_used(
    node_backend: NodeBackend, authority: Path, monkeypatch: pytest.MonkeyPatch, silent_s: float
) -> None:
    """The name is known to the proxy alone; the name server of this network says no, or nothing. The direct way is
    tried too, and first.
    """

    def unknown(*_: object, **__: object) -> object:
        time.sleep(silent_s)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    _certificate(authority, "named", "DNS:gate-server.invalid")
    seen: list[str] = []
    async with (
        tls_in_front(node_backend, authority, "named") as url,
        connect_proxy(int(url.rpartition(":")[2]), seen) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://lpr:secret@{proxy}")
        impatient = replace(QUICK, connect_s=0.5)
        link = settings("https://gate-server.invalid", ca_file=authority / "ca.pem", deadlines=impatient)
        async with running(link) as site:
            await site.record(3, original=picture(480, 320, noise=True))
            await site.until_empty()
            assert site.relay.state().connections == 1
            assert seen == ["CONNECT gate-server.invalid:443 HTTP/1.1"]
            await node_backend.kick()
            await site.until(lambda: site.relay.state().connections == 2)
            assert site.relay.state().failed_attempts == 0, "what was good comes first"
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with running(link) as site:
            await site.until(lambda: "HTTP 407" in (site.relay.state().last_error or ""))
            assert "HTTPS_PROXY" in (site.relay.state().remedy or "")
            assert "secret" not in repr(site.relay.state())
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        async with running(link) as site:
            await site.until(lambda: "it does not answer" in (site.relay.state().last_error or ""))


@pytest.mark.node
async def test_a_proxy_that_does_not_know_the_back_end_is_left_alone_where_there_is_a_direct_way(
    node_backend: NodeBackend, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with (
        tls_in_front(node_backend, authority, "good") as url,
        running(settings(url, ca_file=authority / "ca.pem")) as site,
    ):
        await site.record()
        await site.until_empty()
        assert site.relay.state().last_error is None


@pytest.mark.parametrize(
    ("url", "named", "not_for", "proxy"),
    [
        ("https://api.example.vn", "http://u:p@10.0.0.1:3128", "", "http://u:p@10.0.0.1:3128"),
        ("https://api.example.vn", "10.0.0.1:3128", "localhost", "http://10.0.0.1:3128"),
        ("https://api.example.vn", "10.0.0.1:3128", "localhost,.example.vn", None),
        ("https://api.example.vn", "socks5://10.0.0.1", "", None),
        ("https://api.example.vn", "http://[10.0.0.1", "", None),
        ("https://api.example.vn", "10.0.0.1:port", "", None),
        ("https://api.example.vn", "", "", None),
        ("http://192.168.1.10:3001", "10.0.0.1:3128", "", None),
    ],
)
def test_which_proxy_the_environment_means(
    monkeypatch: pytest.MonkeyPatch, url: str, named: str, not_for: str, proxy: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    monkeypatch.setenv("NO_PROXY", not_for)
    assert proxy_of(url) == proxy


@pytest.mark.node
async def test_a_rotated_token_is_read_from_its_file_over_tls(
    node_backend: NodeBackend, authority: Path, tmp_path: Path
) -> None:
    """The settings are those that the agent makes of its configuration; only the waits are a test's."""
    token_file = tmp_path / "token"
    token_file.write_text("yesterday's\n", "utf-8")
    async with tls_in_front(node_backend, authority, "good") as url:
        backend = {"url": url, "token_file": str(token_file), "ca_file": str(authority / "ca.pem")}
        config = AgentConfig.model_validate(
            {"agent": {"id": "gate-nuc-01", "data_dir": str(tmp_path)}, "backend": backend, "cameras": [CAMERA]}
        )
        link = replace(link_settings(config, boot_id="boot-1"), deadlines=QUICK, backoff=NEVER_AFTER_REFUSAL)
        async with running(link) as site:
            await site.record()
            await site.until(lambda: site.relay.state().phase is LinkPhase.REFUSED)
            await asyncio.sleep(0.3)
            assert len((await node_backend.state())["joined"]) == 1, "no storm"
            token_file.write_text(node_backend.token, "utf-8")
            await site.until_empty()


@pytest.mark.node
async def test_plain_text_to_a_tls_port_and_tls_to_a_plain_port_are_said_in_words(
    node_backend: NodeBackend, authority: Path
) -> None:
    async with running(settings(node_backend.url.replace("http", "https"), ca_file=authority / "ca.pem")) as site:
        await site.until(lambda: site.relay.state().last_error is not None)
        assert "http://" in (site.relay.state().remedy or "")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, authority: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nothing", "utf-8")
    for broken in ({"ca_file": nonsense}, {"ca_file": tmp_path / "absent.pem"}):
        with pytest.raises(LinkUntrustedError, match="CA file"):
            tls_context(settings("https://x", **broken))
    mismatched = {"client_cert_file": authority / "client.pem", "client_key_file": authority / "good.key"}
    with pytest.raises(LinkUntrustedError, match="client certificate"):
        tls_context(settings("https://x", ca_file=authority / "ca.pem", **mismatched))


def test_certificates_are_always_checked(authority: Path) -> None:
    for ca_file in (None, authority / "ca.pem"):
        context = tls_context(settings("https://x", ca_file=ca_file))
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
