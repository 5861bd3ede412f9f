from transformers.models.mamba2 import convert_mamba2_ssm_checkpoint_to_pytorch as script


def convert(source, output, kind, precision="bf16"):
    script._MAMBA2_MODELS_DICT[kind]["load_and_save_tokenizer"] = lambda **_: None
    script.convert_mamba2_checkpoint_file_to_huggingface_model_file(source, kind, precision, output)
