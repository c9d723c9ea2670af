"""Tiny random encoders, built in code and saved as any pretrained encoder is: for tests only."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

FAMILIES = ("bert", "roberta", "electra", "distilbert", "deberta-v2", "modernbert")
MAX_LENGTH = 64
"""Longest input that every tiny encoder takes, in tokens."""

_WORDS = """
    a about all am and are argue awful bad better but can civil day did do dog good great hate have he hello her i idiot
    idiots in is it keep kind like lovely me mean more my nice no not of on out people please rude say she shut so
    stupid such thank that the they think this to ugly up very was we what with worst you your , . ! ?
"""
# Where the special tokens stand in a vocabulary decides the padding id: 0 for BERT's order, 1 for RoBERTa's.
_BERT_SPECIALS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_ROBERTA_SPECIALS = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}


def save_tiny_encoder(folder: Path, family: str = "bert", *, layers: int = 4, seed: int = 0) -> Path:
    """Return ``folder``, which now holds a bare random encoder, 32 wide, and its tokenizer.

    Args:
        folder: where to save; made if absent.
        family: one of ``FAMILIES``.
        layers: depth of the layer stack.
        seed: seed of the weights; equal seeds give equal weights.
    """
    tokenizer = tiny_tokenizer(family)
    config = AutoConfig.for_model(family, **_sizes(family, layers), vocab_size=len(tokenizer), **_token_ids(tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = AutoModel.from_config(config)
        # Random layers of the usual tiny spread hardly change their input: widen them, so that layers differ.
        for name, weights in encoder.named_parameters():
            if weights.ndim == 2 and "embed" not in name:
                torch.nn.init.normal_(weights, std=0.2)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits_of(model: nn.Module) -> Tensor:
    """Return logits for three texts of different lengths, shape (3, labels)."""
    ids = torch.randint(4, 70, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.tensor([12, 8, 3])[:, None]).long()
    with torch.inference_mode():
        return model(input_ids=ids.masked_fill(mask == 0, model.config.pad_token_id), attention_mask=mask).logits


def tiny_tokenizer(family: str = "bert") -> PreTrainedTokenizerFast:
    """Return a tokenizer of about 100 words, with the special tokens of the family."""
    specials = _ROBERTA_SPECIALS if family == "roberta" else _BERT_SPECIALS
    vocabulary = {word: index for index, word in enumerate((*specials.values(), *_WORDS.split()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = specials["cls_token"], specials["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **specials
    )


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }


def _sizes(family: str, layers: int) -> dict[str, object]:
    if family == "distilbert":
        return {"dim": 32, "hidden_dim": 64, "n_layers": layers, "n_heads": 4, "max_position_embeddings": MAX_LENGTH}
    sizes: dict[str, object] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_LENGTH,
    }
    own: dict[str, dict[str, object]] = {
        # RoBERTa numbers positions from the padding id + 1 = 2.
        "roberta": {"max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
        "electra": {"embedding_size": 16},
        # As in DeBERTa-v3: relative positions in buckets, with a norm of their own.
        "deberta-v2": {
            "relative_attention": True,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
        "modernbert": {"local_attention": 4},
    }
    return sizes | own.get(family, {})
