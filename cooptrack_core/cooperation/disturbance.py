"""What a channel between agents may do to messages: the robustness protocols as one set of numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cooptrack_core.config import parameter
from cooptrack_core.types import CooptrackError

# What may be done to the content of a message, in the order in which it is done; fields of Disturbance.
DAMAGES = ("emptied", "crowded", "not_finite", "wrong_version", "truncated")


@dataclass(frozen=True)
class Disturbance:
    """Disturbances of all messages of a run; all 0: none. They may be combined.

    Raises CooptrackError for a value out of range or a combination that means nothing.
    """

    delay_ms: float = parameter(
        0.0, "time from sending a message to its arrival, ms", minimum=0.0, maximum=10_000.0
    )  # fmt: skip
    jitter_ms: float = parameter(
        0.0, "largest additional delay, uniform from 0; messages may overtake each other, ms", minimum=0.0,
        maximum=10_000.0,
    )  # fmt: skip
    loss: float = parameter(0.0, "share of messages that get lost", minimum=0.0, maximum=1.0)
    burst: float = parameter(
        0.0, "mean length of the bursts in which messages get lost (Gilbert-Elliott; the share stays that of loss); 0: "
        "each on its own", minimum=0.0, maximum=100_000.0,
    )  # fmt: skip
    instance_loss: float = parameter(
        0.0, "share of instances that get lost, each on its own (packet loss of Griffin)", minimum=0.0, maximum=1.0
    )
    position_noise_m: float = parameter(
        0.0, "standard deviation of the sender's position, each of x, y, z in the map, m", minimum=0.0, maximum=1000.0
    )
    yaw_noise_deg: float = parameter(
        0.0, "standard deviation of the sender's yaw, degrees", minimum=0.0, maximum=180.0
    )  # fmt: skip
    noise_correlation_s: float = parameter(
        0.0, "time constant with which that noise changes (first-order Gauss-Markov); 0: fresh in every message, s",
        minimum=0.0, maximum=100_000.0,
    )  # fmt: skip
    clock_offset_ms: float = parameter(
        0.0, "how far the sender's clock is ahead of the vehicle's, ms", minimum=-10_000.0, maximum=10_000.0
    )
    drop_roadside: float = parameter(
        0.0, "share of each sequence in which no message arrives, in one piece", minimum=0.0, maximum=1.0
    )
    async_frames: int = parameter(
        0, "messages used are this many frames older than those of the pair (DAIR-V2X VIC-Async-k)", minimum=0,
        maximum=1000,
    )  # fmt: skip
    duplicated: float = parameter(0.0, "share of messages that arrive twice", minimum=0.0, maximum=1.0)
    reordered: float = parameter(
        0.0, "share of messages that are held back until the next one of their sender is through", minimum=0.0,
        maximum=1.0,
    )  # fmt: skip
    truncated: float = parameter(0.0, "share of messages whose bytes end early", minimum=0.0, maximum=1.0)
    not_finite: float = parameter(
        0.0, "share of messages with NaN or an infinite number in a field", minimum=0.0, maximum=1.0
    )  # fmt: skip
    wrong_version: float = parameter(
        0.0, "share of messages with the schema version of nobody", minimum=0.0, maximum=1.0
    )  # fmt: skip
    emptied: float = parameter(
        0.0, "share of messages that say that nothing was seen", minimum=0.0, maximum=1.0
    )  # fmt: skip
    crowded: float = parameter(
        0.0, "share of messages with ten times more instances than a vehicle admits", minimum=0.0, maximum=1.0
    )  # fmt: skip
    seed: int = parameter(0, "seed of all of them", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["minimum"], item.metadata["maximum"]
            if not (low <= value <= high):  # written so that NaN fails
                raise _problem(item.name, f"{value!r} is outside {low:g} .. {high:g}", "choose a value in between")
        if self.burst:
            self._check_burst()
        if self.noise_correlation_s and not (self.position_noise_m or self.yaw_noise_deg):
            raise _problem("noise_correlation_s", "there is no noise", f"give {option_of('position_noise_m')} too")

    def _check_burst(self) -> None:
        if not self.loss:
            raise _problem("burst", "nothing gets lost", f"give {option_of('loss')} too")
        shortest = 1.0 if self.loss >= 1.0 else max(1.0, self.loss / (1.0 - self.loss))
        if self.burst < shortest * (1.0 - 1e-9):
            what = f"with loss {self.loss:g}, bursts are at least {shortest:g} messages long on average"
            raise _problem("burst", f"{self.burst:g} is too short: {what}", "choose longer bursts or less loss")

    @property
    def is_none(self) -> bool:
        """Whether messages arrive at once and unchanged."""
        return not any(getattr(self, item.name) for item in fields(self) if item.name != "seed")

    def burst_probabilities(self) -> tuple[float, float]:
        """Probability that a message is lost after one that arrived, and after one that was lost."""
        if self.loss >= 1.0 or not self.burst:
            return self.loss, self.loss
        after_lost = max(0.0, 1.0 - 1.0 / self.burst)
        return min(1.0, self.loss * (1.0 - after_lost) / (1.0 - self.loss)), after_lost

    def _of_messages(self) -> list[tuple[float, str]]:
        """The kinds that say of themselves what they do: share and words."""
        return [(getattr(self, name), name.replace("_", " ")) for name in ("duplicated", "reordered", *DAMAGES)]

    def describe(self) -> str:
        """In words, for tables and reports; 'none' if it is none."""
        noise = "" if not self.noise_correlation_s else f" correlated over {self.noise_correlation_s:g} s"
        burst = f" in bursts of {self.burst:g} messages on average" if self.burst else ""
        said = (
            (self.delay_ms, f"delay {self.delay_ms:g} ms"),
            (self.jitter_ms, f"jitter 0 .. {self.jitter_ms:g} ms"),
            (self.loss, f"{100 * self.loss:g} % of messages lost{burst}"),
            (self.instance_loss, f"{100 * self.instance_loss:g} % of instances lost"),
            (self.position_noise_m, f"position noise {self.position_noise_m:g} m{noise}"),
            (self.yaw_noise_deg, f"yaw noise {self.yaw_noise_deg:g} deg{noise}"),
            (self.clock_offset_ms, f"sender's clock {self.clock_offset_ms:+g} ms"),
            (self.drop_roadside, f"no messages in {100 * self.drop_roadside:g} % of the sequence"),
            (self.async_frames, f"messages {self.async_frames} frames older"),
            *((value, f"{100 * value:g} % of messages {what}") for value, what in self._of_messages()),
        )
        parts = [text for value, text in said if value]
        return ", ".join([*parts, f"seed {self.seed}"]) if parts else "none"


def option_of(name: str) -> str:
    """The command-line option of a field."""
    return "--disturbance-seed" if name == "seed" else f"--{name.replace('_', '-')}"


def _problem(name: str, what: str, remedy: str) -> CooptrackError:
    return CooptrackError(f"disturbance {option_of(name)}: {what}; {remedy}")


NO_DISTURBANCE = Disturbance()

__all__ = ["DAMAGES", "NO_DISTURBANCE", "Disturbance", "option_of"]
