"""Rules are checked in the documented order: a message that breaks two is refused by the first."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scenarios import STEP_NS, cars, message

from cooptrack_core.config import AdmissionConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.compose import select_for_message
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.cooperation.refusals import RULES
from cooptrack_core.geometry.ranges import INFRASTRUCTURE_RANGE_M, VEHICLE_RANGE_M
from cooptrack_core.types import CLASS_ID, Refusal

NOW = 10**18 + 10 * STEP_NS
CONFIG = AdmissionConfig(max_instances=5, max_rate_hz=4.0)


def fields(**changes) -> SimpleNamespace:
    """A message of the frame before NOW as it comes from the air, one car, all in order but for the changes."""
    made = as_fields(message(9, cars((10, 0)), sequence=50), "none")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def stamped(stamp_ns: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="rsu/lidar")


def floats(*values) -> np.ndarray:
    return np.array(values, np.float32)


NO_POSE = SimpleNamespace(
    position=SimpleNamespace(x=0.0, y=0.0, z=0.0), orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=0.0)
)  # fmt: skip
# What breaks each rule, in the order in which they are checked. Rules about what was heard before need a past.
BREAKS = {
    "too_large": {"instance_count": 6},
    "schema_version": {"schema_version": 99},
    "malformed": {"heading_rad": floats(0.0, 0.0)},
    "not_finite": {"score": floats(np.nan)},
    "from_future": {"header": stamped(NOW + 10 * STEP_NS)},
    "stale": {"header": stamped(NOW - 100 * STEP_NS)},
    "out_of_order": {"sequence": 3},
    "unknown_frame": {"map_frame": "mars"},
    "no_pose": {"pose": NO_POSE},
    "out_of_range": {"center_m": floats(-30.0, 0.0, -1.0)},
    "impossible": {"velocity_mps": floats(300.0, 0.0)},
}


def admission(*, flooded: bool = False, quarantined: bool = False) -> Admission:
    """One that has heard rsu and has processed a frame."""
    made = Admission(CONFIG)
    assert made.receive(message(8, cars((10, 0)), sequence=20), NOW) is None
    made.take(NOW)
    if flooded:
        for sequence in range(21, 26):
            made.receive(message(9, cars((10, 0)), sequence=sequence), NOW)
    if quarantined:
        made.quarantine(frozenset({"rsu"}))
    made.counters.clear()
    return made


def refused_by(made: Admission, changes: dict) -> str | None:
    opened = made.opened(fields(**changes), 1000)
    refusal = opened if isinstance(opened, Refusal) else made.receive(opened, NOW)
    return None if refusal is None else refusal.reason


def test_a_message_in_order_is_admitted():
    assert refused_by(admission(), {}) is None


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_refuses_by_its_name(rule):
    assert refused_by(admission(), BREAKS[rule]) == rule


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(BREAKS, 2)))
def test_a_message_that_breaks_two_rules_is_refused_by_the_first(first, second):
    if not set(BREAKS[first]).isdisjoint(BREAKS[second]):
        assert {first, second} == {"from_future", "stale"}  # one stamp cannot be both
        return
    made = admission(flooded=True, quarantined=True)  # and the last two rules as well
    assert refused_by(made, BREAKS[first] | BREAKS[second]) == first
    assert made.counters == {first: 1}


def test_rate_comes_before_quarantine_and_after_all_others():
    assert refused_by(admission(flooded=True, quarantined=True), {}) == "too_often"
    assert refused_by(admission(quarantined=True), {}) == "quarantined"


def test_the_documented_order_is_the_one_that_is_checked():
    checked = [*BREAKS, "too_often", "quarantined"]
    assert [name for name in RULES if name in checked] == checked
    # Those of several instances or messages are shown elsewhere.
    assert set(RULES) - set(checked) == {"duplicate", "repeated_id", "overlapping", "too_many_agents"}


def test_limits_are_checked_before_anything_is_decoded():
    class Untouchable:
        agent_id, sequence, instance_count = "rsu", 1, 10**6

        def __getattr__(self, name):
            raise AssertionError(f"{name} was read")

    assert admission().opened(Untouchable(), 1000).reason == "too_large"
    Untouchable.instance_count = 1
    assert admission().opened(Untouchable(), 10**9).reason == "too_large"


def test_the_rate_is_that_of_each_agent_and_recovers():
    made = Admission(CONFIG)
    refused = []
    for k in range(100):  # 10 Hz where 4 Hz are allowed, after a burst of 4
        refusal = made.receive(message(k, cars(), sequence=k + 1), NOW + k * STEP_NS)
        refused.append(refusal is not None)
    assert not any(refused[:5]) and made.counters == {"too_often": sum(refused)}
    assert sum(refused[20:]) == pytest.approx(0.6 * 80, abs=1)
    assert made.receive(message(100, cars(), agent="rsu2"), NOW + 100 * STEP_NS) is None
    assert made.receive(message(109, cars(), sequence=110), NOW + 130 * STEP_NS) is None


def test_an_old_message_byte_for_byte_is_never_believed_however_often_it_comes():
    made = Admission(AdmissionConfig())
    old = message(5, cars((10, 0)), sequence=30)
    assert made.receive(old, NOW) is None
    assert made.receive(message(6, cars((10, 0)), sequence=31), NOW) is None
    reasons = {made.receive(old, NOW).reason for _ in range(20)}
    assert reasons == {"out_of_order"}


def test_a_recording_of_an_earlier_session_is_refused_but_a_restarted_sender_is_heard():
    made = Admission(AdmissionConfig())
    earlier = [message(k, cars((10, 0)), session=1) for k in range(3)]
    assert [made.receive(item, NOW) for item in earlier] == [None] * 3
    assert made.receive(message(3, cars((10, 0)), session=2, sequence=1), NOW) is None
    assert {made.receive(item, NOW).reason for item in earlier} == {"out_of_order"}


def test_instances_may_lie_outside_the_declared_range_by_the_tolerance_only():
    made = Admission(dataclasses.replace(CONFIG, range_tolerance_m=5.0))
    assert made.receive(message(8, cars((-4.9, 0)), sequence=1), NOW) is None
    assert made.receive(message(9, cars((-5.1, 0)), sequence=2), NOW).reason == "out_of_range"


@pytest.mark.parametrize(("kinematics", "nearest_m", "farthest_m"), [("fp32", -5.0, 107.4), ("compact", -120.0, 120.0)])
def test_an_instance_where_no_sender_sees_is_refused_in_either_format(kinematics, nearest_m, farthest_m):
    made = Admission(AdmissionConfig())

    def refused(number, x_m):
        sent = message(9, cars((x_m, 0.0)), sequence=number, kinematics=kinematics)
        refusal = made.receive(made.opened(as_fields(sent, "none"), 1000), NOW)
        return None if refusal is None else refusal.reason

    places = [nearest_m + 0.1, farthest_m - 0.1, nearest_m - 0.1, farthest_m + 0.1, -200.0, 200.0]
    assert [refused(number, x_m) for number, x_m in enumerate(places, 1)] == [None] * 2 + ["out_of_range"] * 4


def test_the_range_of_a_sender_that_declares_none_covers_what_the_presets_see():
    corners = [(x, y) for low in (INFRASTRUCTURE_RANGE_M, VEHICLE_RANGE_M) for x in low[::3] for y in low[1::3]]
    farthest_m = max(math.hypot(x, y) for x, y in corners)
    assert farthest_m <= AdmissionConfig().undeclared_range_m < farthest_m + 1.0


@pytest.mark.parametrize(
    ("class_name", "speed_mps", "length_m", "expected"),
    [
        ("car", 80.0, 4.0, None), ("car", 95.0, 4.0, "impossible"), ("car", 10.0, 30.0, None),
        ("car", 10.0, 45.0, "impossible"), ("pedestrian", 12.0, 1.0, None), ("pedestrian", 30.0, 1.0, "impossible"),
        ("pedestrian", 1.0, 7.0, "impossible"), ("bicycle", 20.0, 2.0, None), ("bicycle", 45.0, 2.0, "impossible"),
    ],
)  # fmt: skip
def test_sizes_and_speeds_are_those_that_a_class_can_have(class_name, speed_mps, length_m, expected):
    velocity = np.array([[0.0, speed_mps]])
    one = dataclasses.replace(cars((10, 0), class_name=class_name), velocity_mps=velocity)
    one = dataclasses.replace(one, size_m=np.array([[length_m, 1.0, 1.5]]), class_id=np.array([CLASS_ID[class_name]]))
    refusal = Admission(AdmissionConfig()).receive(message(9, one), NOW)
    assert (None if refusal is None else refusal.reason) == expected


def test_an_honest_unit_sends_nothing_that_receivers_refuse_as_impossible():
    fast = dataclasses.replace(cars((10, 0), (20, 0)), velocity_mps=np.array([[300.0, 0.0], [3.0, 0.0]]))
    sent, withheld = select_for_message(fast, 10)
    assert sent.center_m[:, 0].tolist() == [20.0] and withheld == 0
    assert Admission(AdmissionConfig()).receive(message(9, sent), NOW) is None


def test_refusals_are_counted_in_total_and_by_agent_and_their_share_makes_the_level():
    made = Admission(AdmissionConfig())
    for k in range(30):
        made.receive(message(9, cars(), sequence=k + 1), NOW + k * STEP_NS)
    assert made.book.level("rsu") == ("ok", "")
    for _ in range(5):
        made.refuse("rsu", 1, "stale")
    assert made.book.level("rsu") == ("warn", "stale")
    for _ in range(5):
        made.refuse("rsu", 1, "malformed")
    made.refuse("rsu2", 1, "malformed")
    assert made.book.level("rsu") == ("error", "malformed")
    assert made.book.of("rsu") == {"stale": 5, "malformed": 5} and made.book.of("rsu2") == {"malformed": 1}
    assert made.counters["malformed"] == 6
    for k in range(60):
        made.receive(message(9, cars(), sequence=100 + k), NOW + (100 + k) * STEP_NS)
    assert made.book.level("rsu") == ("ok", "")


def test_what_cannot_be_read_is_charged_to_whom_is_heard_there_too_but_counted_once():
    made = Admission(AdmissionConfig())
    for _ in range(3):
        made.opened(fields(agent_id="somebody", schema_version=99), 1000, "rsu")
    assert made.book.of("rsu") == made.book.of("somebody") == {"schema_version": 3}
    assert made.book.level("rsu") == ("error", "schema_version")
    assert made.counters == {"schema_version": 3} and len(made.take(NOW)[1]) == 3


def test_the_level_of_all_senders_together_is_that_of_their_last_messages():
    made = Admission(AdmissionConfig())
    assert made.book.level_of_all() == ("ok", "")
    for k in range(20):
        made.receive(message(9, cars(), agent=f"rsu{k % 4}", sequence=k + 1), NOW)
    for _ in range(2):
        made.refuse("rsu0", 1, "stale")
    assert made.book.level_of_all() == ("warn", "stale")
    made.refuse("rsu1", 1, "malformed")
    assert made.book.level_of_all() == ("error", "malformed")
    for k in range(50):
        made.receive(message(9, cars(), sequence=100 + k), NOW + k * STEP_NS)
    assert made.book.level_of_all() == ("ok", "")


def test_duplicates_are_counted_and_no_fault():
    made = Admission(AdmissionConfig())
    made.receive(message(9, cars(), sequence=1), NOW)
    for _ in range(10):
        made.receive(message(9, cars(), sequence=1), NOW)
    assert made.counters["duplicate"] == 10 and made.book.level("rsu") == ("ok", "")


def test_a_quarantined_agent_is_refused_and_still_watched():
    made = Admission(AdmissionConfig())
    made.receive(message(8, cars((10, 0)), sequence=1), NOW)
    made.quarantine(frozenset({"rsu"}))
    assert made.receive(message(9, cars((10, 0)), sequence=2), NOW).reason == "quarantined"
    taken, refused = made.take(NOW)
    assert taken == [] and [item.reason for item in refused] == ["quarantined", "quarantined"]
    assert [item.sequence for item in made.take_watched(NOW)] == [2] and made.take_watched(NOW) == []
    made.quarantine(frozenset())
    assert made.receive(message(9, cars((10, 0)), sequence=3), NOW) is None


def test_made_up_names_fill_no_counters():
    made = Admission(AdmissionConfig())
    for k in range(1000):
        made.refuse(f"made_up_{k}", 1, "malformed")
    assert made.counters["malformed"] == 1000
    assert sum(bool(made.book.of(f"made_up_{k}")) for k in range(1000)) <= 64


def test_the_page_on_trust_lists_every_rule_in_order_with_its_level():
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (ERROR|WARN|none) \|$", page, re.MULTILINE)
    assert rows == [(name, {"ok": "none"}.get(rule.level, rule.level.upper())) for name, rule in RULES.items()]
