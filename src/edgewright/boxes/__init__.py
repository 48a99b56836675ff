"""Boxes: what all tasks with boxes share (detection, masks, keypoints, rotated boxes).

| module | content |
| --- | --- |
| `spec` | `Head`: the fields of ModelSpec that describe a head with boxes |
| `shapes`, `layouts`, `anchors` | the outputs of each layout, and the boxes in them |
| `suppression`, `decode` | the best of overlapping boxes, with the cell of each and its extra values |
| `fit` | whether scores are probabilities or logits, as described |
| `matching`, `average_precision`, `paired`, `confidence`, `chance` | COCO's mAP, differences of two models |
| `loss`, `training`, `protect` | distances of two heads in numpy and torch, and what stays in float |

The first five run on devices with numpy only.
"""
