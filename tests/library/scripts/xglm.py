from pathlib import Path

from transformers.models.xglm import convert_xglm_original_ckpt_to_trfms as script


def convert(source, output):
    model = script.convert_fairseq_xglm_checkpoint_from_disk(Path(source, "model.pt"))
    model.save_pretrained(output)
