"""Who may use the admin port, and what of it."""

from __future__ import annotations

import hmac

import pytest

from sidecar.admin import guard
from tests.admin.support import Client, FakePlane, serving

OPEN = ["/livez", "/readyz", "/startupz", "/healthz", "/metrics"]
READ = ["/", "/status", "/routes", "/requests", "/explain/id-1", "/events", "/config"]
CHANGE = ["/drain", "/quitquitquit", "/config/reload", "/breaker/open?circuit=orders", "/breaker/close?circuit=orders"]


@pytest.fixture
def from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every peer is another machine."""
    monkeypatch.setattr(guard, "_peer", lambda request: "192.0.2.7")


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize("path", OPEN)
async def test_health_and_metrics_are_open_to_all(client: Client, path: str) -> None:
    """Whatever the peer, the Host or the Origin; HEAD too."""
    headers = {"Host": "pod.example", "Origin": "http://evil.example"}

    assert (await client.get(path, headers=headers)).status == 200
    assert (await client.head(path, headers=headers)).status == 200


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize("path", [*READ, *CHANGE, "/nothing"])
async def test_others_get_nothing_else_without_a_token(client: Client, path: str) -> None:
    """They are told how that could be changed."""
    answer = await client.get(path)

    assert answer.status == 403
    assert answer.content_type == "application/problem+json"
    body = await answer.json(content_type=None)
    assert body["reason"] == "not_local"
    assert "--admin-token" in body["detail"]
    assert (await client.post(path)).status == 403


@pytest.mark.usefixtures("from_elsewhere")
async def test_the_token_lets_others_in(client: Client, plane: FakePlane) -> None:
    """By any Host, since no web page has the token."""
    plane.token = "s3cret-é"
    bearer = {"Authorization": "bearer s3cret-é", "Host": "pod.example"}

    assert (await client.get("/status", headers=bearer)).status == 200
    assert (await client.post("/drain", headers=bearer)).status == 202


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize(
    "shown", [None, "Bearer", "Bearer ", "Bearer wrong", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret"]
)
async def test_a_wrong_token_does_not(client: Client, plane: FakePlane, shown: str | None) -> None:
    """401, with the scheme to use."""
    plane.token = "s3cret"
    answer = await client.post("/drain", headers={"Authorization": shown} if shown is not None else {})

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert plane.drains == []


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize("shown", ["Bearer", "Bearer ", "Bearer x"])
async def test_an_empty_token_is_no_token(client: Client, shown: str) -> None:
    """Nobody gets in by showing nothing."""
    assert (await client.get("/status", headers={"Authorization": shown})).status == 401


async def test_a_wrong_token_is_told_to_this_machine_too(client: Client, plane: FakePlane) -> None:
    """Whoever shows one wants to know that it is wrong; without one, this machine needs none."""
    plane.token = "s3cret"

    assert (await client.get("/status", headers={"Authorization": "Bearer wrong"})).status == 401
    assert (await client.get("/status")).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8901", "LOCALHOST:1", "127.0.0.1:8901", "127.9.8.7", "[::1]:8901", "[::1]"]
)
async def test_this_machine_is_known_by_its_names(client: Client, host: str) -> None:
    """With or without a port."""
    assert (await client.get("/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8901", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7", "["]
)
async def test_a_rebound_name_gets_nothing(client: Client, plane: FakePlane, host: str) -> None:
    """A page whose name was made to point here gives itself away by the Host header."""
    answer = await client.post("/drain", headers={"Host": host})

    assert answer.status in (400, 403)
    assert plane.drains == []
    assert (await client.get("/livez", headers={"Host": "pod.example"})).status == 200


async def test_the_address_it_listens_on_is_a_name_too(plane: FakePlane) -> None:
    """From this machine, by the pod's address."""
    async with serving(plane, bound_host="192.0.2.7") as client:
        assert (await client.get("/status", headers={"Host": "192.0.2.7:8901"})).status == 200
        assert (await client.get("/status", headers={"Host": "192.0.2.8:8901"})).status == 403


async def test_listening_everywhere_adds_no_name(plane: FakePlane) -> None:
    """An empty Host is not the empty host."""
    async with serving(plane, bound_host="") as client:
        assert (await client.get("/status", headers={"Host": ""})).status in (400, 403)
        assert (await client.get("/status", headers={"Host": "0.0.0.0"})).status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "ftp://{host}", ""])
async def test_a_foreign_page_changes_nothing(client: Client, plane: FakePlane, origin: str) -> None:
    """A mutation with an Origin that is not this very address is refused; reading is left to the browser's rules."""
    headers = {"Origin": origin.format(host=f"{client.host}:{client.port}")}
    answer = await client.post("/drain", headers=headers)

    assert answer.status == 403
    assert (await answer.json(content_type=None))["reason"] == "foreign_origin"
    assert plane.drains == []
    assert (await client.get("/status", headers=headers)).status == 200


@pytest.mark.parametrize("path", CHANGE)
async def test_no_change_is_forgotten(client: Client, plane: FakePlane, path: str) -> None:
    """Each page that changes something is POST only, and refuses a foreign Origin."""
    assert (await client.post(path, headers={"Origin": "http://evil.example"})).status == 403
    assert (await client.get(path)).status == 405
    assert (plane.drains, plane.reloads, plane.circuits) == ([], [], {"orders": "closed"})


async def test_our_own_page_may(client: Client, plane: FakePlane) -> None:
    """The dashboard's Origin is the address it was fetched from."""
    answer = await client.post("/drain", headers={"Origin": f"http://{client.host}:{client.port}"})

    assert answer.status == 202
    assert len(plane.drains) == 1


async def test_what_changes_something_is_post(client: Client, plane: FakePlane) -> None:
    """A GET on /drain, which a page could make anybody's browser send, does nothing."""
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = await client.request(method, "/drain")
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST"
    assert plane.drains == []


async def test_an_unknown_page_is_a_problem_with_a_reason(client: Client) -> None:
    """In the form of all errors."""
    answer = await client.get("/nothing")

    assert answer.status == 404
    assert answer.content_type == "application/problem+json"
    assert (await answer.json(content_type=None))["reason"] == "not_found"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.7", False),
        ("192.0.2.7", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_is_an_address(host: str, ours: bool) -> None:
    """IPv4, IPv6, and IPv4 in IPv6 clothing."""
    assert guard.is_loopback(host) is ours


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize(
    "claim",
    ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Forwarded-Host: localhost"],
)
async def test_nobody_becomes_this_machine_by_saying_so(client: Client, plane: FakePlane, claim: str) -> None:
    """The peer's address counts, and no header that anybody can write."""
    name, _, value = claim.partition(": ")

    assert (await client.get("/status", headers={name: value})).status == 403
    assert (await client.post("/drain", headers={name: value})).status == 403
    assert plane.drains == []


@pytest.mark.usefixtures("from_elsewhere")
async def test_the_token_is_compared_in_constant_time(
    client: Client, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hmac.compare_digest` is asked, in bytes, and its word is all that counts."""
    plane.token = "s3cret"
    asked: list[tuple[object, object]] = []
    verdict = True

    def compare(shown: object, token: object) -> bool:
        asked.append((shown, token))
        return verdict

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert (await client.get("/status", headers={"Authorization": "Bearer guess"})).status == 200
    verdict = False
    assert (await client.get("/status", headers={"Authorization": "Bearer s3cret"})).status == 401
    assert asked == [(b"guess", b"s3cret"), (b"s3cret", b"s3cret")]


@pytest.mark.usefixtures("from_elsewhere")
@pytest.mark.parametrize("shown", ["Bearer s3cr\u00e9t", "Bearer \u2713", "Bearer \udcff", "B\u00e9arer s3cret"])
async def test_a_wrong_token_may_hold_anything(client: Client, plane: FakePlane, shown: str) -> None:
    """Text beyond ASCII is wrong, and no fault."""
    plane.token = "s3cret"
    header = shown.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    assert (await client.get("/status", headers={"Authorization": header})).status == 401


@pytest.mark.usefixtures("from_elsewhere")
async def test_refusals_are_counted(client: Client, plane: FakePlane) -> None:
    """So that somebody who tries tokens shows."""
    plane.token = "s3cret"
    for guess in range(3):
        await client.get("/status", headers={"Authorization": f"Bearer {guess}"})
    await client.post("/drain", headers={"Authorization": "Bearer s3cret", "Origin": "http://evil.example"})
    text = await (await client.get("/metrics")).text()

    assert 'sidecar_admin_refusals_total{status="401"} 3.0' in text
    assert 'sidecar_admin_refusals_total{status="403"} 1.0' in text


async def test_the_open_pages_tell_nothing_of_the_settings(plane: FakePlane) -> None:
    """Neither addresses nor the token."""
    plane.token = "s3cret"
    async with serving(plane) as client:
        for path in OPEN:
            text = await (await client.get(path)).text()
            assert "s3cret" not in text
            assert "127.0.0.1" not in text
