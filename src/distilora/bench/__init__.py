"""Latency, throughput, memory and size of bundles and trained models, side by side in one run."""
