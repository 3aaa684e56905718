"""Exports as they are read: a folder of data with hashes, and its model by ONNX Runtime."""
