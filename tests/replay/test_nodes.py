"""GPUs and nodes: who waits for what, and for how long."""

from dataclasses import replace

from stoker.replay.agenda import Agenda
from stoker.replay.nodes import Nodes
from stoker.replay.setup import Setup, Spread


def made(**changes):
    agenda = Agenda()
    return Nodes(replace(Setup(), **changes), agenda), agenda


def go(agenda, until):
    while agenda.next <= until:
        agenda.do_next()
    agenda.go_to(until)


def taker(nodes, agenda, gpus=1):
    got = []
    nodes.take(gpus, agenda.now, lambda node, at: got.append((node, at)))
    return got


def test_without_limits_nobody_waits():
    nodes, agenda = made()
    assert taker(nodes, agenda) == [(None, 0.0)]
    assert nodes.waiting == 0


def test_a_gpu_that_is_given_back_goes_to_the_one_that_waited_longest():
    nodes, agenda = made(gpus=1)
    first, second, third = (taker(nodes, agenda) for _ in range(3))
    assert (len(first), second, third, nodes.waiting) == (1, [], [], 2)
    nodes.give_back(None, 1, 7.0)
    assert second == [(None, 7.0)]
    assert third == []


def test_a_large_pod_is_not_overtaken_by_small_ones():
    nodes, agenda = made(gpus=4)
    taker(nodes, agenda, 2)
    large, small = taker(nodes, agenda, 4), taker(nodes, agenda, 1)
    assert large == small == []
    nodes.give_back(None, 2, 3.0)
    assert large == [(None, 3.0)]
    assert small == []


def test_a_node_comes_when_none_has_room_and_is_filled_before_the_next():
    nodes, agenda = made(node_startup=Spread(60.0, 60.0), node_gpus=2)
    got = [taker(nodes, agenda) for _ in range(3)]
    go(agenda, 59.0)
    assert got == [[], [], []]
    go(agenda, 60.0)
    assert [len(one) for one in got] == [1, 1, 1]
    assert nodes.count == 2
    assert got[0][0] == (0, 60.0)
    # the third has the second node, a fourth fits beside it at once
    assert taker(nodes, agenda) == [(got[2][0][0], 60.0)]


def test_an_empty_node_goes_after_ten_minutes_unless_it_was_used_in_between():
    nodes, agenda = made(node_startup=Spread(60.0, 60.0), node_gpus=1)
    got = taker(nodes, agenda)
    go(agenda, 60.0)
    node = got[0][0]
    nodes.give_back(node, 1, 60.0)
    go(agenda, 300.0)
    again = taker(nodes, agenda)
    assert again == [(node, 300.0)]
    nodes.give_back(node, 1, 300.0)
    go(agenda, 899.0)
    assert nodes.count == 1
    go(agenda, 900.0)
    assert nodes.count == 0


def test_nodes_that_are_always_there_stay():
    nodes, agenda = made(node_startup=Spread(60.0, 60.0), node_gpus=1, nodes=1)
    got = taker(nodes, agenda)
    assert len(got) == 1
    nodes.give_back(got[0][0], 1, 0.0)
    go(agenda, 5000.0)
    assert nodes.count == 1
