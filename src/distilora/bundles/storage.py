"""Bundles on disk: written whole or not at all, read only when every byte is as its hash says."""

from __future__ import annotations

from distilora.bundles.reading import StoredBundle, is_bundle, read_bundle, read_manifest, shipped_bytes
from distilora.bundles.writing import entries_of, write_bundle

__all__ = ["StoredBundle", "entries_of", "is_bundle", "read_bundle", "read_manifest", "shipped_bytes", "write_bundle"]
