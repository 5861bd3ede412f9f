from transformers import GPT2LMHeadModel


def convert(source, output):
    """No script: the class itself reads the old keys, and writes those it has now.

    The official script (`convert_gpt2_original_tf_checkpoint_to_pytorch`) starts from OpenAI's
    TensorFlow checkpoint, which wants TensorFlow to be read.
    """
    GPT2LMHeadModel.from_pretrained(source, torch_dtype="auto").save_pretrained(output)
