"""Operations on torch modules: layer outputs, pooling, freezing, partial forward passes, normalization."""
