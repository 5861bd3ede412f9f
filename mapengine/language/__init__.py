"""The mapping language: text in, a typed `Mapping` out."""
