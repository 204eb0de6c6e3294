"""Prints a ROS_DOMAIN_ID that nobody on this machine uses."""

from __future__ import annotations

import os
import socket

LARGEST = 101  # beyond it the ports of DDS may be taken by outgoing connections
PARTICIPANTS = 4


def ports(domain: int) -> list[int]:
    """Ports that the first participants of a domain listen on (RTPS 2.5, section 9.6.2.4)."""
    base = 7400 + 250 * domain
    return [base, *(base + offset + 2 * number for number in range(PARTICIPANTS) for offset in (10, 11))]


def is_free(domain: int) -> bool:
    """Whether nobody listens on the ports of this domain."""
    for port in ports(domain):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def free_domain_id() -> int:
    """A free domain; where to begin depends on the process, so that two of them rarely choose the same."""
    start = os.getpid()
    candidates = ((start + step) % LARGEST + 1 for step in range(LARGEST))
    for domain in candidates:
        if is_free(domain):
            return domain
    raise SystemExit("no free ROS_DOMAIN_ID: is something else listening on UDP ports 7650 to 32899?")


if __name__ == "__main__":
    print(free_domain_id())
