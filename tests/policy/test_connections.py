"""How many connections clients may hold."""

from __future__ import annotations

from sidecar.descriptors import most_clients
from sidecar.policy.connections import PER_CLIENT, TOTAL, Connections


def test_the_next_one_waits_for_one_to_leave() -> None:
    """The bound is on what is open, not on what there ever was."""
    connections = Connections(most=2)

    assert [connections.admit(b"a"), connections.admit(None), connections.admit(b"b")] == ["", "", TOTAL]
    connections.leave(None)
    assert [connections.admit(b"b"), connections.admit(b"b")] == ["", TOTAL]


def test_one_client_s_share_is_its_own() -> None:
    """It takes nothing from others, and peers that are no single client have none."""
    connections = Connections(most_per_client=2)

    assert [connections.admit(b"a") for _ in range(4)] == ["", "", PER_CLIENT, PER_CLIENT]
    assert [connections.admit(b"b"), *(connections.admit(None) for _ in range(5))] == [""] * 6
    connections.leave(b"a")
    assert [connections.admit(b"a"), connections.admit(b"a")] == ["", PER_CLIENT]


def test_a_client_above_its_share_is_told_so_when_all_is_full() -> None:
    """That is what it can do something about."""
    connections = Connections(most=1, most_per_client=1)
    assert connections.admit(b"a") == ""

    assert [connections.admit(b"a"), connections.admit(b"b")] == [PER_CLIENT, TOTAL]


def test_bounds_that_come_later_count_what_is_open() -> None:
    """Nobody is closed for them, and nobody who has too many gets more."""
    connections = Connections()
    for _ in range(3):
        assert connections.admit(b"a") == ""
    connections.most_per_client = 2

    assert connections.admit(b"a") == PER_CLIENT
    connections.leave(b"a")
    connections.leave(b"a")
    assert connections.admit(b"a") == ""


def test_nothing_is_kept_of_who_has_left() -> None:
    """Addresses can be anybody's, without end."""
    connections = Connections(most_per_client=1)
    for number in range(100):
        assert connections.admit(b"%d" % number) == ""
    for number in range(100):
        connections.leave(b"%d" % number)

    assert repr(connections) == "<Connections 0 of any number, 0 clients>"


def test_clients_leave_room_for_the_rest() -> None:
    """Below the descriptors there are by what upstream, admin port and log need; half of that where they are few."""
    assert most_clients(10_000, 1_048_576, 1024) == 10_000
    assert most_clients(0, 20_000, 1024) == 20_000 - 1024 - 256
    assert most_clients(10_000, 4096, 1024) == 4096 - 1024 - 256
    assert most_clients(10_000, 1024, 1024) == (1024 - 256) // 2
    assert most_clients(10_000, 128, 1024) == 32
    assert most_clients(20, 128, 1024) == 20


def test_where_nobody_knows_the_descriptors_the_setting_holds() -> None:
    """As it stands."""
    assert [most_clients(0, 0, 1024), most_clients(10_000, 0, 1024)] == [0, 10_000]
