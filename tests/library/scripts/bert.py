from transformers import BertConfig, BertForPreTraining


def convert(source, output, config="config.json"):
    """There is no script from these names to today's: the class itself reads them.

    The script for Google's checkpoints reads TensorFlow's, and writes what this begins with.
    """
    read = BertConfig.from_json_file(f"{source}/{config}")
    model, told = BertForPreTraining.from_pretrained(
        source, config=read, torch_dtype="auto", output_loading_info=True
    )
    assert not any(told.values()), told
    model.save_pretrained(output)
