"""Traffic lights: a fixed cycle of four phases with yellow and all-red between them."""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = ("NS-through", "NS-left", "EW-through", "EW-left")
GREEN_S = {"NS-through": 15.0, "NS-left": 8.0, "EW-through": 15.0, "EW-left": 8.0}
YELLOW_S = 3.0
ALL_RED_S = 2.0
CYCLE_S = sum(GREEN_S.values()) + len(GROUPS) * (YELLOW_S + ALL_RED_S)
WALK_START_S = 6.0  # pedestrians set out only in the first seconds of their phase


@dataclass(frozen=True)
class Signals:
    """State of all groups over time; green of `first_group` begins at first_green_s."""

    first_group: str
    first_green_s: float

    def since_green(self, group: str, time_s: float) -> float:
        """Seconds since the group last turned green, 0 .. CYCLE_S."""
        start = self.first_green_s
        for step in range(len(GROUPS)):
            name = GROUPS[(GROUPS.index(self.first_group) + step) % len(GROUPS)]
            if name == group:
                break
            start += GREEN_S[name] + YELLOW_S + ALL_RED_S
        return (time_s - start) % CYCLE_S

    def state(self, group: str, time_s: float) -> str:
        """green, yellow or red."""
        t = self.since_green(group, time_s)
        if t < GREEN_S[group]:
            return "green"
        return "yellow" if t < GREEN_S[group] + YELLOW_S else "red"

    def may_walk(self, group: str, time_s: float) -> bool:
        """Whether pedestrians parallel to the group may step onto the road."""
        return self.since_green(group, time_s) < WALK_START_S


__all__ = ["ALL_RED_S", "CYCLE_S", "GREEN_S", "GROUPS", "YELLOW_S", "Signals"]
