"""The flags of prediction (detect.py)."""

from __future__ import annotations

from accel_yolo.config.flag import COMMON, Flag, half, looking, run_folder, switch, unsupported, value, weight_files

_WHAT, _HOW, _WHERE, _OUTPUT = "model and images", "detection", "processes", "output"

PREDICT = (
    weight_files(_WHAT),
    value("--source", "image, video, folder, glob, .txt or .streams list, URL, number of a camera, or -", _WHAT),
    value("--data", "data YAML whose class names replace those of the weights", _WHAT, "FILE"),
    Flag(
        ("--imgsz", "--img", "--img-size"),
        "size of the network input in pixels: one number, or height and width",
        "imgsz",
        _HOW,
        nargs="+",
    ),
    value("--conf-thres|--conf", "least confidence of a detection", _HOW),
    value("--iou-thres|--iou", "overlap above which the weaker of two boxes is dropped", _HOW),
    *looking(_HOW),
    value("--max-det", "most detections per image", _HOW),
    switch("--dnn", "let OpenCV run an ONNX file", _HOW),
    Flag(("--classes",), "keep only these classes, by name or number", "classes", _HOW, nargs="+", metavar="CLASS"),
    switch("--agnostic-nms", "let boxes of different classes suppress each other", _HOW),
    value("--batch|--batch-size", "pictures that go through the network together", _HOW),
    value("--vid-stride", "of the frames of a video or stream, look at every so many", _HOW, "N"),
    value("--stream-timeout", "seconds without a picture of any stream before the run ends", _WHERE, "S"),
    value("--tile", "cut images larger than this many pixels into tiles of that side", _HOW, "PX"),
    value("--overlap", "least share of a tile that its neighbours show too", _HOW),
    switch("--tiles-only", "do not look at the whole image as well, which finds objects larger than a tile", _HOW),
    Flag(
        ("--track",),
        "follow objects through videos and streams: bytetrack (alone), botsort, ocsort or sort",
        "track",
        _HOW,
        nargs="?",
        const="bytetrack",
        metavar="TRACKER",
    ),
    value("--device", "cpu, mps or the number of a GPU", _WHERE),
    half(),
    *run_folder("runs/detect"),
    switch("--nosave", "do not write the drawn images", _OUTPUT),
    switch("--save-txt", "write one label file per image", _OUTPUT),
    value("--save-format", "boxes in the label files: 0 centre and size, 1 corners", _OUTPUT),
    switch("--save-conf", "add the confidence to the label files", _OUTPUT),
    switch("--save-crop", "write each detection as an image of its own", _OUTPUT),
    switch("--save-csv", "write all detections into predictions.csv", _OUTPUT),
    Flag(
        ("--save-json",),
        "write all detections into predictions.json: by image (alone: images), or as COCO results (coco)",
        "save_json",
        _OUTPUT,
        nargs="?",
        const="images",
        metavar="KIND",
    ),
    value("--line-thickness", "width of the drawn lines in pixels", _OUTPUT, "PX"),
    switch("--hide-labels", "draw boxes without class names", _OUTPUT),
    switch("--hide-conf", "draw class names without confidences", _OUTPUT),
    switch("--view-img", "show the drawn pictures in a window; q ends the run", _OUTPUT),
    switch("--visualize", "write what each layer sees in an image as a PNG", _OUTPUT),
    switch("--verbose", "one line for each frame of videos and streams", _OUTPUT),
    *COMMON,
    unsupported("--update", "weight files are not rewritten in place: `accel-yolo convert` writes a new one"),
)
