"""Scores of the nuScenes development kit for a pair of submission files: the kit's own code, fed without its tables."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.detection.constants import TP_METRICS
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.tracking import loaders
from nuscenes.eval.tracking.data_classes import TrackingBox, TrackingConfig
from nuscenes.eval.tracking.evaluate import TrackingEval

Json = dict[str, Any]
CURVES = ("confidence", "motar", "motp", "recall", "ids")
ATTRIBUTE_ERROR = "attr_err"  # nothing in the format has attributes


class Tables:
    """The few rows of the nuScenes tables that the kit looks up, from the meta of the ground truth."""

    def __init__(self, scenes: Json) -> None:
        self.rows: dict[tuple[str, str], Json] = {}
        self.ego_xy_m: dict[str, list[float]] = {}
        for name, frames in scenes.items():
            tokens = [token for token, _, _ in frames]
            scene = {"name": name, "first_sample_token": tokens[0], "last_sample_token": tokens[-1]}
            self.rows["scene", name] = scene
            for (token, timestamp, ego_xy_m), following in zip(frames, [*tokens[1:], ""], strict=True):
                self.rows["sample", token] = {"scene_token": name, "timestamp": timestamp, "next": following}
                self.ego_xy_m[token] = ego_xy_m

    def get(self, table: str, token: str) -> Json:
        """As NuScenes.get."""
        return self.rows[table, token]


def score(gt: Json, pred: Json) -> Json:
    """The content of M.json: {"detection": ..., "tracking": ...}, NaN as null."""
    meta = gt["meta"]
    tables = Tables(meta["scenes"])
    class_range = meta["class_range"]
    tracking = _tracking_config(class_range)  # before any TrackingBox: it sets the kit's list of names
    return {
        "detection": _detection(gt, pred, tables, class_range),
        "tracking": _tracking(gt, pred, tables, tracking),
    }


def _boxes(file: Json, tables: Tables, class_range: Json, box_class: type, prefix: str, scored: bool) -> EvalBoxes:
    """The boxes of a file nearer to the ego than their class range."""
    boxes = EvalBoxes()
    for token, rows in file["results"].items():
        kept = []
        for row in rows:
            ego = np.array([*tables.ego_xy_m[token], 0.0])
            velocity = row["velocity"] if row["velocity"] is not None else (math.nan, math.nan)
            box = box_class(
                sample_token=token,
                translation=tuple(row["translation"]),
                size=tuple(row["size"]),
                rotation=tuple(row["rotation"]),
                velocity=tuple(math.nan if v is None else v for v in velocity),
                ego_translation=tuple(np.array(row["translation"]) - ego),
                **{f"{prefix}_name": row["tracking_name"]},
                **{f"{prefix}_score": float(row["tracking_score"]) if scored else -1.0},
                **({"tracking_id": row["tracking_id"]} if prefix == "tracking" else {}),
            )
            if box.ego_dist < class_range[row["tracking_name"]]:
                kept.append(box)
        boxes.add_boxes(token, kept)
    return boxes


def _detection(gt: Json, pred: Json, tables: Tables, class_range: Json) -> Json:
    evaluation = DetectionEval.__new__(DetectionEval)
    standard = config_factory("detection_cvpr_2019")
    evaluation.cfg = SimpleNamespace(
        class_names=list(class_range),
        dist_ths=standard.dist_ths,
        dist_fcn_callable=standard.dist_fcn_callable,
        dist_th_tp=standard.dist_th_tp,
        min_recall=standard.min_recall,
        min_precision=standard.min_precision,
    )
    evaluation.verbose = False
    evaluation.gt_boxes = _boxes(gt, tables, class_range, DetectionBox, "detection", scored=False)
    evaluation.pred_boxes = _boxes(pred, tables, class_range, DetectionBox, "detection", scored=True)
    metrics, _ = evaluation.evaluate()
    result: Json = {}
    for name in class_range:
        result[name] = {f"ap_{th}": _plain(metrics.get_label_ap(name, th)) for th in standard.dist_ths}
        result[name]["ap"] = _plain(metrics.mean_dist_aps[name])
        errors = [metric for metric in TP_METRICS if metric != ATTRIBUTE_ERROR]
        result[name] |= {metric: _plain(metrics.get_label_tp(name, metric)) for metric in errors}
    result["mAP"] = _plain(metrics.mean_ap)
    return result


def _tracking_config(class_range: Json) -> TrackingConfig:
    content = config_factory("tracking_nips_2019").serialize()
    names = sorted(class_range)
    content |= {
        "tracking_names": names,
        "pretty_tracking_names": {name: name for name in names},
        "tracking_colors": dict.fromkeys(names, "C0"),
        "class_range": class_range,
    }
    return TrackingConfig.deserialize(content)


def _tracking(gt: Json, pred: Json, tables: Tables, config: TrackingConfig) -> Json:
    evaluation = TrackingEval.__new__(TrackingEval)
    evaluation.cfg = config
    evaluation.verbose = False
    evaluation.output_dir = None
    evaluation.render_classes = None
    scenes = list(gt["meta"]["scenes"])
    loaders.get_scenes_of_split = lambda split_name, nusc: scenes
    truth = _boxes(gt, tables, config.class_range, TrackingBox, "tracking", scored=False)
    predicted = _boxes(pred, tables, config.class_range, TrackingBox, "tracking", scored=True)
    for scene in scenes:  # the kit wants every frame in both; here what is not listed has no boxes
        for token, _, _ in gt["meta"]["scenes"][scene]:
            truth.add_boxes(token, [])
            predicted.add_boxes(token, [])
    evaluation.tracks_gt = loaders.create_tracks(truth, tables, "all", gt=True)
    evaluation.tracks_pred = loaders.create_tracks(predicted, tables, "all", gt=False)
    metrics, curves = evaluation.evaluate()
    names = metrics.metric_names
    return {
        "label_metrics": {
            metric: {name: _plain(value) for name, value in metrics.label_metrics[metric].items()} for metric in names
        },
        "mean": {metric: _plain(metrics.compute_metric(metric)) for metric in names},
        "curves": {name: _curves(curves[name]) for name in config.class_names},
    }


def _curves(data: Any) -> Json:
    """What the kit computed at its 40 recall points, of which the summary shows the mean or the best."""
    return {metric: [_plain(value) for value in data.get_metric(metric).tolist()] for metric in CURVES}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
