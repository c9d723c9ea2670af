"""Encoders, their layers, students made of them, adapters on them."""

import os

# oneDNN keeps the code that it compiles for each shape of a matrix product. Batches of like length have many shapes,
# more than its default of 1,024 holds, and then it would compile all of them again in every epoch. Read once, when
# torch first multiplies.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
