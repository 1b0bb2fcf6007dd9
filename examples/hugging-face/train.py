"""Trains a small BERT from scratch on texts in CSV files with columns text and label."""

from dataclasses import dataclass

import numpy as np
from datasets import load_dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class DataArguments:
    train_file: str
    validation_file: str
    max_length: int = 32
    vocabulary: int = 4000


@dataclass
class ModelArguments:
    hidden_size: int = 64
    layers: int = 2
    dropout: float = 0.1


def train_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=vocabulary, special_tokens=special))
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def accuracy(prediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def main() -> None:
    parser = HfArgumentParser((DataArguments, ModelArguments, TrainingArguments))
    data_args, model_args, training_args = parser.parse_args_into_dataclasses()

    set_seed(training_args.seed)
    files = {"train": data_args.train_file, "validation": data_args.validation_file}
    data = load_dataset("csv", data_files=files)
    classes = sorted(set(data["train"]["label"]))
    tokenizer = train_tokenizer(data["train"]["text"], data_args.vocabulary)

    def encode(rows):
        encoded = tokenizer(rows["text"], truncation=True, max_length=data_args.max_length)
        return {**encoded, "labels": [classes.index(label) for label in rows["label"]]}

    data = data.map(encode, batched=True, remove_columns=data["train"].column_names)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=model_args.hidden_size,
        num_hidden_layers=model_args.layers,
        num_attention_heads=4,
        intermediate_size=2 * model_args.hidden_size,
        hidden_dropout_prob=model_args.dropout,
        max_position_embeddings=data_args.max_length,
        num_labels=len(classes),
        pad_token_id=tokenizer.pad_token_id,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=training_args,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    trainer.train()


if __name__ == "__main__":
    main()
