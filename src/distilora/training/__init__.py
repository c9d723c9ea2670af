"""The training loop: ``transformers.Trainer`` with our batches, loss terms and evaluation."""
