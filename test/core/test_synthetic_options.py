import pytest

from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.types import CooptrackError


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("seed", -1, "--seed"),
        ("duration_s", float("nan"), "--duration-s"),
        ("duration_s", 0.0, "--duration-s"),
        ("duration_s", 0.1, "--duration-s"),
        ("rate_hz", float("nan"), "--rate-hz"),
        ("width_px", 1, "--image-size"),
        ("renderer", "crayons", "--renderer"),
    ],
)
def test_impossible_options_are_refused_by_name_and_remedy(option, value, named):
    with pytest.raises(CooptrackError, match=named) as refused:
        SceneOptions(**{option: value})
    assert ";" in str(refused.value) and "\n" not in str(refused.value)
