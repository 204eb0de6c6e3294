"""How fast tracks are: two Kalman filters of where they were, one for what stands and one for what moves.

A single image hardly shows a speed, and what a network says of it is near zero. Where a track was from frame to frame
shows it (options filtered_velocity: for what is reported, filtered_motion: for the next frame as well). Most road users
stand, so that a filter for what moves alone would give them the speed of its noise: the share of the two hypotheses
follows from how well each foretells (a static multiple-model estimator with a small probability of change; Bar-Shalom,
Li, Kirubarajan 2001, 11.6). Each track has a state of its own (Queries.motion), the same along both axes of the ground,
so that a turn of the frame turns places and velocity alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.constants import constant
from cooptrack_core.model.queries import Queries

# Entries of a state. All zero: nothing known.
PLACE, VELOCITY = slice(0, 2), slice(2, 4)  # of what moves: m, m/s
XX, XV, VV = 4, 5, 6  # variances of its place m2, of both m2/s, of its velocity m2/s2
STANDS, STANDS_XX = slice(7, 9), 9  # place of what stands, m, and its variance, m2
MOVES = 10  # probability that it moves

PLACE_STD_M = 0.3  # of a track's place from frame to frame; an error that stays does not matter
LIKELY_STD_M = 0.5  # the same where hypotheses are compared: errors of successive frames are alike
FIRST_SPEED_STD_MPS = 6.0
ACCELERATION_STD_MPS2 = 2.0
DRIFT_MPS = 0.3  # of the place of what stands
CHANGES = 0.02  # probability from one measurement to the next
FORWARD_FROM_MPS, SURE_SIGMAS = 2.5, 3.0  # slower ones may drive backwards
SETTLED_HITS = 8  # a new track first moves to where it belongs
HEADING_STD_RAD = 0.15  # of what the network says, front and back aside
FAR_OFF_SIGMAS = 2.5  # what is farther off its prediction counts less: another agent sees it elsewhere


def moved(state: Tensor, dt_s: float, T_new_from_old: Tensor) -> Tensor:
    """[A, 11] states after dt_s, in the lidar frame of the new time; T_new_from_old: [4, 4] from the old one."""
    T = T_new_from_old.to(state)
    rotation, shift = T[:2, :2].T, T[:2, 3]
    xx, xv, vv = state[:, XX], state[:, XV], state[:, VV]
    q = ACCELERATION_STD_MPS2**2
    after = (
        (state[:, PLACE] + dt_s * state[:, VELOCITY]) @ rotation + shift,
        state[:, VELOCITY] @ rotation,
        (xx + 2.0 * dt_s * xv + dt_s**2 * vv + q * dt_s**4 / 4.0)[:, None],
        (xv + dt_s * vv + q * dt_s**3 / 2.0)[:, None],
        (vv + q * dt_s**2)[:, None],
        state[:, STANDS] @ rotation + shift,
        (state[:, STANDS_XX] + (DRIFT_MPS * dt_s) ** 2)[:, None],
        state[:, MOVES, None],
    )
    return torch.where(known(state)[:, None], torch.cat(after, dim=1), state)


def known(state: Tensor) -> Tensor:
    """[..., 11] -> [...] bool"""
    return state[..., VV] > 0.0


@torch.no_grad()
def observed(queries: Queries) -> Queries:
    """[N] queries of a finished frame whose states have heard where they are now.

    What was not measured goes on as predicted. A first state begins with the velocity that the box has.
    """
    place, said = box_code.center(queries.boxes)[:, :2], box_code.velocity(queries.boxes)
    state = torch.where(queries.measured[:, None], _updated(queries.motion, place), queries.motion)
    return queries.with_(motion=torch.where(known(queries.motion)[:, None], state, _first(place, said)))


@torch.no_grad()
def as_filtered(queries: Queries) -> Queries:
    """[N] queries whose boxes are as fast as their states say, and face where they surely drive.

    Boxes that were measured once keep the velocity that the network gave them.
    """
    state, boxes = queries.motion, queries.boxes
    learned = known(state) & (state[:, VV] < FIRST_SPEED_STD_MPS**2)
    velocity = torch.where(learned[:, None], state[:, MOVES, None] * state[:, VELOCITY], box_code.velocity(boxes))
    settled = learned & (queries.hits >= SETTLED_HITS)
    heading = torch.where(settled[:, None], _turned(boxes[:, 6:8], velocity, state[:, VV]), boxes[:, 6:8])
    return queries.with_(boxes=torch.cat((boxes[:, :6], heading, velocity), dim=1))


def _turned(heading: Tensor, velocity: Tensor, variance: Tensor) -> Tensor:
    """[N, 2] sine and cosine of headings [N, 2], turned towards velocities [N, 2] of variance [N] beyond doubt.

    Front and back look alike in an image: what drives faster than anybody backs up faces where it drives.
    """
    speed = velocity.norm(dim=1)
    sure = (speed > FORWARD_FROM_MPS) & (speed > SURE_SIGMAS * variance.sqrt())
    forward = -velocity / speed.clamp(min=0.1)[:, None]  # as the code has directions: psi = -heading - pi / 2
    facing = torch.where((heading * forward).sum(1) < 0, -1.0, 1.0)[:, None] * F.normalize(heading, dim=1)
    share = HEADING_STD_RAD**2 / (HEADING_STD_RAD**2 + variance / speed.clamp(min=0.1) ** 2)
    mixed = F.normalize(facing + share[:, None] * (forward - facing), dim=1)
    return torch.where(sure[:, None], mixed, heading)


def _first(place: Tensor, velocity: Tensor) -> Tensor:
    """[N, 11] states of what is seen for the first time; whether it moves is open."""
    moves = constant((PLACE_STD_M**2, 0.0, FIRST_SPEED_STD_MPS**2), place).expand(len(place), -1)
    stands = constant((PLACE_STD_M**2, 0.5), place).expand(len(place), -1)
    return torch.cat((place, velocity, moves, place, stands), dim=1)


def _updated(state: Tensor, place: Tensor) -> Tensor:
    """[N, 11] states after their places [N, 2] were measured; those that are not known yet are not looked at."""
    xx, xv, vv, still = state[:, XX], state[:, XV], state[:, VV], state[:, STANDS_XX]
    off, off_stands = place - state[:, PLACE], place - state[:, STANDS]
    off_m2, off_stands_m2 = off.square().sum(1), off_stands.square().sum(1)
    moves, stands = _log_likelihood(off_m2, xx), _log_likelihood(off_stands_m2, still)
    prior = CHANGES + (1.0 - 2.0 * CHANGES) * state[:, MOVES]
    probability = torch.sigmoid(torch.logit(prior) + moves - stands)
    spread = torch.maximum(xx + PLACE_STD_M**2, off_m2 / FAR_OFF_SIGMAS**2)
    gain, velocity_gain = xx / spread, xv / spread  # [N]
    stands_gain = still / (still + PLACE_STD_M**2)
    return torch.cat(
        (
            state[:, PLACE] + gain[:, None] * off,
            state[:, VELOCITY] + velocity_gain[:, None] * off,
            torch.stack((xx - gain * xx, xv - gain * xv, vv - velocity_gain * xv), dim=1),
            state[:, STANDS] + stands_gain[:, None] * off_stands,
            torch.stack((still - stands_gain * still, probability), dim=1),
        ),
        dim=1,
    )


def _log_likelihood(off_m2: Tensor, variance_m2: Tensor) -> Tensor:
    """[N] of squared distances [N] from a place with a variance along each axis, without what all share."""
    total = variance_m2 + LIKELY_STD_M**2
    return -0.5 * off_m2 / total - total.log()


__all__ = ["as_filtered", "known", "moved", "observed"]
