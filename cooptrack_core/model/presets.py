"""Every size and rule of a network, as frozen dataclasses, and the presets that users name.

A preset name is a family and a role: `tiny_coop`. Roles: `inf` (roadside unit), `veh` (vehicle alone), `coop`
(vehicle with alignment, association and fusion). The `official_*` families keep the behaviour of the published
network in every option, so that its checkpoints give its numbers (spec cooptrack.md 10.3, 11).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cooptrack_core.types import CooptrackError

ROLES = ("inf", "veh", "coop")
FUSIONS = ("graph", "univ2x", "before_decoding")

VEHICLE_POINT_RANGE_M = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
ROADSIDE_POINT_RANGE_M = (0.0, -51.2, -5.0, 102.4, 51.2, 3.0)
VEHICLE_OUTPUT_RANGE_M = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
ROADSIDE_OUTPUT_RANGE_M = (-10.0, -61.2, -10.0, 112.4, 61.2, 10.0)


@dataclass(frozen=True)
class Options:
    """What differs between the published network and ours; the defaults are ours (spec 10.3)."""

    # Cooperation. An empty or absent message is safe in every preset.
    affinity_threshold: float = 0.3  # a pair below this affinity is not fused; the roadside instance joins as a track
    distance_gate_m: float = 5.0  # nor is one farther apart than this
    affinity_matching_after_steps: int | None = 2000  # training fuses by the rule first, then as inference; None: never
    scaled_similarity: bool = True  # by 1 / sqrt(C) as in the paper; official: not, so that it drowns the edges
    protect_live_tracks: bool = True  # completion drops background queries only
    # Embeddings and motion features of an instance follow from its aligned box; official: from the ones it came with.
    explicit_alignment: bool = True
    residual_fusion: bool = True  # learned layers add to features, at first nothing; official: they replace them
    weighted_positions: bool = True  # of a pair, by what both know; official: the mean
    kinematic_compensation: bool = True  # roadside instances are moved by their velocity to the time of the frame
    remembered_pairs: bool = True  # the affinity knows who was paired before; official: every frame is the first
    weighted_boxes: bool = True  # of a pair likewise size, heading and velocity; official: the vehicle's
    own_vehicle_m: tuple[float, float] = (4.6, 2.9)  # length, width with a margin; what others report there is us
    # BEV memory.
    rotate_about_bev_centre: bool = True  # official: about cell (100, 100) of a 50 x 50 map
    shift_past_only: bool = True  # official: the shift also moves the reference of the present frame
    shift_along_lidar_axes: bool = True  # official: along axes with y forward and x to the right
    wrap_yaw_difference: bool = True  # official: a step of the yaw over north gives 360 degrees
    residual_boxes: bool = True  # boxes add to those that queries come with; official: all but the centre is absolute
    # Geometry.
    ego_motion_of_velocity_and_heading: bool = True  # official: only the centre of a track is compensated
    orthonormalise_extrinsics: bool = True  # official: the stored rotation is used as it is
    # A moving camera is projected from where it was when it took the image, which its lidar's frame is older than
    # (about 100 ms in V2X-Seq); official: from where it was at the frame.
    camera_at_image_time: bool = True
    scale_about_corner: bool = True  # official: a scaled image moves against its projection by up to half a pixel
    # Queries and tracks.
    random_fresh_queries: bool = False  # official: a random subset of the fresh queries joins the live tracks
    ids_for_background: bool = False  # official: every query gets an id, about 850 in each frame
    filtered_velocity: bool = True  # of a track, by where it was before; official: what the network says of it
    filtered_motion: bool = True  # and by that it moves to the next frame
    # Training.
    affinity_of_tracks: bool = True  # the affinity learns of all tracks; official: of what the vehicle is sure to see
    located_scores: bool = True  # scores of what is fused also say how well it is placed; official: what it is
    independent_batch: bool = True  # official: the samples of a batch get in each other's way (spec 7.7)


OFFICIAL = Options(
    affinity_threshold=0.0,
    distance_gate_m=float("inf"),
    affinity_matching_after_steps=None,
    scaled_similarity=False,
    protect_live_tracks=False,
    explicit_alignment=False,
    residual_fusion=False,
    weighted_positions=False,
    kinematic_compensation=False,
    remembered_pairs=False,
    weighted_boxes=False,
    own_vehicle_m=(0.0, 0.0),
    rotate_about_bev_centre=False,
    shift_past_only=False,
    shift_along_lidar_axes=False,
    wrap_yaw_difference=False,
    residual_boxes=False,
    ego_motion_of_velocity_and_heading=False,
    orthonormalise_extrinsics=False,
    camera_at_image_time=False,
    scale_about_corner=False,
    random_fresh_queries=True,
    ids_for_background=True,
    filtered_velocity=False,
    filtered_motion=False,
    affinity_of_tracks=False,
    located_scores=False,
    independent_batch=False,
)


@dataclass(frozen=True)
class ModelConfig:
    """One network: sizes, thresholds and options. C = embed_dims, K = num_classes."""

    name: str
    role: str  # one of ROLES
    point_range_m: tuple[float, ...] = VEHICLE_POINT_RANGE_M  # x0 y0 z0 x1 y1 z1
    output_range_m: tuple[float, ...] = VEHICLE_OUTPUT_RANGE_M  # boxes outside are not reported
    roadside_point_range_m: tuple[float, ...] = ROADSIDE_POINT_RANGE_M  # of the instances in a message
    num_classes: int = 3  # car, bicycle, pedestrian
    # Image.
    image_size: tuple[int, int] = (544, 960)  # height, width of the network input, a multiple of 32
    image_mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # RGB
    image_std: tuple[float, ...] = (58.395, 57.12, 57.375)
    # Backbone and neck.
    backbone: str = "resnet50"  # resnet18, resnet50, resnet101, convnext_s
    backbone_width: int = 64  # channels of the stem (ResNet)
    backbone_stages: int = 4  # the last of four stages may be left out
    backbone_norm: str = "frozen_batch_norm"  # frozen_batch_norm, batch_norm, group_norm
    feature_levels: int = 1  # FPN levels, from the coarsest stage up
    attended_levels: int = 0  # the finest of them so many, which the BEV encoder looks at; 0: all
    # BEV encoder.
    embed_dims: int = 256
    num_heads: int = 8
    bev_size: tuple[int, int] = (50, 50)  # rows (y), columns (x)
    encoder_layers: int = 3
    encoder_ffn: int = 512
    temporal_points: int = 4  # sampling points of temporal self-attention
    pillar_heights: int = 4  # anchors of spatial cross-attention along z
    points_per_anchor: int = 2
    stored_levels: int = 1  # rows of level_embeds and camera_embeds; the published network has 4 and 6 and uses one
    stored_cameras: int = 1
    # Decoder.
    num_queries: int = 900
    head_dims: int = 64  # channels of the dense image head
    proposals: int = 0  # of these so many come from the image (model/proposals.py); 0: all are learned
    decoder_layers: int = 6
    decoder_ffn: int = 512
    decoder_points: int = 4
    # Motion features, history, alignment.
    motion_width: int = 64
    history_length: int = 4  # includes the present frame; 0: no reasoning at all
    reasoner_layers: int = 2
    reasoner_ffn: int = 2048
    alignment_blocks: int = 16
    dropout: float = 0.1
    # Tracks.
    score_threshold: float = 0.4  # above: an active track
    output_threshold: float = 0.3  # reported from here on
    birth_hits: int = 0  # a track is reported from the frame on in which it is active for the so many-th time
    max_misses: int = 3  # a track survives one less consecutive misses
    # Only a free peak of the image above this, or an instance of another agent, begins a track, and without either for
    # max_misses frames it ends; 0: its score decides alone, as in the published network.
    min_peak_score: float = 0.0
    max_gap_s: float = 0.5  # a longer gap between frames starts anew
    max_outputs: int = 300
    # Baselines and parts to leave out.
    fusion: str = "graph"  # graph (after decoding, as published), or before decoding: before_decoding, univ2x
    latent_alignment: bool = True  # False: the pose moves points and boxes alone, features stay as they were sent
    motion_features: bool = True  # False: no motion stream, boxes come from semantic features
    # The published network has modules that it never uses; kept so that its checkpoints load strictly.
    unused_modules: bool = False
    options: Options = Options()

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise CooptrackError(f"{self.name}: fusion {self.fusion!r} is unknown; choose one of {', '.join(FUSIONS)}")
        if self.history_length < 0:
            raise CooptrackError(f"{self.name}: history_length {self.history_length} is not possible; give 0 or more")

    @property
    def cooperative(self) -> bool:
        """Whether the network has alignment, association and aggregation."""
        return self.role == "coop"

    @property
    def needs_motion(self) -> bool:
        """Whether motion features of others are used as they come; otherwise they follow from the aligned boxes."""
        return self.fusion == "graph" and self.motion_features and not self.options.explicit_alignment

    @property
    def needed_streams(self) -> tuple[str, ...]:
        """Streams that a roadside unit sends because vehicles of its kind do not make them from boxes; empty: all."""
        return () if self.needs_motion or self.fusion != "graph" else ("query",)

    @property
    def map_levels(self) -> int:
        """Number of maps that the neck gives."""
        return self.attended_levels or self.feature_levels

    @property
    def bev_cells(self) -> int:
        """Number of BEV cells, rows times columns."""
        return self.bev_size[0] * self.bev_size[1]


_TINY = ModelConfig(
    name="tiny",
    role="coop",
    image_size=(192, 320),
    backbone="resnet18",
    backbone_width=32,
    backbone_stages=4,
    backbone_norm="group_norm",
    feature_levels=3,
    attended_levels=1,
    embed_dims=128,
    bev_size=(32, 32),
    encoder_layers=2,
    encoder_ffn=256,
    temporal_points=2,
    points_per_anchor=1,
    num_queries=128,
    proposals=64,
    decoder_layers=3,
    decoder_ffn=256,
    reasoner_layers=1,
    reasoner_ffn=192,
    dropout=0.0,
    max_misses=5,
    min_peak_score=0.1,
    max_gap_s=1.0,
    max_outputs=128,
)
_R50 = ModelConfig(name="r50", role="coop", backbone_norm="batch_norm", max_gap_s=1.0)
_OFFICIAL_R50 = ModelConfig(
    name="official_r50", role="coop", stored_levels=4, stored_cameras=6, unused_modules=True, options=OFFICIAL
)

FAMILIES: dict[str, ModelConfig] = {
    "tiny": _TINY,
    "r50": _R50,
    "r101": replace(_R50, name="r101", backbone="resnet101", feature_levels=3, stored_levels=3, bev_size=(100, 100)),
    "convnext_s": replace(
        _R50, name="convnext_s", backbone="convnext_s", backbone_norm="layer_norm", feature_levels=3, stored_levels=3
    ),
    "official_r50": _OFFICIAL_R50,
}
# Families to compare with: one thing of `tiny` is another, or left out.
VARIANTS: dict[str, ModelConfig] = {
    "tiny-univ2x": replace(_TINY, name="tiny-univ2x", fusion="univ2x"),
    "tiny-before": replace(_TINY, name="tiny-before", fusion="before_decoding"),
    "tiny-nocaa": replace(_TINY, name="tiny-nocaa", latent_alignment=False),
    "tiny-nomdfe": replace(_TINY, name="tiny-nomdfe", motion_features=False),
    "tiny-vehicleboxes": replace(_TINY, name="tiny-vehicleboxes", options=Options(weighted_boxes=False)),
    "tiny-seenaffinity": replace(_TINY, name="tiny-seenaffinity", options=Options(affinity_of_tracks=False)),
    "tiny-unlocated": replace(_TINY, name="tiny-unlocated", options=Options(located_scores=False)),
    **{f"tiny-h{length}": replace(_TINY, name=f"tiny-h{length}", history_length=length) for length in range(4)},
}
PRESETS = tuple(f"{family}_{role}" for family in FAMILIES for role in ROLES)


def get_preset(name: str) -> ModelConfig:
    """The configuration of a preset such as `tiny_coop`. Raises CooptrackError with the known names."""
    family, _, role = name.rpartition("_")
    known = FAMILIES | VARIANTS
    if family not in known or role not in ROLES:
        variants = f"a variant ({', '.join(VARIANTS)}) with _{', _'.join(ROLES)}"
        raise CooptrackError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)} or {variants}")
    config = replace(known[family], name=name, role=role)
    official = family.startswith("official")
    if role == "inf":
        config = replace(config, point_range_m=ROADSIDE_POINT_RANGE_M, output_range_m=ROADSIDE_OUTPUT_RANGE_M)
    if official and role != "coop":
        config = replace(config, max_misses=1)
    if family.startswith("tiny") and role == "coop":
        if config.options.located_scores:  # they are lower, and say more
            config = replace(config, score_threshold=0.2, output_threshold=0.2)
        # Its fusion has learned how far tracks fall behind that move as the network says.
        config = replace(config, options=replace(config.options, filtered_motion=False))
    return config
