"""The machine every subsystem is an instance of: request -> decide -> journal -> out. Knows no business."""
