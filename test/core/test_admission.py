import pytest
from scenarios import STEP_NS, cars, message

from cooptrack_core.config import AdmissionConfig
from cooptrack_core.cooperation.admission import Admission

NOW = 10**18 + 10 * STEP_NS


def reason(refusal):
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (message(9, cars((1, 0)), T=None), None),
        (message(9, cars()), None),
        (message(12, cars((1, 0))), "from_future"),
        (message(9, cars((1, 0)), T_map_from_sensor=None), "no_pose"),
        (message(9, cars((1, 0)), map_frame="mars"), "unknown_frame"),
        (message(9, cars((1000, 0))), "out_of_range"),
        (message(9, cars(*[(i, 0) for i in range(6)])), "too_large"),
        (message(9, cars((1, 0)), size_bytes=10**9), "too_large"),
    ],
)
def test_each_rule_has_its_name(broken, expected):
    admission = Admission(AdmissionConfig(max_instances=5))
    assert reason(admission.receive(broken, NOW)) == expected
    assert admission.counters == ({} if expected is None else {expected: 1})


def test_repeated_and_reordered_messages_are_refused_but_a_restarted_sender_is_not():
    admission = Admission(AdmissionConfig())
    assert admission.receive(message(5, cars(), sequence=5), NOW) is None
    assert reason(admission.receive(message(5, cars(), sequence=5), NOW)) == "duplicate"
    assert reason(admission.receive(message(4, cars(), sequence=4), NOW)) == "out_of_order"
    assert admission.receive(message(6, cars(), sequence=1, session=8), NOW) is None


def test_a_frame_gets_the_newest_message_of_each_agent_and_each_only_once():
    admission = Admission(AdmissionConfig())
    for index in (7, 8, 9):
        admission.receive(message(index, cars()), NOW)
    admission.receive(message(8, cars(), agent="rsu2"), NOW)
    taken, refused = admission.take(NOW)
    assert [(m.agent_id, m.sequence) for m in taken] == [("rsu", 10), ("rsu2", 9)] and refused == []
    assert admission.take(NOW)[0] == []


def test_a_message_ahead_of_the_frame_waits_for_its_frame():
    admission = Admission(AdmissionConfig(clock_tolerance_ms=100.0))
    admission.receive(message(9, cars()), NOW)
    assert admission.take(10**18 + 7 * STEP_NS)[0] == []
    assert [m.sequence for m in admission.take(10**18 + 9 * STEP_NS)[0]] == [10]


def test_stale_messages_are_counted_not_used():
    admission = Admission(AdmissionConfig(max_age_ms=300.0))
    admission.receive(message(2, cars((1, 0))), NOW)
    taken, refused = admission.take(NOW)
    assert taken == [] and [(r.agent_id, r.sequence, r.reason) for r in refused] == [("rsu", 3, "stale")]
    assert admission.counters["stale"] == 1


def test_one_broken_sequence_number_does_not_silence_its_sender_for_good():
    admission = Admission(AdmissionConfig())
    admission.receive(message(0, cars(), sequence=2**63), NOW)
    reasons = [reason(admission.receive(message(i, cars(), sequence=i), NOW)) for i in range(1, 9)]
    assert reasons == ["out_of_order"] * 5 + [None] * 3


def test_refusals_waiting_for_a_frame_are_bounded_but_all_are_counted():
    admission = Admission(AdmissionConfig())
    for sequence in range(3000):
        admission.refuse("rsu", sequence, "malformed")
    refused = admission.take(NOW)[1]
    assert len(refused) == 1000 and refused[-1].sequence == 2999 and admission.counters["malformed"] == 3000


def test_reset_accepts_sequences_from_the_beginning_again():
    admission = Admission(AdmissionConfig())
    admission.receive(message(9, cars()), NOW)
    admission.reset()
    assert admission.receive(message(0, cars()), NOW) is None


def test_made_up_senders_do_not_fill_the_memory():
    admission = Admission(AdmissionConfig())
    for index in range(500):
        assert admission.receive(message(9, cars(), agent=f"made_up_{index}"), NOW) is None
        admission.receive(message(9, cars(), sequence=index + 1), NOW + index * STEP_NS)
    taken, _ = admission.take(NOW)
    assert len(taken) <= 32 and "rsu" in {m.agent_id for m in taken}
    assert admission.counters["too_many_agents"] == 501 - 32
