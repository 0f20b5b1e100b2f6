"""Which route a request takes, however its path is spelt; and that the quick way finds what the plain one does."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.exchange import Request
from sidecar.headers import Headers
from sidecar.policy.routes import NONE, RouteTable
from sidecar.settings import Route
from sidecar.settings.routes import covers


def route(path: str, *, methods: tuple[str, ...] = (), headers: tuple[str, ...] = ()) -> Route:
    """A route; names do not matter here."""
    return Route(name="a", path=path, methods=methods, headers=headers)


def request(target: str, method: str = "GET", *fields: str) -> Request:
    """A request with these header lines."""
    return Request(method, target.encode("ascii"), Headers("".join(f"{line}\r\n" for line in fields).encode("ascii")))


def takes(path: str, target: str) -> bool:
    """Whether a route of this path takes a request for that target."""
    return RouteTable([route(path)]).find(request(target)) == 0


@pytest.mark.parametrize(
    ("path", "target", "does"),
    [
        ("/orders", "/orders", True),
        ("/orders", "/orders?page=2", True),
        ("/orders", "/orders/", False),
        ("/orders/", "/orders", False),
        ("/orders", "/Orders", False),
        ("/orders", "/orders/5", False),
        ("/", "/", True),
        ("/", "/a", False),
        ("/orders/{id}", "/orders/5", True),
        ("/orders/{id}", "/orders/5?x=/y", True),
        ("/orders/{id}", "/orders/", False),
        ("/orders/{id}", "/orders/5/", False),
        ("/orders/{id}", "/orders/5/items", False),
        ("/orders/{id}/items", "/orders/5/items", True),
        ("/{a}/{b}", "/a/b", True),
        ("/files/{rest...}", "/files/", True),
        ("/files/{rest...}", "/files/a/b", True),
        ("/files/{rest...}", "/files", False),
        ("/{rest...}", "/", True),
        ("/{rest...}", "*", False),
        ("/a.b", "/a.b", True),
        ("/a.b", "/axb", False),
        ("/a+(b)/{c}", "/a+(b)/c", True),
    ],
)
def test_paths_match_as_written(path: str, target: str, does: bool) -> None:
    """Text is compared as it is, `{id}` is one part that is not empty, `{rest...}` all that is left, even nothing."""
    assert takes(path, target) is does


@pytest.mark.parametrize(
    ("path", "target", "does"),
    [
        ("/orders/{id}", "//orders/5", True),
        ("/orders/{id}", "/orders//5", True),
        ("/orders/{id}", "/./orders/x/../5", True),
        ("/orders/{id}", "/../orders/5", True),
        ("/orders", "/orders/.", True),
        ("/orders/", "/orders/./", True),
        ("/orders", "/%6Frders", True),
        ("/orders", "/%6frders", True),
        ("/a:b", "/a%3Ab", True),
        ("/a:b", "/a%3ab", True),
        ("/a%3Ab", "/a:b", True),
        ("/caf%C3%A9", "/caf%c3%a9", True),
        ("/caf%C3%A9/{x}", "/caf%c3%a9/1", True),
        ("/50%25", "/50%25", True),
        ("/50%252F", "/50%2F", False),
        ("/orders/{id}", "/orders/a%2Fb", True),
        ("/orders/{id}", "/orders%2F5", True),
        ("/orders/{id}", "/orders%2f5", True),
        ("/orders/{id}", "/orders/%2E", True),
        ("/orders/{id}", "/orders/%2e%2E", True),
        ("/orders/{id}", "/x/%2E%2E/orders/5", True),
        ("/orders/{id}", "/orders/%20", True),
        ("/orders", "/orders%", False),
        ("/orders", "/orders%zz", False),
        ("/.well-known/{x}", "/.well-known/a", True),
    ],
)
def test_other_spellings_lead_nowhere_else(path: str, target: str, does: bool) -> None:
    """Whatever one of Go's routers would serve as a route's path is that route's, escapes, slashes and dots or not."""
    assert takes(path, target) is does


def test_of_two_readings_the_earlier_route_counts() -> None:
    """A path that two readings lead to two routes takes the first of these, and so cannot choose."""
    strict_first = RouteTable([route("/orders/{id}"), route("/{rest...}")])
    assert strict_first.find(request("/orders%2F5")) == 0
    assert RouteTable([route("/{rest...}"), route("/orders/{id}")]).find(request("/orders%2F5")) == 0


def test_the_first_that_matches_is_the_requests() -> None:
    """Plain paths and templates stand in one order."""
    table = RouteTable([route("/a/{x}"), route("/a/b"), route("/{rest...}"), route("/c")])
    assert [table.find(request(path)) for path in ("/a/b", "/a/c", "/c", "/")] == [0, 0, 2, 2]
    table = RouteTable([route("/a/b"), route("/a/{x}"), route("/c/{x}")])
    assert [table.find(request(path)) for path in ("/a/b", "/a/c", "/c/d", "/c")] == [0, 1, 2, NONE]


def test_methods_are_looked_at() -> None:
    """A route takes the methods it names, GET with HEAD, as ServeMux does; without any it takes all."""
    table = RouteTable([route("/a", methods=("GET", "PURGE")), route("/a", methods=("PUT",)), route("/{x}")])
    found = {method: table.find(request("/a", method)) for method in ("GET", "HEAD", "PURGE", "PUT", "POST", "ODD")}
    assert found == {"GET": 0, "HEAD": 0, "PURGE": 0, "PUT": 1, "POST": 2, "ODD": 2}


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ((), 3),
        (("X-Tenant: acme",), 0),
        (("x-tenant:acme",), 0),
        (("X-Tenant: ACME",), 1),
        (("X-Tenant: acme", "X-Tenant: acme"), 1),
        (("X-Tenant:",), 1),
        (("X-Beta: on",), 3),
        (("X-Beta: on", "X-Canary: 1"), 2),
    ],
)
@pytest.mark.parametrize("path", ["/a", "/{x}"])
def test_headers_are_looked_at(path: str, fields: tuple[str, ...], index: int) -> None:
    """A route may demand that headers are there, or have exactly a value; their names have no case."""
    demands = [("X-TENANT=acme",), ("x-tenant",), ("X-Beta", "X-Canary"), ()]
    table = RouteTable([route(path, headers=headers) for headers in demands])
    assert table.find(request("/a", "GET", *fields)) == index


def test_without_routes_nothing_is_found() -> None:
    """An empty table is one that matches nothing."""
    assert RouteTable([]).find(request("/a")) == NONE
    assert RouteTable([]).find(request("/%61")) == NONE


# ── against what says the same in a plain way

PART = st.sampled_from(["a", "b", "a.b", "%2F", "%61", "%2e", "%25", "", ".", ".."])
PATHS = st.lists(PART, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
ROUTES = st.builds(
    route,
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "a.b", "{x}", "{y}", "a%2Fb", "%61"]), max_size=3),
        st.sampled_from(["", "/", "/{rest...}"]),
    ).map(lambda made: "/" + "/".join(made[0]) + (made[1] if made[0] else made[1].removeprefix("/"))),
    methods=st.sampled_from([(), ("GET",), ("PUT", "POST")]),
    headers=st.sampled_from([(), ("X",), ("X=1",)]),
)


def same(part: str, meant: str) -> bool:
    """Whether a part of a template takes a part of a path, both unescaped."""
    return meant != "" if part.startswith("{") else unquote(part) == meant


def fits(template: str, parts: list[str]) -> bool:
    """Whether a template takes these parts, read one by one."""
    wanted = template.split("/")[1:]
    if wanted[-1].endswith("...}"):
        count = len(wanted) - 1
        return len(parts) > count and all(map(same, wanted[:-1], parts[:count]))
    return len(wanted) == len(parts) and all(map(same, wanted, parts))


def clean(path: str) -> str:
    """RFC 3986 section 5.2.4, with empty parts left out as well, and no slash where a dot part was the last."""
    path = re.sub(r"/+", "/", path)
    while (shorter := re.sub(r"/\.(?=/|$)", "", path, count=1)) != path:
        path = shorter or "/"
    while (shorter := re.sub(r"^(/(?!\.\.(?:/|$))[^/]*)?/\.\.(?=/|$)", "", path, count=1)) != path or (
        shorter := re.sub(r"/(?!\.\.(?:/|$))[^/]+/\.\.(?=/|$)", "", path, count=1)
    ) != path:
        path = shorter or "/"
    return path


def plainly(routes: list[Route], asked: Request) -> int:
    """The route, found by trying one after the other."""
    part_by_part = [unquote(part) for part in clean(asked.path).split("/")[1:]]
    as_a_whole = clean(unquote(asked.path)).split("/")[1:]
    fields = asked.headers.get(b"x")
    for index, one in enumerate(routes):
        method = not one.methods or asked.method in one.methods or (asked.method == "HEAD" and "GET" in one.methods)
        header = not one.headers or (fields is not None and one.headers[0] in ("X", f"X={fields.decode()}"))
        if method and header and (fits(one.path, part_by_part) or fits(one.path, as_a_whole)):
            return index
    return NONE


@given(st.lists(ROUTES, max_size=5), PATHS, st.sampled_from(["GET", "HEAD", "PUT", "ODD"]), st.sampled_from("012"))
@example([route("/{x}")], "/%25", "GET", "0")
def test_the_table_finds_what_the_list_does(routes: list[Route], path: str, method: str, value: str) -> None:
    """Dictionaries and patterns find the same route as trying one after the other."""
    asked = request(path, method, *([f"X: {value}"] if value != "0" else []))
    assert RouteTable(routes).find(asked) == plainly(routes, asked)


# Few and short, so that many of them cover each other.
TEMPLATES = st.builds(
    lambda parts, rest: "/" + "/".join([*parts, *rest]),
    st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=2),
    st.sampled_from([[], ["{rest...}"]]),
)
SHORT_PATHS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(TEMPLATES, TEMPLATES, st.lists(SHORT_PATHS, min_size=5, max_size=5))
def test_a_covered_template_is_never_reached(earlier: str, later: str, paths: list[str]) -> None:
    """Where one template is said to cover another, it takes each path that the other takes."""
    reached = [path for path in paths if takes(later, path) and not takes(earlier, path)]
    assert not (reached and covers(earlier, later))
