import pytest

from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters, specs
from cooptrack_core.types import CooptrackError


@pytest.mark.parametrize("cls", [VehicleConfig, RoadsideConfig])
def test_defaults_survive_the_way_through_parameters(cls):
    assert from_parameters(cls, {spec.name: spec.default for spec in specs(cls)}) == cls()


@pytest.mark.parametrize("cls", [VehicleConfig, RoadsideConfig])
def test_every_parameter_is_described_and_its_default_is_allowed(cls):
    for spec in specs(cls):
        assert len(spec.description) > 8, spec.name
        if isinstance(spec.default, float):
            assert spec.minimum is not None and spec.maximum is not None, spec.name


def test_nested_values_arrive():
    config = from_parameters(VehicleConfig, {"mode": "ego", "tracker.birth_hits": 5, "late.gate_m": 2})
    assert (config.mode, config.tracker.birth_hits, config.late.gate_m) == ("ego", 5, 2.0)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mode": "psychic"}, "parameter mode: 'psychic' is unknown; choose one of ego, late"),
        ({"tracker.birth_hits": 0}, "outside 1 .. 20"),
        ({"tracker.birth_hits": "3"}, "not of type int"),
        ({"tracker.birth_hits": True}, "not of type int"),
        ({"late.gate_m": float("nan")}, "outside"),
        ({"tracker.birth": 1}, "unknown; known are"),
    ],
)
def test_bad_values_are_named(values, says):
    with pytest.raises(CooptrackError, match=says.split(";")[0]) as refused:
        from_parameters(VehicleConfig, values)
    assert "\n" not in str(refused.value)
