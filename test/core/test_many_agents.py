"""Several roadside units and vehicles: one track for each object, ids that hold, and nobody hears its own echo."""

from dataclasses import replace

import numpy as np
import pytest
import scripted_network as scripted
from many_agents import START_NS, UNIT, Member, World, car, count_tracks, drive, unit
from scenarios import STEP_NS, cars, frame, message, yawed
from simulated import LATE

from cooptrack_core.config import VehicleSendingConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.geometry.ranges import VEHICLE_RANGE_M
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, Frame

CORNERS = ((20, 20, -2.4), (-20, -20, 0.8), (20, -20, 2.4), (-20, 20, -0.8), (0, 25, -1.5), (0, -25, 1.5))


def crossing(seed: int, others: int, noise: float) -> tuple[World, Member, list[Member]]:
    """A vehicle that sees half of what is around it, and others with views that overlap, units and vehicles in turn."""
    world = World(rng=np.random.default_rng(seed))
    ego = car("ego", world, -5, -20, 1.2, noise, noise, blind=(0.3, 3.1))
    make = (unit, car)
    return world, ego, [make[k % 2](f"agent{k}", world, *CORNERS[k], noise, noise) for k in range(others)]


def telling(agent_id="b", **options) -> VehicleAgent:
    return VehicleAgent(
        agent_id, replace(LATE, publish_instances=True, **options), session_id=9, sensor_frame=f"{agent_id}/lidar"
    )


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])  # m and degrees, each agent its own
@pytest.mark.parametrize("others", [2, 5])
def test_an_object_that_several_agents_see_has_one_track(others, noise):
    world, ego, members = crossing(1, others, noise)
    outputs = drive(world, ego, members, 30)
    counted = count_tracks(world, ego, outputs, start=8)
    assert counted.objects > 300 and counted.found == counted.objects
    assert counted.doubles == 0 and counted.switches == 0
    assert max(len(agents) for agents in outputs[-1].tracks.agents) >= 2, "some are seen by several others"


def test_more_agents_find_more():
    world, ego, members = crossing(2, 3, 0.3)
    found = [count_tracks(world, ego, drive(world, ego, [], 20), 8).found]
    for count in (1, 3):
        world, ego, members = crossing(2, count, 0.3)
        found.append(count_tracks(world, ego, drive(world, ego, members, 20), 8).found)
    assert found[0] < found[1] < found[2]


def test_ids_hold_when_agents_come_and_go():
    world, ego, members = crossing(3, 5, 0.3)
    number = {m.agent.agent_id: k for k, m in enumerate(members)}

    def present(member, i):  # each pauses for 8 frames, one after the other; others always see what it saw
        return not 0 <= i - 10 - 10 * number[member.agent.agent_id] < 8

    outputs = drive(world, ego, members, 60, present)
    used = [{use.agent_id for use in output.associations.messages} for output in outputs]
    assert len(used[5]) == 5 and "agent0" not in used[14] and "agent0" in used[20] and "agent3" not in used[44]
    counted = count_tracks(world, ego, outputs, 8)
    assert counted.found == counted.objects and counted.doubles == 0 and counted.switches == 0


def test_a_restarted_agent_with_a_new_session_and_new_ids_keeps_the_tracks():
    world, ego, members = crossing(4, 2, 0.3)
    first = drive(world, ego, members, 20)
    members[0].agent = RoadsideAgent("agent0", UNIT, 77, "agent0/lidar")
    second = drive(world, ego, members, 20, start=20)
    sessions = {use.session_id for output in second for use in output.associations.messages}
    assert 77 in sessions
    counted = count_tracks(world, ego, first + second, 8)
    assert counted.switches == 0 and counted.doubles == 0


def test_a_vehicle_tells_what_it_measures_and_nothing_that_it_only_heard():
    agent = telling()
    rng = np.random.default_rng(0)
    for i in range(12):
        heard = cars((10.0 + i, 1.2), (30.0, -8.0), age_frames=np.array([9, 9]))
        agent.receive(message(i, heard), 10**18 + i * STEP_NS)
        output = agent.step(frame(i, cars((10.0 + i + rng.normal(0, 0.01), rng.normal(0, 0.01)))))
    assert sorted(output.tracks.sources_ever.tolist()) == [SOURCE_REMOTE, SOURCE_EGO | SOURCE_REMOTE]
    told = output.message.instances
    assert len(told) == 1
    np.testing.assert_allclose(told.center_m[0, :2], [21.0, 0.0], atol=0.05)  # its own place, not the one between
    fused = output.tracks.center_m[output.tracks.sources & SOURCE_EGO > 0]
    assert fused[0, 1] > 0.2, "its own track believes both"


def test_what_a_vehicle_tells_does_not_depend_on_what_it_hears():
    deaf, hearing = telling(), telling()
    for i in range(8):
        hearing.receive(message(i, cars((10.4, 0.3), (20.5, 3.0), (40.0, 9.0))), 10**18 + i * STEP_NS)
        seen = frame(i, cars((10.0, 0.1 * i), (20.0, 3.0)))
        told, alone = hearing.step(seen).message.instances, deaf.step(seen).message.instances
        for name in ("center_m", "velocity_mps", "instance_id", "score", "position_variance_m2"):
            np.testing.assert_array_equal(getattr(told, name), getattr(alone, name))


def test_two_vehicles_do_not_keep_an_object_alive_by_telling_each_other():
    a, b = telling("a"), telling("b")
    told = {"a": None, "b": None}
    counts = []
    for i in range(20):
        there = cars((15.0, 0.0)) if i < 8 else cars()
        for agent, other in ((a, "b"), (b, "a")):
            if told[other] is not None:
                agent.receive(over_the_air(told[other]), 10**18 + i * STEP_NS)
            output = agent.step(frame(i, there))
            told[agent.agent_id] = output.message
        counts.append(len(output.tracks))
    assert counts[7] == 1 and counts[-1] == 0
    assert counts.index(0, 8) <= 8 + 6, "it dies as soon as a vehicle alone would let it die, and a frame in the air"


def test_the_message_of_a_vehicle():
    agent = telling(messages=VehicleSendingConfig(max_instances=2))
    far = VEHICLE_RANGE_M[3] + 5.0
    pose = yawed(0.3, 100.0, 50.0)
    for i in range(6):
        seen = cars((-20.0, 0.0), (10.0, 0.0), (30.0, 5.0), (far, 0.0), score=np.array([0.9, 0.8, 0.5, 0.99]))
        sent = agent.step(frame(i, seen, pose)).message
    assert (sent.agent_id, sent.session_id, sent.sequence, sent.sensor_frame) == ("b", 9, 6, "b/lidar")
    assert sent.point_range_m == VEHICLE_RANGE_M and sent.instances_withheld == 1
    assert sorted(sent.instances.center_m[:, 0].round().tolist()) == [-20.0, 10.0], "behind it, too, but not far away"
    np.testing.assert_array_equal(sent.T_map_from_sensor, pose)
    assert sent.instances.features is None and (sent.instances.age_frames > 1).all()
    assert agent.step(frame(6, None, pose)).message is None, "a lost frame is no news"
    assert agent.step(frame(7, seen, False)).message is None, "without a pose nobody could use it"
    empty = agent.step(frame(8, cars(), pose)).message
    assert empty.sequence == 7 and len(empty.instances) == 0, "nothing seen is news"


def test_without_the_option_a_vehicle_says_nothing():
    agent = VehicleAgent("b", LATE)
    assert agent.step(frame(0, cars((10, 0)))).message is None


def test_ids_of_a_vehicles_message_last_through_a_reset():
    agent = telling()
    told = [agent.step(frame(i, cars((10.0, 0.0)))).message.instances.instance_id.tolist() for i in range(6)]
    assert told[-1] == told[-2] == [1]
    agent.reset()
    again = [agent.step(frame(i, cars((10.0, 0.0)))).message for i in range(6)]
    assert again[-1].instances.instance_id.tolist() == [2] and again[-1].sequence == 12


def test_features_and_kinematics_of_several_agents_in_one_frame_give_one_track_each():
    """The network takes the unit's message; two vehicles, whose features it does not know, see the same objects."""
    agent = scripted.vehicle()
    hidden, seen = (40.0, 5.0), scripted.AHEAD[0]

    def sent(i):
        return [
            scripted.message(i, hidden),
            scripted.message(i, (40.7, 5.3), (seen[0] - 0.6, seen[1]), maker=scripted.FOREIGN, agent="car1"),
            scripted.message(i, (39.2, 4.8), (seen[0] + 0.7, seen[1]), (30.0, -9.0), maker=None, agent="car2"),
        ]

    outputs = scripted.drive(agent, 8, sent)
    for output in outputs[3:]:
        assert len(output.tracks) == 4, "two of its own, the unit's, and the one that only car2 sees"
        assert output.tracks.track_id.tolist() == outputs[3].tracks.track_id.tolist()
    told = {tuple(sorted(agents)) for agents in outputs[-1].tracks.agents}
    assert told == {(), ("car1", "car2"), ("car1", "car2", "rsu"), ("car2",)}
    assert set(outputs[-1].unused_features) == {"car1", "car2"}


def test_a_vehicle_with_a_network_tells_what_its_own_image_shows():
    agent = VehicleAgent(
        "b", replace(scripted.vehicle().config, publish_instances=True), network=scripted.Network(), session_id=4
    )
    last = scripted.drive(agent, 3, lambda i: [scripted.message(i, (40.0, 5.0))])[-1]
    assert len(last.tracks) == 3
    assert last.message.instances.center_m[:, :2].tolist() == [list(xy) for xy in scripted.AHEAD]
    rejected = scripted.drive(agent, 1, image=lambda i: b"bad", start=3)[-1]
    assert rejected.message is None


def test_frames_are_processed_in_the_order_of_agents_whatever_the_order_of_arrival():
    def run(order):
        agent = VehicleAgent("v", LATE)
        for i in range(6):
            sent = [message(i, cars((20.0 + 0.3 * k, 0.0)), agent=f"rsu{k}") for k in range(3)]
            for k in order:
                agent.receive(sent[k], START_NS + i * STEP_NS)
            output = agent.step(Frame(START_NS + i * STEP_NS, np.eye(4), cars((20.1, 0.2))))
        return output

    a, b = run((0, 1, 2)), run((2, 0, 1))
    np.testing.assert_array_equal(a.tracks.center_m, b.tracks.center_m)
    assert a.tracks.agents == b.tracks.agents == [("rsu0", "rsu1", "rsu2")]


def test_beside_the_objects_of_others_a_networks_tracks_keep_their_places_and_ids():
    agent = scripted.vehicle()
    far_off = [(x + 1.2, y - 1.0) for x, y in scripted.AHEAD]
    outputs = scripted.drive(agent, 8, lambda i: [scripted.message(i, *far_off, maker=scripted.FOREIGN, agent="car1")])
    for output in outputs:
        np.testing.assert_allclose(output.tracks.center_m[:, :2], scripted.AHEAD, atol=0.1)
        assert output.tracks.track_id.tolist() == outputs[0].tracks.track_id.tolist()
        assert output.tracks.agents == [("car1",), ("car1",)], "that others see them is told all the same"
        assert output.tracks.sources.tolist() == [SOURCE_EGO | SOURCE_REMOTE] * 2


def test_a_track_that_the_network_ends_is_not_reported_and_has_its_id_when_it_is_back():
    agent, foreign = scripted.vehicle(), scripted.FOREIGN
    outputs = []
    for i in range(9):
        agent.network.seen = scripted.AHEAD[:1] if i in (4, 5) else scripted.AHEAD
        outputs += scripted.drive(agent, 1, lambda i: [scripted.message(i, (-30.0, 8.0), maker=foreign)], start=i)
    ids = [set(output.tracks.track_id.tolist()) for output in outputs]
    lost = ids[3] - ids[4]
    assert len(lost) == 1 and ids[4] == ids[5] and ids[6] == ids[3]
    places = [scripted.places(output.tracks) for output in outputs]
    assert scripted.AHEAD[1] not in places[4] and scripted.AHEAD[1] in places[6]


def test_what_only_a_vehicle_told_keeps_its_id_when_the_network_finds_it():
    agent, foreign = scripted.vehicle(), scripted.FOREIGN
    outputs = []
    for i in range(8):
        if i == 5:
            agent.network.seen = (*scripted.AHEAD, (30.3, -9.2))
        outputs += scripted.drive(agent, 1, lambda i: [scripted.message(i, (30.0, -9.0), maker=foreign)], start=i)

    def track_there(output):
        near = np.abs(output.tracks.center_m[:, :2] - (30.2, -9.1)).max(axis=1) < 1.0
        return output.tracks.track_id[near].tolist(), output.tracks.sources[near].tolist()

    assert track_there(outputs[4])[1] == [SOURCE_REMOTE]
    assert track_there(outputs[7]) == (track_there(outputs[4])[0], [SOURCE_EGO | SOURCE_REMOTE])


def test_an_empty_message_does_not_say_that_the_features_of_its_sender_are_used():
    agent = scripted.vehicle()
    said = []
    for i, (places, maker) in enumerate(
        (([(40.0, 5.0)], None), ([], None), ([(40.0, 5.0)], None), ([(40.0, 5.0)], scripted.UNDERSTOOD), ([], None))
    ):
        output = scripted.drive(agent, 1, lambda i, p=places, m=maker: [scripted.message(i, *p, maker=m)], start=i)[0]
        said.append(bool(output.unused_features))
    assert said == [True, True, True, False, False]
