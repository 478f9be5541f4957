"""The one Transformer core: layers are frozen records that build modules; stacks are lists of residual lists."""
