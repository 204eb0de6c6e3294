"""The object-level tracker: predicts, assigns, corrects, gives birth and lets die (AB3DMOT; design section 5)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import TrackerConfig
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.geometry.transforms import apply, inverse, rotate_xy, yaw_of
from cooptrack_core.tracking import kalman
from cooptrack_core.tracking.assignment import assign, centre_distance
from cooptrack_core.types import CLASS_ID, Instances, TrackedObjects

Float = NDArray[np.float64]
Int = NDArray[np.int64]
_DOUBTFUL_MPS = 2.0  # standard deviation from which on a reported velocity counts less
_SCORE_SMOOTHING = 0.4
_COAST_DECAY = 0.85  # per frame without a measurement
_MOVING_MPS = 2.0


@dataclass(frozen=True)
class Measurements:
    """M measured instances in the map frame, with who measured them."""

    instances: Instances
    sources: Int  # [M] bits SOURCE_*
    agents: tuple[tuple[str, ...], ...]  # [M] remote agents behind each row
    credit: Int  # [M] hits a new track starts with; more than one where the sender had confirmed the object
    continues: Int | None = None  # [M] id of the track that a row is known to continue, 0: nobody knows; None: all 0


@dataclass
class _Tracks:
    x: Float  # [N, 10]
    P: Float  # [N, 10, 10]
    track_id: Int  # [N] 0 until reported
    class_id: Int
    score: Float
    hits: Int
    age_frames: Int
    coast_s: Float  # since the last measurement
    sources: Int
    sources_ever: Int

    @staticmethod
    def none() -> _Tracks:
        def zeros() -> Int:
            return np.zeros(0, np.int64)

        return _Tracks(
            np.zeros((0, kalman.STATE)),
            np.zeros((0, kalman.STATE, kalman.STATE)),
            zeros(),
            zeros(),
            np.zeros(0),
            zeros(),
            zeros(),
            np.zeros(0),
            zeros(),
            zeros(),
        )

    def keep(self, index: NDArray[np.bool_]) -> None:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name)[index])

    def append(self, other: _Tracks) -> None:
        for item in fields(self):
            setattr(self, item.name, np.concatenate([getattr(self, item.name), getattr(other, item.name)]))


class Tracker:
    """Tracks of one agent, kept in the map frame."""

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._tracks = _Tracks.none()
        self._agents: list[tuple[str, ...]] = []
        self._stamp_ns: int | None = None
        self._next_id = 1  # survives reset(): an id is never reused within a run

    def reset(self) -> None:
        """Forgets all tracks."""
        self._tracks, self._agents, self._stamp_ns = _Tracks.none(), [], None

    def skip_ids(self, used: int) -> None:
        """Ids up to `used` are taken by somebody else."""
        self._next_id = max(self._next_id, used + 1)

    def step(self, stamp_ns: int, measured: Measurements) -> Int:
        """Advances to stamp_ns with what was measured then.

        Returns [M] the id of the reported track that each measurement feeds, 0 while it is not reported.
        """
        dt_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / 1e9
        if dt_s < 0 or dt_s * 1000 > self._config.max_frame_gap_ms:
            self.reset()
            dt_s = 0.0
        self._stamp_ns = stamp_ns
        tracks = self._tracks
        tracks.x, tracks.P = kalman.predict(tracks.x, tracks.P, dt_s, self._config)
        tracks.age_frames = tracks.age_frames + 1
        tracks.coast_s = tracks.coast_s + dt_s
        tracks.sources = np.zeros_like(tracks.sources)
        self._agents = [() for _ in self._agents]
        R = self._noise(measured.instances)
        rows, columns = self._assign(measured)
        self._correct(rows, columns, measured, R)
        owner = np.full(len(measured.instances), -1, np.int64)
        owner[columns] = rows
        free = np.flatnonzero(owner < 0)
        owner[free] = len(tracks.score) + np.arange(len(free))
        self._give_birth(free, measured, R)
        return self._end_and_report(owner)

    def _noise(self, instances: Instances) -> Float:
        default = self._config.measurement_std_m**2
        variance = np.where(np.isfinite(instances.position_variance_m2), instances.position_variance_m2, default)
        covariance = np.zeros((len(variance), 2, 2))
        covariance[:, 0, 0], covariance[:, 1, 1] = variance[:, 0], variance[:, 1]
        return kalman.measurement_noise(covariance, self._config)

    def _assign(self, measured: Measurements) -> tuple[Int, Int]:
        """Rows of tracks and of measurements: those that are known to belong together, the others by distance."""
        if measured.continues is None:
            return self._near(measured.instances)
        known = (self._tracks.track_id[:, None] == measured.continues[None]) & (measured.continues > 0)[None]
        rows, columns = np.nonzero(known)
        free_rows, free_columns = (np.flatnonzero(~known.any(axis=axis)) for axis in (1, 0))
        near_rows, near_columns = self._near(measured.instances, free_rows, free_columns)
        return np.concatenate([rows, near_rows]), np.concatenate([columns, near_columns])

    def _near(
        self, instances: Instances, rows: Int | slice = slice(None), columns: Int | slice = slice(None)
    ) -> tuple[Int, Int]:
        """The assignment by distance of some tracks to some instances; rows of all of them come back."""
        tracks, every = self._tracks, (np.arange(len(self._tracks.score)), np.arange(len(instances)))
        distance = centre_distance(tracks.x, instances.center_m)
        gate = np.where(tracks.class_id == CLASS_ID["pedestrian"], self._config.gate_pedestrian_m, self._config.gate_m)[
            :, None
        ]
        allowed = (distance <= gate) & (tracks.class_id[:, None] == instances.class_id[None])
        a, b = assign(distance[rows][:, columns], allowed[rows][:, columns])
        return every[0][rows][a], every[1][columns][b]

    def _correct(self, rows: Int, columns: Int, measured: Measurements, R: Float) -> None:
        if not len(rows):
            return
        tracks, instances = self._tracks, measured.instances
        x, P = kalman.update(tracks.x[rows], tracks.P[rows], _boxes(instances)[columns], R[columns])
        velocity = instances.velocity_mps[columns]
        known = np.isfinite(velocity).all(axis=1)
        if known.any():
            # Who doubts a velocity is believed; that it is better than usual, is not.
            told = np.sqrt(instances.velocity_variance_m2ps2[columns].max(axis=1))
            std = np.where(told > _DOUBTFUL_MPS, told, self._config.velocity_std_mps)
            x[known], P[known] = kalman.update_velocity(x[known], P[known], velocity[known], std[known])
        tracks.x[rows], tracks.P[rows] = x, P
        tracks.score[rows] += _SCORE_SMOOTHING * (instances.score[columns] - tracks.score[rows])
        tracks.hits[rows] += 1
        tracks.coast_s[rows] = 0.0
        tracks.sources[rows] = measured.sources[columns]
        tracks.sources_ever[rows] |= measured.sources[columns]
        for row, column in zip(rows, columns, strict=True):
            self._agents[row] = measured.agents[column]

    def _give_birth(self, free: Int, measured: Measurements, R: Float) -> None:
        if not len(free):
            return
        new = measured.instances.select(free)
        x, P = kalman.start(_boxes(new), R[free], new.velocity_mps, self._config)
        count = len(free)
        sources = measured.sources[free]
        self._tracks.append(
            _Tracks(
                x,
                P,
                np.zeros(count, np.int64),
                new.class_id,
                new.score.copy(),
                measured.credit[free].copy(),
                np.ones(count, np.int64),
                np.zeros(count),
                sources.copy(),
                sources.copy(),
            )
        )
        self._agents += [measured.agents[i] for i in free]

    def _end_and_report(self, owner: Int) -> Int:
        tracks, config = self._tracks, self._config
        missed = tracks.sources == 0
        tracks.score = np.where(missed, tracks.score * _COAST_DECAY, tracks.score)
        reported = tracks.track_id > 0
        limit_ms = np.where(reported, config.max_coast_ms, config.tentative_coast_ms)
        alive = tracks.coast_s * 1000 <= limit_ms
        fresh = np.flatnonzero(alive & ~reported & ~missed & (tracks.hits >= config.birth_hits))
        tracks.track_id[fresh] = self._next_id + np.arange(len(fresh))
        self._next_id += len(fresh)
        fed = tracks.track_id[owner]  # every fed track is alive: it was measured just now
        tracks.keep(alive)
        self._agents = [agents for agents, keep in zip(self._agents, alive, strict=True) if keep]
        return np.asarray(fed, np.int64)

    def report(self, T_map_from_sensor: Float) -> TrackedObjects:
        """The reported tracks at the last step, in the sensor frame whose pose in the map is given."""
        shown = np.flatnonzero(self._tracks.track_id > 0)
        shown = shown[np.argsort(self._tracks.track_id[shown], kind="stable")]
        t = self._tracks
        x, P = t.x[shown], t.P[shown]
        T = inverse(T_map_from_sensor)
        R = T[:3, :3]
        return TrackedObjects(
            stamp_ns=self._stamp_ns or 0,
            track_id=t.track_id[shown],
            class_id=t.class_id[shown],
            score=t.score[shown],
            center_m=apply(T, x[:, kalman.POSITION]),
            size_m=x[:, kalman.SIZE],
            heading_rad=wrap_angle(_forward_heading(x, t.class_id[shown]) + yaw_of(T)),
            velocity_mps=rotate_xy(T, x[:, 7:9]),
            position_covariance_m2=R @ P[:, kalman.POSITION, kalman.POSITION] @ R.T,
            heading_variance_rad2=P[:, kalman.HEADING, kalman.HEADING],
            velocity_covariance_m2ps2=R[:2, :2] @ P[:, 7:9, 7:9] @ R[:2, :2].T,
            sources=t.sources[shown],
            sources_ever=t.sources_ever[shown],
            agents=[self._agents[i] for i in shown],
            age_frames=t.age_frames[shown],
            hits=t.hits[shown],
            time_since_update_s=t.coast_s[shown],
        )


def _boxes(instances: Instances) -> Float:
    return np.concatenate([instances.center_m, instances.heading_rad[:, None], instances.size_m], axis=1)


def _forward_heading(x: Float, class_id: Int) -> Float:
    """Headings, turned round where a vehicle that clearly moves would be driving backwards."""
    speed = np.hypot(x[:, 7], x[:, 8])
    opposed = np.abs(wrap_angle(np.arctan2(x[:, 8], x[:, 7]) - x[:, kalman.HEADING])) > 0.75 * np.pi
    backwards = (speed > _MOVING_MPS) & opposed & (class_id != CLASS_ID["pedestrian"])
    return np.where(backwards, x[:, kalman.HEADING] + np.pi, x[:, kalman.HEADING])
