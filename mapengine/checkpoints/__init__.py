"""Folders of tensor files: taken stock of, read by range, written, published."""
