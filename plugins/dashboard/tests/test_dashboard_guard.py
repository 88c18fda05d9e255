"""Who is answered, tried with bytes on a socket: the table of defaults for security, row by row."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

Serve = Any  # the fixture: test modules cannot import a conftest
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
READ = (
    "/",
    "/assets/x.js",
    "/api/run",
    "/api/events",
    "/api/tasks",
    "/api/tasks/t1",
    "/api/logs",
    "/api/plugins",
    "/x",
)
ORDERS = ("cancel", "pause", "unpause", "resize")


def test_only_who_has_the_token_is_told_anything(serve: Serve) -> None:
    """fault:E4: without the token, and with a wrong one, each path answers 401 and tells nothing of the run."""
    client = serve()
    wrong = [
        None,
        "Bearer",
        "Bearer ",
        f"Bearer {client.token[:-1]}",
        f"Bearer {client.token}x",
        f"Basic {client.token}",
        client.token,
        "Bearer \xff\xfe",
    ]
    for path in READ:
        for header in wrong:
            answer = client.get(path, {"Authorization": header})
            assert answer.status == 401, (path, header)
            assert client.token.encode() not in answer.raw
            assert b"r1" not in answer.body
    for query in (f"token={client.token}", f"code={client.token}", "code=", "code=x"):
        assert client.get(f"/?{query}", {"Authorization": None}).status == 401
    assert client.get("/api/run").status == 200


def test_the_token_is_256_bits_and_another_for_each_run(serve: Serve) -> None:
    """A token can't be guessed, and that of one run opens no other."""
    one, two = serve(), serve()
    assert one.token != two.token
    assert len(one.token) == 43  # 32 bytes in base64
    assert two.get("/api/run", {"Authorization": f"Bearer {one.token}"}).status == 401


def test_a_link_lets_one_browser_in_once(serve: Serve) -> None:
    """The link gives a cookie that scripts can't read and other sites can't use; a second visit is refused."""
    client = serve()
    link = client.sink.link()
    assert client.token not in link
    target = link.partition(client.authority)[2]
    assert client.get(target, {"Authorization": None}, method="HEAD").status == 401  # who looks at a link uses none up
    first = client.get(target, {"Authorization": None})
    assert (first.status, first.headers["location"], first.body) == (303, "/", b"")
    assert first.headers["cache-control"] == "no-store"
    cookie = first.headers["set-cookie"]
    assert {part.strip() for part in cookie.split(";")[1:]} == {"Path=/", "HttpOnly", "SameSite=Strict"}
    pair = cookie.partition(";")[0]
    assert client.get("/api/run", {"Authorization": None, "Cookie": f"a=b; {pair}"}).status == 200
    assert client.get("/api/run", {"Authorization": None, "Cookie": f"{pair}x"}).status == 401
    assert client.get(target, {"Authorization": None}).status == 401
    again = client.get(client.sink.link().partition(client.authority)[2], {"Authorization": None})
    assert again.status == 303


def test_links_that_are_not_used_are_bounded(serve: Serve) -> None:
    """Only the newest links are good, however many were made."""
    client = serve()
    links = [client.sink.link().partition(client.authority)[2] for _ in range(40)]
    assert client.get(links[0], {"Authorization": None}).status == 401
    assert client.get(links[-1], {"Authorization": None}).status == 303


@pytest.mark.parametrize("path", ["/", "/api/run", "/livez", "/readyz", "/assets/x.js", "/api/control/pause"])
def test_every_request_has_to_name_this_host(serve: Serve, path: str) -> None:
    """fault:E4: another name is refused on each path, so no page can reach this by a name of its own."""
    client = serve()
    port = client.where[1]
    strange = [
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.:{port}",
        f"localhost.evil.example:{port}",
        f"127.0.0.1:{port}@evil.example",
        f"[::1]:{port}",
        f"0.0.0.0:{port}",
        "",
    ]
    for host in strange:
        answer = client.get(path, {"Host": host})
        assert (answer.status, client.token.encode() in answer.raw) == (403, False), host
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        assert client.get(path, {"Host": host}).status != 403, host


def test_a_request_without_a_host_or_with_two_is_refused(serve: Serve) -> None:
    """HTTP/1.0 without a name is refused as a wrong name is; two names are no request."""
    client = serve()
    bearer = f"Authorization: Bearer {client.token}\r\n"
    assert client.raw(f"GET /api/run HTTP/1.0\r\n{bearer}\r\n".encode()).status == 403
    assert client.raw(f"GET /api/run HTTP/1.1\r\n{bearer}\r\n".encode()).status == 400
    twice = f"GET /api/run HTTP/1.1\r\nHost: {client.authority}\r\nHost: evil.example\r\n{bearer}\r\n"
    assert client.raw(twice.encode()).status == 400
    absolute = f"GET http://{client.authority}/api/run HTTP/1.1\r\nHost: {client.authority}\r\n{bearer}\r\n"
    assert client.raw(absolute.encode()).status == 400


def test_settings_add_names(serve: Serve) -> None:
    """`allowed_hosts` adds names, with the port or without it, as browsers send them."""
    client = serve(allowed_hosts=("Dash.example.org", "box:8443"))
    port = client.where[1]
    good = ["dash.example.org", f"dash.example.org:{port}", "DASH.EXAMPLE.ORG", "box:8443", f"localhost:{port}"]
    assert [client.get("/api/run", {"Host": host}).status for host in good] == [200] * len(good)
    assert client.get("/api/run", {"Host": "box"}).status == 403


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"]
)
def test_methods_that_are_not_named_are_refused(serve: Serve, method: str) -> None:
    """fault:E4: pages are read by GET and HEAD; whatever else is asked changes nothing, with the token too."""
    client = serve()
    for path in (*READ, "/livez", *(f"/api/control/{order}" for order in ORDERS)):
        answer = client.get(path, method=method)
        assert answer.status == 405, path
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.headers["connection"] == "close"


def test_a_request_from_another_page_is_refused(serve: Serve) -> None:
    """fault:E4: what a browser sends for another site's page, even one at this machine, is refused."""
    client = serve()
    host, port = client.authority, client.where[1]
    for site in ("cross-site", "same-site", "Cross-Site", "x"):
        assert client.get("/api/run", {"Sec-Fetch-Site": site}).status == 403, site
    for site in ("same-origin", "none"):
        assert client.get("/api/run", {"Sec-Fetch-Site": site}).status == 200, site
    for origin in ("http://evil.example", "null", "", f"http://localhost:{port}", f"http://{host}.evil.example", host):
        assert client.get("/api/run", {"Origin": origin}).status == 403, origin
    assert client.get("/api/run", {"Origin": f"http://{host}"}).status == 200
    assert client.get(client.sink.link().partition(host)[2], {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_no_answer_lets_another_origin_read_it(serve: Serve) -> None:
    """There is no header of CORS, whatever is asked; each answer says what a page may do."""
    client = serve()
    asked = [
        client.get("/", {"Origin": f"http://{client.authority}"}),
        client.get("/api/run", {"Origin": "http://evil.example"}),
        client.get("/api/run", {"Access-Control-Request-Method": "GET"}, method="OPTIONS"),
        client.get("/api/nope"),
        client.get("/livez", {"Authorization": None}),
        client.get(client.sink.link().partition(client.authority)[2]),
        client.get("/api/run", {"Authorization": None}),
    ]
    for answer in asked:
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "target",
    [
        "/../../../../etc/passwd",
        "/assets/../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/assets/%5c..%5cetc%5cpasswd",
        "/assets/",
        "/assets",
        "/assets/%00",
        "/static/index.html",
        "/assets/__init__.py",
        "//etc/passwd",
        "/api/../assets/%252e%252e/x",
    ],
)
def test_no_path_leads_out_of_what_is_served(serve: Serve, target: str) -> None:
    """fault:E4: files are found by whole names from a list that was made at the start; no folder is shown."""
    answer = serve().get(target)
    assert answer.status == 404
    assert b"root:" not in answer.body


def test_refused_requests_are_logged_once_each_and_change_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """fault:E4: one line for each, without token, query or control characters; after a hundred they are counted."""
    client = serve()
    with caplog.at_level(logging.WARNING, "longshore.dashboard"):
        client.get(f"/%1b%5b2J?secret={client.token}", {"Host": "evil.example"})
        client.get("/api/run", {"Authorization": f"Bearer {client.token}x"})
        client.raw(b"NOT HTTP AT ALL\r\n\r\n")
        assert len(caplog.records) == 3
        for _ in range(200):
            client.serving.refusals.note(403, "again")
    assert client.serving.refusals.count == 203
    assert len(caplog.records) == 101
    assert client.token not in caplog.text
    assert "secret" not in caplog.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", caplog.text)
    assert client.get("/api/run").json()["run"]["version"] == 0


def test_a_prefix_stands_before_all_paths_but_those_of_probes(serve: Serve) -> None:
    """Behind a proxy that leaves its prefix there, pages, cookie and links have it; what is elsewhere is nothing."""
    client = serve(url_prefix="/runs/today/")
    assert client.get("/runs/today/api/run").status == 200
    assert client.get("/runs/today/").status == 200
    for path in ("/api/run", "/", "/runs/todayapi/run", "/runs/today", "/runs/today/livez/x"):
        assert client.get(path).status == 404, path
    for path in ("/livez", "/readyz", "/runs/today/livez"):
        assert client.get(path, {"Authorization": None}).status == 200, path
    link = client.sink.link()
    assert link.startswith(f"http://{client.authority}/runs/today/?code=")
    entered = client.get(link.partition(client.authority)[2], {"Authorization": None})
    assert (entered.status, entered.headers["location"]) == (303, "/runs/today/")
    assert "Path=/runs/today/;" in entered.headers["set-cookie"]


def test_what_goes_wrong_behind_the_guard_shows_no_traceback(
    serve: Serve, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours is an answer of one sentence; the log has the rest."""

    def broken() -> None:
        raise RuntimeError("hidden detail")

    answer = serve(run=made.run_info(snapshot=broken)).get("/api/run")
    assert answer.status == 500
    assert b"hidden detail" not in answer.raw
    assert "hidden detail" in caplog.text
