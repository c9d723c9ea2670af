"""A trained run behind FastAPI, the way most people write it: one request, one tokenise, one forward pass in PyTorch.

    python benchmarks/torch_server.py runs/comments/teacher --port 8001

The handler is ``async def``, so requests queue before the model: of the two ways that people write it, this was the
faster one here. With ``def``, forty threads of a pool run the model at once and take each other's processors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from distilora.bench.contenders import find_contender
from distilora.runs import MODEL_FOLDER

_MAX_LENGTH = 128


class Texts(BaseModel):
    """What is asked."""

    texts: str | list[str]


def create_app(folder: Path) -> FastAPI:
    """Return the application over a model folder."""
    app = FastAPI()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    ).eval()
    names = model.config.id2label

    @app.post("/predict")
    async def predict(asked: Texts) -> list[dict[str, Any]]:
        batch = tokenizer(asked.texts, truncation=True, max_length=_MAX_LENGTH, padding=True, return_tensors="pt")
        if isinstance(asked.texts, str):
            batch = {name: tensor.reshape(1, -1) for name, tensor in batch.items()}
        with torch.no_grad():
            rows = model(**batch).logits.softmax(dim=-1).tolist()
        return [
            {
                "label": names[max(range(len(row)), key=row.__getitem__)],
                "probabilities": {names[index]: share for index, share in enumerate(row)},
            }
            for row in rows
        ]

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="EXPERIMENT/METHOD of a method that is not LoRA")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--threads", type=int, help="of PyTorch; absent: its own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    app = create_app(find_contender(arguments.run) / MODEL_FOLDER)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
