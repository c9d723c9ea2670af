"""Encoders and what is made of them: classifiers, students, LoRA adapters."""
