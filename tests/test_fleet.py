"""Many gateways switch as one, and none that missed a switch serves what was retired after it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.core.admission import Admission, Door
from gateway.core.fleet import LEASE_S, Post, Refused, majority, source, suffices
from gateway.core.model import Routing, Site, Slot
from gateway.errors import ProxyError
from tests.simulated_fleet import CONTROLLER, Ended, Lab, Node
from tests.simulation import SITE
from tests.waiting import look_until

BLUE, GREEN = Routing(Slot.BLUE, awake=True), Routing(Slot.GREEN, awake=True)
G1, G2, G3 = "g1", "g2", "g3"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Three gateways that serve blue."""
    lab = Lab(tmp_path)
    lab.lead()
    lab.pass_time(2)
    lab.proxy.publish(SITE, BLUE)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: BLUE}
    yield lab


@pytest.mark.parametrize("members", range(1, 10))
def test_those_who_know_of_an_order_and_any_majority_have_one_in_common(members: int) -> None:
    fewest = next(reached for reached in range(members + 1) if suffices(reached, members))
    assert fewest + majority(members) == members + 1


def test_an_order_is_shown_by_all(lab: Lab) -> None:
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: GREEN}


def test_who_asks_while_an_order_has_reached_some_gateways_only_is_told_what_all_serve_then(lab: Lab) -> None:
    asked, late = threading.Event(), lab.nodes[G3].nginx
    publish, serving = late.publish, late.serving

    def publish_late(site: Site, routing: Routing) -> None:
        assert asked.wait(10)
        publish(site, routing)

    def serve_and_tell(site: Site) -> Routing:
        found = serving(site)
        asked.set()
        return found

    late.publish, late.serving = publish_late, serve_and_tell  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        ordered = pool.submit(lab.proxy.publish, SITE, GREEN)
        look_until(lambda: lab.shown() == {G1: GREEN, G2: GREEN, G3: BLUE}, within_s=10, every_s=0.01)
        assert lab.proxy.serving(SITE) == GREEN
        ordered.result()
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: GREEN}


def test_who_is_let_in_is_told_to_all_and_leaves_the_routing_alone(lab: Lab) -> None:
    lab.proxy.admit(SITE, Admission(Door.MAINTENANCE))
    assert lab.proxy.admission(SITE).door is Door.MAINTENANCE
    assert {node.files.shown(SITE.name).door for node in lab.nodes.values()} == {Door.MAINTENANCE}
    assert lab.proxy.serving(SITE) == BLUE


def test_a_gateway_that_was_never_told_anything_serves_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.pass_time(2 * LEASE_S)
    assert lab.shown() == {G1: None, G2: None, G3: None}


def test_a_gateway_that_can_t_be_reached_misses_the_order_and_is_waited_for_until_it_serves_no_more(
    lab: Lab,
) -> None:
    lab.isolate(G3)
    lab.pass_time(1)
    lab.proxy.publish(SITE, GREEN)
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: BLUE}
    assert lab.proxy.serving(SITE) == GREEN
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: None}


def test_it_serves_what_the_others_do_once_it_is_back(lab: Lab) -> None:
    lab.isolate(G3)
    lab.proxy.publish(SITE, GREEN)
    lab.pass_time(2 * LEASE_S)
    lab.heal()
    lab.pass_time(2)
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: GREEN}


def test_one_that_only_the_controller_can_t_reach_is_out_of_service_though_it_sees_the_others(
    lab: Lab,
) -> None:
    lab.part(G3, CONTROLLER)
    lab.pass_time(1)
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    lab.pass_time(3 * LEASE_S)
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: None}


def test_gateways_that_see_one_another_go_on_without_a_controller(lab: Lab) -> None:
    lab.fleet = None
    lab.pass_time(10 * LEASE_S)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: BLUE}


def test_a_gateway_that_does_not_serve_is_a_problem_that_people_are_told(lab: Lab) -> None:
    assert lab.fleet is not None
    assert lab.fleet.problems() == []
    lab.isolate(G3)
    lab.pass_time(1)
    assert lab.fleet.problems() == ["the gateway on g3 can't be reached"]


def test_without_a_controller_a_gateway_by_itself_serves_nothing(lab: Lab) -> None:
    lab.fleet = None
    lab.isolate(G3)
    lab.pass_time(2 * LEASE_S)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: None}


def test_an_agent_that_was_killed_goes_on_with_its_lease(lab: Lab) -> None:
    lab.fleet = None
    lab.nodes[G3].restart_agent()
    lab.nodes[G3].member.look()
    assert lab.shown()[G3] == BLUE


def test_a_container_that_starts_again_serves_nothing_before_it_knows_what_is_live(lab: Lab) -> None:
    lab.isolate(G3)
    lab.pass_time(1)
    lab.proxy.publish(SITE, GREEN)
    lab.heal()
    lab.nodes[G3].start()
    lab.nodes[G3].member.look()
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: None}
    lab.pass_time(2)
    assert lab.shown()[G3] == GREEN


def test_after_a_power_cut_the_gateways_serve_what_they_served_also_without_a_controller(lab: Lab) -> None:
    lab.fleet = None
    for node in lab.nodes.values():
        node.start()
    lab.pass_time(3)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: BLUE}


def test_too_few_gateways_are_no_order_and_change_nothing(lab: Lab) -> None:
    lab.isolate(G2)
    lab.isolate(G3)
    with pytest.raises(ProxyError, match=r"1 of 3 gateways can be reached \(not: g2, g3\)"):
        lab.proxy.publish(SITE, GREEN)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: BLUE}


def test_one_that_refuses_is_named_and_follows_when_it_can(lab: Lab) -> None:
    lab.nodes[G2].nginx.refuses = "the disk is full"
    with pytest.raises(ProxyError, match="g2: the disk is full"):
        lab.proxy.publish(SITE, GREEN)
    lab.nodes[G2].nginx.refuses = ""
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: GREEN}


def test_another_controller_takes_over_what_was_ordered_last(lab: Lab) -> None:
    lab.isolate(G1)
    lab.proxy.publish(SITE, GREEN)
    lab.heal()
    lab.lead()
    lab.pass_time(2)
    assert lab.proxy.serving(SITE) == GREEN
    assert lab.shown() == {G1: GREEN, G2: GREEN, G3: GREEN}


def test_the_controller_before_can_order_no_more(lab: Lab) -> None:
    before = lab.proxy
    lab.lead()
    lab.pass_time(1)
    with pytest.raises(ProxyError, match=r"comes too late|too\sfew"):
        before.publish(SITE, GREEN)
    assert lab.shown() == {G1: BLUE, G2: BLUE, G3: BLUE}


def test_another_controller_that_may_not_know_the_last_order_orders_nothing(lab: Lab) -> None:
    lab.isolate(G1)
    lab.pass_time(1)
    lab.proxy.publish(SITE, GREEN)
    lab.heal()
    lab.isolate(G2)
    lab.isolate(G3)
    lab.lead()
    lab.pass_time(1)
    assert "1 of 3 gateways can be reached" in lab.problem
    with pytest.raises(ProxyError):
        lab.proxy.publish(SITE, BLUE)


def test_a_gateway_that_left_is_a_member_no_more_so_that_the_others_are_a_majority_again(lab: Lab) -> None:
    for gone in (G3, G2):
        lab.isolate(gone)
        lab.there.discard(gone)
        lab.pass_time(LEASE_S + 3)
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    assert lab.shown() == {G1: GREEN, G2: None, G3: None}


def test_a_new_gateway_serves_what_is_live(lab: Lab, tmp_path: Path) -> None:
    lab.nodes["g4"] = Node(lab, "g4", tmp_path / "g4")
    lab.there.add("g4")
    lab.pass_time(3)
    assert lab.shown()["g4"] == BLUE
    lab.proxy.publish(SITE, GREEN)
    assert set(lab.shown().values()) == {GREEN}


@pytest.mark.parametrize("reached", [(), (G1,), (G1, G2)])
@pytest.mark.parametrize("call", ["prepare", "commit"])
def test_a_controller_that_ends_in_the_middle_of_an_order_leaves_gateways_that_serve(
    lab: Lab, call: str, reached: tuple[str, ...]
) -> None:
    lab.ends = {(call, address) for address in lab.nodes if address not in reached}
    with pytest.raises(Ended):
        lab.proxy.publish(SITE, GREEN)
    lab.fleet = None
    lab.pass_time(5 * LEASE_S)
    carried_out = len(reached) if call == "commit" else 0
    serve = [shown for shown in lab.shown().values() if shown]
    assert serve.count(GREEN) == carried_out
    assert len(serve) == (3 if carried_out < 2 else 2)  # the third finds none that has not
    lab.lead()
    lab.pass_time(2)
    assert {*lab.shown().values()} == {GREEN if carried_out else BLUE}


MOVES = [{G2: "g4", G3: "g5"}, {G2: G3, G3: "g4"}, {G2: G3, G3: G2}]


@pytest.mark.parametrize("to", MOVES)
def test_gateways_that_have_other_addresses_than_before_are_the_same_to_a_new_controller(
    lab: Lab, to: dict[str, str]
) -> None:
    """Nobody led when Swarm started them anew: no list of members has their addresses."""
    lab.fleet = None
    lab.isolate(G1)
    lab.move(to)
    lab.pass_time(2 * LEASE_S)
    lab.lead()
    lab.pass_time(2 * LEASE_S)
    assert [*lab.shown().values()].count(BLUE) == 2
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    assert [*lab.shown().values()].count(GREEN) == 2


@pytest.mark.parametrize("to", MOVES)
def test_they_are_the_same_to_the_controller_that_leads(lab: Lab, to: dict[str, str]) -> None:
    lab.isolate(G1)
    lab.move(to)
    lab.pass_time(2 * LEASE_S)
    assert [*lab.shown().values()].count(BLUE) == 2
    lab.proxy.publish(SITE, GREEN)
    assert lab.proxy.serving(SITE) == GREEN
    assert [*lab.shown().values()].count(GREEN) == 2


def test_a_gateway_alone_that_has_another_s_address_now_is_no_majority(lab: Lab) -> None:
    lab.fleet = None
    lab.isolate(G2)
    lab.move({G2: G3, G3: G2})
    lab.pass_time(2 * LEASE_S)
    assert lab.shown()[G3] is None


def test_what_is_new_speaks_for_nobody() -> None:
    post = Post(promised=7, done=7, members=(G1, G2, G3), own=G1)
    assert not post.may_go_on({G2: Post()})
    assert post.may_go_on({G2: Post(7, 7, own=G2)})
    assert post.may_go_on({G2: Post(8, 7, own=G2)})
    assert not post.may_go_on({G2: Post(8, 8, own=G2)})


def test_the_state_is_taken_over_from_whoever_carried_out_most() -> None:
    members = (G1, G2, G3)
    assert source({G1: Post(8, 7, members, G1), G2: Post(8, 8, members, G2)}) == G2
    assert source({G1: Post(), G2: Post()}) is None
    with pytest.raises(Refused, match="1 of 3"):
        source({G1: Post(8, 7, members, G1)})


HAPPENS = ("order", "order", "half", "cut", "heal", "kill", "restart", "move", "lead", "wait", "gone")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_cut_and_killed_only_what_was_confirmed_is_served(tmp_path: Path, seed: int) -> None:
    """Invariant: from when a routing was confirmed until the next order, nobody is served by another one."""
    chance = random.Random(seed)
    lab = Lab(tmp_path, count=chance.choice((1, 2, 3, 5)))
    lab.lead()
    lab.pass_time(2)
    confirmed: Routing | None = None
    for turn in range(40):
        match chance.choice(HAPPENS):
            case "order":
                confirmed = _ordered(lab, chance.choice((BLUE, GREEN)))
            case "half":
                some = chance.sample([*lab.nodes], chance.randint(1, len(lab.nodes)))
                lab.ends = {(chance.choice(("prepare", "commit")), address) for address in some}
                confirmed = _ordered(lab, chance.choice((BLUE, GREEN)))
                lab.fleet, lab.ends = None, set()
            case "cut":
                lab.part(*chance.sample([*lab.nodes, CONTROLLER], 2))
            case "heal":
                lab.heal()
            case "kill":
                lab.nodes[chance.choice([*lab.nodes])].restart_agent()
            case "restart":
                lab.nodes[chance.choice([*lab.nodes])].start()
            case "move":
                some = chance.sample([*lab.nodes], chance.randint(1, len(lab.nodes)))
                free = [f"m{turn}", *some]
                lab.move(dict(zip(some, chance.sample(free, len(some)), strict=True)))
            case "lead":
                lab.lead()
            case "gone":
                lab.there ^= {chance.choice([*lab.nodes])}
            case "wait":
                pass
        for _ in range(chance.randrange(6)):
            lab.pass_time(0.5)
            if confirmed:
                assert {*lab.shown().values()} <= {None, confirmed}
    lab.heal()
    lab.there = {*lab.nodes}
    if not lab.fleet:
        lab.lead()
    lab.pass_time(3 * LEASE_S)
    assert len({*lab.shown().values()}) == 1
    assert not lab.problem


def _ordered(lab: Lab, routing: Routing) -> Routing | None:
    """What is confirmed; None: nothing is."""
    try:
        lab.proxy.publish(SITE, routing)
        return routing if lab.proxy.serving(SITE) == routing else None
    except (ProxyError, Ended):
        return None
