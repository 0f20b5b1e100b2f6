"""The retry budget: retries stay a share of requests."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.policy.budget import RetryBudget

SHARES = st.integers(0, 1_000_000).map(lambda millionths: millionths / 1e6)


def spend(budget: RetryBudget) -> int:
    """How many tokens there are to take."""
    count = 0
    while budget.take():
        count += 1
    return count


def test_three_are_there_to_begin_with() -> None:
    """So that retries work before there was any traffic."""
    assert spend(RetryBudget(0.2)) == 3


@pytest.mark.parametrize(("share", "requests"), [(1.0, 1), (0.5, 2), (0.2, 5), (0.1, 10), (0.001, 1000)])
def test_so_many_requests_make_up_for_one_retry(share: float, requests: int) -> None:
    """Exactly: no rounding takes a token away."""
    budget = RetryBudget(share)
    spend(budget)
    for _ in range(requests - 1):
        budget.deposit()
    assert not budget.take()
    budget.deposit()

    assert spend(budget) == 1


def test_at_most_ten_are_saved() -> None:
    """A quiet night does not pay for a storm in the morning."""
    budget = RetryBudget(0.2)
    for _ in range(100_000):
        budget.deposit()

    assert (budget.left, spend(budget)) == (10.0, 10)


def test_a_share_of_nothing_is_nothing() -> None:
    """Not even the first three."""
    budget = RetryBudget(0.0)
    budget.deposit()

    assert (budget.left, budget.take()) == (0.0, False)


def test_in_an_outage_the_load_grows_by_the_share_alone() -> None:
    """Every request fails and would be retried twice."""
    budget = RetryBudget(0.2)
    retries = 0
    for _ in range(1000):
        budget.deposit()
        retries += budget.take() + budget.take()

    assert retries == 203


class Spending(RuleBasedStateMachine):
    """Requests and retries in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.budget: RetryBudget | None = None
        self.share = 0.0
        self.requests = self.retries = 0

    @precondition(lambda self: self.budget is None)
    @rule(share=SHARES)
    def begin(self, share: float) -> None:
        self.share, self.budget = share, RetryBudget(share)

    @precondition(lambda self: self.budget is not None)
    @rule(count=st.integers(1, 30))
    def request(self, count: int) -> None:
        assert self.budget is not None
        for _ in range(count):
            self.budget.deposit()
        self.requests += count

    @precondition(lambda self: self.budget is not None)
    @rule()
    def retry(self) -> None:
        assert self.budget is not None
        left = self.budget.left
        taken = self.budget.take()
        assert taken is (left >= 1)
        self.retries += taken

    @invariant()
    def bounded(self) -> None:
        if self.budget is not None:
            assert 0 <= self.budget.left <= 10
            assert self.retries <= 3 + self.requests * self.share + 1e-9


TestSpending = Spending.TestCase
