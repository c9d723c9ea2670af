"""Bundles: one exported model a folder, opened and run with ONNX Runtime alone."""
